"""A request that was let through, for as long as it lasts: it ends when its credential does (R7).

Whoever holds a body or an answer open would otherwise keep what was taken back long ago.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from types import TracebackType
from typing import TYPE_CHECKING, Self

from proxy.adapters.upstreams import Exchange
from proxy.services.challenges import taken_back
from proxy.services.decision import Forward, Refuse
from proxy.services.endings import Ending
from proxy.services.vigil import Vigil

if TYPE_CHECKING:
    from proxy.edge.connection import GateConnection
    from proxy.edge.forward import Passage
    from proxy.edge.incoming import Incoming


class TakenBack(Exception):
    """What let a request in is taken back or over, and nothing of an answer was sent (R7)."""

    def __init__(self, refuse: Refuse) -> None:
        super().__init__(refuse.refusal.code)
        self.refuse = refuse


class UnderWay:
    """One request on its way through the gate, which ends when its credential does (R7)."""

    __slots__ = (
        "_connection", "_decision", "_ending", "_incoming", "_passage", "_stream", "_task",
        "exchange",
    )  # fmt: skip

    # hot: every request that is forwarded
    def __init__(
        self,
        vigil: Vigil,
        connection: GateConnection,
        incoming: Incoming,
        decision: Forward,
        passage: Passage,
    ) -> None:
        self._connection = connection
        self._incoming = incoming
        self._decision = decision
        self._passage = passage
        self._task = asyncio.current_task()
        self._ending: Ending | None = None
        self._stream = vigil.exchange(decision, self._activity, self._end)
        self.exchange: Exchange | None = None
        """What is open to the upstream; closed at once when it has to end."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.leave()
        if kind is not None and issubclass(kind, asyncio.CancelledError):
            refuse = self._refuse()
            if refuse is not None:
                raise TakenBack(refuse) from None

    async def settled(self) -> None:
        """Wait, where it took long, until what may have changed meanwhile is decided again."""
        if self._stream is not None:
            await self._stream.settled()

    def leave(self) -> None:
        """Watch it no more."""
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.close()

    def _activity(self) -> int:
        """Count what the client has sent: an upload is a use of its session."""
        return self._incoming.bytes_in

    def _end(self, ending: Ending) -> None:
        """End it, at once: the upstream gets no further byte of a request that is refused now."""
        self._ending = ending
        self._passage.end(ending)
        if self.exchange is not None:
            self.exchange.abort()
        if self._incoming.is_answered:
            break_off(self._connection)  # which cancels what is waiting for more of it
        elif self._task is not None:
            self._task.cancel()

    def _refuse(self) -> Refuse | None:
        """Return the answer of a task that was cancelled here; `None`: it has one, or nobody waits."""
        if self._ending is None or self._incoming.is_answered or self._task is None:
            return None
        if self._task.uncancel():
            return None  # the client has left as well
        return taken_back(self._decision, self._ending.refusal)


def break_off(connection: GateConnection) -> None:
    """Reset a connection: where only its end would end a body, an orderly one would lie (F6)."""
    transport = connection.transport
    sock = None if transport is None else transport.get_extra_info("socket")
    if sock is not None:
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.abort()
