"""What one tracked connection lets a worker believe about one store node (security.md, R2, R5, R10).

Pure: the connection calls in the order of the wire, and every time is passed in. `mono` is seconds
on a clock that never jumps and counts suspension.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from typing import Final, Literal, Protocol

from proxy.core.coherence.counters import SourceCounters

State = Literal["waiting", "tracking", "lost", "untracked"]
"""`waiting`: not connected yet. `tracking`: the server tells what changes. `lost`: it did, and the
connection is gone. `untracked`: it cannot (R10)."""

DEAD: Final = -1
"""Generation of an entry that no scope vouches for any more."""


class Invalidated(Protocol):
    """Whoever holds something that depends on store keys."""

    def invalidate(self, source: Source, store_key: bytes) -> None:
        """Forget what depends on `store_key`."""
        ...

    def dropped(self, source: Source) -> None:
        """Note that scopes of `source` vouch no more for what they did."""
        ...


class Reading:
    """A look-up of several replies that is under way (R5)."""

    __slots__ = ("is_void", "keys")

    def __init__(self, keys: Collection[bytes]) -> None:
        self.keys = keys
        self.is_void = False
        """True when one of the keys changed, or everything did, since the first command was sent."""


class Scope:
    """What all verdicts of one scheme hang on together, beside the keys of each.

    An entry is good while it has its scope's generation: losing the connection, a flush, or a key
    that every verdict depends on (the deny-list's `all`) costs one addition, however many they are.
    """

    __slots__ = ("generation", "keys", "source")

    def __init__(self, source: Source | None, keys: Collection[bytes] = ()) -> None:
        self.source = source
        """`None` for verdicts that depend on no store: they are never stale."""
        self.keys = frozenset(keys)
        self.generation = 0


class Source:
    """One store node: whether it tells what changes, and how fresh what it told is.

    `max_staleness_s` is R2's; `grace_s` is that of `on_outage: {serve_cached}`, `None` for `deny`.
    """

    def __init__(
        self,
        name: str,
        *,
        max_staleness_s: float,
        grace_s: float | None = None,
        counters: SourceCounters | None = None,
    ) -> None:
        self.name = name
        self.max_staleness_s = max_staleness_s
        self.grace_s = grace_s
        self.counters = counters or SourceCounters()
        self.state: State = "waiting"
        self.proven_at = -math.inf
        """When the last answered heartbeat of the connection was sent (`mono`): R2's p."""
        self._scopes: list[Scope] = []
        self._by_common_key: dict[bytes, list[Scope]] = {}
        self._holders: list[Invalidated] = []
        self._readings: set[Reading] = set()
        self._readings_by_key: dict[bytes, set[Reading]] = {}

    def scope(self, keys: Collection[bytes] = ()) -> Scope:
        """Make a scope whose verdicts all depend on `keys`."""
        scope = Scope(self, keys)
        self._scopes.append(scope)
        for key in scope.keys:
            self._by_common_key.setdefault(key, []).append(scope)
        return scope

    def hold(self, holder: Invalidated) -> None:
        """Tell `holder` of every key that changes."""
        self._holders.append(holder)

    def is_fresh(self, mono: float) -> bool:
        """Tell whether what was read may be used at `mono` (R2)."""
        return self.state == "tracking" and mono - self.proven_at <= self.max_staleness_s

    def is_in_grace(self, mono: float) -> bool:
        """Tell whether cached verdicts may serve in an outage (R8): since the last proof, no more."""
        return (
            self.grace_s is not None
            and self.state in ("tracking", "lost")
            and mono - self.proven_at <= self.grace_s
        )

    def patience(self, *, is_bridged: bool) -> float:
        """Return for how long after the last proof an open connection may go on (R7).

        `is_bridged`: True where an outage may be bridged, if the configuration says so (R8).
        """
        if is_bridged and self.grace_s is not None:
            return max(self.grace_s, self.max_staleness_s)
        return self.max_staleness_s

    # What the connection tells, in the order of the wire

    def tracked(self, proven_at: float) -> None:
        """Tracking is on, on a new connection: what the old one had read is dropped."""
        self._drop_all()
        self.state = "tracking"
        self.proven_at = proven_at
        self.counters.connections += 1

    def untracked(self) -> None:
        """Note a connection whose server will not tell what changes: nothing is kept (R10)."""
        self._drop_all()
        self.state = "untracked"
        self.counters.untracked += 1

    def proven(self, sent_at: float) -> None:
        """Note the answer of a heartbeat that was sent at `sent_at`.

        Everything that the server had to say before it answered has been heard by now.
        """
        if self.state == "tracking":
            self.proven_at = max(self.proven_at, sent_at)

    def lost(self) -> None:
        """Note that the connection is gone: verdicts are suspended until tracking is back."""
        self._void_readings()
        if self.state == "tracking":
            self.state = "lost"
            self.counters.losses += 1
        elif self.state == "untracked":
            self.state = "waiting"

    def invalidated(self, keys: Sequence[bytes] | None) -> None:
        """Forget what depends on `keys`; on everything, when the server says `None` (FLUSHALL)."""
        if keys is None:
            self.counters.flushes += 1
            self._drop_all()
            return
        self.counters.invalidations += len(keys)
        is_common = False
        for key in keys:
            for scope in self._by_common_key.get(key, ()):
                scope.generation += 1
                is_common = True
            for reading in self._readings_by_key.get(key, ()):
                reading.is_void = True
            for holder in self._holders:
                holder.invalidate(self, key)
        if is_common:
            self._tell_dropped()

    # Look-ups of several replies

    def begin(self, keys: Iterable[bytes]) -> Reading:
        """Register the keys of a look-up of several replies, before its first command is sent."""
        reading = Reading(frozenset(keys))
        self._readings.add(reading)
        for key in reading.keys:
            self._readings_by_key.setdefault(key, set()).add(reading)
        return reading

    def end(self, reading: Reading) -> bool:
        """Take the look-up out again; tell whether its replies fit together."""
        self._readings.discard(reading)
        for key in reading.keys:
            registered = self._readings_by_key.get(key)
            if registered is not None:
                registered.discard(reading)
                if not registered:
                    del self._readings_by_key[key]
        return not reading.is_void

    def _drop_all(self) -> None:
        for scope in self._scopes:
            scope.generation += 1
        self._void_readings()
        self._tell_dropped()

    def _tell_dropped(self) -> None:
        for holder in self._holders:
            holder.dropped(self)

    def _void_readings(self) -> None:
        for reading in self._readings:
            reading.is_void = True
