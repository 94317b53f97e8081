"""A short memory of tokens whose signature no key verifies (security.md, R9).

Repeating a bad token must not cost a signature check each time; but a key that makes it good may
turn up, so each is remembered for one key set, and for a short time.
"""

from __future__ import annotations

import collections
from typing import Final

from proxy.core.coherence.memory import Key
from proxy.core.keyset import KeySet
from proxy.model import Rejected

ENTRIES: Final = 10_000
LIFE_S: Final = 10.0


class Forgeries:
    """Bounded; the oldest go first."""

    def __init__(self, *, entries: int = ENTRIES, life_s: float = LIFE_S) -> None:
        self._entries = entries
        self._life_s = life_s
        self._table: collections.OrderedDict[Key, tuple[Rejected, KeySet, float]] = (
            collections.OrderedDict()
        )

    def __len__(self) -> int:
        return len(self._table)

    def put(self, key: Key, rejected: Rejected, keys: KeySet, mono: float) -> None:
        """Remember that no key of `keys` verifies the token."""
        self._table[key] = (rejected, keys, mono)
        self._table.move_to_end(key)
        if len(self._table) > self._entries:
            self._table.popitem(last=False)

    def get(self, key: Key, keys: KeySet, mono: float) -> Rejected | None:
        """Return why the token was rejected, if that was with these very keys and not long ago."""
        found = self._table.get(key)
        if found is None:
            return None
        rejected, seen_keys, seen_at = found
        if seen_keys is not keys or not 0 <= mono - seen_at <= self._life_s:
            del self._table[key]
            return None
        return rejected
