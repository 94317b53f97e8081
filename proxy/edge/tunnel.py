"""Upgraded connections: bytes both ways after a 101, and which upgrades may be asked for.

A tunnel begins only after the upstream's 101 with the same token and, for WebSocket, the right
Sec-WebSocket-Accept (RFC 6455 §4.1); no byte of the client goes on before it (security.md, F4).
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from proxy.adapters.tasks import spawn
from proxy.edge.incoming import Incoming
from proxy.errors import ProxyError, UpstreamInvalid
from proxy.model import Header, RequestView

if TYPE_CHECKING:
    from proxy.adapters.upstreams import TunnelEnd
    from proxy.edge.connection import GateConnection

_WEBSOCKET_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
"""RFC 6455 §1.3."""


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


@dataclass(slots=True)
class _Activity:
    """When a byte last passed, in loop time."""

    at: float


async def run_tunnel(
    connection: GateConnection, incoming: Incoming, end: TunnelEnd, idle_s: float | None
) -> None:
    """Pass bytes both ways until both sides have ended, one breaks, or `idle_s` pass without any.

    A half-close of one side is passed on to the other (on TCP; TLS has none in asyncio).
    """
    loop = asyncio.get_running_loop()
    activity = _Activity(loop.time())
    connection.become_tunnel()

    async def upwards() -> None:
        while data := await connection.read_raw():
            incoming.bytes_in += len(data)
            activity.at = loop.time()
            end.write(data)
            await end.drain()
        if not end.write_eof():
            raise UpstreamInvalid("a half-close that cannot be passed on")

    async def downwards() -> None:
        while data := await end.read():
            incoming.bytes_out += len(data)
            activity.at = loop.time()
            connection.write(data)
            await connection.drain()
        connection.write_eof()

    ways = {spawn(_quietly(upwards()), name="tunnel up"), spawn(_quietly(downwards()), name="down")}
    try:
        await _until_done(ways, activity, idle_s)
    finally:
        for way in ways:
            way.cancel()
        end.close()
        connection.close_tunnel()


async def _quietly(way: asyncio.Future[None] | object) -> bool:
    """Run one direction; False when it broke, which ends the other one too."""
    try:
        await way  # type: ignore[misc] # a coroutine of the two above
    except (ProxyError, OSError):
        return False
    return True


async def _until_done(
    ways: set[asyncio.Task[bool]], activity: _Activity, idle_s: float | None
) -> None:
    loop = asyncio.get_running_loop()
    pending = set(ways)
    while pending:
        patience = None if idle_s is None else max(0.0, activity.at + idle_s - loop.time())
        done, pending = await asyncio.wait(
            pending, timeout=patience, return_when=asyncio.FIRST_COMPLETED
        )
        if any(not way.result() for way in done):
            return
        if not done and idle_s is not None and loop.time() >= activity.at + idle_s:
            return
