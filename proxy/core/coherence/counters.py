"""What the verdict cache and its connections count: plain integers, for a collector to read."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field
from typing import Final

NOTICE_BOUNDS: Final = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 2.0)
"""Upper bounds of the buckets of `Notices`, in seconds."""


@dataclass(slots=True)
class Notices:
    """How long a word of the store took, in buckets."""

    buckets: list[int] = field(default_factory=lambda: [0] * (len(NOTICE_BOUNDS) + 1))
    total_s: float = 0.0

    def count(self, took_s: float) -> None:
        """Count one that took `took_s` seconds."""
        self.buckets[bisect_left(NOTICE_BOUNDS, took_s)] += 1
        self.total_s += took_s


@dataclass(slots=True)
class SourceCounters:
    """Of one store node, as one worker's tracked connection sees it. Times are seconds, summed."""

    looked_up: Notices = field(default_factory=Notices)
    """Look-ups that were answered: from sending one to its last reply."""
    lookups_failed: int = 0
    """Look-ups without a good answer: too late, lost, refused, or voided three times (R5)."""
    lookups_voided: int = 0
    """Look-ups that were repeated because a key changed between their replies (R5)."""
    pings: int = 0
    """Answered heartbeats."""
    ping_s: float = 0.0
    """From sending a heartbeat to its reply."""
    notices: Notices = field(default_factory=Notices)
    """From sending a write to the word of it: of a key that is written for that alone."""
    invalidations: int = 0
    """Keys that the server said had changed."""
    flushes: int = 0
    """Times at which the server said that everything had changed."""
    losses: int = 0
    """Tracked connections that were lost."""
    connections: int = 0
    """Connections on which tracking was switched on."""
    untracked: int = 0
    """Connections on which it could not be (R10)."""

    @property
    def lookups(self) -> int:
        """Look-ups that were answered."""
        return sum(self.looked_up.buckets)


@dataclass(slots=True)
class StreamCounters:
    """Of one worker's open connections (security.md, R7)."""

    tunnels: int = 0
    """Tunnels that are open now, those of public routes included."""
    watched: int = 0
    """Tunnels and long responses that are open now and hang on a verdict."""
    decided_again: int = 0
    """Times at which their credentials were decided again: once for all that share them."""
    ended_revoked: int = 0
    """Ended because the credential was taken back, or no longer opens the route."""
    ended_expired: int = 0
    """Ended because the credential's time, or the session's idle time, was over."""
    ended_unconfirmed: int = 0
    """Ended because nobody could say within `max_staleness` whether the credential is still good."""
    kept: int = 0
    """Credentials that expired under connections which the route lets go on (`on_expiry: keep`)."""


@dataclass(slots=True)
class CoherenceCounters:
    """Of one worker's verdict cache."""

    hits: int = 0
    """Requests that a cached verdict answered."""
    refusal_hits: int = 0
    """Requests that the memory of unknown, revoked or forged credentials answered."""
    misses: int = 0
    """Requests that had to look up or verify."""
    shared: int = 0
    """Misses that waited for the look-up of another request (single flight)."""
    stale: int = 0
    """Cached verdicts that were not used because their freshness was not proven (R2)."""
    served_stale: int = 0
    """Cached verdicts that were used in an outage, by `on_outage: {serve_cached}` (R8)."""
    restored: int = 0
    """Invalidated verdicts that a look-up found unchanged, and that were not decoded again."""
    fills: int = 0
    """Verdicts that were put into the cache."""
    unkept: int = 0
    """Verdicts that were not kept because the store's user may not ask for the life of a key."""
    evicted_room: int = 0
    """Evicted because the cache was full."""
    evicted_invalidated: int = 0
    """Dropped because the store said that they had changed."""
    evicted_lost: int = 0
    """Dropped because their connection was lost, or the store flushed, since they were filled."""
    evicted_expired: int = 0
    """Dropped because their time was over."""
    evicted_key: int = 0
    """Dropped because the key that verified them left the key set (K3)."""
    attempts_slowed: int = 0
    """Unknown or forged credentials whose answer was held back (R9)."""
    attempts_refused: int = 0
    """Unknown or forged credentials that were answered with 429 (R9)."""
    sources: dict[str, SourceCounters] = field(default_factory=dict)
    """By the store's name: `store` for the gate's own, else the scheme's."""
