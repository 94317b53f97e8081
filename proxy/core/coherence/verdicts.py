"""The verdict cache of one worker (design.md §5; security.md, R1, R2, R8, R9).

A verdict is facts about a credential under one scheme's settings, never a route's answer. The
cache is a state machine without I/O and without a clock; who asks for a verdict compares its times
with the clock, and who fills one in does so in the order of the wire.
"""

from __future__ import annotations

import math
from typing import Final

from proxy.core.coherence.counters import CoherenceCounters, SourceCounters
from proxy.core.coherence.memory import Cause, Entry, Key, Memory
from proxy.core.coherence.pins import Changed, Pin, Pins
from proxy.core.coherence.source import Scope, Source
from proxy.core.coherence.verdict import Finding, Verdict

REFUSAL_ENTRIES: Final = 20_000
REFUSAL_BYTES: Final = 32 * 1024 * 1024
"""The memory of what opens nothing is one of its own: a flood of it evicts no verdict (R9)."""


class VerdictCache:
    """Verdicts, and apart from them what is known to open nothing."""

    def __init__(
        self, *, entries: int, size: int, counters: CoherenceCounters | None = None
    ) -> None:
        """Make an empty cache of at most `entries` verdicts and `size` bytes."""
        self.counters = counters or CoherenceCounters()
        self._verdicts: Memory[Finding] = Memory(
            entries=entries, size=size, on_evicted=self._evicted
        )
        self._refusals: Memory[Finding] = Memory(
            entries=min(REFUSAL_ENTRIES, entries), size=min(REFUSAL_BYTES, size)
        )
        self._pins = Pins()

    def __len__(self) -> int:
        """Return how many verdicts there are, those put aside included."""
        return len(self._verdicts)

    @property
    def size(self) -> int:
        """Bytes that the verdicts take, as estimated."""
        return self._verdicts.size

    @property
    def refusals(self) -> int:
        """How many credentials are known to open nothing."""
        return len(self._refusals)

    def source(self, name: str, *, max_staleness_s: float, grace_s: float | None = None) -> Source:
        """Make the source that stands for the store node `name`."""
        counters = self.counters.sources.setdefault(name, SourceCounters())
        source = Source(name, max_staleness_s=max_staleness_s, grace_s=grace_s, counters=counters)
        source.hold(self._verdicts)
        source.hold(self._refusals)
        source.hold(self._pins)
        return source

    def pin(self, key: Key, changed: Changed) -> Pin:
        """Keep what is known of a credential outside the bounds until `unpin` (R7).

        `changed` is told when it is known no more: by a change, a loss, a flush, or its end.
        """
        entry = self._entry(key)
        return self._pins.add(key, changed, entry if entry is not None and entry.is_live else None)

    def unpin(self, pin: Pin) -> None:
        """Take a pin away."""
        self._pins.remove(pin)

    def _entry(self, key: Key) -> Entry[Finding] | None:
        return self._verdicts.get(key) or self._refusals.get(key) or self._pins.get(key)

    def has(self, key: Key) -> bool:
        """Tell whether anything is remembered of a credential, live or not."""
        return self._entry(key) is not None

    def vouched(self, key: Key) -> Entry[Finding] | None:
        """Return a verdict's entry, to be believed for as long as its `vouched` is its scope's generation.

        What `find` compares besides (freshness, its time) is still to be compared at each use.
        """
        entry = self._verdicts.get(key)
        return entry if entry is not None and entry.vouched == entry.scope.generation else None

    def find(self, key: Key, mono: float) -> Finding | None:
        """Return what may be believed of a credential at `mono`, or `None`: it has to be looked up."""
        entry = self._verdicts.get(key) or self._refusals.get(key)
        if entry is None or not entry.is_live:
            entry = self._pins.get(key)
            if entry is None or not entry.is_live:
                return None
        source = entry.scope.source
        if source is not None and not source.is_fresh(mono):
            self.counters.stale += 1
            return None
        if mono >= entry.until:
            self.drop(key, "expired")
            return None
        entry.is_used = True
        return entry.content

    def find_in_outage(self, key: Key, mono: float) -> Verdict | None:
        """Return the verdict that `serve_cached` lets serve while the store is out (R8).

        It was never invalidated, and was last proven fresh at most the grace ago.
        """
        entry = self._verdicts.get(key) or self._pins.get(key)
        if entry is None or not entry.is_live or mono >= entry.until:
            return None
        source = entry.scope.source
        if source is None or not source.is_in_grace(mono):
            return None
        content = entry.content
        return content if isinstance(content, Verdict) else None

    def aside(self, key: Key) -> Verdict | None:
        """Return a verdict that only equal bytes of its record may bring back to life."""
        entry = self._verdicts.get(key)
        if entry is None or not entry.is_restorable or not isinstance(entry.content, Verdict):
            return None
        return entry.content

    def keep(
        self,
        key: Key,
        finding: Finding,
        scope: Scope,
        *,
        store_keys: tuple[bytes, ...] = (),
        size: int = 0,
        until: float = math.inf,
    ) -> None:
        """Fill in what a look-up found: to be called while its last reply is taken off the wire.

        Nothing is kept that no connection would be told about (R10).
        """
        source = scope.source
        if source is not None and source.state != "tracking":
            return
        is_verdict = isinstance(finding, Verdict) and finding.refused is None
        entry = Entry(
            key,
            finding,
            scope,
            store_keys=store_keys,
            size=size,
            until=until,
            is_restorable=isinstance(finding, Verdict) and finding.record_digest is not None,
        )
        if is_verdict:
            self._refusals.discard(key, "invalidated")
            self._verdicts.put(entry)
            self.counters.fills += 1
        else:
            self._verdicts.discard(key, "invalidated")
            self._refusals.put(entry)
        self._pins.put(entry)

    def drop(self, key: Key, cause: Cause) -> None:
        """Forget a credential."""
        self._verdicts.discard(key, cause)
        self._refusals.discard(key, cause)
        self._pins.discard(key)

    def forget_all(self) -> None:
        """Be empty: nobody asks it any more."""
        self._verdicts.clear()
        self._refusals.clear()

    def _evicted(self, cause: Cause) -> None:
        name = f"evicted_{cause}"
        setattr(self.counters, name, getattr(self.counters, name) + 1)
