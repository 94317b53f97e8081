"""One configuration at work: requests decided and rendered under it, and one log line for each.

A request ends under the configuration under which it began, whatever is loaded meanwhile. What never
belongs here: sockets, and anything that outlives a configuration.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from proxy.adapters.telemetry import AccessLog
from proxy.codes import CODES
from proxy.edge.answers import Answers, OwnAnswer
from proxy.edge.connection import GateConnection
from proxy.edge.counters import RequestCounters
from proxy.edge.forward import CLIENT_CLOSED, Forwarder, Passage
from proxy.edge.greeting import Greeting
from proxy.edge.incoming import ClientLeft, ConnectionLimits, HeadError, Incoming, check_length
from proxy.edge.lane import Express, Lane, Log
from proxy.edge.logged import logged_host, logged_path
from proxy.edge.pages import Pages
from proxy.edge.pending import Pending
from proxy.edge.portal import Portal, Refused
from proxy.edge.traced import TracedConnection
from proxy.edge.turns import Turns
from proxy.edge.under_way import TakenBack, break_off
from proxy.errors import ProxyError
from proxy.model import AccessRecord, ClientInfo, Peer
from proxy.services.compile import compile_dressing
from proxy.services.decision import Answer, Decision, Forward, Own, Refuse
from proxy.services.gate import new_request_id
from proxy.services.limits import limited

if TYPE_CHECKING:
    from proxy.edge.passing import PassingConnection
    from proxy.edge.tracing import Tracer
    from proxy.services.runtime import Runtime


_log: Final = logging.getLogger("latchgate.edge")

_FRAMING_CODES: Final = frozenset({"bad_request", "header_ambiguous"})
"""Refusals of heads behind which another server could see another request than the gate (F1)."""

_CUT_OFF: Final = "the gate shut down before the end of the answer"

_DECISIONS: Final = {"challenge": "challenge", "deny": "deny", "unavailable": "unavailable"}


class Serving:
    """Serves requests under one `Runtime`."""

    def __init__(
        self,
        runtime: Runtime,
        counters: RequestCounters,
        turns: Turns,
        access_log: Callable[[AccessRecord], None] | None,
        express: Express,
    ) -> None:
        """`counters` and `turns` are the server's: they outlive the configuration."""
        self.runtime = runtime
        self.counters = counters
        self._turns = turns
        self._access_log = access_log
        limits = runtime.config.server.limits
        self.limits = ConnectionLimits(
            header_size=limits.header_size,
            header_timeout=limits.header_timeout,
            body_size=limits.body_size,
            body_rate=limits.body_rate,
            write_timeout=limits.write_timeout,
            keepalive=limits.keepalive,
        )
        self.greeting = Greeting.from_config(runtime.config.server)
        self.forwarder = Forwarder(runtime.forwarding, runtime.gate_id, counters, runtime.vigil)
        runtime.vigil.on_reported = counters.report
        self._answers = Answers(Pages.from_config(runtime.config.branding))
        self._dressing = compile_dressing(runtime.config)
        self._portal = Portal(runtime.own, runtime.tokens, runtime.foreign)
        is_json = isinstance(access_log, AccessLog) and access_log.is_json
        self._json_log = access_log if isinstance(access_log, AccessLog) and is_json else None
        self.express_log: Log | None = None if access_log is None else self._log_express
        self.lane = None if express == "off" else Lane(self, express)
        self.tracer: Tracer | None = None
        self.pending = Pending()
        """What still has to be decided, or to be answered by the gate itself."""

    def trace(self, tracer: Tracer | None) -> None:
        """Have `tracer` decide about traces, before the first request."""
        self.tracer = tracer
        if self.lane is not None:
            self.lane.tracer = tracer

    # One request

    async def serve(self, connection: GateConnection, incoming: Incoming) -> None:
        """Decide `incoming` and render the decision; exactly one log line says what happened."""
        passage = Passage()
        decision: Decision | None = None
        try:
            if self.tracer is not None:
                lot = connection.take_lot() if isinstance(connection, TracedConnection) else None
                incoming.trace = self.tracer.begin(incoming.view, lot=lot)
            await self._turns.take()
            decision = await self._decide(incoming)
            if incoming.trace is not None:
                incoming.trace.decided()
            await self._render(connection, incoming, decision, passage)
        except ClientLeft as left:
            passage.leave(left.detail)
            raise
        except asyncio.CancelledError:
            if connection.is_cut_off:
                self.fail(connection, incoming, decision, passage, "draining", _CUT_OFF)
            else:
                passage.leave()
            raise
        except ProxyError as error:
            self.fail(connection, incoming, decision, passage, error.code, error.detail)
        except Exception as bug:  # noqa: BLE001 - whatever it is, the client gets a clear answer
            passage.request_id = decision.request_id if decision else new_request_id()
            _log.exception("request %s ended in an error of the gate", passage.request_id)
            detail = type(bug).__name__
            self.fail(connection, incoming, decision, passage, "internal_error", detail)
        finally:
            self.record(incoming, decision, passage)

    async def _decide(self, incoming: Incoming) -> Decision:
        with self.pending:
            decision = incoming.decision or await self.runtime.gate.decide(
                incoming.view, time.time(), fresh=incoming.fresh
            )
            return await limited(decision, incoming.view, time.time())

    async def _render(
        self,
        connection: GateConnection,
        incoming: Incoming,
        decision: Decision,
        passage: Passage,
    ) -> None:
        match decision:
            case Forward():
                incoming.body_size = decision.route.body_size or self.limits.body_size
                check_length(incoming)
                await self._forward(connection, incoming, decision, passage)
            case Answer():
                passage.status = decision.status
                self._answer(
                    connection,
                    incoming,
                    decision,
                    (decision.status, list(decision.headers), decision.body),
                )
            case Own():
                await self._answer_for_itself(connection, incoming, decision, passage)
            case Refuse(refusal=refusal):
                passage.code, passage.detail = refusal.code, refusal.detail
                if refusal.code in _FRAMING_CODES:
                    incoming.keeps_alive = False
                self.refuse(connection, incoming, decision, passage)
        await connection.drain()

    async def _forward(
        self, connection: GateConnection, incoming: Incoming, decision: Forward, passage: Passage
    ) -> None:
        """Forward a request, as one of so many that the route may have under way."""
        limiter = decision.route.limiter
        if limiter is not None:
            limiter.enter()
        try:
            await self.forwarder.forward(connection, incoming, decision, passage)
        except TakenBack as late:
            self.refuse(connection, incoming, late.refuse, passage)
        finally:
            if limiter is not None:
                limiter.leave()

    def refuse(
        self, connection: GateConnection, incoming: Incoming, refuse: Refuse, passage: Passage
    ) -> None:
        """Answer with a refusal, and note its status."""
        refusal = refuse.refusal
        headers = (*refusal.headers, *refuse.response_headers)
        answer = self._answers.refuse(
            incoming.view, refusal.code, refuse.request_id, headers, sign_in=refuse.sign_in
        )
        passage.status = answer[0]
        self._answer(connection, incoming, refuse, answer)

    def _answer(
        self,
        connection: GateConnection,
        incoming: Incoming | None,
        decision: Decision | None,
        answer: OwnAnswer,
    ) -> None:
        """Write an answer of the gate's own, with what the operator sets on all of them."""
        dressing, client = self._dressing, None
        if decision is not None:
            client = decision.client
            if decision.route is not None and decision.route.dressing is not None:
                dressing = decision.route.dressing
        is_secure = connection.peer.is_tls if client is None else client.scheme == "https"
        status, headers, body = answer
        connection.answer(incoming, status, dressing.own(headers, is_secure=is_secure), body)

    async def _answer_for_itself(
        self, connection: GateConnection, incoming: Incoming, own: Own, passage: Passage
    ) -> None:
        """Answer a request to one of the gate's own endpoints."""
        try:
            with self.pending:
                reply = await self._portal.answer(connection, incoming, own)
        except Refused as refused:
            passage.code, passage.detail = refused.code, refused.detail
            status, lines, body = self._answers.refuse(
                incoming.view, refused.code, own.request_id, refused.headers
            )
        else:
            passage.code, passage.subject = reply.code, reply.subject
            passage.detail = reply.detail
            status, lines, body = reply.status, reply.lines(), reply.body
        passage.status = status
        self._answer(connection, incoming, own, (status, lines, body))

    def fail(
        self,
        connection: GateConnection,
        incoming: Incoming,
        decision: Decision | None,
        passage: Passage,
        code: str,
        detail: str,
    ) -> None:
        """Answer a failure; after the head was sent only the end of the connection tells it."""
        passage.fail(code, detail)
        if incoming.is_answered:
            break_off(connection)
            return
        passage.status = CODES[code].status
        if not passage.request_id:
            passage.request_id = decision.request_id if decision else new_request_id()
        request_id = passage.request_id
        cors = decision.response_headers if isinstance(decision, (Forward, Refuse)) else ()
        answer = self._answers.refuse(incoming.view, code, request_id, cors)
        try:
            self._answer(connection, incoming, decision, answer)
        except ClientLeft:
            passage.status = CLIENT_CLOSED

    async def serve_error(self, connection: GateConnection, error: HeadError) -> None:
        """Answer what is not a request, with one log line; the connection then closes (F1)."""
        request_id = new_request_id()
        answer = self._answers.refuse(None, error.code, request_id)
        self._answer(connection, None, None, answer)
        self.counters.request(("deny", "", "", error.code), None)
        if self._access_log is not None:
            self._access_log(_error_record(request_id, answer[0], error, connection.peer))

    def record(self, incoming: Incoming, decision: Decision | None, passage: Passage) -> None:
        """Count a request that is over, and log it: exactly one line says what happened."""
        name = _name(decision)
        route = decision.route if decision else None
        duration_s = asyncio.get_running_loop().time() - incoming.started_mono
        self._count(incoming, decision, name, passage, duration_s)
        if incoming.trace is not None:
            incoming.trace.finish(incoming.view, decision, name, passage)
        if self._access_log is None:
            return
        client: ClientInfo | None = decision.client if decision else None
        identity = decision.identity if isinstance(decision, (Forward, Refuse)) else None
        reported = decision.reported if isinstance(decision, Forward) else None
        self._access_log(
            AccessRecord(
                request_id=decision.request_id if decision else passage.request_id,
                method=incoming.view.method,
                host=logged_host(incoming.view),
                path=logged_path(incoming.view.target),
                status=passage.status,
                decision=name,
                code=passage.code,
                detail=passage.detail or (reported.detail if reported else ""),
                route=route.name if route else None,
                scheme=identity.scheme if identity else None,
                subject=identity.subject if identity else passage.subject,
                upstream=route.upstream.name if route and isinstance(decision, Forward) else None,
                server=passage.server,
                client=client.address if client else incoming.view.peer.address,
                started_at=incoming.started_at,
                duration_s=duration_s,
                upstream_s=passage.upstream_s,
                bytes_in=incoming.bytes_in,
                bytes_out=incoming.bytes_out,
                reported=reported.code if reported else None,
            )
        )

    def _log_express(
        self, connection: PassingConnection, duration_s: float, upstream_s: float
    ) -> None:
        """Log a request of the lane that was forwarded."""
        try:
            if self._json_log is not None:
                connection.log(self._json_log, duration_s, upstream_s)
            elif self._access_log is not None:
                self._access_log(connection.account(duration_s, upstream_s))
        except Exception:  # noqa: BLE001 - the answer was sent: what follows it on the connection is not to suffer
            _log.exception("a request could not be logged")

    def _count(
        self,
        incoming: Incoming,
        decision: Decision | None,
        name: str,
        passage: Passage,
        duration_s: float,
    ) -> None:
        """Count a request that is over, under names of the configuration alone (S15)."""
        route = decision.route if decision else None
        scheme = None
        if isinstance(decision, (Forward, Refuse)) and decision.identity is not None:
            scheme = decision.identity.scheme
        elif isinstance(decision, Refuse):
            scheme = decision.refusal.scheme
        lasts = passage.status == 101 or incoming.is_event_stream
        self.counters.request(
            (name, route.name if route else "", scheme or "", passage.code),
            None if lasts else duration_s,
            incoming.bytes_in,
            incoming.bytes_out,
        )
        if route is not None and isinstance(decision, Forward):
            if decision.reported is not None:
                self.counters.report(route.name, decision.reported.code)
            status, code = passage.upstream_status, passage.code
            self.counters.upstream(route.upstream.name, status, code, passage.upstream_s)


def _name(decision: Decision | None) -> str:
    match decision:
        case Forward():
            return "forward"
        case Answer() | Own():
            return "answer"
        case Refuse(kind=kind):
            return _DECISIONS[kind]
    return "error"


def _error_record(request_id: str, status: int, error: HeadError, peer: Peer) -> AccessRecord:
    return AccessRecord(
        request_id=request_id,
        method="",
        host="",
        path="",
        status=status,
        decision="deny",
        code=error.code,
        detail=error.detail,
        route=None,
        scheme=None,
        subject=None,
        upstream=None,
        server=None,
        client=peer.address,
        started_at=time.time(),
        duration_s=0.0,
        upstream_s=None,
        bytes_in=0,
        bytes_out=0,
    )
