"""An application behind the gate: its servers, its connections, and the way to send it requests."""

from __future__ import annotations

import asyncio
from typing import Final

from proxy.adapters.tasks import spawn
from proxy.adapters.upstreams.checking import watch
from proxy.adapters.upstreams.connection import CLOSE_S, Connection
from proxy.adapters.upstreams.exchange import Exchange, OnInformational
from proxy.adapters.upstreams.request import RequestHead
from proxy.adapters.upstreams.response import HeadMemo
from proxy.adapters.upstreams.server import Server
from proxy.adapters.upstreams.settings import UpstreamSettings
from proxy.core.balance import HashRing, least_busy
from proxy.errors import LengthRequired, UpstreamUnreachable

SHORTEST_TICK_S: Final = 0.01
LONGEST_TICK_S: Final = 0.5
TICKS_PER_TIMEOUT: Final = 8
"""A timeout is noticed at most this part of the shortest one (and LONGEST_TICK_S) late."""


class Upstream:
    """The client of one configured upstream, for one event loop."""

    def __init__(self, settings: UpstreamSettings) -> None:
        self.name = settings.name
        self.settings = settings
        self._connections: set[Connection] = set()
        self.servers = tuple(Server(address, settings, self) for address in settings.servers)
        self._ring = (
            HashRing(self.servers, [server.name for server in self.servers])
            if settings.is_hashed and len(self.servers) > 1
            else None
        )
        shortest = min(settings.response_s, settings.idle_s, settings.keepalive_s)
        if settings.tunnel_s is not None:
            shortest = min(shortest, settings.tunnel_s)
        self._tick_s = min(max(shortest / TICKS_PER_TIMEOUT, SHORTEST_TICK_S), LONGEST_TICK_S)
        self._timer: asyncio.TimerHandle | None = None
        self._checks: list[asyncio.Task[None]] = []
        self.is_closing = False
        self._emptied: asyncio.Future[None] | None = None

    def __repr__(self) -> str:
        return f"<Upstream {self.name}: {list(self.servers)}>"

    def start(self) -> None:
        """Begin to check the servers, where that is configured."""
        check = self.settings.check
        if check is not None:
            self._checks = [
                spawn(watch(server, check), name=f"checks of {server.name}")
                for server in self.servers
            ]

    # hot: every request of the express lane
    def pick(self, hash_key: bytes | None = None, now: float | None = None) -> Server:
        """Return the server for a request: by `hash_key` where that is configured; `now`: the loop's."""
        if len(self.servers) == 1:
            return self.servers[0]
        if now is None:
            now = asyncio.get_running_loop().time()
        if self._ring is not None and hash_key is not None:
            server = self._ring.pick(hash_key, now)
        else:
            server = least_busy(self.servers, now)
        server.claim_trial(now)
        return server

    async def open(
        self,
        head: RequestHead,
        *,
        hash_key: bytes | None = None,
        on_informational: OnInformational | None = None,
        server: Server | None = None,
        body: bytes = b"",
    ) -> Exchange:
        """Send a request's head on a pooled or a new connection; `body`: all of it, where it is here.

        `server`: one that `pick` returned, where the head depends on it. The caller must `release`
        the exchange. Raises UpstreamUnreachable, UpstreamTimeout, LengthRequired (F2), and
        ValueError for a head that no request may have.
        """
        if self.is_closing:
            raise UpstreamUnreachable("the gate is shutting down")
        block = head.encode()
        server = server if server is not None else self.pick(hash_key)
        loop = asyncio.get_running_loop()
        now = loop.time()
        if head.body == "chunked" and server.speaks_http10(now):
            raise LengthRequired("the server speaks HTTP/1.0")
        exchange = Exchange(
            head,
            block + body,
            server=server.name,
            on_informational=on_informational,
            loop=loop,
            is_whole=bool(body),
        )
        connection = server.take(now, is_careful=not head.is_repeatable)
        if connection is None:
            exchange.attach(await server.connect(loop), None)
        elif head.is_repeatable:
            exchange.attach(connection, lambda: server.reconnect(loop))
        else:
            exchange.attach(connection, None)
        return exchange

    def forget_heads(self) -> None:
        """Forget how heads of answers were passed on: that was another configuration's."""
        for server in self.servers:
            server.heads = HeadMemo()

    async def close(self, drain_s: float | None) -> None:
        """Take no more requests, give those in flight `drain_s` seconds, then close everything.

        `None`: as long as they take; a tunnel may take days.
        """
        self.is_closing = True
        for check in self._checks:
            check.cancel()
        for server in self.servers:
            server.drain()
        await self._wait_until_empty(drain_s)
        for connection in list(self._connections):
            connection.fail(UpstreamUnreachable("the gate is shutting down"))
        await self._wait_until_empty(CLOSE_S)  # the loop tells of the losses in its next turns
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def _wait_until_empty(self, bound_s: float | None) -> None:
        if not self._connections:
            return
        self._emptied = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(bound_s):
                await self._emptied
        except TimeoutError:
            pass  # their time is over
        finally:
            self._emptied = None

    # What servers tell (server.Registry)

    def add(self, connection: Connection) -> None:
        """Watch a connection's deadlines."""
        self._connections.add(connection)
        self._start_timer()

    def discard(self, connection: Connection) -> None:
        """Forget a connection."""
        self._connections.discard(connection)
        if not self._connections and self._emptied is not None and not self._emptied.done():
            self._emptied.set_result(None)

    def _start_timer(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._tick_s, self._tick)

    def _tick(self) -> None:
        """Look after every deadline: one timer for all of them."""
        self._timer = None
        now = asyncio.get_running_loop().time()
        due = [connection for connection in self._connections if connection.deadline <= now]
        for connection in due:
            connection.expire(now)
        for server in self.servers:
            server.names.refresh(now)
        if self._connections:
            self._start_timer()
