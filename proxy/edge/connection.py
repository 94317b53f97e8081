"""One client connection: aiohttp's parser and buffers under a request loop of our own.

The only file that leans on aiohttp's internals; proxy.edge.internals refuses to start on others
than those that it knows. Ours because aiohttp has it differently: limits over the whole head
(431), a timer over the head apart from the idle one (408), problem documents that echo nothing
for parse errors, answers to half-closed clients, clients that leave, `Expect` end to end, and
upgrades of any name. What must never be here: who may pass.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any, Final, cast

from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader
from aiohttp.web_protocol import RequestHandler

from proxy.adapters.tasks import spawn
from proxy.core.proxy_protocol import Source
from proxy.edge.cuts import Cuts
from proxy.edge.heads import own_response
from proxy.edge.incoming import (
    LINGER_BYTES,
    LINGER_S,
    BodyBroken,
    BodyTooLarge,
    BodyTooSlow,
    ClientLeft,
    ConnectionLimits,
    HeadError,
    Incoming,
    TooMuchAround,
    awaits_upgrade,
    classify,
    patience,
    peer_of,
    read_head,
)
from proxy.edge.leaving import has_left
from proxy.edge.meter import Meter
from proxy.edge.raw import READ_CHUNK, RawBytes
from proxy.errors import ProxyError
from proxy.model import Header, Peer

WRITE_HIGH_WATER: Final = 128 * 1024
"""Bytes that may wait in the transport before the response waits for the client."""

Serve = Callable[["GateConnection", Incoming], Awaitable[None]]
ServeError = Callable[["GateConnection", HeadError], Awaitable[None]]


class GateConnection(RequestHandler):
    """A `RequestHandler` whose requests are served one after the other by `serve`."""

    __slots__ = (
        "_admit", "_behind", "_current", "_cuts", "_eof", "_error", "_handed", "_held", "_is_deaf",
        "_is_held", "_is_tunnel", "_limits", "_meter", "_payload", "_raw", "_serve",
        "_serve_error", "_source", "_torn", "_watcher", "is_cut_off", "is_draining", "peer",
    )  # fmt: skip

    def __init__(
        self,
        manager: Any,
        *,
        loop: asyncio.AbstractEventLoop,
        limits: ConnectionLimits,
        serve: Serve,
        serve_error: ServeError,
        admit: Callable[[Peer], bool],
        told: Source | None = None,
    ) -> None:
        super().__init__(
            manager,
            loop=loop,
            keepalive_timeout=limits.keepalive,
            access_log=None,  # type: ignore[arg-type] # documented as optional, typed as not
            max_line_size=limits.header_size,
            max_field_size=limits.header_size,
            max_headers=limits.header_size // 4,
            read_bufsize=READ_CHUNK,
            auto_decompress=False,
        )
        self._limits = limits
        self._serve = serve
        self._serve_error = serve_error
        self._admit = admit
        self._source = told
        self._payload: StreamReader = EMPTY_PAYLOAD
        self._meter = Meter(loop, limits, self._refuse_head)
        self._cuts = Cuts()
        self._behind = b""
        self._is_deaf = self._eof = False
        self._error: HeadError | None = None
        self._current: Incoming | None = None
        self._handed: Incoming | None = None
        self._watcher: asyncio.Task[None] | None = None
        self.is_draining = False
        """True when the connection must close after the response in progress."""
        self.is_cut_off = False
        """True when the gate itself has cancelled the request in progress."""
        self._is_held = self._is_tunnel = False
        self._held: list[bytes] = []
        self._raw = RawBytes(loop)
        self._torn: Any = None
        self.peer = Peer(None, None, is_unix=True, is_tls=False)

    # Connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the kernel's and TLS's word on who is there."""
        self.peer = peer_of(transport, self._source)
        cast("asyncio.Transport", transport).set_write_buffer_limits(high=WRITE_HIGH_WATER)
        super().connection_made(transport)
        if not self._admit(self.peer):
            self.abort()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Let aiohttp cancel the request loop, and so the upstream request."""
        self._meter.reset()
        self._break_body(ClientLeft("the connection was lost"))
        self._raw.end()
        if self._watcher is not None:
            self._watcher.cancel()
        super().connection_lost(exc)

    def eof_received(self) -> bool | None:  # type: ignore[override] # aiohttp narrows asyncio's type
        """Keep a half-closed client's response, on TCP (asyncio's TLS has no half-close)."""
        self._eof = True
        if self._is_tunnel:
            self._raw.end()
            return not self.peer.is_tls
        self._break_body(BodyBroken("the body ended early"))
        is_idle = self._waiter is not None and not self._waiter.done()
        if is_idle or self._task_handler is None or self.peer.is_tls:
            return False
        self._watcher = spawn(self._watch_for_leaving(), name="client-left?")
        return True

    def adopt(self, limits: ConnectionLimits, lane: Any) -> None:
        """Serve what comes from now on under another configuration (see `GateServer.adopt`)."""
        del lane
        self._limits = limits
        self._meter.adopt(limits)

    def begin_drain(self, *, is_over: bool = False) -> None:
        """Close when idle; else after the response in progress, and if it `is_over` behind no other one."""
        self.is_draining = True
        if is_over:
            self._messages.clear()
            self._handed = None
            if self._current is not None:
                self._current.keeps_alive = False
        waiter = self._waiter
        if waiter is not None and not waiter.done() and (is_over or not self._meter.is_timing):
            self.force_close()

    def cut_off(self) -> None:
        """End at once: a request in progress is cancelled, and `serve` tells the client why."""
        if self._current is None or self._task_handler is None:
            self.abort()
            return
        self.is_cut_off = True
        self._task_handler.cancel()

    def abort(self) -> None:
        """Break the connection at once, so that nothing looks complete that is not (F6)."""
        if self.transport is not None:
            self.transport.abort()

    # Reading heads

    def data_received(self, data: bytes) -> None:
        """Take what arrived, piece by piece; `b""` wakes a parser that has paused."""
        if not data and not self._is_tunnel and not self._is_held:
            self._receive(b"")
        data, self._behind = self._behind + data, b""
        self._cuts.begin_packet()
        while data and not self._is_full():
            data = self._receive(data)
        self._behind = data

    def _is_full(self) -> bool:
        if self._is_tunnel or self._is_held:
            return False
        return self._reading_paused or len(self._messages) >= self._max_msg_queue_size

    def _receive(self, data: bytes) -> bytes:
        """Feed the parser, count and time the head (F1); return what stands behind a head's end."""
        if self._is_tunnel:
            self._raw.feed(data)
            self._pause_if(self._raw.is_full)
            return b""
        if self._is_held:
            self._held.append(data)
            self._pause_if(sum(map(len, self._held)) >= READ_CHUNK)
            return b""
        if self._force_close or self._close or self._error is not None or self._is_deaf:
            return b""
        payload = self._payload
        in_head = payload.is_eof() or payload.exception() is not None
        seen = payload.total_bytes
        data, rest = self._cuts.cut(data, in_head=in_head, seen=seen)
        try:
            messages, upgraded, tail = self._parser.feed_data(data)  # type: ignore[union-attr] # set while connected
        except HttpProcessingError as error:
            self._refuse_head(classify(error))
            return b""
        self._parser.message_consumed()  # type: ignore[union-attr] # the queue is bounded here
        if not in_head and payload.is_eof() and (messages or not self._cuts.is_clean):
            self._close_behind_body()
            return b""
        if messages:
            self._accept(messages, upgraded=upgraded, tail=tail, in_head=in_head)
        elif upgraded:
            self._hold(tail, is_upgraded=True)
        elif in_head:
            self._meter.count_head(len(data))
        else:
            self._meter.count_body(len(data), content=payload.total_bytes - seen)
        return rest

    def _close_behind_body(self) -> None:
        """Believe no request behind trailers: the parser puts the last of them into its head (F5)."""
        self._is_deaf = True
        self.is_draining = True
        self._meter.reset()

    def _hold(self, tail: bytes, *, is_upgraded: bool) -> None:
        """Parse nothing behind an upgrade before it is made or refused (F4)."""
        self._upgraded, self._is_held = is_upgraded, True
        if tail:
            self._held.append(tail)

    def _accept(self, messages: Any, *, upgraded: bool, tail: bytes, in_head: bool) -> None:
        self._meter.reset()
        self._request_count += len(messages)
        message, self._payload = messages[-1]
        if message.upgrade and not upgraded and not (in_head and self._payload.is_eof()):
            self._torn = message  # the parser drops what follows: no request behind it is believed
        self._cuts.begin_body(message)
        if upgraded or awaits_upgrade(message, self._payload):
            self._hold(tail, is_upgraded=upgraded)
        self._queue(messages)

    def _queue(self, messages: Any) -> None:
        """Let the request loop have what was parsed."""
        self._messages.extend(messages)
        if not self._buffer_paused and len(self._messages) >= self._max_msg_queue_size:
            self._pause_reading_for_buffer()
        self._wake()

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def _refuse_head(self, error: HeadError) -> None:
        """Answer once the requests before it are answered, then close (F1)."""
        self._meter.reset()
        self._error = error  # nothing is parsed any more
        broken = TooMuchAround if error.code == "headers_too_large" else BodyBroken
        if self._break_body(broken(error.detail)) and (self._messages or self._waiter is None):
            # The request that this body belongs to is being served: its own answer says it.
            self.is_draining = True
            return
        self._wake()

    def _break_body(self, error: ProxyError) -> bool:
        """Let whoever reads the body that is under way know; False where none is."""
        if self._payload.is_eof() or self._payload.exception() is not None:
            return False
        self._payload.set_exception(error)
        return True

    def _process_keepalive(self) -> None:
        """Close an idle connection; a head that has begun has a timer of its own."""
        if self._meter.is_timing:
            self._keepalive_handle = None
            return
        super()._process_keepalive()

    # The request loop

    async def start(self) -> None:
        """Serve the requests of the connection in order, until one of them closes it."""
        try:
            while (incoming := await self._next()) is not None:
                self._current = incoming
                await self._serve(self, incoming)
                if not self._is_reusable(incoming):
                    return
            if self._error is not None and self.transport is not None:
                await self._serve_error(self, self._error)
        except ClientLeft:
            pass
        finally:
            self._current = None
            await self._finish()

    async def _next(self) -> Incoming | None:
        """Return the next request; `None` when there is none to serve."""
        while self._handed is None and not self._messages:
            is_drained = self.is_draining and not self._meter.is_timing
            if self._error is not None or self._force_close or self._eof or is_drained:
                return None
            self._rearm_keepalive()
            self._waiter = self._loop.create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        if self._handed is not None:
            handed, self._handed = self._handed, None
            return handed
        message, payload = self._messages.popleft()
        if self._buffer_paused and len(self._messages) <= self._msg_queue_resume_size:
            self._resume_reading_if_drained()
        incoming = read_head(message, payload, self.peer, self._limits, self._loop.time())
        if isinstance(incoming, HeadError):
            self._error = incoming
            self._messages.clear()
            return None
        if message is self._torn:
            incoming.keeps_alive = False
        return incoming

    def _rearm_keepalive(self) -> None:
        if self._request_count == 0:
            return
        self._next_keepalive_close_time = self._loop.time() + self._limits.keepalive
        if self._keepalive_handle is None:
            self._keepalive_handle = self._loop.call_at(
                self._next_keepalive_close_time, self._process_keepalive
            )

    def _is_reusable(self, incoming: Incoming) -> bool:
        """Tell whether another request may follow on this connection."""
        if not incoming.keeps_alive or self._is_tunnel or self.transport is None:
            return False
        if not incoming.payload.is_eof():
            return False
        if self._is_held:
            self._release_held()
        return not self.is_draining or bool(self._messages)

    async def _finish(self) -> None:
        """Close; what the client still sends is read for a moment, so that it sees the answer."""
        transport = self.transport
        if transport is None or transport.is_closing():
            return
        if (
            not self._eof
            and not self._is_tunnel
            and not self.is_cut_off
            and (self._error or self._is_deaf or not self._payload.is_eof())
        ):
            with contextlib.suppress(OSError, TimeoutError, NotImplementedError):
                await self._linger(transport)
        self._task_handler = None
        if self.transport is not None:
            transport.close()
            self._loop.call_later(self._limits.write_timeout, transport.abort)

    async def _linger(self, transport: asyncio.Transport) -> None:
        await self.drain()
        if transport.can_write_eof():
            transport.write_eof()
        self._is_tunnel = True  # raw bytes from here on: nothing is parsed any more
        self._raw.clear()
        transport.resume_reading()
        taken = 0
        async with asyncio.timeout(LINGER_S):
            while taken < LINGER_BYTES and (data := await self.read_raw()):
                taken += len(data)

    # Reading bodies

    async def read_body(self, incoming: Incoming) -> bytes:
        """Return the next bytes of the request body; `b""` is its end.

        Raises BodyBroken, BodyTooLarge, BodyTooSlow, ClientLeft.
        """
        began = self._loop.time()
        try:
            async with asyncio.timeout(patience(incoming, self._limits.body_rate)):
                data = await incoming.payload.readany()
        except TimeoutError:
            raise BodyTooSlow("the body came below body_rate") from None
        except ProxyError:
            raise
        except Exception as error:  # noqa: BLE001 - aiohttp raises several of its own kinds here
            raise BodyBroken(type(error).__name__) from None
        incoming.waited_s += self._loop.time() - began
        incoming.bytes_in += len(data)
        limit = self._limits.body_size if incoming.body_size is None else incoming.body_size
        if limit is not None and incoming.bytes_in > limit:
            raise BodyTooLarge("the body exceeds body_size")
        return data

    # Writing

    def write(self, data: bytes) -> None:
        """Write bytes of a response. Raises ClientLeft."""
        transport = self.transport
        if transport is None or transport.is_closing():
            raise ClientLeft("the connection is closed")
        transport.write(data)

    async def drain(self) -> None:
        """Wait until the client has taken enough; ClientLeft when it takes nothing for too long."""
        while self._paused and self.transport is not None:
            waiting = self.transport.get_write_buffer_size()
            try:
                async with asyncio.timeout(self._limits.write_timeout):
                    await self._drain_helper()
            except TimeoutError:
                if self.transport is not None:
                    if self.transport.get_write_buffer_size() < waiting:
                        continue
                    self.transport.abort()
                raise ClientLeft("the client reads too slowly") from None
            except ConnectionError:
                raise ClientLeft("the connection was lost") from None

    def answer(
        self, incoming: Incoming | None, status: int, headers: list[Header], body: bytes
    ) -> None:
        """Write a whole response of the gate's own; without a request the connection closes."""
        method, version, keeps_alive = "GET", (1, 1), False
        if incoming is not None:
            method, version = incoming.view.method, incoming.view.version
            if not incoming.payload.is_eof() or self.is_draining:
                incoming.keeps_alive = False
            keeps_alive = incoming.keeps_alive
            incoming.is_answered = True
        data = own_response(
            status, headers, body, method=method, version=version, keeps_alive=keeps_alive
        )
        if incoming is not None:
            incoming.bytes_out += len(data)
        self.write(data)

    # Upgrades and tunnels

    def _release_held(self) -> None:
        """Give back to the parser what came behind an upgrade that was not made (F4)."""
        self._is_held = False
        held, self._held = b"".join(self._held), []
        if self._parser is not None and self._upgraded:
            self._parser.set_upgraded(False)
        self._upgraded = False
        if self.transport is not None:
            self.transport.resume_reading()
        if held:
            self.data_received(held)

    def _pause_if(self, is_full: bool) -> None:  # noqa: FBT001 - the one thing that it is told
        if is_full and self.transport is not None:
            self.transport.pause_reading()

    def become_tunnel(self) -> None:
        """From here on bytes are raw; what came behind the upgrade's head is the first of them."""
        self._is_tunnel, self._is_held = True, False
        self._parser, self._payload = None, EMPTY_PAYLOAD  # with the head that it has read
        for data in self._held:
            self._raw.feed(data)
        self._held = []
        if self._keepalive_handle is not None:
            self._keepalive_handle.cancel()
            self._keepalive_handle = None
        if self.transport is not None:
            self.transport.resume_reading()
        if self._eof:
            self._raw.end()

    async def read_raw(self) -> bytes:
        """Return the next bytes of a tunnel; `b""` when the client sends no more."""
        data = await self._raw.read()
        if self.transport is not None:
            self.transport.resume_reading()
        return data

    def close_tunnel(self) -> None:
        """End a tunnel's connection: what was written is still sent, nothing more is read."""
        transport = self.transport
        if transport is not None and not transport.is_closing():
            transport.close()
            self._loop.call_later(self._limits.write_timeout, transport.abort)

    async def _watch_for_leaving(self) -> None:
        """Cancel the request of a client that has sent its FIN and turns out to be gone."""
        transport = self.transport
        if transport is None or not await has_left(transport, lambda: self._current):
            return
        transport.abort()
        if self._task_handler is not None:
            self._task_handler.cancel()
