"""Who guesses credentials is slowed down, then refused (security.md, R9).

Counted are distinct credentials that nobody has seen before and that turned out to be unknown or
forged: a valid one is never counted, and an old cookie on every picture of a page counts once.
"""

from __future__ import annotations

import collections
import ipaddress
from typing import Final

RATE: Final = 200
"""Distinct credentials a second that one address may try."""
DELAY_S: Final = 0.5
"""How long the answer is held back beyond that rate."""
REFUSE_FACTOR: Final = 2
"""Beyond so many times the rate it is refused instead (429)."""
ADDRESSES: Final = 10_000
DIGESTS: Final = 50_000
"""Of all addresses together: more than a worker answers in a second, some 5 MB."""
_WINDOW_S: Final = 1.0
_DIGEST_BYTES: Final = 8
"""Enough to tell credentials apart: who makes two look the same has one attempt for free."""


class _Window:
    __slots__ = ("began_at", "digests")

    def __init__(self, began_at: float) -> None:
        self.began_at = began_at
        self.digests: set[bytes] = set()


class Attempts:
    """Counts the attempts of each address in windows of one second.

    A window that is over is forgotten with the next attempt of anybody, and beyond the bounds the
    oldest go.
    """

    def __init__(
        self, *, rate: int = RATE, addresses: int = ADDRESSES, digests: int = DIGESTS
    ) -> None:
        self._rate = rate
        self._addresses = addresses
        self._most_digests = digests
        self._digests = 0
        self._windows: collections.OrderedDict[str, _Window] = collections.OrderedDict()
        """In the order in which they began."""

    def __len__(self) -> int:
        return len(self._windows)

    def delay_of(self, address: str | None, digest: bytes, mono: float) -> float | None:
        """Count a failed attempt; return how long to hold its answer back, `None` to refuse it.

        An IPv6 client has a whole /64 of addresses, which count as one. What has no address counts
        together.
        """
        self._forget(mono)
        name = network_of(address)
        window = self._windows.get(name)
        if window is None:
            self._windows[name] = window = _Window(mono)
        most = REFUSE_FACTOR * self._rate
        before = len(window.digests)
        if before <= most:
            window.digests.add(digest[:_DIGEST_BYTES])
            self._digests += len(window.digests) - before
        count = len(window.digests)
        while len(self._windows) > self._addresses or self._digests > self._most_digests:
            self._drop_oldest()
        if count > most:
            return None
        return 0.0 if count <= self._rate else DELAY_S

    def is_beyond(self, address: str | None, mono: float) -> bool:
        """Tell whether a further attempt of this address would be refused; counts nothing."""
        self._forget(mono)
        window = self._windows.get(network_of(address))
        return window is not None and len(window.digests) > REFUSE_FACTOR * self._rate

    def _forget(self, mono: float) -> None:
        """Forget the windows that are over at `mono`, or began in the future."""
        while self._windows:
            began_at = next(iter(self._windows.values())).began_at
            if 0 <= mono - began_at < _WINDOW_S:
                return
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        _, window = self._windows.popitem(last=False)
        self._digests -= len(window.digests)


def network_of(address: str | None) -> str:
    """Return what an address counts as: itself, or the /64 that it is in."""
    if address is None or ":" not in address:
        return address or ""
    try:
        parsed = ipaddress.IPv6Address(address)
    except ValueError:
        return address
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.IPv6Network((parsed, 64), strict=False))
