"""What the express lanes of one configuration share: memories, clocks, counters, and the sweep.

What never belongs here: bytes of requests.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final, Literal

from proxy.adapters.telemetry.access import server_words
from proxy.adapters.upstreams import Server
from proxy.edge.forward import Forwarder, Passage
from proxy.edge.incoming import Incoming
from proxy.edge.internals import why_no_lane
from proxy.edge.memo import Memo, fields_of
from proxy.model import ClientInfo, Peer, RequestView
from proxy.services.decision import Decision, Refuse
from proxy.services.request_ids import request_ids

if TYPE_CHECKING:
    from proxy.edge.connection import GateConnection
    from proxy.edge.passing import PassingConnection
    from proxy.edge.serving import Serving
    from proxy.edge.tracing import Tracer

Express = Literal["on", "warm", "cold", "off"]
"""`warm`: everything is remembered at once, for tests; `cold`: nothing is, every request is parsed;
`off`: the request loop alone."""
SWITCH: Final = "LATCHGATE_EXPRESS"
"""The environment variable that says so: for tests, and for doubt."""

_log: Final = logging.getLogger("latchgate.edge")

SWEEP_S: Final = 1.0
MAX_KINDS: Final = 64
"""Kinds of peers and listeners with a memory of their own."""
MAX_TOLD: Final = 4096

Log = Callable[["PassingConnection", float, float], None]


def express_mode() -> Express:
    """Return what the environment and aiohttp's internals let the lane do; says why if it is off."""
    wanted = os.environ.get(SWITCH, "on")
    if wanted not in ("on", "warm", "cold", "off"):
        _log.warning("%s is none of on, warm, cold, off: on", SWITCH)
        wanted = "on"
    if wanted != "off" and (reason := why_no_lane()) is not None:
        _log.warning("the express lane stays off: %s", reason)
        return "off"
    return wanted  # type: ignore[return-value] # one of the four


class Lane:
    """Made once for each configuration."""

    def __init__(self, server: Serving, mode: Express) -> None:
        runtime = server.runtime
        self._server = server
        self._verdicts = runtime.coherence.counters
        self._forwarding = runtime.forwarding
        self._gate_id = runtime.gate_id
        self._fields = fields_of(runtime.gate.routes)
        self._memos: dict[tuple[object, ...], Memo] = {}
        self._same: dict[object, object] = {}
        self._header_size = server.limits.header_size
        self._timer: asyncio.TimerHandle | None = None
        self._mode = mode
        self.gate = runtime.gate
        self.tracer: Tracer | None = None
        self.forwarder: Forwarder = server.forwarder
        self.counters = server.counters
        self.vigil = runtime.vigil
        self.ids = request_ids
        self.nothing = self._memo(is_trusted=False, is_on=False)
        self.log: Log | None = server.express_log
        self.server_words: dict[Server | None, str] = {}

    def _memo(self, *, is_trusted: bool, is_on: bool) -> Memo:
        return Memo(
            self.gate,
            self.gate.rules,
            self._fields,
            is_trusted=is_trusted,
            header_size=self._header_size if is_on else 0,
            is_eager=self._mode == "warm",
        )

    def of_peer(self, peer: Peer) -> tuple[str | None, Memo]:
        """Return the peer's address as the gate writes it, and the memory for its requests."""
        address, is_trusted = self._forwarding.known_peer(peer)
        kind = (
            is_trusted, peer.is_unix, peer.is_tls, peer.has_client_certificate, peer.local_port,
        )  # fmt: skip
        memo = self._memos.get(kind)
        if memo is None:
            if len(self._memos) >= MAX_KINDS:
                return address, self.nothing
            memo = self._memos[kind] = self._memo(is_trusted=is_trusted, is_on=self._mode != "cold")
        return address, memo

    def same(self, told: tuple[bytes, bytes | None, str]) -> tuple[bytes, bytes | None, str]:
        """Return the one object that stands for all equal ones."""
        if len(self._same) >= MAX_TOLD:
            self._same.clear()
        return self._same.setdefault(told, told)  # type: ignore[return-value] # equal to what came in

    def tell(self, view: RequestView, prefix: bytes | None) -> tuple[ClientInfo, bytes]:
        """Return who the client is, and the forwarding headers up to the value of X-Request-Id."""
        client = self._forwarding.read(view)
        headers = self._forwarding.write(
            view, client, gate_id=self._gate_id, request_id="", prefix=prefix
        )
        return client, b"\r\n".join(b"%b: %b" % header for header in headers)

    # Accounts

    def words_of(self, upstream: str, server: Server | None) -> str:
        """Return what the log says of a server, and keep it; `None`: none was found."""
        words = server_words(upstream, None if server is None else server.name)
        if server is not None:
            self.server_words[server] = words
        return words

    def was_no_hit(self) -> None:
        """Take a hit back: the verdict was looked up for this very request."""
        self._verdicts.hits -= 1

    def record(self, incoming: Incoming, decision: Decision | None, passage: Passage) -> None:
        """Count and log a request as the ordinary way does."""
        self._server.record(incoming, decision, passage)

    def fail(
        self,
        connection: GateConnection,
        incoming: Incoming,
        decision: Decision | None,
        passage: Passage,
        code: str,
        detail: str,
    ) -> None:
        """Answer a failure."""
        self._server.fail(connection, incoming, decision, passage, code, detail)

    def refuse(
        self, connection: GateConnection, incoming: Incoming, refuse: Refuse, passage: Passage
    ) -> None:
        """Answer with a refusal."""
        self._server.refuse(connection, incoming, refuse, passage)

    @staticmethod
    def cut_off(connection: PassingConnection, fail: Callable[[str, str], None]) -> None:
        """Tell a client at the end of a drain."""
        del connection
        fail("draining", "the gate shut down before the end of the answer")

    # The sweep

    def watch(self, connections: Callable[[], Iterable[PassingConnection]]) -> None:
        """Look after all connections once a second: no request has a timer of its own."""
        loop = asyncio.get_running_loop()

        def sweep() -> None:
            now = loop.time()
            for connection in connections():
                connection.look(now)
            self._timer = loop.call_later(SWEEP_S, sweep)

        if self._timer is None:
            self._timer = loop.call_later(SWEEP_S, sweep)

    def stop(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
