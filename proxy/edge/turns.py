"""Turns: so few requests begin in one turn of the loop that nobody else waits for long.

Where many requests arrive in the same moment each of their tasks would run before the loop looks at a
socket again, and whoever takes the express lane would wait for all of them. What never belongs here:
who goes first.
"""

from __future__ import annotations

import asyncio
import collections
from typing import Final

AT_ONCE: Final = 4
"""Requests that begin in one turn of the loop: they take about a millisecond."""


class Turns:
    """The turns of one loop."""

    def __init__(self) -> None:
        self._left = AT_ONCE
        self._waiting: collections.deque[asyncio.Future[None]] = collections.deque()
        self._is_counting = False

    async def take(self) -> None:
        """Wait until it is one's turn, in the order in which they came."""
        loop = asyncio.get_running_loop()
        if not self._is_counting:
            self._is_counting = True
            loop.call_soon(self._next)
        if self._left:
            self._left -= 1
            return
        turn: asyncio.Future[None] = loop.create_future()
        self._waiting.append(turn)
        await turn

    def _next(self) -> None:
        """Begin another turn of the loop: it has looked at its sockets since the last one."""
        self._left = AT_ONCE
        while self._waiting and self._left:
            turn = self._waiting.popleft()
            if not turn.done():  # else whoever waited has left
                self._left -= 1
                turn.set_result(None)
        self._is_counting = self._left < AT_ONCE
        if self._is_counting:
            asyncio.get_running_loop().call_soon(self._next)
