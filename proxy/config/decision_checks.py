"""Checks of the decision listener: who may ask there, and whether it could be told apart (S13)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from proxy.config.decision_models import CallerConfig
from proxy.config.network_checks import is_loopback
from proxy.config.survey import Survey
from proxy.errors import Problem


def check_callers(survey: Survey) -> Iterator[Problem]:
    """Find callers who could speak two dialects, and those who could be anybody."""
    decision = survey.config.decision
    if decision is None:
        return
    path = ("decision", "callers")
    is_tcp = survey.is_whole("decision", "listen") and not decision.listen.is_unix
    if is_tcp and not is_loopback(decision.listen):
        message = "credentials travel to it without TLS: only a network of your own may lie between"
        yield Problem(("decision", "listen"), message, is_warning=True)
    for index, caller in enumerate(decision.callers):
        network = caller.from_
        if not isinstance(network, str) and network.prefixlen == 0:
            message = "anybody could describe a request as they like: name the proxy's own network"
            yield Problem((*path, index, "from"), message)
        if any(_meet(caller, earlier) for earlier in decision.callers[:index]):
            message = "another caller has this address already, and each has one dialect"
            yield Problem((*path, index, "from"), message)
        if survey.is_whole("decision") and (network == "unix") != decision.listen.is_unix:
            message = (
                "nobody can come from there: a socket's callers are `unix`, and only a socket's"
            )
            yield Problem((*path, index, "from"), message)


def _meet(one: CallerConfig, other: CallerConfig) -> bool:
    """Tell whether a caller can be both."""
    first, second = one.from_, other.from_
    if isinstance(first, str) or isinstance(second, str):
        return first == second
    return first.version == second.version and first.overlaps(second)


CHECKS: Final = (check_callers,)
