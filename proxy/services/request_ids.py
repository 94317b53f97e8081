"""Ids of requests: 128 random bits each, asked of the kernel many at a time."""

from __future__ import annotations

import os
from typing import Final

AT_A_TIME: Final = 512


class RequestIds:
    """Ids of 128 random bits, as 32 hexadecimal digits."""

    __slots__ = ("_left", "take")

    def __init__(self) -> None:
        self._left: list[bytes] = []
        self.take = self._left.pop
        """Return one that nobody had; raises IndexError where `refill` has to be called first."""

    def __call__(self) -> bytes:
        """Return one that nobody had."""
        if not self._left:
            self.refill()
        return self.take()

    def refill(self) -> None:
        """Make the next ones."""
        text = os.urandom(16 * AT_A_TIME).hex().encode("ascii")
        self._left.extend(text[at : at + 32] for at in range(0, len(text), 32))


request_ids: Final = RequestIds()
"""Of this process: one that is forked would have to begin anew, and none of the gate's is."""
