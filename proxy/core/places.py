"""Places that work holds while it waits, so that no single source takes all there are.

Pure: what is waited for, and who is told to come back, is the business of whoever asks.
"""

from __future__ import annotations

import collections
import contextlib
from collections.abc import Iterator, Mapping


class NoPlace(Exception):
    """All places are taken, or all that one of the sources may have."""


class Places:
    """Constructor: how many there are altogether."""

    def __init__(self, room: int) -> None:
        self._room = room
        self._held: collections.Counter[str] = collections.Counter()
        """By source; none stands here without a place."""

    def __len__(self) -> int:
        return len(self._held)

    @contextlib.contextmanager
    def held(self, sources: Mapping[str, int]) -> Iterator[None]:
        """Hold one place meanwhile, for every one of `sources`, which says how many each may have.

        Raises `NoPlace`.
        """
        if self._room <= 0 or any(self._held[name] >= most for name, most in sources.items()):
            raise NoPlace
        self._room -= 1
        self._held.update(sources.keys())
        try:
            yield
        finally:
            self._room += 1
            self._held.subtract(sources.keys())
            for name in sources:
                if self._held[name] <= 0:
                    del self._held[name]
