"""A server that plays a list of steps: an upstream is what it sends, byte for byte.

A script is a list; each connection plays the next one. `bytes` are sent as they are; after the
last step the connection stays open until the client closes it.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from proxy.config.addresses import UpstreamServer


@dataclass(frozen=True)
class Until:
    """Wait until the client has sent these bytes, counted from what was waited for before."""

    data: bytes


@dataclass(frozen=True)
class Take:
    """Wait until the client has sent so many bytes more."""

    count: int


@dataclass(frozen=True)
class Wait:
    """Wait for an event of the test."""

    event: asyncio.Event


@dataclass(frozen=True)
class Say:
    """Set an event of the test."""

    event: asyncio.Event


class Close:
    """Close in good order."""


class HalfClose:
    """Send no more, but go on reading."""


class Reset:
    """Close with a TCP reset."""


class Cut:
    """End the TCP connection below TLS: no close_notify."""


Step = bytes | Until | Take | Wait | Say | Close | HalfClose | Reset | Cut
REQUEST = Until(b"\r\n\r\n")


@dataclass
class Seen:
    """One accepted connection."""

    received: bytearray = field(default_factory=bytearray)
    over: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the client has closed."""
    _read: int = 0

    async def take(self, reader: asyncio.StreamReader, step: Until | Take) -> bool:
        """Read what a step waits for; False when the client closed before."""
        searched = self._read
        while True:
            if isinstance(step, Take):
                end = self._read + step.count
                is_there = len(self.received) >= end
            else:
                found = self.received.find(step.data, searched)
                end = found + len(step.data)
                searched = max(self._read, len(self.received) - len(step.data))
                is_there = found >= 0
            if is_there:
                self._read = end
                return True
            data = await reader.read(65536)
            if not data:
                return False
            self.received += data


class ByteServer:
    """The server; made by the fixture `serve`."""

    def __init__(self, scripts: Sequence[Sequence[Step]]) -> None:
        self.scripts = list(scripts)
        self.seen: list[Seen] = []
        self.address = UpstreamServer("http", "127.0.0.1", 0)
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self, *, path: Path | None = None, tls: ssl.SSLContext | None = None) -> None:
        """Listen on a unix socket, or on a free port of 127.0.0.1."""
        if path is not None:
            self._server = await asyncio.start_unix_server(self._accept, path)
            self.address = UpstreamServer("unix", "", 0, path)
            return
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, ssl=tls)
        port = self._server.sockets[0].getsockname()[1]
        self.address = UpstreamServer("https" if tls else "http", "127.0.0.1", port)

    async def stop(self) -> None:
        """Close the listener and every connection."""
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        seen = Seen()
        number = len(self.seen)
        self.seen.append(seen)
        try:
            if number < len(self.scripts):
                await self._play(self.scripts[number], seen, reader, writer)
        except OSError:
            pass  # the client is gone
        finally:
            seen.over.set()
            writer.transport.abort()

    async def _play(
        self,
        script: Sequence[Step],
        seen: Seen,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        for step in script:
            if isinstance(step, bytes):
                writer.write(step)
                await writer.drain()
            elif isinstance(step, Until | Take):
                if not await seen.take(reader, step):
                    return
            elif isinstance(step, Wait):
                await step.event.wait()
            elif isinstance(step, Say):
                step.event.set()
            elif isinstance(step, HalfClose):
                writer.write_eof()
            elif isinstance(step, Close):
                writer.close()
                await writer.wait_closed()
                return
            else:
                _break(writer, is_reset=isinstance(step, Reset))
                return
        while data := await reader.read(65536):
            seen.received += data


def _break(writer: asyncio.StreamWriter, *, is_reset: bool) -> None:
    if is_reset:
        sock = writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
