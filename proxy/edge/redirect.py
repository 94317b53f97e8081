"""The redirect listener: from http to https, and nothing else (RFC 9110 §15.4.9).

It reads requests as the gate itself does, with smaller limits; no application and no store is ever
asked. What never belongs here: which hosts there are.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from proxy.edge.answers import Answers, OwnAnswer
from proxy.edge.counters import RequestCounters
from proxy.edge.greeting import Greeting
from proxy.edge.incoming import ClientLeft, ConnectionLimits, HeadError, Incoming
from proxy.edge.logged import logged_host, logged_path
from proxy.edge.manager import ConnectionManager
from proxy.edge.pages import Pages
from proxy.errors import ProxyError
from proxy.model import AccessRecord, Header, Peer
from proxy.services.compile import compile_dressing
from proxy.services.gate import new_request_id
from proxy.services.redirect import HttpsRedirect

if TYPE_CHECKING:
    from proxy.config.models import Config
    from proxy.edge.connection import GateConnection
    from proxy.edge.lane import Lane

MAX_CONNECTIONS: Final = 1000
"""Of one worker; each is there for a request or two."""
MAX_HEAD: Final = 16 * 1024
MAX_WAIT_S: Final = 10.0
"""For a head, for the next request, and for an answer to be taken."""

PERMANENT: Final = 308


class RedirectServer:
    """Leads clients to https until it is drained."""

    lane: Lane | None = None

    def __init__(
        self,
        config: Config,
        counters: RequestCounters,
        access_log: Callable[[AccessRecord], None] | None = None,
    ) -> None:
        self._counters = counters
        self._access_log = access_log
        self._is_draining = False
        self.adopt(config)
        self._manager = ConnectionManager(self)

    def adopt(self, config: Config) -> None:
        """Lead clients as `config` says from now on; those who are connected too."""
        limits = config.server.limits
        self.limits = ConnectionLimits(
            header_size=min(limits.header_size, MAX_HEAD),
            header_timeout=min(limits.header_timeout, MAX_WAIT_S),
            body_size=0,
            write_timeout=min(limits.write_timeout, MAX_WAIT_S),
            keepalive=min(limits.keepalive, MAX_WAIT_S),
        )
        self.greeting = Greeting.from_config(config.server)
        self._most_of_one = limits.connections_per_address
        self._redirect = HttpsRedirect.from_config(config)
        self._dressing = compile_dressing(config)
        self._answers = Answers(Pages.from_config(config.branding))

    async def start(self, sockets: Sequence[socket.socket]) -> None:
        """Accept connections on `sockets`, which the caller has bound."""
        await self._manager.listen(sockets)

    async def drain(self, timeout_s: float) -> None:
        """Accept no more, answer what was asked, then close."""
        self._is_draining = True
        await self._manager.drain(timeout_s)

    def admits(self, peer: Peer) -> bool:
        """Tell whether one more connection is taken."""
        most = self._most_of_one
        return (
            not self._is_draining
            and self._manager.count <= MAX_CONNECTIONS
            and (most is None or self._manager.of_address(peer.address) <= most)
        )

    async def serve(self, connection: GateConnection, incoming: Incoming) -> None:
        """Answer one request; one log line says how."""
        request_id = new_request_id()
        code, detail = None, ""
        try:
            location = self._redirect.location(incoming.view)
        except ProxyError as error:
            code, detail = error.code, error.detail
            incoming.keeps_alive = False
            answer = self._answers.refuse(incoming.view, code, request_id)
        else:
            answer = PERMANENT, _headers(location, request_id), b""
        try:
            self._answer(connection, incoming, answer)
            await connection.drain()
        except ClientLeft:
            return
        finally:
            self._record(connection, incoming, request_id, (answer[0], code, detail))

    async def serve_error(self, connection: GateConnection, error: HeadError) -> None:
        """Answer what is not a request."""
        request_id = new_request_id()
        answer = self._answers.refuse(None, error.code, request_id)
        self._answer(connection, None, answer)
        self._record(connection, None, request_id, (answer[0], error.code, error.detail))

    def _answer(
        self, connection: GateConnection, incoming: Incoming | None, answer: OwnAnswer
    ) -> None:
        status, headers, body = answer
        connection.answer(incoming, status, self._dressing.own(headers, is_secure=False), body)

    def _record(
        self,
        connection: GateConnection,
        incoming: Incoming | None,
        request_id: str,
        answered: tuple[int, str | None, str],
    ) -> None:
        """Count and log a request that is over."""
        status, code, detail = answered
        decision = "answer" if code is None else "deny"
        duration_s = 0.0
        if incoming is not None:
            duration_s = asyncio.get_running_loop().time() - incoming.started_mono
        self._counters.request((decision, "", "", code), None if incoming is None else duration_s)
        if self._access_log is None:
            return
        view = None if incoming is None else incoming.view
        self._access_log(
            AccessRecord(
                request_id=request_id,
                method="" if view is None else view.method,
                host="" if view is None else logged_host(view),
                path="" if view is None else logged_path(view.target),
                status=status,
                decision=decision,
                code=code,
                detail=detail,
                route=None,
                scheme=None,
                subject=None,
                upstream=None,
                server=None,
                client=connection.peer.address,
                started_at=time.time() if incoming is None else incoming.started_at,
                duration_s=duration_s,
                upstream_s=None,
                bytes_in=0,
                bytes_out=0 if incoming is None else incoming.bytes_out,
            )
        )


def _headers(location: bytes, request_id: str) -> list[Header]:
    """Return the headers of a redirect. No cache keeps it: what remembers https is HSTS."""
    return [
        (b"Location", location),
        (b"Cache-Control", b"no-store"),
        (b"X-Request-Id", request_id.encode("ascii")),
    ]
