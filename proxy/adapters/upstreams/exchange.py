"""One request and its response, as the forwarder awaits them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Final, Self

from proxy.adapters.upstreams.connection import Connection
from proxy.adapters.upstreams.request import RequestHead
from proxy.adapters.upstreams.response import ResponseHead
from proxy.errors import (
    LengthRequired,
    ProxyError,
    UpstreamError,
    UpstreamInvalid,
    UpstreamUnreachable,
)
from proxy.model import Header

PAUSE_ABOVE: Final = 6 * 1024
"""Bytes of content that nobody waits for, above which the server is stopped. One read of the event
loop may come on top: 250 KiB with uvloop (so that 256 KiB are the bound), 256 KiB with asyncio."""

_SWITCHED: Final = RequestHead("GET", b"", ())
"""Stands for the request of a tunnel, which nobody asks for any more."""

OnInformational = Callable[[int, list[Header]], None]
Reconnect = Callable[[], Awaitable[Connection]]


class Exchange:
    """A request in flight; made by `Upstream.open`.

    One task may send while another reads. Whoever opened it calls `release` in the end, whatever
    happened in between; a cancelled `head` or `read` leaves nothing behind that is used again.
    """

    __slots__ = (
        "_block",
        "_buffered",
        "_chunks",
        "_connection",
        "_error",
        "_has_ended",
        "_head",
        "_is_finished",
        "_is_released",
        "_loop",
        "_on_informational",
        "_reconnect",
        "_request",
        "_unsent",
        "_waiter",
        "server",
        "trailers",
    )

    def __init__(
        self,
        request: RequestHead,
        block: bytes,
        *,
        server: str,
        on_informational: OnInformational | None,
        loop: asyncio.AbstractEventLoop,
        is_whole: bool = False,
    ) -> None:
        """Take a request; `block`: its head, and its whole body as well where `is_whole`."""
        self._request = request
        self._block = block
        self._on_informational = on_informational
        self._loop = loop
        self._connection: Connection | None = None
        self._reconnect: Reconnect | None = None
        self._head: ResponseHead | None = None
        self._chunks: list[bytes] = []
        self._buffered = 0
        self._has_ended = False
        self._error: ProxyError | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._is_finished = is_whole or not request.body
        self._is_released = False
        self._unsent = 0 if is_whole or not isinstance(request.body, int) else request.body
        self.server = server
        """The server's name, as the configuration writes it."""
        self.trailers: list[Header] = []
        """The response's trailers, after `read` has returned b""."""

    def __repr__(self) -> str:
        return f"<Exchange with {self.server} on {self._connection!r}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.release()

    def attach(self, connection: Connection, reconnect: Reconnect | None) -> None:
        """Write the head on an idle connection. `reconnect`: how to try once more (F3)."""
        self._connection = connection
        self._reconnect = reconnect
        connection.begin(
            self._block,
            self,
            method=self._request.method,
            upgrade=self._request.upgrade,
            has_body=not self._is_finished,
            expects_continue=self._request.expects_continue,
        )
        if reconnect is None:
            self._block = b""  # it is not sent again, and the answer may take days

    # The request's body

    @property
    def accepts_body(self) -> bool:
        """False once sending more makes no sense: the body or the exchange is over, or refused.

        An early answer of 400 and above is taken as "stop" (RFC 9112 §9.3): whoever writes on to a
        server that closes loses the answer. Such a connection is not used again.
        """
        is_refused = self._head is not None and self._head.status >= 400
        return not self._is_finished and not is_refused and self._connection is not None

    async def send(self, chunk: bytes) -> None:
        """Write a piece of the body; returns when the server has taken enough of it.

        After the response has begun a lost connection is not an error here: `read` tells how the
        response ended, and what is left of the body goes nowhere. Raises UpstreamError, and
        ValueError for bytes beyond the announced length.
        """
        if not chunk:
            return
        if self._request.body == "chunked":
            if self._is_finished:
                raise ValueError("a body goes on after its end")
            parts: tuple[bytes, ...] = (b"%x\r\n" % len(chunk), chunk, b"\r\n")
        else:
            if len(chunk) > self._unsent:
                raise ValueError("a body that is longer than its Content-Length")
            self._unsent -= len(chunk)
            parts = (chunk,)
        self._check_sending()
        if self._connection is not None and self.accepts_body:
            self._connection.write(*parts)
            await self._connection.drain()
            self._check_sending()

    async def finish(self) -> None:
        """End the request's body; raises UpstreamError, ValueError if bytes are missing.

        After an answer that came before the body nothing is missing: nobody waits for the rest.
        """
        if self._is_finished:
            return
        if self._unsent and self.accepts_body:
            self.abort()
            raise ValueError("a body that is shorter than its Content-Length")
        self._check_sending()
        takes_more, self._is_finished = self.accepts_body, True
        if self._connection is not None and takes_more:
            if self._request.body == "chunked":
                self._connection.write(b"0\r\n\r\n")
            self._connection.end_request()

    def _check_sending(self) -> None:
        if self._error is not None and self._head is None:
            raise self._error

    # The response

    async def head(self) -> ResponseHead:
        """Wait for the response's head (the final one; 1xx go to `on_informational`).

        Raises UpstreamTimeout, UpstreamInvalid, UpstreamUnreachable; LengthRequired where a body
        of unknown length went to a server that answers in HTTP/1.0 (F2).
        """
        while self._head is None:
            if self._error is not None:
                await self._try_again(self._error)
            await self._wait()
        return self._head

    @property
    def has_ended(self) -> bool:
        """True once the whole response has come; `read` may still have content to return."""
        return self._has_ended

    @property
    def waiting(self) -> int:
        """Bytes of content that have come and were not read."""
        return self._buffered

    async def read(self) -> bytes:
        """Return the next content, as much as there is (at most about 256 KiB); b"": clean end.

        Raises UpstreamInvalid if the body was cut short or is not framed as HTTP wants it, and
        UpstreamTimeout if the server falls silent (F6).
        """
        while not self._chunks:
            if self._error is not None:
                raise self._error
            if self._has_ended:
                return b""
            await self._wait()
        chunks = self._chunks
        data = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        chunks.clear()
        self._buffered = 0
        if self._connection is not None:
            self._connection.resume_reading()
        return data

    def upgraded(self) -> TunnelEnd:
        """Return the tunnel behind a 101; the exchange is over then, the tunnel must be closed."""
        if self._head is None or self._head.status != 101:
            raise RuntimeError("there is no tunnel without a 101")
        self._request, self._block = _SWITCHED, b""  # a tunnel may stay for days
        self._reconnect = self._on_informational = None
        return TunnelEnd(self)

    def release(self) -> None:
        """Let go: a connection whose exchange has not ended exactly is closed. Never raises."""
        self._is_released = True
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.free()
        if not self._has_ended and self._error is None:
            self._error = UpstreamInvalid("the exchange was given up")
        self._wake()

    def abort(self) -> None:
        """Let go and close the connection, unless it went back to the pool already."""
        self.release()

    async def _try_again(self, error: ProxyError) -> None:
        """Make the second and last attempt, where there is one, or raise (F3)."""
        reconnect, self._reconnect = self._reconnect, None
        if reconnect is None or not isinstance(error, UpstreamUnreachable):
            raise error
        connection = await reconnect()
        if self._is_released:
            connection.abort()
            raise error
        self._error = None
        self.attach(connection, None)

    async def _wait(self) -> None:
        if self._waiter is not None:
            raise RuntimeError("two tasks read one response")
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # What the connection tells (connection.Receiver)

    def on_informational(self, status: int, headers: list[Header]) -> None:
        """Take a 1xx response."""
        if self._on_informational is not None:
            self._on_informational(status, headers)

    def on_head(self, head: ResponseHead) -> None:
        """Take the head."""
        if self._request.body == "chunked" and head.version < (1, 1):
            self._give_up(LengthRequired("the server speaks HTTP/1.0"))
            return
        self._head = head
        self._wake()

    def on_body(self, data: bytes) -> None:
        """Take content; stop the flow where nobody reads it."""
        self._chunks.append(data)
        self._buffered += len(data)
        is_awaited = self._waiter is not None and not self._waiter.done()
        if self._buffered > PAUSE_ABOVE and not is_awaited and self._connection is not None:
            self._connection.pause_reading()
        self._wake()

    def on_end(self, trailers: list[Header]) -> None:
        """Take the end. The connection is free from here on, however long the reader takes."""
        self.trailers = trailers
        self._has_ended = True
        if self._head is None or self._head.status != 101:
            connection, self._connection = self._connection, None
            if connection is not None:
                connection.free()
        self._wake()

    def on_error(self, error: UpstreamError) -> None:
        """Take a failure."""
        self._connection = None
        self._error = error
        self._wake()

    def _give_up(self, error: ProxyError) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.abort()
        self._error = error
        self._wake()


class TunnelEnd:
    """The upstream's end of a tunnel, after a 101."""

    __slots__ = ("_exchange",)

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    async def read(self) -> bytes:
        """Return the next bytes, b"" when the server sends no more; raises UpstreamError."""
        return await self._exchange.read()

    def write(self, data: bytes) -> None:
        """Write to the server; nothing on a lost connection. Follow it with `drain`."""
        connection = self._exchange._connection  # noqa: SLF001 - the two are one unit
        if connection is not None:
            connection.write(data)

    async def drain(self) -> None:
        """Wait until the server has taken enough; returns at once when it is gone."""
        connection = self._exchange._connection  # noqa: SLF001 - the two are one unit
        if connection is not None:
            await connection.drain()

    def write_eof(self) -> bool:
        """Say that no more will be written; False where only closing can say so (TLS, lost)."""
        connection = self._exchange._connection  # noqa: SLF001 - the two are one unit
        return connection is not None and connection.write_eof()

    def close(self) -> None:
        """Close the connection once what was written has gone out."""
        connection, self._exchange._connection = self._exchange._connection, None  # noqa: SLF001 - the two are one unit
        if connection is not None:
            connection.close()
        self._exchange.release()
