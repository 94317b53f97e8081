"""The express lane: requests that are decided and forwarded where their bytes arrive (design.md §8).

A `GateConnection` whose requests need not wait for the request loop: no task, no queue, nothing
awaited. A request that the memo knows is put together from ready bytes; one that was parsed is
decided at once if its verdict is known, or when the look-up's reply is taken off the wire; a short
body that comes with its head goes along. All else (other bodies, upgrades, refusals, the gate's own
pages) is handed to the loop, on the same connection.
What never belongs here: who may pass, and how a path leads to a route.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from aiohttp.streams import EMPTY_PAYLOAD

from proxy.adapters.boot_clock import boot_time
from proxy.adapters.upstreams import Server
from proxy.edge.fitting import HEAD_END, ends_with, is_laden, is_short, is_too_large
from proxy.edge.incoming import (
    SHORT_BODY,
    HeadError,
    Incoming,
    awaits_upgrade,
    read_head,
    take_whole,
)
from proxy.edge.lines import LADEN
from proxy.edge.memo import LONGEST, Memo
from proxy.edge.raw import READ_CHUNK
from proxy.edge.ready import Read, Ready, Way, back_of
from proxy.edge.receiving import ReceivingConnection
from proxy.edge.strangers import Stranger
from proxy.errors import ProxyError
from proxy.model import RequestView
from proxy.services.authenticate import Unknown
from proxy.services.decision import Forward

if TYPE_CHECKING:
    from proxy.edge.lane import Lane


class ExpressConnection(ReceivingConnection):
    """A client connection with an express lane."""

    __slots__ = (
        "_address", "_find", "_kept", "_loading", "_memo", "_packet", "_take_id", "_told",
    )  # fmt: skip

    def __init__(self, manager: Any, lane: Lane, **options: Any) -> None:
        super().__init__(manager, lane, **options)
        self._memo: Memo = lane.nothing
        self._find = lane.nothing.find
        self._address: str | None = None
        self._take_id = lane.ids.take
        self._packet = b""
        """What has just arrived, where it may be remembered."""
        self._kept = b""
        """The same, while the credential is looked up."""
        self._loading: Any = None
        """What was parsed of a request whose body is in the same packet, and still to be parsed."""
        self._told = b""

    # From the client

    def _change_lane(self, lane: Lane) -> None:
        """Take the memory that fits the peer and the listener."""
        super()._change_lane(lane)
        self._address, self._memo = lane.of_peer(self.peer)
        self._find = self._memo.find
        self._kept = b""

    # hot: every request
    def data_received(self, data: bytes) -> None:
        """Take the lane with a whole request that the memo knows; else as ever."""
        try:
            if self._is_resting:
                self._asked = data
                end = data.find(b"\n") - 1
                block = self._find(data[end:]) if len(data) <= LONGEST else None
                if block is not None:
                    line = data[:end]
                    special = block.special
                    way = special.ways.get(line) or self._memo.way(special, line)
                    found = None if way is None else block.fronts.get(way.route)
                    if way is not None and found is not None:
                        if self._go(way, found[0], found[1]):
                            return
                        self._memo.drop(block, way.route)  # what it was made of may be over
                    elif self._compose(data, end):
                        return
                elif self._compose(data, end) or self._compose_laden(data, end):
                    return
                self._is_resting = False
                self._asked = b""  # it may be long, and whoever rests behind it would keep it
                self._packet = data
                super().data_received(data)
                if self._loading is not None:
                    self._load()
                self._packet = b""
            elif self._is_busy:
                self._wait_behind(data)
            else:
                super().data_received(data)
        except Exception as bug:  # noqa: BLE001 - whatever it is, the client gets a clear answer
            self._packet = b""
            self._loading = None
            self._break(bug)

    def _wait_behind(self, data: bytes) -> None:
        self._behind += data
        self._is_careful = True
        if len(self._behind) >= READ_CHUNK and self.transport is not None:
            self.transport.pause_reading()

    # hot: every request whose block is new
    def _compose(self, data: bytes, end: int) -> bool:
        """Put the request together from lines that are known, where all that matters is."""
        if data[-4:] != HEAD_END:
            return False
        block = data[end:]
        memo = self._memo
        read = memo.read(block)
        if read is None:
            return False
        matter, parts, places, is_steady = read
        special = memo.special(matter)
        if special is None:
            return self._meet(data, end, read)
        line = data[:end]
        way = special.ways.get(line) or memo.way(special, line)
        if way is None:
            return False
        ready = special.ready.get(way.route)
        if ready is None:
            return self._meet(data, end, read)
        for place, out in zip(places, ready.outs, strict=True):
            parts[place] = out
        front = ready.host_line + b"".join(parts) + ready.tail
        if not self._go(way, ready, front):
            return False
        if is_steady:
            memo.keep(block, special, way.route, ready, front)
        return True

    # hot: every request of the lane with a body
    def _compose_laden(self, data: bytes, end: int) -> bool:
        """Put a request together that comes whole with its body, where all that matters is known."""
        start = data.find(HEAD_END, end) + len(HEAD_END)
        size = len(data) - start
        if start < end or not 0 < size <= SHORT_BODY:
            return False
        memo, line = self._memo, data[:end]
        read = memo.read_laden(data[end:start], line[: line.find(b" ")], size)
        special = None if read is None else memo.special(read[0])
        if read is None or special is None:
            return False
        way = special.ways.get(line) or memo.way(special, line, LADEN)
        ready = None if way is None else special.ready.get(way.route)
        if way is None or ready is None or is_too_large(size, way.route, self._limits):
            return False
        _, parts, places, _ = read
        for place, out in zip(places, ready.outs, strict=True):
            parts[place] = out
        front = ready.host_line + b"".join(parts) + ready.tail
        self._asked = data[:start]  # and nothing of the body, once it was sent
        return self._go(way, ready, front, data[start:])

    # hot: every request of the lane whose credential is new
    def _meet(self, data: bytes, end: int, read: Read) -> bool:
        """Look up a credential of which nothing is known, where all else of the request is."""
        memo = self._memo
        known = memo.strangers.find(read[0])
        if known is None:
            return False
        shape, value = known
        line = data[:end]
        way = shape.ways.get(line) or memo.way(shape, line)
        sketch = None if way is None else shape.sketches.get(way.route)
        if way is None or sketch is None:
            return False
        if sketch.ready.told is not self._told_key:
            self._tell(sketch.ready)
        address = None if self._client is None else self._client.address
        found = sketch.found(value, address)
        identity = sketch.scheme.recall(found)
        if identity is not None:
            told = sketch.introduce(identity, found, read)
            return told is not None and self._welcome(way, told, read[0])
        fresh = sketch.scheme.meet(found, time.time())
        if fresh is None:
            return False
        self._stranger = Stranger(data, read, way, sketch, found, fresh)
        self._started_at = time.time()
        self._began = self._loop.time()
        self._request_count += 1  # from here on an idle connection is timed, whoever answers
        self._is_resting = False
        self._is_busy = True
        if fresh[1].done():
            self._met(fresh[1])
        else:
            fresh[1].add_done_callback(self._met)
        return True

    def _met(self, flight: asyncio.Future[Any]) -> None:
        """Go on with a request whose credential was looked up."""
        try:
            stranger = self._stranger
            if self._is_busy and stranger is not None and stranger.fresh[1] is flight:
                self._let_in(stranger)
        except Exception as bug:  # noqa: BLE001 - as above
            self._break(bug)

    def _let_in(self, stranger: Stranger) -> None:
        told = stranger.introduced()
        if told is not None and self._welcome(stranger.way, told, stranger.read[0]):
            self._stranger = None
            self._lane.was_no_hit()
            return
        incoming = self._waiting_for()
        self._stranger = None
        if incoming is not None:
            incoming.fresh = stranger.fresh
            self._hand(incoming, None)  # who is absent may be guessing: that is for the loop to say

    def _welcome(self, way: Way, told: tuple[Ready, bytes], matter: tuple[bytes, ...]) -> bool:
        """Send the request of somebody who is known now, and remember it the second time."""
        ready, front = told
        if not self._go(way, ready, front):
            return False
        if not self._memo.is_new(matter):
            self._memo.adopt(matter, ready)
        return True

    # hot: every request of the lane
    def _go(self, way: Way, ready: Ready, front: bytes, body: bytes = b"") -> bool:
        """Send a request that is known, if it may pass now; False: it has to be decided."""
        now = time.time()
        identity = ready.identity
        if identity is not None and ready.demands is not None and ready.demands(identity, now):
            return False
        if ready.told is not self._told_key:
            self._tell(ready)
        back = ready.back if ready.assertions is None else self._assert(ready, now)
        holds = ready.holds  # last of all: a use is counted with it
        if back is None or (holds is not None and not holds(now, boot_time(), self._address)):
            return False
        began = self._loop.time()
        server = ready.server or self._pick(ready, began)
        try:
            rid = self._take_id()
        except IndexError:
            rid = self._lane.ids()
        if body:
            length = b"Content-Length: %d\r\n\r\n" % len(body)
            sent = b"".join((way.front, front, self._told, rid, back[:-2], length, body))
            link = server.take(began, is_careful=True)
        else:
            sent = b"".join((way.front, front, self._told, rid, back))
            link = server.take_freshest(began)
        self._in = len(body)
        self._way = way
        self._ready = ready
        self._rid = rid
        self._began = began
        self._started_at = now
        self._server = server
        self._link = link
        self._request_count += 1
        self._is_resting = False
        self._is_busy = True
        if link is None:
            self._repeat = None
            self._connect_to(server, sent)
        else:
            self._repeat = None if body else sent
            link.begin_whole(sent, self, is_head=way.is_head, now=began)
        return True

    def _pick(self, ready: Ready, now: float) -> Server:
        decision = ready.decision
        key = decision.route.hash_key
        if key is None or self._client is None:
            return ready.upstream.pick(None, now)
        view = RequestView("GET", b"/", ready.headers, self.peer)
        return ready.upstream.pick(key(view, self._client, ready.identity))

    def _assert(self, ready: Ready, now: float) -> bytes | None:
        """Return what follows the id with an assertion that is good now; `None`: none can be made."""
        identity, assertions = ready.identity, ready.assertions
        if identity is None or assertions is None:
            return ready.back
        try:
            headers = assertions(identity, now)
        except ProxyError:
            return None
        if headers != ready.asserted:
            ready.asserted = headers
            told = ready.decision.route.identity.render(identity)
            ready.back = back_of((*told, *headers))
        return ready.back

    def _tell(self, ready: Ready) -> None:
        """Make the forwarding headers of this connection for one host and route."""
        view = RequestView("GET", b"/", ready.headers, self.peer)
        self._client, self._told = self._lane.tell(view, ready.decision.route.strip_prefix)
        self._told_key = ready.told

    # What was parsed

    def _queue(self, messages: Any) -> None:
        """Decide a request that ends with its head at once, where that can be done."""
        if len(messages) == 1 and not self._is_held and self._is_idle():
            message, payload = messages[0]
            if payload is EMPTY_PAYLOAD and not awaits_upgrade(message, payload):
                if self._begin(message, payload, is_short):
                    return
            elif ends_with(self._packet, message):
                self._loading = messages[0]
                return
        super()._queue(messages)

    def _load(self) -> None:
        """Decide a request whose body has come with it, where that can be done."""
        (message, payload), self._loading = self._loading, None
        if not self._is_idle() or not self._begin(message, payload, is_laden):
            super()._queue([(message, payload)])

    def _begin(self, message: Any, payload: Any, fits: Callable[[Incoming], bool]) -> bool:
        """Decide what was parsed; False: that is for the loop, all of it."""
        incoming = read_head(message, payload, self.peer, self._limits, self._loop.time())
        if isinstance(incoming, HeadError) or not fits(incoming):
            return False
        try:
            self._decide(incoming)
        except Exception:
            if self._ready is not None or incoming.bytes_in:
                raise  # its body is no longer there to be sent
            self._hand(incoming, None)  # the loop meets the same, and says so
        return True

    def _is_idle(self) -> bool:
        waiter = self._waiter
        return (
            waiter is not None
            and not waiter.done()
            and not self._messages
            and not self._is_busy
            and not self._paused
            and not self.is_draining
            and not self._eof
            and self._torn is None
            and self._handed is None
        )

    def _is_full(self) -> bool:
        if self._is_busy:
            self._is_careful = True  # whoever asks has more: it waits behind the request
            return True
        return super()._is_full()

    def _decide(self, incoming: Incoming) -> None:
        now = time.time()
        decision = self._lane.gate.decide_now(incoming.view, now)
        if isinstance(decision, Forward):
            self._forward(incoming, decision)
            return
        if not isinstance(decision, Unknown):
            self._hand(incoming, decision)
            return
        flight = decision.scheme.begin(decision.found, now)
        if flight is None:
            self._hand(incoming, None)
            return
        self._is_busy = True
        self._current = incoming
        incoming.fresh = (decision.scheme.key(decision.found), flight)
        if flight.done():
            self._landed(flight)
        else:
            self._kept = b"" if incoming.has_body else self._packet
            flight.add_done_callback(self._landed)

    def _landed(self, flight: asyncio.Future[Any]) -> None:
        """Go on with a request whose credential was looked up."""
        try:
            self._go_on(flight)
        except Exception as bug:  # noqa: BLE001 - as above
            self._break(bug)

    def _go_on(self, flight: asyncio.Future[Any]) -> None:
        incoming = self._current
        if incoming is None or incoming.fresh is None or incoming.fresh[1] is not flight:
            return  # the client has left, or another configuration is asked meanwhile
        failed = flight.cancelled() or flight.exception() is not None
        if not self._is_busy or self._ready is not None:
            return  # the client has left
        if not failed:
            decision = self._lane.gate.decide_now(incoming.view, time.time(), incoming.fresh)
            if isinstance(decision, Forward):
                self._packet, self._kept = self._packet or self._kept, b""
                self._forward(incoming, decision)
                self._packet = b""
                return
        self._hand(
            incoming, None
        )  # who is absent may be guessing: that is for the loop to say (R9)

    def _hand(self, incoming: Incoming, decision: Any) -> None:
        """Let the request loop go on with a request."""
        incoming.decision = decision
        incoming.under = self._lane
        self._asked = self._kept = b""
        self._is_busy = False
        self._current = None
        self._handed = incoming
        self._wake()
        if self._behind and self.transport is not None:  # what came while it was looked up
            self.transport.resume_reading()
            self.data_received(b"")

    def _forward(self, incoming: Incoming, decision: Forward) -> None:
        view, route = incoming.view, decision.route
        lane = self._lane
        if route.upstream.is_closing or is_too_large(incoming.length or 0, route, self._limits):
            self._hand(incoming, decision)  # before a server is picked: that may be its trial
            return
        try:
            server = route.upstream.pick(decision.hash_key)
            head = lane.forwarder.head(incoming, decision, server, None)
            sent = head.encode()
        except (ProxyError, ValueError):
            self._hand(incoming, decision)
            return
        body = take_whole(incoming) if incoming.has_body else b""
        if incoming.has_body and not body:
            self._hand(incoming, decision)
            return
        sent += body
        host = view.first(b"host") or b""
        ready = Ready(decision, view, lane.counters, host)
        is_kept = (
            bool(self._packet)
            and not self._memo.turns_away()
            and self._learn(ready, view, server, len(body))
        )
        self._asked = self._packet[: len(self._packet) - len(body)] if is_kept else b""
        self._way = Way(view.method, view.target, route, b"")
        self._ready = ready
        self._client = decision.client
        self._told_key = None
        self._rid = decision.request_id.encode("ascii")
        self._began = self._loop.time()
        self._started_at = incoming.started_at
        self._server = server
        self._is_resting = False
        self._is_busy = True
        self._current = incoming if self._eof else None
        self._in = len(body)
        self._repeat = None
        is_repeatable = head.is_repeatable
        link = server.take(self._began, is_careful=not is_repeatable)
        if link is None:
            self._connect_to(server, sent)
            return
        self._repeat = sent if is_repeatable else None
        self._link = link
        link.begin_whole(sent, self, is_head=view.method == "HEAD", now=self._began)

    def _learn(self, ready: Ready, view: RequestView, server: Server, size: int = 0) -> bool:
        """Remember what was made of the packet; `size`: of the body at its end."""
        packet, lane = self._packet, self._lane
        block = packet[packet.find(b"\r\n") : len(packet) - size]
        if size and self._memo.meets(block, view.method, size):
            return False
        headers = lane.forwarder.headers(view, ready.decision, server)
        count = 1 + len(ready.decision.headers)
        front = b"".join(b"%b: %b\r\n" % header for header in headers[:count])
        ready.told = lane.same(ready.told)
        return self._memo.learn(block, ready, view, front, size)

    async def _next(self) -> Incoming | None:
        """Rest until there is a request for the loop."""
        if not self._messages and self._handed is None:
            self._is_resting = (
                not self._meter.is_timing
                and not self._behind
                and not self._paused
                and not self._eof
                and not self.is_draining
                and self._error is None
            )
        incoming = await super()._next()
        self._is_resting = False
        return incoming
