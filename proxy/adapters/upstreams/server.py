"""One server of an upstream: its idle connections, its load, what is known about it."""

from __future__ import annotations

import asyncio
import select
from typing import Final, Protocol

from proxy.adapters.upstreams.connect import connect
from proxy.adapters.upstreams.connection import Connection
from proxy.adapters.upstreams.response import HeadMemo
from proxy.adapters.upstreams.settings import UpstreamSettings
from proxy.adapters.upstreams.whole import WholeConnection
from proxy.config.addresses import UpstreamServer
from proxy.errors import UpstreamError, UpstreamUnreachable

MAX_IDLE: Final = 512
"""Unused connections that are kept to one server."""
FIRST_DOWN_S: Final = 0.5
LONGEST_DOWN_S: Final = 10.0
HTTP10_S: Final = 60.0
"""How long an answer in HTTP/1.0 is held against a server."""


class Registry(Protocol):
    """Knows every connection of an upstream, closing ones included, and watches their deadlines."""

    def add(self, connection: Connection) -> None:
        """Watch a connection that stands."""
        ...

    def discard(self, connection: Connection) -> None:
        """Forget one that is gone, or was never known."""
        ...


class Server:
    """A server and its pool. Made by `Upstream`, one per worker and configured server."""

    def __init__(
        self,
        address: UpstreamServer,
        settings: UpstreamSettings,
        registry: Registry,
    ) -> None:
        self.address = address
        self.settings = settings
        self.name = str(address)
        self.heads = HeadMemo()
        self.busy = 0
        self.down_until = 0.0
        self._registry = registry
        self._idle: dict[Connection, None] = {}
        """A dict for its order (the last is the freshest) and for removal from the middle."""
        self._failures = 0
        self._http10_until = 0.0
        self._is_draining = False

    def __repr__(self) -> str:
        return f"<Server {self.name}: {self.busy} busy, {len(self._idle)} idle>"

    @property
    def authority(self) -> bytes:
        """What Host says with `host: upstream`; `localhost` for a unix socket."""
        address = self.address
        if address.path is not None:
            return b"localhost"
        host = f"[{address.host}]" if ":" in address.host else address.host
        is_default = address.port == (443 if address.scheme == "https" else 80)
        return (host if is_default else f"{host}:{address.port}").encode("ascii")

    def speaks_http10(self, now: float) -> bool:
        """Tell whether the server lately answered in HTTP/1.0."""
        return now < self._http10_until

    @property
    def idle(self) -> int:
        """How many connections wait for a request."""
        return len(self._idle)

    def take(self, now: float, *, is_careful: bool) -> WholeConnection | None:
        """Return the freshest idle connection, or `None`.

        `is_careful`: for a request that cannot be repeated, look whether the server has closed it
        in this very moment, which the event loop has not told yet.
        """
        while self._idle:
            connection, _ = self._idle.popitem()
            if connection.is_usable(now) and not (is_careful and _has_news(connection)):
                return connection  # type: ignore[return-value] # all of them are made by `connect`
            connection.close()
        return None

    # hot: every request of the express lane
    def take_freshest(self, now: float) -> WholeConnection | None:
        """Return what `take` would for a request that may be repeated."""
        idle = self._idle
        if idle:
            connection, _ = idle.popitem()
            if connection.is_fit(now):
                return connection  # type: ignore[return-value] # all of them are made by `connect`
            connection.close()
            return self.take(now, is_careful=False)
        return None

    async def connect(self, loop: asyncio.AbstractEventLoop) -> WholeConnection:
        """Return a new connection; raises UpstreamTimeout or UpstreamUnreachable."""
        self.busy += 1  # an attempt is load too: a server that is out of reach gets no more
        try:
            connection = await connect(
                self.address, self.settings, lambda: WholeConnection(self, loop)
            )
            if self._is_draining or not connection.is_usable(loop.time()):
                connection.abort()
                raise UpstreamUnreachable(f"{self.name} closed the connection at once")
        except UpstreamError:
            self._failures += 1
            rest = min(FIRST_DOWN_S * 2 ** min(self._failures - 1, 10), LONGEST_DOWN_S)
            self.down_until = loop.time() + rest
            raise
        finally:
            self.busy -= 1
        self._registry.add(connection)
        self._failures = 0
        self.down_until = 0.0
        return connection

    def claim_trial(self, now: float) -> None:
        """Let one request find out whether a server that was down is back; others stay away."""
        if self._failures and self.down_until <= now:
            self.down_until = now + self.settings.connect_s

    def drain(self) -> None:
        """Close what is idle, now and from now on."""
        self._is_draining = True
        while self._idle:
            connection, _ = self._idle.popitem()
            connection.close()

    # What connections tell (connection.Owner)

    def on_begun(self) -> None:
        """Count a request in flight."""
        self.busy += 1

    def on_freed(self, connection: Connection, *, is_reusable: bool) -> None:
        """Count it as over; keep the connection if it is reusable."""
        self.busy -= 1
        if not is_reusable:
            return
        if self._is_draining or len(self._idle) >= MAX_IDLE:
            connection.close()
        else:
            self._idle[connection] = None

    # hot: every answer of the express lane
    def on_whole(self, connection: Connection) -> None:
        """Count a request as over, and keep its connection."""
        self.busy -= 1
        idle = self._idle
        if self._is_draining or self._http10_until or len(idle) >= MAX_IDLE:
            self.busy += 1
            self.on_version((1, 1))
            self.on_freed(connection, is_reusable=True)
        else:
            idle[connection] = None

    def on_version(self, version: tuple[int, int]) -> None:
        """Remember a server that answers in HTTP/1.0 (F2)."""
        if version < (1, 1):
            self._http10_until = asyncio.get_running_loop().time() + HTTP10_S
        elif self._http10_until:
            self._http10_until = 0.0

    def on_lost(self, connection: Connection) -> None:
        """Forget a connection that is gone."""
        self._idle.pop(connection, None)
        self._registry.discard(connection)


def _has_news(connection: Connection) -> bool:
    """Tell whether the socket of an idle connection is readable, which says: it ended."""
    number = connection.socket_fileno()
    if number < 0:
        return True
    poll = select.poll()
    poll.register(number, select.POLLIN)
    return bool(poll.poll(0))
