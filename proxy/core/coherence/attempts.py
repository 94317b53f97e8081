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
_WINDOW_S: Final = 1.0


class _Window:
    __slots__ = ("began_at", "digests")

    def __init__(self, began_at: float) -> None:
        self.began_at = began_at
        self.digests: set[bytes] = set()


class Attempts:
    """Counts the attempts of each address in windows of one second. Bounded in addresses."""

    def __init__(self, *, rate: int = RATE, addresses: int = ADDRESSES) -> None:
        self._rate = rate
        self._addresses = addresses
        self._windows: collections.OrderedDict[str, _Window] = collections.OrderedDict()

    def __len__(self) -> int:
        return len(self._windows)

    def delay_of(self, address: str | None, digest: bytes, mono: float) -> float | None:
        """Count a failed attempt; return how long to hold its answer back, `None` to refuse it.

        An IPv6 client has a whole /64 of addresses, which count as one. What has no address counts
        together.
        """
        name = network_of(address)
        window = self._windows.get(name)
        if window is None or not 0 <= mono - window.began_at < _WINDOW_S:
            self._windows[name] = window = _Window(mono)
        self._windows.move_to_end(name)
        if len(self._windows) > self._addresses:
            self._windows.popitem(last=False)
        most = REFUSE_FACTOR * self._rate
        if len(window.digests) <= most:
            window.digests.add(digest)
        if len(window.digests) > most:
            return None
        return 0.0 if len(window.digests) <= self._rate else DELAY_S


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
