"""Forwarding: one request to one upstream, streamed both ways, with back-pressure.

Renders a `Forward`; who may pass was decided before. RFC 9110 §7 (proxies), RFC 9112 §6 (bodies).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from proxy.adapters.tasks import spawn
from proxy.adapters.upstreams import Exchange, RequestHead, ResponseHead, Server
from proxy.core.forwarding import ForwardingPolicy
from proxy.edge.counters import RequestCounters
from proxy.edge.heads import Framing, connection_header, date, may_have_body, response_head
from proxy.edge.incoming import ClientLeft, Incoming, take_whole
from proxy.edge.tunnel import Tunnel, allowed_upgrade, check_switch
from proxy.edge.under_way import UnderWay
from proxy.errors import ProxyError, UpstreamError, UpstreamInvalid
from proxy.model import Header, RequestView
from proxy.services.decision import Forward
from proxy.services.endings import Ending
from proxy.services.outgoing import outgoing_headers
from proxy.services.vigil import Vigil

if TYPE_CHECKING:
    from proxy.edge.connection import GateConnection

CLIENT_CLOSED: Final = 499
"""Logged, never sent: the client left before it was answered (nginx's number for it)."""

_FRAMING_NAMES: Final = frozenset({b"content-length", b"transfer-encoding", b"connection"})


@dataclass(slots=True)
class Passage:
    """What became of one forwarded request, for its log line."""

    request_id: str = ""
    """Of a failure: its answer and its log line have the same, even where no decision was made."""
    status: int = 0
    code: str | None = None
    detail: str = ""
    subject: str | None = None
    """Whom an answer of the gate's own was about, where no decision says it."""
    server: str | None = None
    upstream_s: float | None = None
    upstream_status: int = 0
    """What the upstream answered, whatever became of it afterwards."""
    is_ended: bool = False
    """True once the gate itself has ended it: what breaks then is no news."""

    def fail(self, code: str, detail: str) -> None:
        """Note why it went wrong, unless that is the gate's own doing."""
        if not self.is_ended:
            self.code, self.detail = code, detail

    def leave(self, detail: str = "") -> None:
        """Note that the client left, unless the gate sent it away."""
        if not self.is_ended:
            self.status, self.code, self.detail = CLIENT_CLOSED, "client_left", detail

    def end(self, ending: Ending) -> None:
        """Note that the gate has ended an answer in the middle (security.md, R7)."""
        self.code, self.detail, self.is_ended = ending.code, ending.detail, True


class Forwarder:
    """Carries `Forward` decisions out."""

    def __init__(
        self, forwarding: ForwardingPolicy, gate_id: str, counters: RequestCounters, vigil: Vigil
    ) -> None:
        self._forwarding = forwarding
        self._gate_id = gate_id
        self._counters = counters
        self._vigil = vigil

    async def forward(
        self, connection: GateConnection, incoming: Incoming, decision: Forward, passage: Passage
    ) -> None:
        """Send the request on and its answer back.

        Raises ProxyError while the client has not been answered yet, and TakenBack where the
        answer is to be a refusal after all (R7); afterwards a failure breaks the connection, so
        that nothing cut short looks complete (security.md, F6).
        """
        with UnderWay(self._vigil, connection, incoming, decision, passage) as way:
            await self._carry(way, connection, incoming, decision, passage)

    async def _carry(
        self,
        way: UnderWay,
        connection: GateConnection,
        incoming: Incoming,
        decision: Forward,
        passage: Passage,
    ) -> None:
        upgrade = allowed_upgrade(incoming, decision.route.upgrades)
        server = decision.route.upstream.pick(decision.hash_key)
        head = self.head(incoming, decision, server, upgrade)
        loop = asyncio.get_running_loop()
        began = loop.time()

        def on_informational(status: int, headers: Sequence[Header]) -> None:
            self._interim(connection, incoming, decision, status, headers)

        whole = take_whole(incoming) if incoming.has_body else b""
        goes_on = incoming.has_body and not whole
        passage.server = server.name  # said of a failure as well
        exchange = await decision.route.upstream.open(
            head, server=server, on_informational=on_informational, body=whole
        )
        del whole  # the answer may take days
        way.exchange = exchange
        body = None
        try:
            if goes_on:
                body = spawn(_send_body(connection, incoming, exchange), name="request body")
            response = await _await_head(exchange, body)
            await way.settled()
            passage.upstream_s = loop.time() - began
            passage.status = passage.upstream_status = response.status
            if response.status == 101:
                tunnel = self._switch(connection, incoming, decision, exchange, response, upgrade)
                way.leave()
                del head, response  # a tunnel may stay for days
                await self._tunnel(tunnel, decision, passage)
            else:
                if body is not None and not body.done():
                    incoming.keeps_alive = False
                await self._respond(connection, incoming, decision, exchange, response)
        except ClientLeft:
            raise
        except ProxyError as error:
            if not incoming.is_answered:
                raise
            passage.fail(error.code, error.detail)
            connection.abort()
        finally:
            if incoming.trace is not None:
                incoming.trace.upstream_over()
            exchange.release()
            if body is not None:
                body.cancel()

    def headers(self, view: RequestView, decision: Forward, server: Server) -> list[Header]:
        """Return what the upstream is sent: Host, the client's headers, ours, the identity last."""
        return outgoing_headers(
            view,
            decision,
            forwarding=self._forwarding,
            gate_id=self._gate_id,
            authority=server.authority,
        )

    def head(
        self, incoming: Incoming, decision: Forward, server: Server, upgrade: str | None
    ) -> RequestHead:
        """Return the upstream's request head: the client's headers, ours, the identity last."""
        view = incoming.view
        headers = self.headers(view, decision, server)
        if incoming.trace is not None:
            headers = incoming.trace.outgoing(headers)
        body: int | Literal["chunked"] | None = incoming.length
        if incoming.has_body and body is None:
            body = "chunked"
        return RequestHead(
            view.method,
            decision.target,
            headers,
            body=None if upgrade is not None else body,  # it may have come with a length of 0
            upgrade=upgrade.encode("latin-1") if upgrade is not None else None,
            expects_continue=incoming.expects_continue,
            takes_trailers=_takes_trailers(view),
        )

    @staticmethod
    def _interim(
        connection: GateConnection,
        incoming: Incoming,
        decision: Forward,
        status: int,
        headers: Sequence[Header],
    ) -> None:
        """Pass a 1xx on (RFC 9110 §15.2): never to HTTP/1.0, and 100 only where it was asked for."""
        if incoming.is_answered or incoming.view.version < (1, 1):
            return
        if status == 100 and not incoming.expects_continue:
            return
        kept = decision.route.responses_for(decision.client).informational(headers)
        connection.write(response_head(status, kept))

    async def _respond(
        self,
        connection: GateConnection,
        incoming: Incoming,
        decision: Forward,
        exchange: Exchange,
        response: ResponseHead,
    ) -> None:
        framing = framing_of(incoming.view.method, incoming.view.version, response)
        if framing is Framing.CLOSE or connection.is_draining:
            incoming.keeps_alive = False
        plan = decision.route.responses_for(decision.client)
        headers = plan.apply(response.headers, decision.response_headers)
        incoming.is_event_stream = is_event_stream(response.headers)
        incoming.is_answered = True
        front = client_head(
            response,
            headers,
            framing,
            version=incoming.view.version,
            keeps_alive=incoming.keeps_alive,
        )
        connection.write(b"%b%b\r\n\r\n" % (front, decision.request_id.encode("ascii")))
        if framing is Framing.NONE:
            await _expect_end(exchange)
            return
        while data := await exchange.read():
            incoming.bytes_out += len(data)
            if framing is Framing.CHUNKED:
                data = b"%x\r\n%b\r\n" % (len(data), data)
            connection.write(data)
            await connection.drain()
        if framing is Framing.CHUNKED:
            trailers = plan.trailers(exchange.trailers)
            lines = b"".join(b"%b: %b\r\n" % trailer for trailer in trailers)
            connection.write(b"0\r\n%b\r\n" % lines)

    async def _tunnel(self, tunnel: Tunnel, decision: Forward, passage: Passage) -> None:
        def end(ending: Ending) -> None:
            passage.end(ending)
            tunnel.stop(ending.code)

        decision.headers.clear()  # they were sent
        counters = self._vigil.counters
        stream = self._vigil.tunnel(decision, tunnel.activity, end)
        counters.tunnels += 1
        try:
            await tunnel.run(decision.route.tunnel_timeout)
        finally:
            counters.tunnels -= 1
            if stream is not None:
                stream.close()

    @staticmethod
    def _switch(
        connection: GateConnection,
        incoming: Incoming,
        decision: Forward,
        exchange: Exchange,
        response: ResponseHead,
        upgrade: str | None,
    ) -> Tunnel:
        """Answer 101, and return the tunnel behind it."""
        if upgrade is None:
            raise UpstreamInvalid("a 101 that nobody asked for")
        check_switch(upgrade, incoming.view, response.headers)
        headers = decision.route.responses_for(decision.client).apply(
            response.headers, decision.response_headers
        )
        headers = [h for h in headers if h[0].lower() not in _FRAMING_NAMES]
        switched: list[Header] = [
            (b"Upgrade", upgrade.encode("latin-1")),
            (b"Connection", b"Upgrade"),
        ]
        incoming.is_answered = True
        incoming.keeps_alive = False
        connection.write(response_head(101, [*switched, *headers, _request_id(decision)]))
        return Tunnel(
            connection,
            incoming,
            exchange.upgraded(),
            is_websocket=upgrade == "websocket",
            is_watched=bool(decision.held) or decision.reported is not None,
        )


def _request_id(decision: Forward) -> Header:
    """Return the id that the log line has, for whoever asks what became of a request."""
    return b"X-Request-Id", decision.request_id.encode("ascii")


def framing_of(method: str, version: tuple[int, int], response: ResponseHead) -> Framing:
    """Return how a client of `version` learns where the answer to `method` ends."""
    if not may_have_body(method, response.status):
        return Framing.NONE
    if _length(response) is not None:
        return Framing.LENGTH
    return Framing.CHUNKED if version >= (1, 1) else Framing.CLOSE


def _length(response: ResponseHead) -> bytes | None:
    for name, value in response.headers:
        if name.lower() == b"content-length":
            return value
    return None


def is_event_stream(headers: Sequence[Header]) -> bool:
    """Tell whether the answer is server-sent events (HTML §9.2)."""
    for name, value in headers:
        if name.lower() == b"content-type":
            return value.lower().startswith(b"text/event-stream")
    return False


def client_head(
    response: ResponseHead,
    headers: Sequence[Header],
    framing: Framing,
    *,
    version: tuple[int, int],
    keeps_alive: bool,
) -> bytes:
    """Return the head that the client gets, up to the value of X-Request-Id, which is its last."""
    lines = [h for h in headers if h[0].lower() not in _FRAMING_NAMES]
    length = _length(response)
    if framing is Framing.CHUNKED:
        lines.append((b"Transfer-Encoding", b"chunked"))
    elif length is not None and response.status != 204:
        lines.append((b"Content-Length", length))
    if all(name.lower() != b"date" for name, _ in lines):
        lines.append(date())
    lines += connection_header(version, keeps_alive=keeps_alive)
    lines.append((b"X-Request-Id", b""))
    return response_head(response.status, lines, reason=response.reason)[:-4]


async def _expect_end(exchange: Exchange) -> None:
    if await exchange.read():
        raise UpstreamInvalid("a body where none can be")


async def _send_body(
    connection: GateConnection, incoming: Incoming, exchange: Exchange
) -> ProxyError | None:
    """Pass the request body on; return why it could not be read from the client, if so.

    A server that has stopped reading may still have answered: that is not an error here.
    """
    try:
        while exchange.accepts_body and (data := await connection.read_body(incoming)):
            await exchange.send(data)
        if incoming.payload.is_eof():
            await exchange.finish()
    except UpstreamError:
        return None
    except ProxyError as error:
        exchange.abort()
        return error
    return None


async def _await_head(
    exchange: Exchange, body: asyncio.Task[ProxyError | None] | None
) -> ResponseHead:
    """Return the response's head; a broken request body is told instead of what it led to."""
    try:
        return await exchange.head()
    except UpstreamError:
        if body is not None and body.done() and not body.cancelled():
            error = body.result()
            if error is not None:
                raise error from None
        raise


def _takes_trailers(view: RequestView) -> bool:
    """Tell whether the client said `TE: trailers` (RFC 9110 §10.1.4)."""
    tokens = b",".join(view.values(b"te")).lower().split(b",")
    return b"trailers" in {token.strip() for token in tokens}
