"""The gate's own endpoints: where they are, and what they are given to work with.

The table that the router is built from. What they do is proxy.edge.portal's; what never belongs
here: HTML, forms, and anything that an endpoint decides.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from proxy.config.models import Config

if TYPE_CHECKING:
    from proxy.services.visitors import Visitors


@dataclass(frozen=True, slots=True)
class OwnEndpoint:
    """One endpoint of the gate's own."""

    name: str
    """What the portal knows it by."""
    path: str
    """Below `login.path`, such as `/login` or `/callback/{provider}`."""
    methods: frozenset[str]
    """GET includes HEAD."""
    leans_on_cookies: bool = True
    """True where a browser's cookie says who it is: then no other site may call it with an unsafe
    method, and there are no exceptions (security.md, S3). False where the caller says so in words
    of its own, as OAuth clients do."""


@dataclass(frozen=True, slots=True)
class OwnServices:
    """What the endpoints work with; a field for each part that the configuration switches on."""

    visitors: Visitors
    """Who asks."""


def own_endpoints(config: Config) -> Iterator[OwnEndpoint]:
    """Yield the endpoints that `config` switches on; none without `login:`."""
    if config.login is not None:
        for part in _PARTS:
            yield from part(config)


def _account(_config: Config) -> Iterator[OwnEndpoint]:
    yield OwnEndpoint("me", "/me", frozenset({"GET"}))


_PARTS: Final[tuple[Callable[[Config], Iterator[OwnEndpoint]], ...]] = (_account,)
