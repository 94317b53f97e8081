"""A small listener beside the gate's own: one request and one answer for each connection.

It bounds how many connections there are and how long each may say nothing. What never belongs here:
what a request means.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Sequence

Heard = Callable[[], None]
"""To be called when a whole request has come: its connection is no longer one that only stays."""


class OneShotListener:
    """Answers on listening sockets by `exchange`, which a subclass has.

    `limit`: bytes of a line or head that are buffered; `most`: connections at once; `patience_s`: how
    long a client may take for its answer.
    """

    def __init__(self, *, limit: int, most: int, patience_s: float) -> None:
        self._limit = limit
        self.most = most
        self._patience_s = patience_s
        self._servers: list[asyncio.Server] = []
        self._connections: set[asyncio.StreamWriter] = set()
        self._silent: dict[asyncio.StreamWriter, None] = {}
        """Those that have sent no whole request yet, the oldest first."""

    async def exchange(
        self, reader: asyncio.StreamReader, client: str, heard: Heard
    ) -> bytes | None:
        """Read one request and return its answer; `None` for none.

        `client` is an address, or `unix`. Raises `TimeoutError` and `OSError` for who is slow or gone.
        """
        raise NotImplementedError

    async def start(self, sockets: Sequence[socket.socket]) -> None:
        """Answer on `sockets`, TCP or unix, which the caller has bound."""
        for sock in sockets:
            start = (
                asyncio.start_unix_server if sock.family == socket.AF_UNIX else asyncio.start_server
            )
            self._servers.append(await start(self._serve, sock=sock, limit=self._limit))

    async def close(self) -> None:
        """Answer no more."""
        for server in self._servers:
            server.close()
        for writer in list(self._connections):
            writer.transport.abort()
        self._servers.clear()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._connections) >= self.most and not self._make_room():
            writer.transport.abort()
            return
        self._connections.add(writer)
        self._silent[writer] = None
        try:
            data = await self.exchange(
                reader, _client_of(writer), lambda: self._silent.pop(writer, None)
            )
            if data is not None:
                async with asyncio.timeout(self._patience_s):
                    writer.write(data)
                    await writer.drain()
        except (TimeoutError, OSError):
            pass  # a client that is slow or gone is not worth a line
        finally:
            self._silent.pop(writer, None)
            self._connections.discard(writer)
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    def _make_room(self) -> bool:
        """Drop who has said nothing for the longest: whoever only stays must not silence the rest."""
        if not self._silent:
            return False
        oldest = next(iter(self._silent))
        del self._silent[oldest]
        self._connections.discard(oldest)
        oldest.transport.abort()
        return True


def _client_of(writer: asyncio.StreamWriter) -> str:
    """Return who is at the other end: an address, or `unix`."""
    peer = writer.get_extra_info("peername")
    return str(peer[0]) if isinstance(peer, tuple) and peer else "unix"
