"""An event loop without a network and without waiting: the gate's own connections, in memory.

Its clock moves only when nothing else can happen, so a minute of patience costs nothing, and
whoever waits for what cannot come is found at once (`Stuck`). A connection to an upstream leads to
a `Backend`, which reads what the gate sends by rules of its own and answers each whole request.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
import selectors
from collections.abc import Callable
from typing import Any

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 §1.3

_HEAD = re.compile(
    rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+) ([\x21-\xff]+) HTTP/1\.1\r\n"
    rb"((?:[!#$%&'*+\-.^_`|~0-9A-Za-z]+: [\t\x20-\x7e\x80-\xff]*\r\n)*)\r\n"
)
_SIZE = re.compile(rb"([0-9A-Fa-f]{1,8})\r\n")


TICK_S = 1e-6
"""The clock moves by this at least: a smaller step could be lost in rounding, and time stand still."""


class Stuck(AssertionError):
    """Everybody waits for somebody else: on a real network this would hang."""


class _NoWait(selectors.SelectSelector):
    """Never waits; says how long it should have."""

    def __init__(self) -> None:
        super().__init__()
        self.passed = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None:
            raise Stuck("nothing is left that could happen")
        self.passed += max(TICK_S, timeout)
        return []


class MemoryLoop(asyncio.SelectorEventLoop):
    """The event loop; `connected` has a backend for every connection that the gate has opened."""

    def __init__(self) -> None:
        self._no_wait = _NoWait()
        super().__init__(self._no_wait)
        self.connected: list[Backend] = []
        self.errors: list[dict[str, Any]] = []
        self.set_exception_handler(lambda _loop, context: self.errors.append(context))

    def time(self) -> float:
        """Return seconds of this loop's own clock."""
        return 1000.0 + self._no_wait.passed

    async def sock_connect(self, sock: Any, address: Any) -> None:
        """Connect to nothing: `create_unix_connection` follows."""

    async def create_unix_connection(  # type: ignore[override] # as far as the gate uses it
        self, protocol_factory: Callable[[], asyncio.Protocol], *, sock: Any
    ) -> tuple[asyncio.Transport, asyncio.Protocol]:
        """Return a connection to a backend."""
        sock.close()
        protocol = protocol_factory()
        backend = Backend(self)
        self.connected.append(backend)
        transport = MemoryTransport(self, protocol, backend.receive)
        backend.transport = transport
        transport.ends_with_eof = True
        protocol.connection_made(transport)
        return transport, protocol


class MemoryTransport(asyncio.Transport):
    """One end of a connection: what is written goes to `receive`, in the order of the loop."""

    def __init__(
        self,
        loop: MemoryLoop,
        protocol: asyncio.Protocol,
        receive: Callable[[bytes], None],
        extra: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(extra)
        self._loop = loop
        self._protocol = protocol
        self._receive = receive
        self.is_closed = False
        self.has_eof = False
        self.ends_with_eof = False

    def write(self, data: Any) -> None:
        """Deliver, unless it is over."""
        if not self.is_closed and data:
            self._receive(bytes(data))

    def writelines(self, list_of_data: Any) -> None:
        """Deliver, unless it is over."""
        self.write(b"".join(list_of_data))

    def get_write_buffer_size(self) -> int:
        """Say that everything was sent."""
        return 0

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Take limits that are never reached."""

    def pause_reading(self) -> None:
        """Ignore it: an input is small."""

    def resume_reading(self) -> None:
        """Ignore it."""

    def is_closing(self) -> bool:
        """Tell whether one end has closed it."""
        return self.is_closed

    def can_write_eof(self) -> bool:
        """Say that this is TCP."""
        return True

    def write_eof(self) -> None:
        """Note the half-close; a backend closes then, as servers do."""
        self.has_eof = True
        if self.ends_with_eof:
            self._loop.call_soon(self._end)

    def _end(self) -> None:
        if not self.is_closed:
            self._protocol.eof_received()
            self.close()

    def close(self) -> None:
        """End it, for both ends."""
        if not self.is_closed:
            self.is_closed = True
            self._loop.call_soon(self._protocol.connection_lost, None)

    def abort(self) -> None:
        """End it, for both ends."""
        self.close()


class Backend:
    """Reads requests strictly, as no proxy did before it, and answers each that is whole."""

    def __init__(self, loop: MemoryLoop) -> None:
        self._loop = loop
        self._unread = b""
        self._is_tunnel = False
        self._at = 0
        self.transport: MemoryTransport | None = None
        self.requests: list[tuple[bytes, bytes, list[tuple[bytes, bytes]]]] = []
        """Method, target and headers of each request that has begun."""

    def receive(self, data: bytes) -> None:
        """Take bytes of the gate's."""
        self._unread += data
        if not self._is_tunnel:
            self._read()

    @property
    def has_rest(self) -> bool:
        """True where the gate has sent part of a request, or its body is not over."""
        return bool(self._unread) and not self._is_tunnel

    def _read(self) -> None:
        while self._unread:
            if not self._at:
                head = _HEAD.match(self._unread)
                assert head is not None, f"the gate sent what is no request: {self._unread[:200]!r}"
                fields = [line.partition(b": ")[::2] for line in head[3].split(b"\r\n") if line]
                self.requests.append((head[1], head[2], fields))
                self._at = head.end()
            end = self._end_of_body()
            if end is None:
                return
            self._unread = self._unread[end:]
            self._at = 0
            self._answer()

    def _values(self, name: bytes) -> list[bytes]:
        return [value for key, value in self.requests[-1][2] if key.lower() == name]

    def _end_of_body(self) -> int | None:
        lengths, codings = self._values(b"content-length"), self._values(b"transfer-encoding")
        assert len(lengths) + len(codings) <= 1, "the gate sent two framings"
        at = self._at
        if lengths:
            assert lengths[0].isdigit()
            end = at + int(lengths[0])
            return end if len(self._unread) >= end else None
        if not codings:
            return at
        assert codings == [b"chunked"]
        while True:
            line = _SIZE.match(self._unread, at)
            if line is None:
                rest = self._unread[at:]
                assert len(rest) < 12, f"no size line: {rest[:40]!r}"
                assert b"\n" not in rest, f"no size line: {rest[:40]!r}"
                return None
            at = line.end() + int(line[1], 16) + 2
            if len(self._unread) < at:
                return None
            assert self._unread[at - 2 : at] == b"\r\n"
            if int(line[1], 16) == 0:
                return at

    def _answer(self) -> None:
        method, target, _ = self.requests[-1]
        upgrades = self._values(b"upgrade")
        keys = self._values(b"sec-websocket-key")
        if upgrades == [b"websocket"] and len(keys) == 1:
            accept = base64.b64encode(hashlib.sha1(keys[0] + GUID).digest())  # noqa: S324 - RFC 6455
            self._is_tunnel = True
            self._say(
                b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\nhello"
            )
        elif b"chunked" in target and method != b"HEAD":
            self._say(
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-T: 1\r\n\r\n"
            )
        else:
            body = b"" if method == b"HEAD" else b"ok"
            self._say(b"HTTP/1.1 200 OK\r\nX-Auth-Subject: eve\r\nContent-Length: 2\r\n\r\n" + body)

    def _say(self, data: bytes) -> None:
        self._loop.call_soon(self._deliver, data)

    def _deliver(self, data: bytes) -> None:
        transport = self.transport
        if transport is not None and not transport.is_closed:
            transport._protocol.data_received(data)
