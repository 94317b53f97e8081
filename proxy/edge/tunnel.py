"""Upgraded connections: bytes both ways after a 101, and which upgrades may be asked for.

A tunnel begins only after the upstream's 101 with the same token and, for WebSocket, the right
Sec-WebSocket-Accept (RFC 6455 §4.1); no byte of the client goes on before it (security.md, F4).
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import hashlib
from collections.abc import Awaitable, Sequence
from typing import TYPE_CHECKING, Any, Final

from proxy.adapters.tasks import spawn
from proxy.core.frames import FrameCounter, close_frame
from proxy.edge.incoming import Incoming
from proxy.errors import ProxyError, UpstreamInvalid
from proxy.model import Header, RequestView

if TYPE_CHECKING:
    from proxy.adapters.upstreams import TunnelEnd
    from proxy.edge.connection import GateConnection

_WEBSOCKET_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
"""RFC 6455 §1.3."""
POLICY_VIOLATION: Final = 1008
"""RFC 6455 §7.4.1."""
LEAVE_S: Final = 1.0
"""How long a frame that has begun may take to end before a close frame, and the client to answer it."""


def allowed_upgrade(incoming: Incoming, allowed: frozenset[str]) -> str | None:
    """Return the token to ask the upstream for; `None` where the request is an ordinary one.

    h2c is never asked for, whatever the route allows (security.md, F4).
    """
    token = incoming.upgrade
    if token is None or token not in allowed or token == "h2c":
        return None
    if token == "websocket" and not _is_websocket(incoming.view):
        return None
    return token


def _is_websocket(view: RequestView) -> bool:
    """Tell whether the opening handshake is one (RFC 6455 §4.2.1)."""
    keys = view.values(b"sec-websocket-key")
    if len(keys) != 1 or view.values(b"sec-websocket-version") != [b"13"]:
        return False
    try:
        return len(base64.b64decode(keys[0], validate=True)) == 16
    except (ValueError, binascii.Error):
        return False


def check_switch(token: str, view: RequestView, headers: Sequence[Header]) -> None:
    """Raise UpstreamInvalid unless a 101's `headers` switch to what was asked for."""
    upgrades = [value.strip().lower() for name, value in headers if name.lower() == b"upgrade"]
    if upgrades != [token.encode("latin-1")]:
        raise UpstreamInvalid("101 to another protocol than was asked for")
    if token != "websocket":
        return
    key = view.first(b"sec-websocket-key") or b""
    digest = hashlib.sha1(key + _WEBSOCKET_GUID, usedforsecurity=False).digest()
    accepts = [v.strip() for n, v in headers if n.lower() == b"sec-websocket-accept"]
    if accepts != [base64.b64encode(digest)]:
        raise UpstreamInvalid("101 with a wrong Sec-WebSocket-Accept")


