"""One connection to a server: writes requests, pushes what comes back to a receiver.

A connection is idle, or belongs to exactly one receiver from `begin` to `free` or `abort`. Only
`free` can make it idle again, and only if request and response both ended exactly (F2).
"""

from __future__ import annotations

import asyncio
import os
import ssl
from enum import Enum
from math import inf
from typing import Final, cast

from proxy.adapters.upstreams.body import Body, body_of
from proxy.adapters.upstreams.port import Owner, Receiver
from proxy.adapters.upstreams.response import ReadHead, ResponseHead, check_beginning, read_head
from proxy.errors import UpstreamError, UpstreamInvalid, UpstreamTimeout, UpstreamUnreachable

WRITE_HIGH: Final = 64 * 1024
"""Unsent bytes above which `drain` waits."""
TLS_READ_HIGH: Final = 64 * 1024
"""Bytes of ciphertext that asyncio's TLS keeps while reading is paused."""
MAX_INFORMATIONAL: Final = 32
"""1xx responses before one final response."""
SALVAGE: Final = 64 * 1024
"""Bytes of one read from a connection that was lost while writing."""
CLOSE_S: Final = 5.0
"""Seconds that a closing connection gets for its last bytes (TLS: close_notify)."""


class Phase(Enum):
    """What the next byte from the server would be."""

    IDLE = "idle"
    HEAD = "head"
    BODY = "body"
    ENDED = "ended"
    TUNNEL = "tunnel"
    CLOSED = "closed"


_IDLE: Final = Phase.IDLE


