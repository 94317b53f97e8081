"""Nonces of the gate's: that a proof was made just now, and not ahead of time (RFC 9449 §8 and §9).

Whoever can sign with a client's key for a moment could make proofs for hours to come. A nonce that
nobody knows before its time is the end of that. It is the MAC of a window of time, so that whoever has
the key knows it: no worker and no gate asks another. Pure. What never belongs here: I/O, the clock.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from hmac import compare_digest, digest
from typing import Final, Literal

from proxy.core.compact import encode_segment

WINDOW_S: Final = 120.0
"""How long one nonce is the newest. It is good for another window, so that no request is on its way too
long; a proof's own minute (dpop.MAX_AGE_S) is shorter in any case."""
AHEAD_S: Final = 30.0
"""How far the clock of another gate may be ahead that gave the nonce."""
MAC_BYTES: Final = 16

Judgement = Literal["good", "ending", "bad"]
"""`ending`: good, and not the newest any more."""

_KEPT_WINDOWS: Final = 4


class Nonces:
    """The nonces of every gate that has `keys`: the first makes them, those of all are good.

    One nonce is for everybody, as a client may use it with the token endpoint and any route: what it
    proves is a time, and `jti` makes each proof the only one of its kind.
    """

    def __init__(self, keys: Sequence[bytes]) -> None:
        if not keys:
            raise ValueError("at least one key is needed")
        self._keys = tuple(keys)
        self._made: dict[int, tuple[bytes, ...]] = {}

    def __repr__(self) -> str:
        return f"Nonces({len(self._keys)} keys)"

    def newest(self, now: float) -> str:
        """Return the nonce to use from `now` on (epoch seconds)."""
        return self._of(_window(now))[0].decode()

    def judge(self, nonce: str | None, now: float) -> Judgement:
        """Return what `nonce` is worth at `now`; takes the same time for each that is none."""
        offered = b"" if nonce is None else nonce.encode("utf-8", "replace")
        here = _window(now)
        newest = compare_digest(offered, self._of(here)[0])
        ahead = compare_digest(offered, self._of(_window(now + AHEAD_S))[0])
        older = [
            compare_digest(offered, one)
            for window in (here - 1, here, _window(now + AHEAD_S))
            for one in self._of(window)
        ]
        if newest or ahead:
            return "good"
        return "ending" if any(older) else "bad"

    def _of(self, window: int) -> tuple[bytes, ...]:
        """Return a window's nonce by each key."""
        made = self._made.get(window)
        if made is None:
            said = b"latchgate nonce of window %d" % window
            macs = (digest(key, said, sha256)[:MAC_BYTES] for key in self._keys)
            made = tuple(encode_segment(mac) for mac in macs)
            if len(self._made) >= _KEPT_WINDOWS:
                self._made.clear()
            self._made[window] = made
        return made


def _window(at: float) -> int:
    return int(at // WINDOW_S)
