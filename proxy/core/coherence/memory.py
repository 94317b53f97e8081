"""A memory that is bounded in entries and bytes, and forgets what depends on a store key.

Eviction is CLOCK: an entry that was used since the hand last passed gets a second chance.
"""

from __future__ import annotations

import collections
import math
from collections.abc import Callable
from typing import Any, Final, Generic, Literal, TypeVar

from proxy.core.coherence.source import DEAD, Scope, Source

T = TypeVar("T")
Key = tuple[str, int, bytes]
"""Scheme, configuration generation, SHA-256 of the credential (R1)."""
Cause = Literal["room", "invalidated", "lost", "expired", "key"]

ENTRY_BYTES: Final = 900
"""What an entry costs beside its content: objects, keys, places in tables (measured)."""
_HAND_STEPS: Final = 32
"""Second chances of one eviction: it takes a bounded time, however many entries are in use."""


class Entry(Generic[T]):
    """One thing that is remembered, and what it hangs on."""

    __slots__ = (
        "content", "generation", "is_restorable", "is_used", "key", "scope", "size", "store_keys", "until",
        "vouched",
    )  # fmt: skip

    def __init__(
        self,
        key: Key,
        content: T,
        scope: Scope,
        *,
        store_keys: tuple[bytes, ...] = (),
        size: int = 0,
        until: float = math.inf,
        is_restorable: bool = False,
    ) -> None:
        self.key = key
        self.content = content
        self.scope = scope
        self.generation = scope.generation
        self.store_keys = store_keys
        self.size = size + ENTRY_BYTES
        self.until = until
        """When it stops being true, on the clock of `mono`."""
        self.is_restorable = is_restorable
        """True: an invalidation puts it aside instead of dropping it."""
        self.is_used = False
        self.vouched = DEAD
        """Its generation while a `Memory` holds it and hears of its keys; then `DEAD`, evicted ones
        too. Who keeps a reference instead of asking again compares this, not `generation`."""

    @property
    def is_live(self) -> bool:
        """False after an invalidation, a flush, or the loss of the connection that it was read on."""
        return self.generation == self.scope.generation


class Memory(Generic[T]):
    """Entries by key, with an index by the store keys that they depend on."""

    def __init__(
        self, *, entries: int, size: int, on_evicted: Callable[[Cause], None] | None = None
    ) -> None:
        self._entries = entries
        self._size = size
        self._on_evicted = on_evicted or (lambda _cause: None)
        self._table: collections.OrderedDict[Key, Entry[T]] = collections.OrderedDict()
        self._index: dict[Source, dict[bytes, Entry[T] | set[Entry[T]]]] = {}
        self.size = 0
        """Bytes, as estimated when the entries were put in."""

    def __len__(self) -> int:
        return len(self._table)

    def get(self, key: Key) -> Entry[T] | None:
        """Return what is remembered under `key`, live or not; `None` if nothing is."""
        return self._table.get(key)

    def put(self, entry: Entry[T]) -> None:
        """Remember `entry` in the place of what was there; one beyond every bound is not kept."""
        before = self._table.pop(entry.key, None)
        if before is not None:
            self._forget(before)
        if entry.size > self._size:
            return
        self._table[entry.key] = entry
        self.size += entry.size
        entry.vouched = entry.generation
        source = entry.scope.source
        if source is not None:
            index = self._index.setdefault(source, {})
            for store_key in entry.store_keys:
                _add(index, store_key, entry)
        self._sweep()
        while len(self._table) > self._entries or self.size > self._size:
            self._evict()

    def clear(self) -> None:
        """Forget everything, and tell nobody."""
        self._table.clear()
        self._index.clear()
        self.size = 0

    def discard(self, key: Key, cause: Cause) -> None:
        """Forget what is remembered under `key`, if anything is."""
        entry = self._table.pop(key, None)
        if entry is not None:
            self._forget(entry)
            self._on_evicted(cause)

    def invalidate(self, source: Source, store_key: bytes) -> None:
        """Forget, or put aside, what depends on `store_key`."""
        found = self._index.get(source, {}).pop(store_key, None)
        if found is None:
            return
        for entry in found if isinstance(found, set) else (found,):
            self._unindex(entry)
            entry.generation = entry.vouched = DEAD
            if not entry.is_restorable:
                del self._table[entry.key]
                self.size -= entry.size
            self._on_evicted("invalidated")

    def dropped(self, source: Source) -> None:
        """Do nothing: what is dead is not found, and is cleared away by what is new."""

    def _sweep(self) -> None:
        """Let the two oldest go if they are dead: so a loss is cleared away by what is new."""
        for _ in range(2):
            key = next(iter(self._table))
            if self._table[key].is_live:
                return
            self.discard(key, "lost")

    def _evict(self) -> None:
        for _ in range(_HAND_STEPS):
            key = next(iter(self._table))
            entry = self._table[key]
            if not entry.is_used or not entry.is_live:
                break
            entry.is_used = False
            self._table.move_to_end(key)
        self.discard(next(iter(self._table)), "room")

    def _forget(self, entry: Entry[T]) -> None:
        self.size -= entry.size
        entry.vouched = DEAD
        self._unindex(entry)

    def _unindex(self, entry: Entry[T]) -> None:
        source = entry.scope.source
        index: dict[bytes, Any] = {} if source is None else self._index.get(source, {})
        for store_key in entry.store_keys:
            found = index.get(store_key)
            if found is entry:
                del index[store_key]
            elif isinstance(found, set):
                found.discard(entry)
                if not found:
                    del index[store_key]


def _add(index: dict[bytes, Entry[T] | set[Entry[T]]], store_key: bytes, entry: Entry[T]) -> None:
    found = index.get(store_key)
    if found is None:
        index[store_key] = entry
    elif isinstance(found, set):
        found.add(entry)
    else:
        index[store_key] = {found, entry}