class Tunnel:
    """The bytes of one upgraded connection, both ways, until an end of it."""

    def __init__(
        self,
        connection: GateConnection,
        incoming: Incoming,
        end: TunnelEnd,
        *,
        is_websocket: bool,
        is_watched: bool,
    ) -> None:
        """Prepare a tunnel behind a 101. `is_watched`: it hangs on a credential that may end."""
        self._connection = connection
        self._incoming = incoming
        self._upstream = end
        self._loop = asyncio.get_running_loop()
        self._active_at = self._loop.time()
        """When a byte last passed, in loop time."""
        self._stopped: asyncio.Future[str] = self._loop.create_future()
        follows = is_websocket and is_watched
        self._client_frames = FrameCounter() if follows else None
        self._server_frames = FrameCounter() if follows else None
        self._is_leaving = False

    def activity(self) -> int:
        """Return a number that grows with what the client sends, but for pings and pongs."""
        counter = self._client_frames
        return self._incoming.bytes_in if counter is None else counter.data_seen

    def stop(self, reason: str) -> None:
        """End the tunnel in good order; nothing of the client goes on from now."""
        if not self._stopped.done():
            self._stopped.set_result(reason)

    async def run(self, idle_s: float | None) -> None:
        """Pass bytes until both sides have ended, one breaks, `idle_s` pass without any, or `stop`.

        A half-close of one side is passed on to the other (on TCP; TLS has none in asyncio).
        """
        self._connection.become_tunnel()
        self._incoming.view = _what_is_logged(self._incoming.view)
        up = spawn(_quietly(self._upwards()), name="tunnel up")
        down = spawn(_quietly(self._downwards()), name="tunnel down")
        try:
            await self._until_done({up, down}, idle_s)
            if self._stopped.done():
                await self._take_leave(up, down)
        finally:
            for way in (up, down):
                way.cancel()
            self._upstream.close()
            self._connection.close_tunnel()
            if self._stopped.done():  # a client that does not read is not waited for
                self._loop.call_later(LEAVE_S, self._connection.abort)

    async def _upwards(self) -> None:
        while data := await self._connection.read_raw():
            self._incoming.bytes_in += len(data)
            self._active_at = self._loop.time()
            if self._client_frames is not None:
                self._client_frames.take(data)
            self._upstream.write(data)
            await self._upstream.drain()
        if not self._upstream.write_eof():
            raise UpstreamInvalid("a half-close that cannot be passed on")

    async def _downwards(self) -> None:
        frames = self._server_frames
        while data := await self._upstream.read():
            if frames is not None:
                data = data[: frames.take(data, to_boundary=self._is_leaving)]
            self._incoming.bytes_out += len(data)
            self._active_at = self._loop.time()
            self._connection.write(data)
            if self._is_leaving and frames is not None and frames.is_at_boundary:
                return
            await self._connection.drain()
        _end_writing(self._connection)

    async def _until_done(self, ways: set[asyncio.Task[bool]], idle_s: float | None) -> None:
        pending: set[asyncio.Future[Any]] = {*ways, self._stopped}
        while len(pending) > 1:
            patience = None
            if idle_s is not None:
                patience = max(0.0, self._active_at + idle_s - self._loop.time())
            done, pending = await asyncio.wait(
                pending, timeout=patience, return_when=asyncio.FIRST_COMPLETED
            )
            if self._stopped.done() or not all(way.result() for way in done):
                return
            if not done and idle_s is not None and self._loop.time() >= self._active_at + idle_s:
                return

    async def _take_leave(self, up: asyncio.Task[bool], down: asyncio.Task[bool]) -> None:
        """Tell a WebSocket's client why it ends (RFC 6455 §7.4.1), where a frame may stand (R7).

        A frame of the server that has begun is let to its end, for `LEAVE_S` at most.
        """
        up.cancel()
        await asyncio.wait({up})
        frames = self._server_frames
        if frames is None or down.done():
            return
        self._is_leaving = True
        if not frames.is_at_boundary:
            await asyncio.wait({down}, timeout=LEAVE_S)
        down.cancel()
        await asyncio.wait({down})
        self._upstream.close()
        if frames.has_closed or not frames.is_at_boundary:
            return
        with contextlib.suppress(ProxyError, TimeoutError):
            self._connection.write(close_frame(POLICY_VIOLATION, self._stopped.result()))
            async with asyncio.timeout(LEAVE_S):
                await self._hear_out()

    async def _hear_out(self) -> None:
        """Drop what the client still sends, until it has closed too: it is to see the close frame.

        Whoever closes a socket with unread bytes in it resets it, and what was sent last is lost.
        """
        frames = self._client_frames
        while frames is not None and not frames.has_closed:
            data = await self._connection.read_raw()
            if not data:
                return
            frames.take(data)


def _what_is_logged(view: RequestView) -> RequestView:
    """Return a request without the headers that are of no use once the tunnel runs: it may stay for days."""
    hosts = tuple(header for header in view.headers if header[0].lower() == b"host")
    return RequestView(view.method, view.target, hosts, view.peer, view.version, view.has_body)


def _end_writing(connection: GateConnection) -> None:
    """Half-close towards the client, where the transport can (not on TLS)."""
    transport = connection.transport
    if transport is None or transport.is_closing():
        return
    if transport.can_write_eof():
        transport.write_eof()
    else:
        transport.close()


async def _quietly(way: Awaitable[None]) -> bool:
    """Run one direction; False when it broke, which ends the other one too."""
    try:
        await way
    except (ProxyError, OSError):
        return False
    return True
