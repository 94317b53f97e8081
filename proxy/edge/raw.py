"""Bytes of a tunnel that wait for their reader, and the end of them."""

from __future__ import annotations

import asyncio
from typing import Final

READ_CHUNK: Final = 64 * 1024
"""Bytes that wait above which the socket is paused. aiohttp pauses at twice its `read_bufsize`,
which is this too: 128 KiB are buffered of a body at the most."""


class RawBytes:
    """A queue of bytes with one reader; it ends once and for all."""

    __slots__ = ("_data", "_is_ended", "_loop", "_size", "_waiter")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._data: list[bytes] = []  # an empty deque takes ten times as much, for each connection
        self._size = 0
        self._is_ended = False
        self._waiter: asyncio.Future[None] | None = None

    @property
    def is_full(self) -> bool:
        """True when no more should come before some was read."""
        return self._size >= READ_CHUNK

    def feed(self, data: bytes) -> None:
        """Take bytes that arrived."""
        self._data.append(data)
        self._size += len(data)
        self._wake()

    def end(self) -> None:
        """Say that nothing comes any more."""
        self._is_ended = True
        self._wake()

    def clear(self) -> None:
        """Throw away what waits."""
        self._data.clear()
        self._size = 0

    async def read(self) -> bytes:
        """Return everything that waits, or the next bytes; `b""` at the end."""
        while not self._data:
            if self._is_ended:
                return b""
            self._waiter = self._loop.create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        data = b"".join(self._data)
        self.clear()
        return data

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
