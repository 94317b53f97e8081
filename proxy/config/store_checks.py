"""Checks of how long a verdict may be believed, what it takes, and of what is waited for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from proxy.config.survey import Survey
from proxy.errors import Problem

MIN_STALENESS_S: Final = 0.2
"""A quarter of it is the time of one heartbeat, there and back."""
MAX_STALENESS_S: Final = 60.0
MIN_BYTES: Final = 64 * 1024
"""Below this not even one large session fits."""
MAX_GRACE_S: Final = 3600.0
"""An outage of the store that lasts longer is not waited out by not looking."""


def check_outage(survey: Survey) -> Iterator[Problem]:
    """Find a `serve_cached` that changes nothing, and one that is no outage any more."""
    store = survey.config.store
    path = ("store", "on_outage", "serve_cached")
    if store.grace_s is None or not survey.is_whole(*path):
        return
    if store.grace_s <= store.max_staleness:
        yield Problem(path, "must be longer than max_staleness, which passes first")
    if store.grace_s > MAX_GRACE_S:
        yield Problem(path, "must be at most 1h: meanwhile nothing that is revoked is refused")


def check_staleness(survey: Survey) -> Iterator[Problem]:
    """Find a proof that cannot be had in time, that is worth little, or that the store outlasts."""
    store = survey.config.store
    path = ("store", "max_staleness")
    if not MIN_STALENESS_S <= store.max_staleness <= MAX_STALENESS_S:
        yield Problem(path, "must be between 200ms and 60s")
    elif store.timeout > store.max_staleness and survey.is_whole(*path):
        message = "is shorter than timeout: a store that is merely slow makes every verdict useless"
        yield Problem(path, message, is_warning=True)


def check_verdicts(survey: Survey) -> Iterator[Problem]:
    """Find a cache in which nothing fits."""
    path = ("verdicts", "bytes")
    if survey.config.verdicts.bytes < MIN_BYTES and survey.is_whole(*path):
        yield Problem(path, "must be at least 64KiB")


def check_durability(survey: Survey) -> Iterator[Problem]:
    """Find replicas that there are none of, and a wait for them that no look-up has time for."""
    store = survey.config.store
    path = ("store", "durability")
    if store.durability == "none" or not survey.is_whole(*path):
        return
    if store.url.kind == "embedded":
        yield Problem(path, "an embedded store has no replicas")
    if store.durability.timeout >= store.timeout:
        yield Problem((*path, "timeout"), "must be shorter than store.timeout, which ends it first")


CHECKS: Final = (check_outage, check_staleness, check_verdicts, check_durability)
