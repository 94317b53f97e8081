"""Verdicts that open connections hang on: outside every bound, for as long as they last (R7).

A pin is on one credential, and whoever put it there is told when its verdict stops being vouched
for. Clock and freshness are compared by whoever asks.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from proxy.core.coherence.memory import Entry, Key
from proxy.core.coherence.source import DEAD, Source
from proxy.core.coherence.verdict import Finding, Verdict

Changed = Callable[["Pin"], None]
"""Told while the connection's bytes are read: it must not wait, and must not read the store."""


class Pin:
    """One credential that somebody watches."""

    __slots__ = ("_changed", "_entry", "key")

    def __init__(self, key: Key, changed: Changed) -> None:
        self.key = key
        self._changed = changed
        self._entry: Entry[Finding] | None = None

    @property
    def verdict(self) -> Verdict | None:
        """The verdict that is vouched for, if there is one and it opens anything."""
        entry = self._entry
        if entry is None or not entry.is_live or not isinstance(entry.content, Verdict):
            return None
        return entry.content if entry.content.refused is None else None

    @property
    def source(self) -> Source | None:
        """Which store vouches for the verdict; `None` where none does, or none need to."""
        return None if self._entry is None else self._entry.scope.source

    @property
    def until(self) -> float:
        """When the verdict stops being true (`mono`), beside what it says itself in epoch seconds."""
        return math.inf if self._entry is None else self._entry.until

    def vouched_until(self, *, is_bridged: bool) -> float:
        """Return until when the verdict may be relied on, as far as its store is known (`mono`).

        Told that it has changed, a pin answers for what was: in an outage that is bridged (R8) as
        `on_outage` says, where the server is there and said so by `max_staleness` alone.
        """
        source = self.source
        return (
            math.inf
            if source is None
            else source.proven_at + source.patience(is_bridged=is_bridged)
        )


class Pins:
    """Every pin of a worker, by credential and by the store keys that their verdicts depend on."""

    def __init__(self) -> None:
        self._pins: dict[Key, set[Pin]] = {}
        self._entries: dict[Key, Entry[Finding]] = {}
        self._index: dict[Source, dict[bytes, set[Key]]] = {}

    def __len__(self) -> int:
        """Return how many credentials are pinned."""
        return len(self._pins)

    def add(self, key: Key, changed: Changed, entry: Entry[Finding] | None) -> Pin:
        """Pin a credential; `entry` is what is known of it, alive."""
        pin = Pin(key, changed)
        self._pins.setdefault(key, set()).add(pin)
        if entry is not None and self._entries.get(key) is not entry:
            self.put(entry)
        pin._entry = self._entries.get(key)  # noqa: SLF001 - the two are one unit
        return pin

    def remove(self, pin: Pin) -> None:
        """Take a pin away; a verdict without one is the cache's business alone."""
        pins = self._pins.get(pin.key)
        if pins is None or pin not in pins:
            return
        pins.remove(pin)
        pin._entry = None  # noqa: SLF001 - the two are one unit
        if not pins:
            del self._pins[pin.key]
            self._forget(pin.key)

    def get(self, key: Key) -> Entry[Finding] | None:
        """Return what is pinned under `key`."""
        return self._entries.get(key)

    def put(self, entry: Entry[Finding]) -> None:
        """Take what a look-up found of a credential, if it is pinned."""
        pins = self._pins.get(entry.key)
        if pins is None:
            return
        self._forget(entry.key)
        self._entries[entry.key] = entry
        source = entry.scope.source
        if source is not None:
            index = self._index.setdefault(source, {})
            for store_key in entry.store_keys:
                index.setdefault(store_key, set()).add(entry.key)
        for pin in pins:
            pin._entry = entry  # noqa: SLF001 - the two are one unit

    def discard(self, key: Key) -> None:
        """Forget a verdict that turned out to be over, and tell its pins."""
        if key in self._entries:
            self._let_go(key)

    def invalidate(self, source: Source, store_key: bytes) -> None:
        """Forget what depends on `store_key`, and tell."""
        for key in tuple(self._index.get(source, {}).get(store_key, ())):
            self._let_go(key)

    def dropped(self, source: Source) -> None:
        """Forget what a scope of `source` vouches for no more, and tell."""
        for key, entry in tuple(self._entries.items()):
            if entry.scope.source is source and not entry.is_live:
                self._let_go(key)

    def _let_go(self, key: Key) -> None:
        pins = tuple(self._pins.get(key, ()))
        for pin in pins:  # all of them are told what still stands there
            pin._changed(pin)  # noqa: SLF001 - the two are one unit
        entry = self._forget(key)
        if entry is not None:
            entry.generation = DEAD
        for pin in pins:
            pin._entry = None  # noqa: SLF001 - the two are one unit

    def _forget(self, key: Key) -> Entry[Finding] | None:
        entry = self._entries.pop(key, None)
        if entry is None or entry.scope.source is None:
            return entry
        index = self._index[entry.scope.source]
        for store_key in entry.store_keys:
            keys = index.get(store_key)
            if keys is not None:
                keys.discard(key)
                if not keys:
                    del index[store_key]
        return entry
