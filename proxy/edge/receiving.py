"""The answer to a request in the express lane: from the upstream's bytes to the client's.

The receiver of the upstream's connection is the client's connection itself: nothing is made for one
answer. What never belongs here: reading requests, and who may pass.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable
from typing import Final

from proxy.adapters.tasks import spawn
from proxy.adapters.upstreams import ResponseHead, Server
from proxy.adapters.upstreams.response import ReadHead
from proxy.adapters.upstreams.whole import WholeConnection
from proxy.edge.counters import BOUNDS
from proxy.edge.forward import client_head, framing_of, is_event_stream
from proxy.edge.heads import Framing, response_head
from proxy.edge.incoming import ClientLeft
from proxy.edge.passing import PassingConnection
from proxy.edge.raw import READ_CHUNK
from proxy.edge.ready import Ready
from proxy.edge.under_way import break_off
from proxy.errors import ProxyError, UpstreamInvalid, UpstreamUnreachable
from proxy.model import Header

_log: Final = logging.getLogger("latchgate.edge")

_SHORTEST: Final = BOUNDS[0]
MAX_RENDERED: Final = 64
"""Forms of one head of an answer, for as many routes."""


class ReceivingConnection(PassingConnection):
    """A client connection that takes an upstream's answer (`WholeReceiver`)."""

    __slots__ = ()

    # From the upstream (`WholeReceiver`)

    # hot: every request of the lane
    def on_whole(self, found: ReadHead, body: bytes, now: float) -> None:
        """Pass an answer on that came in one piece, count it, and rest. `now`: on the loop's clock."""
        ready, transport = self._ready, self.transport
        self._link = None
        if ready is None or transport is None:
            return
        if self._is_careful:
            self._pass_carefully(found, body)
            return
        front = found.rendered.get(ready.memory_key)
        if front is None:
            try:
                front = self._render(found.head, ready, Framing.LENGTH, found.rendered)
            except Exception as bug:  # noqa: BLE001 - whatever it is, the client gets a clear answer
                self._break(bug)
                return
        transport.write(b"".join((front, self._rid, b"\r\n\r\n", body)))
        status, duration_s = found.head.status, now - self._began
        if self._is_careful:  # since the answer was written: the client takes no more
            self._status, self._out, self._upstream_s = status, len(body), duration_s
            self._is_answered = True
            self._conclude()
            return
        if duration_s < _SHORTEST and 200 <= status < 300 and not self._in:
            tally = ready.tally
            tally.count += 1
            tally.total_s += duration_s
            tally.bytes_out += len(body)
        else:
            self._count(ready, status, duration_s, duration_s, len(body))
        if self._log is not None:
            self._status, self._out = status, len(body)
            self._log(self, duration_s, duration_s)
        self._ready = None
        self._is_busy = False
        self._next_keepalive_close_time = now + self._limits.keepalive
        self._is_resting = True

    def _pass_carefully(self, found: ReadHead, body: bytes) -> None:
        """Pass a whole answer on where something else has happened as well."""
        self.on_head(found.head)
        self.on_body(body) if body else None
        self.on_end([])

    def _render(
        self,
        head: ResponseHead,
        ready: Ready,
        framing: Framing,
        memory: dict[object, bytes] | None,
    ) -> bytes:
        """Return the head that the client gets, up to the id's value."""
        headers = ready.plan.apply(head.headers, ready.decision.response_headers)
        front = client_head(
            head, headers, framing, version=(1, 1), keeps_alive=not self.is_draining
        )
        is_dated = any(name.lower() == b"date" for name, _ in headers)
        key = ready.memory_key
        if memory is not None and key is not None and is_dated and not self.is_draining:
            if len(memory) >= MAX_RENDERED:
                memory.clear()
            memory[key] = front
        return front

    def on_informational(self, status: int, headers: list[Header]) -> None:
        """Pass a 1xx on (RFC 9110 §15.2); nobody has asked for 100."""
        if status != 100 and self._ready is not None and self.transport is not None:
            kept = self._ready.plan.informational(headers)
            self.transport.write(response_head(status, kept))

    def on_head(self, head: ResponseHead) -> None:
        """Begin an answer that comes in pieces."""
        if self._stream is not None:
            if self._link is not None:
                self._link.pause_reading()
            self._settle(lambda: self._begin_answer(head))
            return
        self._begin_answer(head)

    def _begin_answer(self, head: ResponseHead) -> None:
        ready, way, transport = self._ready, self._way, self.transport
        if ready is None or way is None or transport is None:
            return
        self._upstream_s = self._loop.time() - self._began
        self._status, self._out = head.status, 0
        self._framing = framing_of(way.method, (1, 1), head)
        front = self._render(head, ready, self._framing, None)
        self._is_answered = True
        self._is_stream = is_event_stream(head.headers)
        if self._current is not None:
            self._current.is_answered = True
            self._current.is_event_stream = self._is_stream
        transport.write(b"%b%b\r\n\r\n" % (front, self._rid))

    def on_body(self, data: bytes) -> None:
        """Pass content on; the upstream waits while the client takes no more."""
        if self._held_answer is not None:
            self._held_answer.append(lambda: self.on_body(data))
            return
        transport, link = self.transport, self._link
        if transport is None:
            return
        if self._framing is Framing.NONE:
            if link is not None:
                link.fail(UpstreamInvalid("a body where none can be"))
            return
        self._out += len(data)
        if self._framing is Framing.CHUNKED:
            data = b"%x\r\n%b\r\n" % (len(data), data)
        transport.write(data)
        if self._paused and link is not None:
            link.pause_reading()

    def on_end(self, trailers: list[Header]) -> None:
        """End the answer."""
        link, self._link = self._link, None
        if link is not None:
            link.free()
        if self._held_answer is not None:
            self._held_answer.append(lambda: self.on_end(trailers))
            return
        if self._ready is None or self.transport is None:
            return
        if self._framing is Framing.CHUNKED:
            passed = self._ready.plan.trailers(trailers)
            lines = b"".join(b"%b: %b\r\n" % trailer for trailer in passed)
            self.transport.write(b"0\r\n%b\r\n" % lines)
        self._conclude()

    def on_error(self, error: ProxyError) -> None:
        """Try once more where that may be done (F3), else say what went wrong."""
        link, self._link = self._link, None
        if self._held_answer is not None:
            self._held_answer.append(lambda: self.on_error(error))
            return
        if self._ready is None:
            return
        repeat, server = self._repeat, self._server
        self._repeat = None
        if (
            repeat is not None
            and server is not None
            and not self._is_answered
            and isinstance(error, UpstreamUnreachable)
            and link is not None
        ):
            self._connect_to(server, repeat, is_again=True)
            return
        self._fail(error.code, error.detail)

    def _connect_to(self, server: Server, sent: bytes, *, is_again: bool = False) -> None:
        """Send a request on a new connection: the only thing in the lane that takes a task."""
        connecting = server.reconnect(self._loop) if is_again else server.connect(self._loop)
        spawn(self._connect(connecting, sent, self._rid), name="upstream connection")

    async def _connect(
        self, connecting: Awaitable[WholeConnection], sent: bytes, rid: bytes
    ) -> None:
        def is_over() -> bool:
            """Tell whether the client has left; another request may be under way since."""
            return self._ready is None or self._rid is not rid

        try:
            link = await connecting
        except ProxyError as error:
            if not is_over():
                self._fail(error.code, error.detail)
            return
        except Exception as bug:  # noqa: BLE001 - whatever it is, the client gets a clear answer
            if not is_over():
                self._break(bug)
            return
        if is_over() or self._way is None or self._link is not None:
            link.abort()
            return
        self._link = link
        link.begin_whole(sent, self, is_head=self._way.is_head, now=self._loop.time())

    def _break(self, bug: Exception) -> None:
        """Answer for an error of the gate's own."""
        _log.error("a request in the lane ended in an error of the gate", exc_info=bug)
        self._let_go()
        if self._ready is not None:
            self._fail("internal_error", type(bug).__name__)
        else:
            self.abort()

    # The end of a request

    def _conclude(self) -> None:
        """Count a request that is over, and rest: once the client has taken its answer."""
        if self._paused:
            self._is_ending = True
            return
        transport = self.transport
        if transport is None or transport.is_closing():
            return  # the client has left: `connection_lost` is about to say so
        duration_s = self._loop.time() - self._began
        ready = self._ready
        assert ready is not None  # noqa: S101 - it is there as long as `_is_busy`
        upstream_s = duration_s if self._upstream_s is None else self._upstream_s
        self._count(
            ready, self._status, None if self._is_stream else duration_s, upstream_s, self._out
        )
        if self._log is not None:
            self._log(self, duration_s, upstream_s)
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.close()
        self._ready = None
        self._is_busy = False
        self._after()

    def _count(
        self, ready: Ready, status: int, duration_s: float | None, upstream_s: float, size: int
    ) -> None:
        counters = self._lane.counters
        counters.request(ready.key, duration_s, self._in, size)
        counters.upstream(ready.upstream.name, status, None, upstream_s)

    def _after(self) -> None:
        """Rest, unless something has happened meanwhile."""
        self._forget()
        self._current = None
        if self._next_lane is not None:
            self._change_lane(self._next_lane)
        transport = self.transport
        if transport is None or transport.is_closing():
            return
        if self._paused:
            spawn(self._drain_out(), name="answer that is not taken")
            return
        if self.is_draining or (self._eof and not self._behind):
            self._wake()  # the loop sees it, and closes
            return
        self._rearm_keepalive()
        self._is_careful = False
        self._is_resting = not self._meter.is_timing and not self._eof
        if self._behind:
            behind, self._behind = self._behind, b""
            transport.resume_reading()
            self.data_received(behind)
            if len(self._behind) >= READ_CHUNK and not transport.is_closing():
                transport.pause_reading()  # nothing more is taken in before this is served
            if self._eof:
                self._wake()  # what came before the end is served, half a head is not

    async def _drain_out(self) -> None:
        """Wait until the client has taken the answer; nothing of it is read meanwhile."""
        self._is_busy = True
        try:
            await self.drain()
        except ClientLeft:
            return
        finally:
            self._is_busy = False
        self._after()

    def _fail(self, code: str, detail: str) -> None:
        """Say what went wrong, or break off where an answer has begun (F6)."""
        passage = self._passage()
        passage.code, passage.detail = code, detail
        decision, incoming = self._decision(), self._incoming()
        self._ready = None
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.close()
        if self._is_answered:
            self._lane.record(incoming, decision, passage)
            self._is_busy = False
            if self.is_cut_off:
                break_off(self)
            else:
                self.abort()
            return
        self._lane.fail(self, incoming, decision, passage, code, detail)
        self._lane.record(incoming, decision, passage)
        self._is_busy = False
        self._after()
