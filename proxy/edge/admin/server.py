"""The admin listener: one request for each connection, guarded before it is looked at."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Final

from proxy.edge.admin.endpoints import AdminEndpoints, AdminServices
from proxy.edge.admin.guard import Guard
from proxy.edge.admin.request import HEAD_BYTES, AdminRequest, read_request
from proxy.edge.answers import problem
from proxy.edge.heads import own_response
from proxy.edge.one_shot import Heard, OneShotListener
from proxy.edge.pending import Pending
from proxy.edge.portal.reply import Refused
from proxy.errors import ProxyError
from proxy.model import Header
from proxy.services.administration import Actor
from proxy.services.gate import new_request_id

READ_TIMEOUT_S: Final = 10.0
"""For the whole request, and again for the answer to be taken."""
MAX_CONNECTIONS: Final = 64

_log = logging.getLogger("latchgate.admin")

Answer = tuple[int, list[Header], bytes]


class AdminJudge:
    """Who may ask the admin API, and what it works with, under one configuration."""

    def __init__(self, guard: Guard, services: AdminServices) -> None:
        self.guard = guard
        self.endpoints = AdminEndpoints(services)
        self.pending = Pending()
        """Requests that are being answered."""


class AdminServer(OneShotListener):
    """Answers the admin API. Made and closed by the supervisor."""

    def __init__(self, judge: AdminJudge) -> None:
        super().__init__(limit=HEAD_BYTES, most=MAX_CONNECTIONS, patience_s=READ_TIMEOUT_S)
        self._judge = judge

    def adopt(self, judge: AdminJudge) -> None:
        """Answer by another configuration, whoever has not been heard yet."""
        self._judge = judge

    async def exchange(
        self, reader: asyncio.StreamReader, client: str, heard: Heard
    ) -> bytes | None:
        """Answer one request that the guard lets pass."""
        request_id = new_request_id()
        request: AdminRequest | None = None
        try:
            async with asyncio.timeout(READ_TIMEOUT_S):
                request = await read_request(reader)
            heard()
            if request is None:
                return None
            judge = self._judge
            judge.guard.check(request)
            with judge.pending:
                status, headers, body = await _answer(judge, request, client, request_id)
        except ProxyError as error:
            status, headers, body = self._refuse(error, request, client, request_id)
        except TimeoutError:
            raise
        except Exception:  # noqa: BLE001 - a bug of ours must not end the listener, nor tell anything
            _log.error("a request of the admin API failed", exc_info=True)
            status, headers, body = problem("internal_error", request_id)
        method = "GET" if request is None else request.method
        return own_response(status, headers, body, method=method, version=(1, 1), keeps_alive=False)

    def _refuse(
        self, error: ProxyError, request: AdminRequest | None, client: str, request_id: str
    ) -> Answer:
        what = "a request" if request is None else f"{request.method} {request.path}"
        _log.warning("%s refused: %s %s (from %s)", what, error.code, error.detail, client)
        status, headers, body = problem(
            error.code, request_id, error.headers if isinstance(error, Refused) else ()
        )
        return status, list(headers), body


async def _answer(judge: AdminJudge, request: AdminRequest, client: str, request_id: str) -> Answer:
    agent = request.headers.get(b"user-agent", b"").decode("utf-8", "backslashreplace")
    actor = Actor("by the admin API", None, client, agent, request_id)
    # What was begun is finished: nothing looks at the client until there is an answer for it.
    reply = await judge.endpoints.answer(request, actor, time.time())
    _log.info("%s %s: %d (from %s)", request.method, request.path, reply.status, client)
    return reply.status, [*reply.lines(), (b"X-Request-Id", request_id.encode())], reply.body
