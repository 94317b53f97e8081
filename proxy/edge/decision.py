"""The decision listener: answers other proxies about requests that they serve themselves (S13).

The same gate decides as of requests that are forwarded; what differs is how a request is described
(proxy.core.described) and how its decision is told. Whatever goes wrong is a refusal.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from proxy.codes import CODES
from proxy.config.models import DecisionConfig
from proxy.core.described import DIALECTS, Described, Dialect, Misdescribed, describe
from proxy.core.forwarding import ForwardingPolicy
from proxy.edge.answers import Answers, problem
from proxy.edge.counters import RequestCounters
from proxy.edge.forward import Passage
from proxy.edge.incoming import ClientLeft, ConnectionLimits, HeadError, Incoming
from proxy.edge.logged import logged_host, logged_path
from proxy.edge.manager import ConnectionManager
from proxy.edge.pages import Pages
from proxy.edge.pending import Pending
from proxy.model import AccessRecord, Header, Peer, Refusal, RequestView
from proxy.services.decision import Answer, Decision, Forward, Refuse
from proxy.services.gate import new_request_id
from proxy.services.letting import Letting
from proxy.services.limits import limited

if TYPE_CHECKING:
    from proxy.edge.connection import GateConnection
    from proxy.edge.lane import Lane
    from proxy.edge.server import MakeTracer
    from proxy.edge.tracing import Tracer
    from proxy.services.runtime import Runtime

MAX_CONNECTIONS: Final = 10_000
"""Of one worker; a proxy keeps some for each of its own workers."""

_REDIRECTS: Final = range(300, 400)
_NOBODY: Final = ((b"Cache-Control", b"no-store"),)

_log: Final = logging.getLogger("latchgate.edge")

Told = tuple[int, list[Header], bytes]
"""Status, headers without framing, body."""


class Callers:
    """Who may ask, and in which dialect."""

    def __init__(self, config: DecisionConfig) -> None:
        self._dialects = [
            (ForwardingPolicy([caller.from_]), DIALECTS[caller.dialect])
            for caller in config.callers
        ]
        self._known: dict[str | None, Dialect | None] = {}

    def dialect_of(self, peer: Peer) -> Dialect | None:
        """Return the dialect of whoever connects from there; `None` for strangers."""
        key = None if peer.is_unix else peer.address
        if key not in self._known:
            found = (d for policy, d in self._dialects if policy.known_peer(peer)[1])
            if len(self._known) >= MAX_CONNECTIONS:
                self._known.clear()
            self._known[key] = next(found, None)
        return self._known[key]


class _Judge:
    """What answers questions under one configuration; a question keeps the one that it began with."""

    def __init__(
        self,
        runtime: Runtime,
        config: DecisionConfig,
        counters: RequestCounters,
        access_log: Callable[[AccessRecord], None] | None,
        tracer: Tracer | None,
    ) -> None:
        self._gate = runtime.gate
        self._tracer = tracer
        self._callers = Callers(config)
        self._counters = counters
        self._access_log = access_log
        self._answers = Answers(Pages.from_config(runtime.config.branding))
        self._letting = Letting.from_config(runtime.config)
        limits = runtime.config.server.limits
        self.limits = ConnectionLimits(
            header_size=limits.header_size,
            header_timeout=limits.header_timeout,
            body_size=0,
            write_timeout=limits.write_timeout,
            keepalive=limits.keepalive,
        )
        self.pending = Pending()
        """Questions that still have to be decided."""

    async def serve(self, connection: GateConnection, incoming: Incoming) -> None:
        """Answer one question; one log line says what was decided."""
        dialect = self._callers.dialect_of(connection.peer)
        if dialect is None:
            _log.warning("a stranger asked for a decision: %s", connection.peer.address or "unix")
            incoming.keeps_alive = False
            connection.answer(incoming, 403, list(_NOBODY), b"")
            return
        passage, asked, decision = Passage(), None, None
        if self._tracer is not None:
            incoming.trace = self._tracer.begin(incoming.view, lot=None)
        try:
            asked = describe(incoming.view, dialect)
            with self.pending:
                decision = await self._gate.decide(asked.view, time.time(), client=asked.client)
                decision = await limited(decision, asked.view, time.time())
            if incoming.trace is not None:
                incoming.trace.decided()
            told = self._tell(asked, decision, dialect, passage)
        except Misdescribed as unclear:
            told = self._refuse(dialect, asked, unclear.code, unclear.detail, passage)
        except asyncio.CancelledError:
            passage.leave()
            raise
        except Exception as bug:  # noqa: BLE001 - whatever it is, the proxy hears a refusal
            _log.exception("a question ended in an error of the gate")
            decision = None
            told = self._refuse(dialect, asked, "internal_error", type(bug).__name__, passage)
        finally:
            if incoming.trace is not None:  # of a question that cannot be read nothing is told
                view = RequestView("", b"", (), connection.peer) if asked is None else asked.view
                incoming.trace.finish(view, decision, _name(decision, passage), passage)
            if passage.status:
                self._record(incoming, dialect, asked, decision, passage)
        try:
            connection.answer(incoming, *told)
        except ClientLeft:
            return

    # What is told

    def _tell(
        self, asked: Described, decision: Decision, dialect: Dialect, passage: Passage
    ) -> Told:
        passage.request_id = decision.request_id
        match decision:
            case Forward():
                found = self._letting.let(asked, decision, dialect)
                if isinstance(found, Refusal):
                    return self._refuse(dialect, asked, found.code, found.detail, passage)
                if asked.wants_answer:
                    detail = "refused when it was asked, and not any more"
                    return self._refuse(dialect, asked, "decision_changed", detail, passage)
                passage.status = 200
                return 200, found, b""
            case Refuse(refusal=refusal):
                headers = (*refusal.headers, *decision.response_headers)
                passage.code, passage.detail = refusal.code, refusal.detail
                status, lines, body = self._answers.refuse(
                    asked.view, refusal.code, decision.request_id, headers, sign_in=decision.sign_in
                )
            case Answer() if decision.status in _REDIRECTS or (
                decision.status == 204 and dialect.name != "traefik"
            ):
                status, lines, body = decision.status, list(decision.headers), decision.body
            case _:
                detail = "the gate answers this itself, on its own listener"
                return self._refuse(dialect, asked, "decision_unanswerable", detail, passage)
        passage.status = status
        return _in(dialect, asked, (status, lines, body))

    def _refuse(
        self, dialect: Dialect, asked: Described | None, code: str, detail: str, passage: Passage
    ) -> Told:
        """Refuse what the gate itself has not refused."""
        passage.fail(code, detail)
        passage.request_id = passage.request_id or new_request_id()
        passage.status = CODES[code].status
        if asked is None:
            return _in(dialect, asked, problem(code, passage.request_id))
        return _in(dialect, asked, self._answers.refuse(asked.view, code, passage.request_id))

    def _record(
        self,
        incoming: Incoming,
        dialect: Dialect,
        asked: Described | None,
        decision: Decision | None,
        passage: Passage,
    ) -> None:
        """Count a question, and log the request that it was about."""
        route = decision.route if decision is not None else None
        identity = decision.identity if isinstance(decision, (Forward, Refuse)) else None
        scheme = identity.scheme if identity is not None else None
        if scheme is None and isinstance(decision, Refuse):
            scheme = decision.refusal.scheme
        name = _name(decision, passage)
        duration_s = asyncio.get_running_loop().time() - incoming.started_mono
        self._counters.request(
            (name, route.name if route else "", scheme or "", passage.code), duration_s
        )
        reported = decision.reported if isinstance(decision, Forward) and name == "allow" else None
        if route is not None and reported is not None:
            self._counters.report(route.name, reported.code)
        if self._access_log is None:
            return
        view = incoming.view if asked is None else asked.view
        self._access_log(
            AccessRecord(
                request_id=passage.request_id,
                method=view.method if asked else "",
                host=logged_host(view) if asked else "",
                path=logged_path(view.target) if asked else "",
                status=passage.status,
                decision=name,
                code=passage.code,
                detail=passage.detail or (reported.detail if reported else ""),
                route=route.name if route else None,
                scheme=identity.scheme if identity else None,
                subject=identity.subject if identity else None,
                upstream=route.upstream.name if route and name == "allow" else None,
                server=None,
                client=asked.client.address if asked else incoming.view.peer.address,
                started_at=incoming.started_at,
                duration_s=duration_s,
                upstream_s=None,
                bytes_in=0,
                bytes_out=0,
                caller=dialect.name,
                reported=reported.code if reported else None,
            )
        )


class DecisionServer:
    """Tells proxies what becomes of requests, until it is drained."""

    greeting: None = None
    """Who asks connects for itself."""
    lane: Lane | None = None
    """Questions are decided in the request loop: each has an answer of its own to be put together."""

    def __init__(
        self,
        runtime: Runtime,
        config: DecisionConfig,
        counters: RequestCounters,
        access_log: Callable[[AccessRecord], None] | None = None,
        make_tracer: MakeTracer | None = None,
    ) -> None:
        """`make_tracer`: who decides about traces under each configuration; `None`: there are none."""
        self._counters = counters
        self._access_log = access_log
        self._make_tracer = make_tracer
        self._judge = self._make(runtime, config)
        self._manager = ConnectionManager(self)
        self._is_draining = False

    def _make(self, runtime: Runtime, config: DecisionConfig) -> _Judge:
        tracer = None if self._make_tracer is None else self._make_tracer(runtime)
        return _Judge(runtime, config, self._counters, self._access_log, tracer)

    @property
    def limits(self) -> ConnectionLimits:
        """What holds for connections now."""
        return self._judge.limits

    async def start(self, sockets: Sequence[socket.socket]) -> None:
        """Accept connections on `sockets`, which the caller has bound."""
        await self._manager.listen(sockets)

    async def drain(self, timeout_s: float) -> None:
        """Accept no more, answer what was asked, then close."""
        self._is_draining = True
        await self._manager.drain(timeout_s)

    def admits(self, peer: Peer) -> bool:
        """Tell whether one more connection is taken."""
        del peer
        return not self._is_draining and self._manager.count <= MAX_CONNECTIONS

    async def serve(self, connection: GateConnection, incoming: Incoming) -> None:
        """Answer one question; one log line says what was decided."""
        await self._judge.serve(connection, incoming)

    def adopt(self, runtime: Runtime, config: DecisionConfig) -> Pending:
        """Answer under another configuration from now on; return what the one before still decides."""
        before = self._judge
        self._judge = self._make(runtime, config)
        for connection in self._manager.connections:
            connection.adopt(self.limits, None)
        return before.pending

    async def serve_error(self, connection: GateConnection, error: HeadError) -> None:
        """Refuse what is not a request."""
        _log.warning("a question that is no request: %s %s", error.code, error.detail)
        connection.answer(None, 403, list(_NOBODY), b"")


def _in(dialect: Dialect, asked: Described | None, told: Told) -> Told:
    """Return a refusal or redirect as its proxy takes it.

    nginx lets pass on 2xx, understands 401 and 403, and fails on all else; it shows its client none of
    it but the challenge, so that it fetches the client's answer, with its challenge, apart from this.
    """
    status, lines, _ = told
    if dialect.name != "nginx" or (asked is not None and asked.wants_answer):
        return told
    is_challenge = status == 401 or status in _REDIRECTS
    shown = [header for header in lines if header[0].lower() != b"www-authenticate"]
    return 401 if is_challenge else 403, shown, b""


def _name(decision: Decision | None, passage: Passage) -> str:
    """Return what was decided, in the words of the access log."""
    match decision:
        case Forward():
            return "allow" if passage.status == 200 else "deny"
        case Answer() if passage.code is None:
            return "answer"
        case Refuse(kind=kind):
            return kind
    return "error" if passage.code == "internal_error" else "deny"
