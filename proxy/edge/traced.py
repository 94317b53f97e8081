"""The express lane of a gate that makes traces: what is traced goes through the request loop.

A connection of a class of its own, so that a gate without traces asks nothing of a request.
"""

from __future__ import annotations

from typing import Any

from proxy.edge.connection import GateConnection
from proxy.edge.express import ExpressConnection
from proxy.edge.lane import Lane
from proxy.model import RequestView


class TracedConnection(ExpressConnection):
    """A client connection whose lane is for requests of which there are no spans."""

    __slots__ = ("_lot",)

    def __init__(self, manager: Any, lane: Lane, **options: Any) -> None:
        super().__init__(manager, lane, **options)
        self._lot: bool | None = None
        """What was drawn for the next request of the loop; `None`: nothing yet."""

    # hot: every request of the lane, where there are traces
    def data_received(self, data: bytes) -> None:
        """Draw for the request; keep it from the lane if it won, or says something about a trace."""
        tracer = self._lane.tracer
        if self._is_resting and tracer is not None:
            self._lot = is_chosen = tracer.draw()
            if is_chosen or b"\ntrace" in data.lower():
                self._is_resting = False  # it is parsed, and looked at by `_queue`
        super().data_received(data)

    def take_lot(self) -> bool | None:
        """Return what was drawn for the request that the loop begins with."""
        lot, self._lot = self._lot, None
        return lot

    def _queue(self, messages: Any) -> None:
        """Let a request with spans, or one that says something wrong, have the loop."""
        tracer = self._lane.tracer
        if len(messages) == 1 and tracer is not None:
            if self._lot is None:
                self._lot = tracer.draw()
            message, _ = messages[0]
            view = RequestView("GET", b"/", message.raw_headers, self.peer)
            if not tracer.leaves_alone(view, lot=self._lot):
                GateConnection._queue(self, messages)  # noqa: SLF001 - past the lane, which is its own
                return
        super()._queue(messages)

    def _after(self) -> None:
        """Draw anew for the next one."""
        self._lot = None
        super()._after()
