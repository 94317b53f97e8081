"""The gate's server: listeners and connections, which outlive the configuration that they serve."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from proxy.edge.connection import GateConnection
from proxy.edge.counters import RequestCounters
from proxy.edge.greeting import Greeting
from proxy.edge.incoming import ConnectionLimits, HeadError, Incoming
from proxy.edge.internals import verify_internals
from proxy.edge.lane import Express, Lane, express_mode
from proxy.edge.manager import ConnectionManager
from proxy.edge.pending import Pending
from proxy.edge.serving import Serving
from proxy.edge.tls import expiries_of
from proxy.edge.turns import Turns
from proxy.model import AccessRecord, Peer

if TYPE_CHECKING:
    from proxy.edge.tracing import Tracer
    from proxy.services.runtime import Runtime

    MakeTracer = Callable[[Runtime], Tracer | None]


class GateServer:
    """Serves one `Runtime` after the other on listening sockets until it is drained."""

    def __init__(
        self,
        runtime: Runtime,
        *,
        access_log: Callable[[AccessRecord], None] | None = None,
        express: Express | None = None,
        make_tracer: MakeTracer | None = None,
    ) -> None:
        """Prepare to serve; `express`: whether requests may take the lane; else as `express_mode`.

        `make_tracer`: who decides about traces under each configuration; `None`: there are none.
        """
        verify_internals()
        self._access_log = access_log
        self._express = express or express_mode()
        self._make_tracer = make_tracer
        self._turns = Turns()
        self.counters = RequestCounters(runtime.upstreams)
        """What the metrics tell of requests."""
        self._serving = self._make(runtime)
        self._manager = ConnectionManager(self)
        self._is_draining = False

    def _make(self, runtime: Runtime) -> Serving:
        serving = Serving(runtime, self.counters, self._turns, self._access_log, self._express)
        if self._make_tracer is not None:
            serving.trace(self._make_tracer(runtime))
        return serving

    @property
    def runtime(self) -> Runtime:
        """What is served now."""
        return self._serving.runtime

    @property
    def limits(self) -> ConnectionLimits:
        """What holds for connections now."""
        return self._serving.limits

    @property
    def lane(self) -> Lane | None:
        """The express lane of what is served now."""
        return self._serving.lane

    @property
    def greeting(self) -> Greeting | None:
        """What a new connection begins with now."""
        return self._serving.greeting

    @property
    def connections(self) -> int:
        """How many client connections are open."""
        return self._manager.count

    async def start(
        self, sockets: Sequence[socket.socket], ssl_context: ssl.SSLContext | None = None
    ) -> None:
        """Accept connections on `sockets`, TCP or unix, which the caller has bound."""
        await self._manager.listen(sockets, ssl_context)
        if ssl_context is not None:
            self.counters.certificates = expiries_of(ssl_context)
        self._watch()

    def _watch(self) -> None:
        if self.lane is not None:
            self.lane.watch(self._manager.express)

    def adopt(self, runtime: Runtime, ssl_context: ssl.SSLContext | None = None) -> Pending:
        """Serve `runtime` from now on, on the connections that are open too.

        Nothing is awaited: no request is decided by halves of two configurations. What is under way
        ends as it began; what of it still asks the configuration before is returned, and waited for
        before that one is closed. What takes long is decided again (R7). `ssl_context` is for
        connections that are still to come.
        """
        before, limits = self._serving, self.limits
        self.counters.add_upstreams(runtime.upstreams)
        self._serving = after = self._make(runtime)
        is_trust_new = _trusts_others(before, after) or self._manager.trusts_others(ssl_context)
        is_trust_gone = self._manager.distrusts(ssl_context)
        self._manager.renew(ssl_context, is_trust_new=is_trust_new)
        self.counters.certificates = expiries_of(ssl_context)
        if before.lane is not None:
            before.lane.stop()
        self._watch()
        for connection in self._manager.connections:
            connection.adopt(after.limits, after.lane)
            # Who was let in by the old CA is not by the new one. The parser has the old size, and
            # whether requests are looked at for traces is a matter of the connection's class.
            if (
                is_trust_new
                or after.limits.header_size != limits.header_size
                or (before.tracer is None) != (after.tracer is None)
            ):
                connection.begin_drain(is_over=is_trust_new)
        runtime.take_over(before.runtime, is_trust_gone=is_trust_gone)
        return before.pending

    async def drain(self, timeout_s: float) -> None:
        """Accept no more, let requests in progress end for `timeout_s`, then cut them off."""
        self._is_draining = True
        try:
            await self._manager.drain(timeout_s)
        finally:
            if self.lane is not None:  # until then what takes long is watched (R7)
                self.lane.stop()

    def admits(self, peer: Peer) -> bool:
        """Tell whether one more connection, of `peer`, keeps within the limits; it is counted."""
        limits = self.runtime.config.server.limits
        most = limits.connections_per_address
        is_admitted = (
            not self._is_draining
            and self._manager.taken <= limits.connections
            and (most is None or self._manager.of_address(peer.address) <= most)
        )
        self.counters.refused_connections += not is_admitted
        return is_admitted

    async def serve(self, connection: GateConnection, incoming: Incoming) -> None:
        """Serve a request under the configuration of now."""
        serving = self._serving
        if incoming.under is not serving.lane:  # it was decided before a reload, and waited since
            incoming.decision = incoming.fresh = None
        await serving.serve(connection, incoming)

    async def serve_error(self, connection: GateConnection, error: HeadError) -> None:
        """Answer what is not a request, with one log line; the connection then closes (F1)."""
        await self._serving.serve_error(connection, error)


def _trusts_others(before: Serving, after: Serving) -> bool:
    """Tell whether others than before may connect, or say for whom they do."""
    one, other = before.runtime.config.server, after.runtime.config.server
    old, new = one.tls, other.tls
    is_ca_new = (old and (old.client_ca, old.client_certificate)) != (
        new and (new.client_ca, new.client_certificate)
    )
    return is_ca_new or one.proxy_protocol != other.proxy_protocol
