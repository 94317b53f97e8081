"""Which server of an upstream takes a request: the less busy of two random ones, or by hash.

A server that lately could not be reached is left out as long as another one is there: it is never
busy, so that counting alone would send it everything.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from hashlib import blake2b
from random import random
from typing import Final, Generic, Protocol, TypeVar

POINTS_PER_SERVER: Final = 128
"""Places of one server on the ring: shares differ by about a tenth."""


class Candidate(Protocol):
    """What balancing looks at."""

    busy: int
    """Requests and connection attempts in flight."""
    down_until: float
    """The server is left out until then; the clock of `now`."""


T = TypeVar("T", bound=Candidate)


def least_busy(candidates: Sequence[T], now: float, draw: Callable[[], float] = random) -> T:
    """Return the less busy of two random candidates; `draw` yields numbers in [0, 1)."""
    if len(candidates) == 1:
        return candidates[0]
    first, second = _two_of(candidates, draw)
    if first.down_until > now or second.down_until > now:
        up = [candidate for candidate in candidates if candidate.down_until <= now]
        if len(up) == 1:
            return up[0]
        first, second = _two_of(up or candidates, draw)
    return second if second.busy < first.busy else first


def _two_of(candidates: Sequence[T], draw: Callable[[], float]) -> tuple[T, T]:
    if len(candidates) == 2:  # then chance says only who goes first where both are as busy
        first, second = candidates
        return (first, second) if draw() < 0.5 else (second, first)
    one = int(draw() * len(candidates))
    other = int(draw() * (len(candidates) - 1))
    return candidates[one], candidates[other + (other >= one)]


class HashRing(Generic[T]):
    """Equal keys meet equal servers; a server that comes or goes moves only its own share."""

    def __init__(self, candidates: Sequence[T], names: Sequence[str]) -> None:
        points = sorted(
            (_position(b"%d:%b" % (number, name.encode())), index)
            for index, name in enumerate(names)
            for number in range(POINTS_PER_SERVER)
        )
        self._positions = [position for position, _ in points]
        self._owners = [candidates[index] for _, index in points]

    def pick(self, key: bytes, now: float) -> T:
        """Return the first candidate from the key's place on that is not down, else the first."""
        start = bisect_right(self._positions, _position(key)) % len(self._owners)
        preferred = self._owners[start]
        if preferred.down_until <= now:
            return preferred
        return next((owner for owner in self._from(start) if owner.down_until <= now), preferred)

    def _from(self, start: int) -> Iterator[T]:
        yield from self._owners[start:]
        yield from self._owners[:start]


def _position(key: bytes) -> int:
    return int.from_bytes(blake2b(key, digest_size=8).digest())
