"""The control channel between supervisor and worker: JSON lines over a socketpair.

Either side sends and receives. The end of the stream means that the other process is gone. Both
ends are the gate's own processes, but size and time are bounded all the same: a worker that does
not read must not hold up the supervisor, and a line without an end must not fill its memory.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from typing import Any, Final

from proxy.errors import ProxyError

Message = dict[str, Any]
"""A JSON object whose `kind` says what it is: see proxy.run.messages."""

MAX_MESSAGE_BYTES: Final = 16 * 1024 * 1024
"""A boot message holds the configuration and every key document, each at most 1 MiB (K3)."""

SEND_TIMEOUT_S: Final = 10.0


class ChannelError(ProxyError):
    """The other side does not speak the channel's language, does not read, or is gone."""


class Channel:
    """One end of a control channel."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._sending = asyncio.Lock()

    @classmethod
    async def open(cls, sock: socket.socket) -> Channel:
        """Take over one end of a socketpair."""
        sock.settimeout(0)  # non-blocking
        reader, writer = await asyncio.open_unix_connection(sock=sock, limit=MAX_MESSAGE_BYTES)
        return cls(reader, writer)

    async def send(self, message: Message) -> None:
        """Send one message.

        Raises `ChannelError`. If the message did not go out in time, the channel is closed then.
        """
        line = json.dumps(message, separators=(",", ":")).encode() + b"\n"
        if len(line) > MAX_MESSAGE_BYTES:
            raise ChannelError(f"a message of {len(line)} bytes is too large")
        try:
            async with self._sending, asyncio.timeout(SEND_TIMEOUT_S):
                self._writer.write(line)
                await self._writer.drain()
        except (OSError, TimeoutError, RuntimeError) as error:
            # Half a message may be on its way: nothing sensible can follow it.
            self._writer.transport.abort()
            raise ChannelError(f"cannot send: {type(error).__name__}") from None

    async def receive(self) -> Message | None:
        """Return the next message, or `None` when the other side is gone.

        Raises `ChannelError` on what is no message.
        """
        try:
            line = await self._reader.readuntil(b"\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            return None  # a line cut short is of a process that died while it wrote
        except asyncio.LimitOverrunError:
            raise ChannelError(f"a message of more than {MAX_MESSAGE_BYTES} bytes") from None
        try:
            message = json.loads(line)
        except (ValueError, RecursionError):
            raise ChannelError("a line that is not JSON") from None
        if not isinstance(message, dict) or not isinstance(message.get("kind"), str):
            raise ChannelError("a message without a kind")
        return message

    async def close(self) -> None:
        """Close this end; the other side's `receive` returns `None`."""
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()
