"""A request in the express lane: what it consists of, its account, and what may happen meanwhile.

What never belongs here: reading requests and answers, and who may pass.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from aiohttp.streams import EMPTY_PAYLOAD

from proxy.adapters.tasks import spawn
from proxy.adapters.telemetry import AccessLog
from proxy.adapters.telemetry.access import asked_words, client_words, who_words
from proxy.adapters.upstreams import Server
from proxy.adapters.upstreams.connection import Connection
from proxy.edge.connection import GateConnection
from proxy.edge.forward import Passage
from proxy.edge.heads import Framing
from proxy.edge.incoming import ClientLeft, ConnectionLimits, Incoming
from proxy.edge.ready import Ready, Way, headers_of
from proxy.edge.strangers import Stranger
from proxy.edge.under_way import break_off
from proxy.model import AccessRecord, ClientInfo, Header, RequestView
from proxy.services.authenticate import Held
from proxy.services.challenges import taken_back
from proxy.services.decision import Forward
from proxy.services.endings import Ending
from proxy.services.vigil import Stream

if TYPE_CHECKING:
    from proxy.edge.lane import Lane


class PassingConnection(GateConnection):
    """A client connection that may have a request in the lane."""

    __slots__ = (
        "_asked",
        "_began",
        "_client",
        "_client_words",
        "_framing",
        "_held_answer",
        "_in",
        "_is_answered",
        "_is_busy",
        "_is_careful",
        "_is_ending",
        "_is_resting",
        "_is_stream",
        "_lane",
        "_link",
        "_log",
        "_logged_client",
        "_next_lane",
        "_out",
        "_ready",
        "_repeat",
        "_rid",
        "_server",
        "_stalled",
        "_started_at",
        "_status",
        "_stranger",
        "_stream",
        "_told_key",
        "_upstream_s",
        "_way",
    )  # fmt: skip

    def __init__(self, manager: Any, lane: Lane, **options: Any) -> None:
        super().__init__(manager, **options)
        self._lane = lane
        self._next_lane: Lane | None = None
        """The lane of another configuration, for when the request in this one is over."""
        self._is_resting = False
        """True where the next bytes, if they are a whole request, may take the lane."""
        self._is_careful = False
        """True where something has happened that the short way does not look at: a drain, an end, a
        client that takes nothing or sends more, a stream that is watched, a timer that ran out."""
        self._log = lane.log
        self._is_busy = False
        """True while a request is in the lane: nothing else is parsed, and the loop waits."""
        self._asked = b""
        """The head of a request that was put together from what is known, as it came."""
        self._rid = b""
        self._began = 0.0
        self._started_at = 0.0
        self._client: ClientInfo | None = None
        self._told_key: object = None
        self._logged_client: object = self  # nobody is
        self._client_words = ""
        self._stranger: Stranger | None = None
        self._forget()

    def _forget(self) -> None:
        """Be rid of the request that was in the lane."""
        self._way: Way | None = None
        self._ready: Ready | None = None
        self._link: Connection | None = None
        self._server: Server | None = None
        self._repeat: bytes | None = None
        """What may be sent once more, on a new connection (F3)."""
        self._framing = Framing.NONE
        self._status = 0
        self._out = 0
        self._upstream_s: float | None = None
        self._is_answered = False
        self._is_ending = False
        """True while a client takes the rest of its answer."""
        self._is_stream = False
        self._held_answer: list[Callable[[], None]] | None = None
        self._stalled = (0, 0.0)
        self._stream: Stream | None = None
        self._in = 0
        """Bytes of the body that went with the request."""

    def account(self, duration_s: float, upstream_s: float) -> AccessRecord:
        """Return what the log says of a request that was forwarded and answered."""
        ready, way = self._ready, self._way
        assert ready is not None  # noqa: S101 - it is there as long as `_is_busy`
        assert way is not None  # noqa: S101 - it goes with `_ready`
        identity, route = ready.identity, way.route
        return AccessRecord(
            request_id=self._rid.decode("ascii"),
            method=way.method,
            host=ready.logged_host,
            path=way.path,
            status=self._status,
            decision="forward",
            code=None,
            detail="",
            route=route.name,
            scheme=identity.scheme if identity is not None else None,
            subject=identity.subject if identity is not None else None,
            upstream=route.upstream.name,
            server=None if self._server is None else self._server.name,
            client=None if self._client is None else self._client.address,
            started_at=self._started_at,
            duration_s=duration_s,
            upstream_s=upstream_s,
            bytes_in=self._in,
            bytes_out=self._out,
        )

    def log(self, access: AccessLog, duration_s: float, upstream_s: float) -> None:
        """Write the same as `account`, from parts that are made once."""
        ready, way, client = self._ready, self._way, self._client
        assert ready is not None  # noqa: S101 - it is there as long as `_is_busy`
        assert way is not None  # noqa: S101 - it goes with `_ready`
        asked = way.logged
        if not asked:
            asked = way.logged = asked_words(way.method, ready.logged_host, way.path)
        who = ready.logged
        if not who:
            identity = ready.identity
            if identity is None:
                who = ready.logged = who_words(way.route.name, None, None)
            else:
                who = ready.logged = who_words(way.route.name, identity.scheme, identity.subject)
        if client is not self._logged_client:
            self._logged_client = client
            self._client_words = client_words(None if client is None else client.address)
        server = self._server
        words = self._lane.server_words.get(server)
        if words is None:
            words = self._lane.words_of(way.route.upstream.name, server)
        access.forwarded(
            self._rid.decode("ascii"),
            self._status,
            (asked, who, self._client_words, words),
            self._started_at,
            duration_s,
            upstream_s,
            self._in,
            self._out,
        )

    def _conclude(self) -> None:
        """Count a request that is over."""
        raise NotImplementedError

    def _after(self) -> None:
        """Rest, unless something has happened meanwhile."""
        raise NotImplementedError

    def _fail(self, code: str, detail: str) -> None:
        """Say what went wrong."""
        raise NotImplementedError

    def _let_go(self) -> None:
        """Close what is open to the upstream, and be watched no more."""
        link, self._link = self._link, None
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.close()
        if link is not None:
            link.abort()

    def _passage(self) -> Passage:
        server = None if self._server is None else self._server.name
        status = self._status if self._is_answered else 0
        return Passage(
            request_id=self._rid.decode("ascii"),
            status=status,
            server=server,
            upstream_s=self._upstream_s,
            upstream_status=status,
        )

    def _decision(self) -> Forward:
        """Return the decision as the ordinary way would have it."""
        ready = self._ready
        assert ready is not None  # noqa: S101 - it is there as long as `_is_busy`
        client = self._client or ready.decision.client
        held = tuple(
            Held(one.scheme, replace(one.found, address=client.address))
            for one in ready.decision.held
        )
        asked, way = ready.decision.asked, self._way
        # What came in another form was not put together from what is known: it is asked for itself.
        if asked is not None and way is not None and way.target[:1] == b"/":
            asked = (asked[0], way.target.partition(b"?")[0], way.method)
        rid = self._rid.decode("ascii")
        return replace(ready.decision, request_id=rid, client=client, held=held, asked=asked)

    def _incoming(self) -> Incoming:
        """Return the request as the ordinary way would have it."""
        ready, way = self._ready, self._way
        assert ready is not None  # noqa: S101 - it is there as long as `_is_busy`
        assert way is not None  # noqa: S101 - it goes with `_ready`
        incoming = self._short(way, headers_of(self._asked) if self._asked else ready.headers)
        if self._in:
            incoming.view.has_body = incoming.has_body = True
            incoming.length = incoming.bytes_in = self._in
        incoming.bytes_out = self._out if self._is_answered else 0
        incoming.is_answered = self._is_answered
        incoming.is_event_stream = self._is_stream
        return incoming

    def _short(self, way: Way, headers: tuple[Header, ...]) -> Incoming:
        """Return a request that ends with its head, as all are that take the lane."""
        return Incoming(
            view=RequestView(way.method, way.target, headers, self.peer),
            payload=EMPTY_PAYLOAD,
            started_at=self._started_at,
            started_mono=self._began,
            has_body=False,
            length=None,
            keeps_alive=True,
            upgrade=None,
            expects_continue=False,
        )

    def _waiting_for(self) -> Incoming | None:
        """Return the request whose credential is being looked up, as the ordinary way would have it."""
        stranger = self._stranger
        if stranger is not None and stranger.incoming is None:
            stranger.incoming = self._short(stranger.way, headers_of(stranger.head))
            self._current = stranger.incoming
        return self._current

    # What happens meanwhile

    def adopt(self, limits: ConnectionLimits, lane: Lane | None) -> None:
        """Take the lane of another configuration: at once, or behind the request in this one."""
        super().adopt(limits, lane)
        if lane is None:
            return
        if self._is_busy and self._ready is not None:
            self._next_lane = lane
            self._is_careful = True
            return
        waiting = self._waiting_for() if self._is_busy else None
        self._change_lane(lane)
        if waiting is not None:  # it is looked up for the other configuration
            self._stranger = None
            waiting.fresh = None
            self._hand(waiting, None)

    def _change_lane(self, lane: Lane) -> None:
        self._next_lane = None
        self._lane = lane
        self._log = lane.log
        self._told_key = None
        self._client = None

    def _hand(self, incoming: Incoming, decision: Any) -> None:
        """Let the request loop go on with a request."""
        raise NotImplementedError

    def look(self, now: float) -> None:
        """Watch a request that takes long (R7), and give up a client that takes nothing."""
        if not self._is_busy or self._ready is None:
            return
        if self._stream is None and now - self._began >= self._lane.vigil.after_s:
            decision = self._decision()
            self._is_careful = True
            self._stream = self._lane.vigil.tunnel(decision, lambda: 0, self._end_with)
        transport = self.transport
        if not self._paused or transport is None:
            self._stalled = (0, 0.0)
            return
        size, since = self._stalled
        waiting = transport.get_write_buffer_size()
        if not since or waiting < size:
            self._stalled = (waiting, now)
        elif now - since > self._limits.write_timeout:
            self.abort()

    def _settle(self, go_on: Callable[[], None]) -> None:
        """Go on once nothing is known that speaks against what is held open (R7)."""
        self._held_answer = [go_on]
        spawn(self._settled(), name="answer that took long")

    async def _settled(self) -> None:
        if self._stream is not None:
            await self._stream.settled()
        held, self._held_answer = self._held_answer, None
        for go_on in held or ():
            go_on()
        if self._link is not None:
            self._link.resume_reading()

    def _end_with(self, ending: Ending) -> None:
        """End a request whose credential was taken back or is over (R7)."""
        if self._ready is None:
            return
        passage, decision, incoming = self._passage(), self._decision(), self._incoming()
        passage.end(ending)
        self._stream = None
        self._let_go()
        self._ready = None
        self._held_answer = None
        if self._is_answered:
            self._lane.record(incoming, decision, passage)
            self._is_busy = False
            break_off(self)
            return
        with contextlib.suppress(ClientLeft):  # others are to be ended behind this one
            self._lane.refuse(self, incoming, taken_back(decision, ending.refusal), passage)
        self._lane.record(incoming, decision, passage)
        self._is_busy = False
        self._after()

    def pause_writing(self) -> None:
        """Let the upstream wait."""
        super().pause_writing()
        self._is_resting = False
        self._is_careful = True
        if self._link is not None:
            self._link.pause_reading()

    def resume_writing(self) -> None:
        """Let the upstream go on."""
        super().resume_writing()
        if self._is_ending:
            self._is_ending = False
            self._conclude()
        elif self._link is not None and self._held_answer is None:
            self._link.resume_reading()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Cancel the upstream's request of a client that left."""
        if self._is_busy:
            self._note_loss()
        self._is_resting = self._is_busy = False
        super().connection_lost(exc)

    def _note_loss(self) -> None:
        if self._ready is not None:
            passage, decision, incoming = self._passage(), self._decision(), self._incoming()
            passage.leave()
            self._let_go()
            self._ready = None
            self._lane.record(incoming, decision, passage)
        elif (waiting := self._waiting_for()) is not None:
            self._stranger = None
            passage = Passage()
            passage.leave()
            self._lane.record(waiting, None, passage)

    def eof_received(self) -> bool | None:  # type: ignore[override] # aiohttp narrows asyncio's type
        """Keep a half-closed client's answer."""
        self._is_resting = False
        self._is_careful = True
        if not self._is_busy or self.peer.is_tls:
            return super().eof_received()
        self._eof = True
        if self._ready is not None:
            self._current = self._incoming()
        else:
            self._waiting_for()
        self._watcher = spawn(self._watch_for_leaving(), name="client-left?")
        return True

    def begin_drain(self, *, is_over: bool = False) -> None:
        """Close when idle; else after the request in the lane, behind which nothing was parsed."""
        self._is_resting = False
        self._is_careful = True
        if self._is_busy:
            self.is_draining = True
        else:
            super().begin_drain(is_over=is_over)

    def cut_off(self) -> None:
        """End at once."""
        if not self._is_busy or (self._ready is None and self._waiting_for() is None):
            super().cut_off()
            return
        self.is_cut_off = True
        if self._ready is None:
            self._lane.cut_off(self, self._fail_early)
            return
        self._let_go()
        self._held_answer = None
        self._lane.cut_off(self, self._fail)

    def _fail_early(self, code: str, detail: str) -> None:
        """Say what went wrong while the credential was looked up."""
        incoming, passage = self._waiting_for(), Passage()
        self._stranger = None
        self._is_busy = False
        if incoming is not None:
            self._lane.fail(self, incoming, None, passage, code, detail)
            self._lane.record(incoming, None, passage)
        self._after()

    def _process_keepalive(self) -> None:
        """Close an idle connection, and no other."""
        if self._is_busy:
            self._keepalive_handle = None
            self._next_keepalive_close_time = self._loop.time() + self._limits.keepalive
            self._rearm_keepalive()
            return
        super()._process_keepalive()
        if self._keepalive_handle is None:
            self._is_careful = True
