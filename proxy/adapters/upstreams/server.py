"""One server of an upstream: its idle connections, its load, what is known about it."""

from __future__ import annotations

import asyncio
import select
from collections import deque
from math import inf
from typing import Final, Protocol

from proxy.adapters.upstreams.connect import connect
from proxy.adapters.upstreams.connection import Connection
from proxy.adapters.upstreams.names import Names
from proxy.adapters.upstreams.response import HeadMemo
from proxy.adapters.upstreams.settings import UpstreamSettings
from proxy.adapters.upstreams.whole import WholeConnection
from proxy.config.addresses import UpstreamServer
from proxy.core.standing import RetryBudget, Standing
from proxy.errors import (
    UpstreamBusy,
    UpstreamDown,
    UpstreamError,
    UpstreamTimeout,
    UpstreamUnreachable,
)

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
        self.begun = 0
        """Requests ever begun."""
        self.retries = 0
        """Second attempts ever made (F3)."""
        self.down_until = 0.0
        self.standing = Standing(settings.ejection)
        self.names = Names(address, settings.resolve_s, self._on_moved)
        self._registry = registry
        self._idle: dict[Connection, None] = {}
        """A dict for its order (the last is the freshest) and for removal from the middle."""
        self._failures = 0
        self._http10_until = 0.0
        self._is_draining = False
        self._budget = RetryBudget(settings.retry_share)
        self._open: set[Connection] = set()
        self._making = 0
        self._waiters: deque[asyncio.Future[WholeConnection | None]] = deque()
        """Who waits for one of as many connections as may be; with one, or with room for one."""
        self._unproven: set[Connection] = set()
        """New ones, on which nothing was answered yet."""
        self._outdated: set[Connection] = set()
        """Those to addresses that the server's name has no more."""
        self._is_special = False
        """True where `on_whole` has more to look at."""

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

    @property
    def open(self) -> int:
        """How many connections there are, and are being made."""
        return len(self._open) + self._making

    @property
    def waiting(self) -> int:
        """How many requests wait for a connection."""
        return sum(not waiter.done() for waiter in self._waiters)

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
        """Return a new connection, or one that has become free while there was no room for more.

        Raises UpstreamDown at once while the server is left alone, UpstreamBusy where too many
        wait, UpstreamTimeout or UpstreamUnreachable.
        """
        wait_s = self.standing.admit(loop.time())
        if wait_s:
            raise UpstreamDown(f"{self.name} is left alone for {wait_s:.1f} s more")
        if self.standing.is_out:  # this one finds out; others go where they can
            self.down_until = max(self.down_until, self.standing.until)
        self.busy += 1  # an attempt is load too: a server that is out of reach gets no more
        try:
            return await self._freed(loop) or await self._make(loop)
        finally:
            self.busy -= 1

    async def reconnect(self, loop: asyncio.AbstractEventLoop) -> WholeConnection:
        """Return a connection for a second attempt (F3); raises as `connect`, or beyond the budget."""
        if not self._budget.spend(loop.time(), self.begun):
            raise UpstreamUnreachable(
                "the connection was lost, and the budget for retries is spent"
            )
        self.retries += 1
        return await self.connect(loop)

    async def _freed(self, loop: asyncio.AbstractEventLoop) -> WholeConnection | None:
        """Return a connection that another request has left; `None` where there is room for one."""
        most = self.settings.most_connections
        if most is None or (self.open < most and not self.waiting):
            return None
        if self.waiting >= self.settings.most_waiting:
            raise UpstreamBusy(f"{self.waiting} requests wait for {self.name}")
        waiter: asyncio.Future[WholeConnection | None] = loop.create_future()
        self._waiters.append(waiter)
        self._look()
        try:
            async with asyncio.timeout(self.settings.connect_s):
                connection = await waiter
        except BaseException as error:
            self._give_back(waiter)
            if isinstance(error, TimeoutError):
                raise UpstreamBusy(f"no connection to {self.name} became free") from None
            raise
        if connection is None:
            self._making -= 1  # it was kept for this one: `_make` counts it again
            return None
        if connection.is_usable(loop.time()):
            return connection
        connection.close()
        return None

    def _give_back(self, waiter: asyncio.Future[WholeConnection | None]) -> None:
        """Pass on what somebody was given who waits no more."""
        if waiter in self._waiters:
            self._waiters.remove(waiter)
        if not waiter.done() or waiter.cancelled() or waiter.exception() is not None:
            self._look()
            return
        connection = waiter.result()
        if connection is None:
            self._making -= 1
            self._make_room()
        else:
            self._keep(connection)
        self._look()

    async def _make(self, loop: asyncio.AbstractEventLoop) -> WholeConnection:
        self._making += 1
        try:
            connection = await connect(
                self.address, self.settings, lambda: WholeConnection(self, loop), self.names
            )
            if self._is_draining or not connection.is_usable(loop.time()):
                connection.abort()
                raise UpstreamUnreachable(f"{self.name} closed the connection at once")
            self._open.add(connection)
        except UpstreamError:
            self._failures += 1
            rest = min(FIRST_DOWN_S * 2 ** min(self._failures - 1, 10), LONGEST_DOWN_S)
            self.down_until = max(self.down_until, loop.time() + rest)
            self._fail(loop.time())
            raise
        finally:
            self._making -= 1
            self._make_room()
        self._unproven.add(connection)
        self._registry.add(connection)
        self._failures = 0
        if not self.standing.is_out:
            self.down_until = 0.0
        self._look()
        return connection

    def claim_trial(self, now: float) -> None:
        """Let one request find out whether a server that was down is back; others stay away."""
        if (self._failures or self.standing.is_out) and self.down_until <= now:
            self.down_until = now + self.settings.connect_s

    def on_check(self, *, is_good: bool, most: int) -> bool:
        """Take the outcome of a check; True where the server is out, or back, because of it."""
        if is_good:
            is_news = self.standing.check_passed()
            if is_news:
                self._failures = 0
                self.down_until = 0.0
        else:
            is_news = self.standing.check_failed(most)
            if is_news:
                self._leave_alone()
        self._look()
        return is_news

    def _fail(self, now: float) -> None:
        """Count a failure; at the last one in a row the server is left alone."""
        if self.standing.failed(now):
            self._leave_alone()
        elif self.standing.is_out:
            self.down_until = max(self.down_until, self.standing.until)
        self._look()

    def _leave_alone(self) -> None:
        """Keep nothing that a request could take: all of them ask `connect`, which refuses."""
        self.down_until = max(self.down_until, self.standing.until)
        self._close_idle()
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_exception(UpstreamDown(f"{self.name} is left alone"))

    def _look(self) -> None:
        """Note whether anything but the pool has to be looked at when an answer is whole."""
        self._is_special = bool(
            self._is_draining
            or self._http10_until
            or self._waiters
            or self._unproven
            or self._outdated
            or not self.standing.is_good
        )

    def _on_moved(self, hosts: frozenset[str]) -> None:
        """Use no connection again that leads where the server's name does not."""
        self._outdated = {
            connection for connection in self._open if connection.peer_host() not in hosts
        }
        for connection in [one for one in self._idle if one in self._outdated]:
            del self._idle[connection]
            connection.close()
        self._look()

    def _close_idle(self) -> None:
        while self._idle:
            connection, _ = self._idle.popitem()
            connection.close()

    def _make_room(self) -> None:
        """Let the first who waits make a connection, where there is room again."""
        most = self.settings.most_connections
        while self._waiters and most is not None and self.open < most:
            waiter = self._waiters.popleft()
            if not waiter.done():
                self._making += 1  # kept until it is made
                waiter.set_result(None)

    def drain(self) -> None:
        """Close what is idle, now and from now on."""
        self._is_draining = True
        self._close_idle()
        self._look()

    # What connections tell (connection.Owner)

    def on_begun(self) -> None:
        """Count a request in flight."""
        self.busy += 1
        self.begun += 1

    def on_freed(self, connection: Connection, *, is_reusable: bool) -> None:
        """Count it as over; keep the connection if it is reusable."""
        self.busy -= 1
        if is_reusable:
            self._keep(connection)

    def _keep(self, connection: Connection) -> None:
        """Give a connection to whoever waits longest, or keep it."""
        self._unproven.discard(connection)
        if self._is_draining or self.standing.until == inf or connection in self._outdated:
            connection.close()
            return
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(connection)  # type: ignore[arg-type] # as in `take`
                self._look()
                return
        self._look()
        if len(self._idle) >= MAX_IDLE:
            connection.close()
        else:
            self._idle[connection] = None

    # hot: every answer of the express lane
    def on_whole(self, connection: Connection) -> None:
        """Count a request as over, and keep its connection."""
        self.busy -= 1
        idle = self._idle
        if self._is_special or len(idle) >= MAX_IDLE:
            self.busy += 1
            self.on_version((1, 1))
            self.on_freed(connection, is_reusable=True)
        else:
            idle[connection] = None

    def on_version(self, version: tuple[int, int]) -> None:
        """Remember a server that answers in HTTP/1.0 (F2); whatever it says, it does answer."""
        if version < (1, 1):
            self._http10_until = asyncio.get_running_loop().time() + HTTP10_S
        elif self._http10_until:
            self._http10_until = 0.0
        if not self.standing.is_good:
            self.standing.answered()
            if not self.standing.is_out:
                self.down_until = 0.0
        self._look()

    def on_failed(self, connection: Connection, error: UpstreamError) -> None:
        """Count silence, and a new connection that was closed without an answer.

        An old one that is closed says nothing: servers close what was idle for long, or restart.
        """
        if isinstance(error, UpstreamTimeout) or (
            connection in self._unproven and isinstance(error, UpstreamUnreachable)
        ):
            self._fail(asyncio.get_running_loop().time())

    def on_lost(self, connection: Connection) -> None:
        """Forget a connection that is gone."""
        self._idle.pop(connection, None)
        self._open.discard(connection)
        self._unproven.discard(connection)
        self._outdated.discard(connection)
        self._registry.discard(connection)
        self._make_room()
        self._look()


def _has_news(connection: Connection) -> bool:
    """Tell whether the socket of an idle connection is readable, which says: it ended."""
    number = connection.socket_fileno()
    if number < 0:
        return True
    poll = select.poll()
    poll.register(number, select.POLLIN)
    return bool(poll.poll(0))