class Connection(asyncio.Protocol):
    """A client connection; see the module."""

    __slots__ = (
        "_asks_upgrade", "_body", "_early", "_has_eof", "_held", "_idle_s", "_informationals",
        "_is_head", "_is_in_use", "_is_request_sent", "_is_tls", "_is_write_paused",
        "_keepalive_s", "_loop", "_owner", "_persistent", "_receiver", "_transport", "_unsent",
        "_writers", "deadline", "has_response_bytes", "is_reading_paused", "phase",
    )  # fmt: skip

    def __init__(self, owner: Owner, loop: asyncio.AbstractEventLoop) -> None:
        self._owner = owner
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self._receiver: Receiver | None = None
        self._body: Body | None = None
        self._held = bytearray()
        self._writers: list[asyncio.Future[None]] = []
        self._is_tls = False
        self._is_write_paused = False
        self._is_in_use = False
        self._has_eof = False
        self._keepalive_s = owner.settings.keepalive_s
        self.phase = Phase.IDLE
        self.deadline = inf
        """When `expire` is due, on the loop's clock."""
        self._reset("GET", None)

    def _reset(self, method: str, upgrade: bytes | None) -> None:
        self._is_head = method == "HEAD"
        self._asks_upgrade = upgrade.lower() if upgrade is not None else None
        self._is_request_sent = False
        self._early = False
        self._persistent = False
        self._informationals = 0
        self._idle_s: float = self._owner.settings.idle_s
        self._unsent = 0
        self.has_response_bytes = False
        self.is_reading_paused = False

    def __repr__(self) -> str:
        return f"<Connection {self.phase.value} to {self._owner.settings.name}>"

    # For the pool

    def is_usable(self, now: float) -> bool:
        """Tell whether an idle connection may carry a request."""
        transport = self._transport
        return (
            self.phase is Phase.IDLE
            and now < self.deadline
            and transport is not None
            and not transport.is_closing()
        )

    # hot: every request of the express lane
    def is_fit(self, now: float) -> bool:
        """Tell what `is_usable` does, for a request that may be repeated: a closing one fails soon."""
        return self.phase is _IDLE and now < self.deadline and not self._has_eof

    def socket_fileno(self) -> int:
        """Return the socket's number, -1 when it is gone."""
        sock = self._transport.get_extra_info("socket") if self._transport is not None else None
        return -1 if sock is None else cast("int", sock.fileno())

    def peer_host(self) -> str | None:
        """Return the server's address; `None` for a unix socket, or where the connection is gone."""
        transport = self._transport
        name = transport.get_extra_info("peername") if transport is not None else None
        return name[0] if isinstance(name, tuple) else None

    def expire(self, now: float) -> None:
        """Act on a deadline that has passed."""
        if self.phase is Phase.IDLE:
            self.close()
        elif self.phase is Phase.CLOSED or self._receiver is None:
            self.abort()
        elif self._is_write_paused and self._has_written():
            self.deadline = now + self._owner.settings.idle_s
        elif self._is_write_paused and not self._is_request_sent:
            self.fail(UpstreamTimeout("the server does not read the request"))
        elif self.phase is Phase.HEAD:
            self.fail(UpstreamTimeout("the server did not answer in time"))
        else:
            self.fail(UpstreamTimeout("the server stopped in the middle of its response"))

    def _has_written(self) -> bool:
        before, self._unsent = self._unsent, self._unsent_now()
        return self._unsent < before

    def _unsent_now(self) -> int:
        return self._transport.get_write_buffer_size() if self._transport is not None else 0

    # For one receiver

    def begin(
        self,
        block: bytes,
        receiver: Receiver,
        *,
        method: str,
        upgrade: bytes | None = None,
        has_body: bool = False,
        expects_continue: bool = False,
    ) -> None:
        """Write a request's head and give what comes back to `receiver`."""
        if self.phase is not Phase.IDLE or self._transport is None:
            raise RuntimeError("a request on a connection that is not idle")
        self._reset(method, upgrade)
        self._receiver = receiver
        self.phase = Phase.HEAD
        self._is_in_use = True
        self._owner.on_begun()
        self._is_request_sent = not has_body
        waits = self._is_request_sent or expects_continue
        self.deadline = self._loop.time() + self._owner.settings.response_s if waits else inf
        self._transport.write(block)

    def write(self, *parts: bytes) -> None:
        """Write a piece of the request's body (or of the tunnel); nothing on a lost connection."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        if len(parts) == 1:
            transport.write(parts[0])
        else:
            transport.writelines(parts)
        if self.phase is Phase.TUNNEL:
            self._rearm()

    async def drain(self) -> None:
        """Wait until the server has taken enough of what was written; returns at once when lost."""
        while self._is_write_paused and self.phase is not Phase.CLOSED:
            waiter = self._loop.create_future()
            self._writers.append(waiter)
            try:
                await waiter
            finally:
                self._writers.remove(waiter)

    def end_request(self) -> None:
        """Say that the request is written completely: from now on the server is waited for."""
        self._is_request_sent = True
        if self.phase is Phase.HEAD:
            self.deadline = self._loop.time() + self._owner.settings.response_s

    def pause_reading(self) -> None:
        """Stop the flow of `on_body`; the server is not to blame for silence meanwhile."""
        if not self.is_reading_paused and self._transport is not None:
            self.is_reading_paused = True
            self._transport.pause_reading()
            self._rearm()

    def resume_reading(self) -> None:
        """Let `on_body` flow again."""
        if self.is_reading_paused:
            self.is_reading_paused = False
            if self._transport is not None and not self._transport.is_closing():
                self._transport.resume_reading()
            self._rearm()

    def write_eof(self) -> bool:
        """Close the sending direction; False where the transport cannot (TLS)."""
        transport = self._transport
        if transport is None or transport.is_closing() or not transport.can_write_eof():
            return False
        transport.write_eof()
        return True

    def free(self) -> None:
        """End the use: back to the pool if everything ended exactly, else closed (F2)."""
        if self.phase is not Phase.ENDED:
            self.abort()
            return
        is_reusable = (
            self._persistent
            and self._is_request_sent
            and not self._early
            and not self._has_eof
            and self._keepalive_s > 0
            and self._transport is not None
            and not self._transport.is_closing()
        )
        if not is_reusable:
            if self._is_request_sent:
                self.close()
            else:
                self.abort()  # the rest of a body that the server has not waited for
            return
        self._receiver = None
        self._body = None
        self.phase = Phase.IDLE
        self.resume_reading()
        self.deadline = self._loop.time() + self._keepalive_s
        self._is_in_use = False
        self._owner.on_freed(self, is_reusable=True)

    def close(self) -> None:
        """Close after what is written has gone out, within CLOSE_S."""
        self._leave()
        if self._transport is not None:
            self.deadline = self._loop.time() + CLOSE_S
            self._transport.close()

    def abort(self) -> None:
        """Close at once."""
        self._leave()
        if self._transport is not None:
            self._transport.abort()

    def _leave(self) -> None:
        self.phase = Phase.CLOSED
        self._receiver = None
        self._body = None
        self._held.clear()
        self._wake_writers()
        if self._is_in_use:
            self._is_in_use = False
            self._owner.on_freed(self, is_reusable=False)

    # For the event loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport (asyncio's call)."""
        self._transport = cast("asyncio.Transport", transport)
        self._is_tls = transport.get_extra_info("ssl_object") is not None
        self._transport.set_write_buffer_limits(high=WRITE_HIGH)
        limit = getattr(transport, "set_read_buffer_limits", None)
        if limit is not None:
            limit(high=TLS_READ_HIGH)

    def data_received(self, data: bytes) -> None:
        """Read what came (asyncio's call)."""
        self.has_response_bytes = True
        try:
            if self.phase is Phase.BODY:
                self._rearm()
                self._read_body(data)
            elif self.phase is Phase.HEAD:
                self._read_heads(data)
            elif self.phase is Phase.TUNNEL:
                self._rearm()
                self._deliver(data)
            elif self.phase is Phase.ENDED:
                self._early = True  # bytes behind the end: never used again
            elif self.phase is Phase.IDLE:
                self.abort()  # nobody asked
        except UpstreamInvalid as error:
            self.fail(error)

    def eof_received(self) -> bool:
        """Read the end of what the server sends (asyncio's call); True keeps a tunnel half open."""
        self._has_eof = True
        if self._is_tls and not self._has_close_notify():
            self.fail(self._cut_short())
            return False
        if self.phase is Phase.TUNNEL:
            receiver = self._receiver
            if receiver is not None:
                receiver.on_end([])
            return self._is_half_closable()
        if self.phase is Phase.BODY and self._body is not None and self._body.is_ended_by_close:
            self._end(self._body)
        elif self.phase in {Phase.HEAD, Phase.BODY}:
            self.fail(self._cut_short())
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Read the loss of the connection (asyncio's call)."""
        if isinstance(exc, OSError):
            self._salvage()
        is_clean_tunnel = self.phase is Phase.TUNNEL and self._has_eof and exc is None
        self._has_eof = True
        if self.phase is Phase.ENDED or is_clean_tunnel:
            self._leave()
        elif self.phase is not Phase.CLOSED:
            self.fail(self._cut_short())
        self._transport = None
        self._wake_writers()
        self._owner.on_lost(self)

    def pause_writing(self) -> None:
        """Note that the server takes bytes slower than they come (asyncio's call)."""
        self._is_write_paused = True
        self._unsent = self._unsent_now()
        self._rearm()

    def resume_writing(self) -> None:
        """Note that there is room again (asyncio's call)."""
        self._is_write_paused = False
        self._wake_writers()
        self._rearm()

    # Inside

    def _wake_writers(self) -> None:
        for waiter in self._writers:
            if not waiter.done():
                waiter.set_result(None)

    def _salvage(self) -> None:
        """Read what the kernel still has: an early answer came before the write that failed.

        asyncio drops a connection at the first failed write, unread bytes and all; but a server
        that refuses a body answers and closes, and that answer is what the client should see.
        Only messages that say where they end can profit: there is no clean end of the connection.
        """
        if self._is_tls or self.phase not in {Phase.HEAD, Phase.BODY}:
            return
        number = self.socket_fileno()
        try:
            while number >= 0 and self.phase in {Phase.HEAD, Phase.BODY}:
                data = os.read(number, SALVAGE)
                if not data:
                    return
                self.data_received(data)
        except OSError:
            return  # nothing is left

    def _has_close_notify(self) -> bool:
        """Tell whether the server itself ended a TLS connection; asyncio tells any end alike.

        Whoever sits on the wire can end TCP, and would so end a body that ends by close (F6).
        """
        tls = self._transport.get_extra_info("ssl_object") if self._transport is not None else None
        try:
            return tls is not None and tls.read(1) == b""
        except (ssl.SSLError, ValueError):
            return False  # nothing there, and no end either

    def _is_half_closable(self) -> bool:
        transport = self._transport
        return transport is not None and transport.can_write_eof()

    def _rearm(self) -> None:
        """Set the deadline anew after progress, or when a side stops or goes on."""
        settings = self._owner.settings
        quiet: float | None = inf
        if self.phase is Phase.TUNNEL:
            quiet = settings.tunnel_s
        elif self.phase is Phase.BODY:
            quiet = inf if self.is_reading_paused else self._idle_s
        elif self.phase is Phase.HEAD and not self._is_request_sent:
            quiet = settings.idle_s if self._is_write_paused else inf
        else:
            return
        self.deadline = inf if quiet is None or quiet == inf else self._loop.time() + quiet

    def _cut_short(self) -> UpstreamError:
        if not self.has_response_bytes:
            return UpstreamUnreachable("the server closed the connection without an answer")
        return UpstreamInvalid("the server closed the connection in the middle of its response")

    def fail(self, error: UpstreamError) -> None:
        """Close at once, and tell the receiver, if there is one, why."""
        receiver = self._receiver
        if receiver is not None and self.phase is Phase.HEAD:
            self._owner.on_failed(self, error)
        self.abort()
        if receiver is not None:
            receiver.on_error(error)

    def _read_heads(self, data: bytes) -> None:
        """Read 1xx heads and the final one, and what stands behind it."""
        rest = data
        if self._held:
            searched = len(self._held)
            self._held += data
            if self._held.find(b"\r\n\r\n", max(0, searched - 3)) < 0:
                check_beginning(self._held, searched)
                return
            rest = bytes(self._held)
            self._held.clear()
        while self.phase is Phase.HEAD:
            end = rest.find(b"\r\n\r\n") + 4
            if end < 4:
                if rest:
                    check_beginning(rest)
                    self._held += rest
                return
            found = self._read_head(rest[:end])
            rest = rest[end:]
            self._on_head(found)
        if self.phase is Phase.BODY:
            self._read_body(rest)  # without a byte too: it may be complete
        elif self.phase is Phase.TUNNEL and rest:
            self._deliver(rest)

    def _read_head(self, raw: bytes) -> ReadHead:
        return read_head(raw)

    def _on_head(self, found: ReadHead) -> None:
        head, receiver = found.head, self._receiver
        if receiver is None:
            return
        if head.status == 101:
            self._on_switch(found, receiver)
            return
        if head.status < 200:
            self._on_informational(head, receiver)
            return
        self._owner.on_version(head.version)
        self._early = self._early or not self._is_request_sent or self._unsent_now() > 0
        self._persistent = found.is_persistent and self._asks_upgrade is None
        self._keepalive_s = self._owner.settings.keepalive_s
        if found.keepalive_s is not None:
            self._keepalive_s = min(self._keepalive_s, found.keepalive_s - 1.0)
        self._idle_s = inf if found.is_event_stream else self._owner.settings.idle_s
        self._body = body_of(found, is_head=self._is_head)
        self._persistent = self._persistent and not self._body.is_ended_by_close
        self.phase = Phase.BODY
        self._rearm()
        receiver.on_head(head)

    def _on_informational(self, head: ResponseHead, receiver: Receiver) -> None:
        self._informationals += 1
        if self._informationals > MAX_INFORMATIONAL:
            raise UpstreamInvalid("too many 1xx responses")
        if not self._is_request_sent and not self._is_write_paused:
            self.deadline = inf  # a body that waited for 100 is the client's turn now
        receiver.on_informational(head.status, head.headers)

    def _on_switch(self, found: ReadHead, receiver: Receiver) -> None:
        is_asked = self._asks_upgrade is not None and found.upgrade == self._asks_upgrade
        if not is_asked or found.head.version < (1, 1):
            raise UpstreamInvalid("a 101 response that was not asked for")
        self._owner.on_version(found.head.version)
        self.phase = Phase.TUNNEL
        self._rearm()
        receiver.on_head(found.head)

    def _read_body(self, data: bytes) -> None:
        body = self._body
        if body is None:
            return
        content = body.feed(data)
        receiver = self._receiver
        if content:
            self._deliver(content)
        if body.is_complete and self._receiver is receiver and receiver is not None:
            self._end(body)

    def _deliver(self, data: bytes) -> None:
        if self._receiver is not None:
            self._receiver.on_body(data)

    def _end(self, body: Body) -> None:
        receiver = self._receiver
        self.phase = Phase.ENDED
        self.deadline = inf
        self._early = self._early or bool(body.extra)
        if receiver is not None:
            receiver.on_end(body.trailers)
