"""The supervisor's side of key fetching: each provider is asked once for the whole gate (K3)."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from proxy.adapters.jwks import Provider
from proxy.adapters.keys import DEFAULT_MAX_STALE_S, RemoteKeys
from proxy.config.models import Config, JwtSchemeConfig
from proxy.errors import KeysUnavailable
from proxy.services.beginning import login_keys

OnDocument = Callable[[str, str, dict[str, Any]], None]
"""Takes the name of a scheme (or of a login provider's keys), whose keys they are (`KeyPlan.source`), and the
document for the workers."""


@dataclass(frozen=True, slots=True)
class KeyPlan:
    """Keys that are fetched from a provider."""

    provider: Provider
    algorithms: tuple[str, ...]
    max_stale_s: float

    @property
    def source(self) -> str:
        """Whose keys they are, as digits: keys of another provider are not taken for these."""
        told = (repr(self.provider), self.algorithms, self.max_stale_s)
        return hashlib.sha256(repr(told).encode()).hexdigest()[:32]


def key_plans(config: Config) -> Iterator[tuple[str, KeyPlan]]:
    """Yield what has to be fetched, by scheme, and for each provider with which people sign in."""
    for name, scheme in config.schemes.items():
        if isinstance(scheme, JwtSchemeConfig) and has_remote_keys(scheme):
            algorithms = tuple(scheme.algorithms)
            yield name, KeyPlan(provider_of(scheme), algorithms, scheme.keys.max_stale)
    for name, provider in config.login.providers.items() if config.login is not None else ():
        plan = KeyPlan(Provider(provider.issuer), tuple(provider.algorithms), DEFAULT_MAX_STALE_S)
        yield login_keys(name), plan


class Providers:
    """The remote keys of every scheme that has them, and of every login provider."""

    def __init__(
        self, config: Config, on_document: OnDocument, before: Providers | None = None
    ) -> None:
        """Take over from `before` what is fetched of the same providers for the same schemes."""
        self._plans = dict(key_plans(config))
        self._kept = {} if before is None else before.same(self._plans)
        self._keys: dict[str, RemoteKeys] = {
            name: self._kept.get(name) or _remote_keys(name, plan, on_document)
            for name, plan in self._plans.items()
        }
        self._schemes = frozenset(config.schemes)

    def same(self, plans: Mapping[str, KeyPlan]) -> dict[str, RemoteKeys]:
        """Return what is fetched here as `plans` have it."""
        return {
            name: keys for name, keys in self._keys.items() if plans.get(name) == self._plans[name]
        }

    def start(self) -> None:
        """Begin to fetch in the background."""
        for name, keys in self._keys.items():
            if name not in self._kept:
                keys.start()

    async def close(self, other: Providers | None = None) -> None:
        """Stop fetching, but for what `other` fetches too."""
        used = [] if other is None else list(other.sources().values())
        await asyncio.gather(*(keys.close() for keys in self._keys.values() if keys not in used))

    async def wait(self, timeout_s: float) -> None:
        """Wait until each provider was asked once, or until the time is over."""
        tries = [keys.ready() for keys in self._keys.values()]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await asyncio.gather(*tries)

    def sources(self) -> Mapping[str, RemoteKeys]:
        """Return the keys of each scheme, for a process that uses them itself."""
        return self._keys

    def documents(self) -> dict[str, dict[str, Any]]:
        """Return the last document of each scheme, for a worker that starts."""
        return {name: keys.document() for name, keys in self._keys.items()}

    async def refreshed(self, scheme: str, kid: str) -> dict[str, Any] | None:
        """Ask a provider for an unknown key; return the document that it then has.

        `None` for a scheme without a provider. The refetch is rate-limited (K3), and its failure
        is told by the document.
        """
        keys = self._keys.get(scheme)
        if keys is None:
            return None
        with contextlib.suppress(KeysUnavailable):
            await keys.refreshed(kid)
        return keys.document()

    def source_of(self, scheme: str) -> str:
        """Return whose keys the documents of a scheme are."""
        return self._plans[scheme].source

    def missing(self) -> list[str]:
        """Return the schemes whose keys are not at hand; without a login provider the gate serves."""
        return [
            name
            for name, keys in self._keys.items()
            if name in self._schemes and not _has_keys(keys)
        ]


def has_remote_keys(scheme: JwtSchemeConfig) -> bool:
    """Tell whether a provider must be asked for the scheme's keys."""
    return scheme.keys.discovery or scheme.keys.jwks_url is not None


def provider_of(scheme: JwtSchemeConfig) -> Provider:
    """Return whom to ask for the scheme's keys."""
    return Provider(
        scheme.issuer,
        jwks_url=None if scheme.keys.discovery else scheme.keys.jwks_url,
        accepts_http=scheme.keys.http == "accept",
    )


def _remote_keys(name: str, plan: KeyPlan, on_document: OnDocument) -> RemoteKeys:
    return RemoteKeys(
        plan.provider,
        plan.algorithms,
        max_stale_s=plan.max_stale_s,
        on_document=lambda document: on_document(name, plan.source, document),
    )


def _has_keys(keys: RemoteKeys) -> bool:
    try:
        keys.current()
    except KeysUnavailable:
        return False
    return True
