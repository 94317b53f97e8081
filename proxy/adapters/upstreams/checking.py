"""Active checks of a server: one request after the other, on a connection of its own each time."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from proxy.adapters.upstreams.connect import connect
from proxy.adapters.upstreams.connection import Connection
from proxy.adapters.upstreams.exchange import Exchange
from proxy.adapters.upstreams.request import RequestHead
from proxy.adapters.upstreams.response import HeadMemo
from proxy.adapters.upstreams.whole import WholeConnection
from proxy.errors import ProxyError, UpstreamError

if TYPE_CHECKING:
    from proxy.adapters.upstreams.server import Server
    from proxy.adapters.upstreams.settings import HealthCheck, UpstreamSettings

_log: Final = logging.getLogger("latchgate.upstreams")


async def watch(server: Server, check: HealthCheck) -> None:
    """Check a server until cancelled: at once, then every `interval_s`."""
    while True:
        problem = await probe(server, check)
        if problem is None:
            if server.on_check(is_good=True, most=check.failures):
                _log.warning("%s of upstream %s is back", server.name, server.settings.name)
        elif server.on_check(is_good=False, most=check.failures):
            _log.warning("%s of upstream %s is out: %s", server.name, server.settings.name, problem)
        await asyncio.sleep(check.interval_s)


async def probe(server: Server, check: HealthCheck) -> str | None:
    """Ask once; return what is wrong, or `None`. The answer's body is not read."""
    loop = asyncio.get_running_loop()
    host = check.host or server.authority
    head = RequestHead("GET", check.path, [(b"Host", host), (b"User-Agent", b"latchgate")])
    exchange = Exchange(head, head.encode(), server=server.name, on_informational=None, loop=loop)
    owner = _Owner(server.settings)
    try:
        with exchange:
            async with asyncio.timeout(check.timeout_s):
                connection = await connect(
                    server.address,
                    server.settings,
                    lambda: WholeConnection(owner, loop),
                    server.names,
                )
                exchange.attach(connection, None)
                status = (await exchange.head()).status
    except TimeoutError:
        return "no answer in time"
    except ProxyError as error:
        return error.detail
    return None if status in check.statuses else f"it answers {status}"


class _Owner:
    """Owns the connection of one check: in no pool, and no request is counted."""

    def __init__(self, settings: UpstreamSettings) -> None:
        self.settings = settings
        self.heads = HeadMemo()
        self.busy = self.begun = 0

    def on_whole(self, connection: Connection) -> None:
        """Close it."""
        connection.close()

    def on_begun(self) -> None:
        """Count nothing."""

    def on_freed(self, connection: Connection, *, is_reusable: bool) -> None:
        """Close it."""
        if is_reusable:
            connection.close()

    def on_version(self, version: tuple[int, int]) -> None:
        """Learn nothing."""

    def on_failed(self, connection: Connection, error: UpstreamError) -> None:
        """Blame nobody: the check says it."""

    def on_lost(self, connection: Connection) -> None:
        """Forget it."""
