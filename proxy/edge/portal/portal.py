"""From a request to one of the gate's own endpoints to its answer.

The endpoints stand in files of their own, by part; each takes a `Visit` and returns a `Reply`. What
never belongs here: who may pass a route.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Final

from proxy.adapters.tasks import spawn
from proxy.core.cookies import expire_headers
from proxy.edge.incoming import BodyTooLarge, Incoming
from proxy.edge.portal import (
    account,
    administration,
    factors,
    foreign_factors,
    login,
    oauth,
    providers,
    second_step,
    sessions,
)
from proxy.edge.portal.reply import Refused, Reply
from proxy.edge.portal.visit import MAX_BODY_BYTES, Visit
from proxy.errors import LoginBusy, ProxyError
from proxy.services.attempts import retry_after
from proxy.services.decision import Own
from proxy.services.foreign_step_up import ForeignServices
from proxy.services.oauth import TokenService
from proxy.services.own import OwnServices
from proxy.services.schemes.port import Ambiguous

if TYPE_CHECKING:
    from proxy.edge.connection import GateConnection

Endpoint = Callable[[Visit], Awaitable[Reply]]

_PARTS: Final[tuple[Callable[[OwnServices], Mapping[str, Endpoint]], ...]] = (
    account.endpoints,
    login.endpoints,
    factors.endpoints,
    second_step.endpoints,
    providers.endpoints,
    sessions.endpoints,
    administration.endpoints,
)

_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"


class Portal:
    """Answers for the gate itself: to people where it has `login:`, to OAuth clients. The endpoints' names are those of proxy.services.own."""

    def __init__(
        self,
        services: OwnServices | None,
        tokens: TokenService | None = None,
        foreign: ForeignServices | None = None,
    ) -> None:
        self._endpoints: dict[str, Endpoint] = {}
        if services is not None:
            for part in _PARTS:
                self._endpoints.update(part(services))
        if foreign is not None:
            self._endpoints.update(foreign_factors.endpoints(foreign))
        if tokens is not None:
            self._endpoints.update(oauth.endpoints(tokens))

    async def answer(self, connection: GateConnection, incoming: Incoming, own: Own) -> Reply:
        """Read the body and let the endpoint answer.

        Raises `Refused` and every other `ProxyError`.
        """
        body = await _read_body(connection, incoming)
        visit = Visit(
            view=incoming.view,
            client=own.client,
            request_id=own.request_id,
            segments=own.segments,
            query=own.target.query,
            body=body,
            now=time.time(),
        )
        if own.endpoint.is_for_good:
            work = spawn(self._answer(visit, own), name=f"endpoint {own.endpoint.name}")
            # Who leaves cancels what waits here, and not what they have asked for.
            done = await asyncio.shield(work)
        else:
            done = await self._answer(visit, own)
        if isinstance(done, ProxyError):
            raise done
        return done

    async def _answer(self, visit: Visit, own: Own) -> Reply | ProxyError:
        """Return the answer, or why there is none: nobody may be there any more to catch it."""
        try:
            return await self._endpoints[own.endpoint.name](visit)
        except Ambiguous as twice:  # S2
            headers = expire_headers(twice.names, own.client.host, own.target.path)
            detail = f"two different values of cookie {twice.place.name}"
            return Refused("cookie_duplicate", detail, headers)
        except LoginBusy as busy:
            return Refused(busy.code, busy.detail, ((b"Retry-After", retry_after(busy.wait_s)),))
        except ProxyError as error:
            return error


async def _read_body(connection: GateConnection, incoming: Incoming) -> bytes:
    """Return the whole body of a request to the gate itself. Raises `BodyTooLarge` and its kin."""
    if not incoming.has_body:
        return b""
    if incoming.length is not None and incoming.length > MAX_BODY_BYTES:
        raise BodyTooLarge("Content-Length exceeds what the gate's own endpoints read")
    if incoming.expects_continue:
        connection.write(_CONTINUE)
    body = bytearray()
    while data := await connection.read_body(incoming):
        body += data
        if len(body) > MAX_BODY_BYTES:
            raise BodyTooLarge("the body exceeds what the gate's own endpoints read")
    return bytes(body)
