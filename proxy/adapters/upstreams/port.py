"""Who a connection talks to: the receiver of a response, and the pool that owns the connection."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from proxy.adapters.upstreams.response import HeadMemo, ReadHead, ResponseHead
from proxy.adapters.upstreams.settings import UpstreamSettings
from proxy.errors import UpstreamError
from proxy.model import Header

if TYPE_CHECKING:
    from proxy.adapters.upstreams.connection import Connection


class Receiver(Protocol):
    """Takes what one connection receives for one request.

    Calls come in this order: any number of `on_informational`, one `on_head`, any number of
    `on_body`, one `on_end`; `on_error` may replace the rest at any point and is the last call.
    None of them may raise. After a 101 `on_body` brings the tunnel's bytes, `on_end` its end.
    """

    def on_informational(self, status: int, headers: list[Header]) -> None:
        """Take a 1xx response (never 101)."""
        ...

    def on_head(self, head: ResponseHead) -> None:
        """Take the final response's head, or that of a 101 which was asked for."""
        ...

    def on_body(self, data: bytes) -> None:
        """Take content, unframed; `pause_reading` of the connection stops the flow."""
        ...

    def on_end(self, trailers: list[Header]) -> None:
        """Take the clean end; the receiver now calls `free`."""
        ...

    def on_error(self, error: UpstreamError) -> None:
        """Take a failure; the connection is closed already."""
        ...


class WholeReceiver(Receiver, Protocol):
    """A receiver that can take an answer of one piece as such."""

    def on_whole(self, found: ReadHead, body: bytes, now: float) -> None:
        """Take head and body of a whole answer: the one call, and the connection is free already.

        `now`: on the loop's clock.
        """
        ...


class Owner(Protocol):
    """What a connection tells its pool."""

    settings: UpstreamSettings
    heads: HeadMemo
    """Heads of answers that were read before."""
    busy: int
    """Requests in flight; `on_freed` and `on_whole` count them as over."""
    begun: int
    """Requests ever begun."""

    def on_whole(self, connection: Connection) -> None:
        """Keep a connection whose exchange ended exactly, and was answered in HTTP/1.1."""
        ...

    def on_begun(self) -> None:
        """Count a request in flight."""
        ...

    def on_freed(self, connection: Connection, *, is_reusable: bool) -> None:
        """Count it as over; keep the connection if it is reusable."""
        ...

    def on_version(self, version: tuple[int, int]) -> None:
        """Learn which HTTP the server speaks, and that it answers."""
        ...

    def on_failed(self, connection: Connection, error: UpstreamError) -> None:
        """Learn why a request on it got no answer; `on_freed` follows."""
        ...

    def on_lost(self, connection: Connection) -> None:
        """Forget a connection that is gone."""
        ...
