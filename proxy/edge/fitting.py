"""Which requests the express lane is for: they end with what has come, and leave the connection as it was.

What never belongs here: who may pass.
"""

from __future__ import annotations

from typing import Any, Final

from proxy.edge.incoming import SHORT_BODY, ConnectionLimits, Incoming
from proxy.services.route import Route

HEAD_END: Final = b"\r\n\r\n"
_MAX_DIGITS: Final = 9
"""Of a Content-Length that is read here at all."""


def is_short(incoming: Incoming) -> bool:
    """Tell whether a request ends with its head."""
    return not incoming.has_body and _stays(incoming)


def is_laden(incoming: Incoming) -> bool:
    """Tell whether a request ends with a body that is here."""
    return bool(incoming.length) and incoming.payload.is_eof() and _stays(incoming)


def ends_with(packet: bytes, message: Any) -> bool:
    """Tell whether a packet is aiohttp's `message` whole: its head, and a short body behind it."""
    length = message.headers.get("Content-Length", "")
    if message.chunked or not length.isdecimal() or len(length) > _MAX_DIGITS:
        return False
    size = int(length)
    return 0 < size <= SHORT_BODY and len(packet) == packet.find(HEAD_END) + 4 + size


def is_too_large(size: int, route: Route, limits: ConnectionLimits) -> bool:
    """Tell whether a body of `size` bytes is longer than its route, or else the server, allows."""
    limit = route.body_size or limits.body_size
    return limit is not None and size > limit


def _stays(incoming: Incoming) -> bool:
    return (
        incoming.keeps_alive
        and incoming.upgrade is None
        and not incoming.expects_continue
        and incoming.view.version == (1, 1)
    )
