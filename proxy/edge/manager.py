"""The listening sockets and open connections of one server: made, counted, and ended in order."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import weakref
from collections import Counter
from collections.abc import Sequence
from operator import methodcaller
from typing import Any, Final, Protocol

from aiohttp import web

from proxy.core.coherence.attempts import network_of
from proxy.core.proxy_protocol import Source
from proxy.edge.accepting import Listener
from proxy.edge.connection import GateConnection
from proxy.edge.express import ExpressConnection
from proxy.edge.greeting import Greeting
from proxy.edge.handshakes import Handshakes
from proxy.edge.incoming import ConnectionLimits, HeadError, Incoming
from proxy.edge.lane import Lane
from proxy.edge.tls import authorities_of, contexts_of
from proxy.edge.traced import TracedConnection
from proxy.model import Peer

BACKLOG: Final = 1024
"""Connections that may wait to be accepted."""
CUT_OFF_S: Final = 1.0
"""Seconds at the end of a drain in which clients that still wait are told so."""

_log: Final = logging.getLogger("latchgate.edge")


class Serving(Protocol):
    """What connections are made for."""

    @property
    def limits(self) -> ConnectionLimits:
        """What holds for a new connection."""

    @property
    def lane(self) -> Lane | None:
        """Its express lane."""

    @property
    def greeting(self) -> Greeting | None:
        """What a new connection begins with; `None`: with its first request, or TLS."""

    async def serve(self, connection: GateConnection, incoming: Incoming) -> None:
        """Answer one request."""

    async def serve_error(self, connection: GateConnection, error: HeadError) -> None:
        """Answer what is not a request."""

    def admits(self, peer: Peer) -> bool:
        """Tell whether one more connection is taken."""


class ConnectionManager(web.Server):
    """aiohttp's server, making our connections and counting them."""

    def __init__(self, gate: Serving) -> None:
        super().__init__(_never, handler_cancellation=True)
        self._gate = gate
        self._networks: Counter[str] = Counter()
        self._handshakes = Handshakes(self._admits)
        self._empty = asyncio.Event()
        self._empty.set()
        self._listeners: list[Listener] = []
        self._obsolete: weakref.WeakSet[ssl.SSLContext] = weakref.WeakSet()
        """Contexts with which a handshake may still be under way, and nobody is let in any more."""

    async def listen(
        self, sockets: Sequence[socket.socket], ssl_context: ssl.SSLContext | None = None
    ) -> None:
        """Accept connections on `sockets`, TCP or unix, which the caller has bound."""
        for sock in sockets:
            sock.setblocking(False)  # noqa: FBT003 - the standard library's signature
            sock.listen(BACKLOG)
            patience_s = self._gate.limits.keepalive
            listener = Listener(sock, self, ssl_context, patience_s, self._handshakes)
            listener.greeting = lambda: self._gate.greeting
            listener.start()
            self._listeners.append(listener)

    def trusts_others(self, ssl_context: ssl.SSLContext | None) -> bool:
        """Tell whether clients' certificates are to be of other authorities than with the context now.

        Their file may have the same name, and say something else.
        """
        contexts = [listener.context for listener in self._listeners]
        return ssl_context is not None and any(
            before is not None and authorities_of(before) != authorities_of(ssl_context)
            for before in contexts
        )

    def distrusts(self, ssl_context: ssl.SSLContext | None) -> bool:
        """Tell whether an authority of clients' certificates is not one any more with the context."""
        contexts = [listener.context for listener in self._listeners]
        return ssl_context is not None and any(
            before is not None and not authorities_of(before) <= authorities_of(ssl_context)
            for before in contexts
        )

    def renew(self, ssl_context: ssl.SSLContext | None, *, is_trust_new: bool) -> None:
        """Take connections that are still to come with this context, where there is TLS.

        `is_trust_new`: whose handshake is under way with the one before is not let in by it.
        """
        for listener in self._listeners:
            before = listener.renew(ssl_context, self._gate.limits.keepalive)
            if is_trust_new and before is not None and before is not ssl_context:
                self._obsolete.update(contexts_of(before))

    async def drain(self, timeout_s: float) -> None:
        """Accept no more, let requests in progress end for `timeout_s`, then cut them off."""
        for listener in self._listeners:
            listener.close()
        steps = (
            (methodcaller("begin_drain"), timeout_s),
            (methodcaller("cut_off"), CUT_OFF_S),
            (methodcaller("abort"), CUT_OFF_S),
        )
        for end, patience_s in steps:
            for connection in self.connections:
                end(connection)
            try:
                async with asyncio.timeout(patience_s):
                    await self.until_empty()
            except TimeoutError:
                continue
            return
        _log.warning("%d connections did not end", len(self.connections))

    def __call__(self, told: Source | None = None) -> GateConnection:
        """Make the connection that was accepted; `told`: whom a proxy connects for, if it said so."""
        options: dict[str, Any] = {
            "loop": asyncio.get_running_loop(),
            "limits": self._gate.limits,
            "serve": self._gate.serve,
            "serve_error": self._gate.serve_error,
            "admit": self._gate.admits,
            "told": told,
        }
        lane = self._gate.lane
        if lane is None:
            return GateConnection(self, **options)
        if lane.tracer is not None:
            return TracedConnection(self, lane, **options)
        return ExpressConnection(self, lane, **options)

    def express(self) -> list[ExpressConnection]:
        """Return the open connections with a lane."""
        return list(self._connections)  # type: ignore[arg-type] # the kind that __call__ makes

    @property
    def connections(self) -> list[GateConnection]:  # type: ignore[override] # the kind that __call__ makes
        """What is open."""
        return list(self._connections)  # type: ignore[arg-type] # as above

    @property
    def count(self) -> int:
        """How many connections are open."""
        return len(self._connections)

    def of_address(self, address: str | None) -> int:
        """Return how many connections `address` has, handshakes included; none without one.

        A /64 of IPv6 is one: whoever has one address of it has all of them.
        """
        if address is None:
            return 0
        network = network_of(address)
        return self._networks[network] + self._handshakes.of_network(network)

    @property
    def taken(self) -> int:
        """How many connections take room: those that are open, and handshakes under way."""
        return len(self._connections) + len(self._handshakes)

    def _admits(self, address: str | None) -> bool:
        """Tell whether a connection may begin its handshake."""
        return self._gate.admits(Peer(address, None, is_unix=address is None, is_tls=True))

    async def until_empty(self) -> None:
        """Wait until every connection has ended."""
        await self._empty.wait()

    def connection_made(self, handler: Any, transport: asyncio.Transport) -> None:
        """Count a connection in, as one of the configuration of now: its handshake took time."""
        handler.adopt(self._gate.limits, self._gate.lane)
        tls = transport.get_extra_info("ssl_object")
        if tls is not None:
            self._handshakes.arrived(transport.get_extra_info("socket").fileno())
            if tls.context in self._obsolete:
                transport.abort()
        self._connections[handler] = transport
        self._empty.clear()
        if handler.peer.address is not None:
            self._networks[network_of(handler.peer.address)] += 1

    def connection_lost(self, handler: Any, _exc: BaseException | None = None) -> None:
        """Count a connection out."""
        if self._connections.pop(handler, None) is None:
            return
        if handler.peer.address is not None:
            network = network_of(handler.peer.address)
            self._networks[network] -= 1
            if not self._networks[network]:
                del self._networks[network]
        if not self._connections:
            self._empty.set()


async def _never(_request: web.BaseRequest) -> web.StreamResponse:
    raise AssertionError("requests are served by GateConnection.start")
