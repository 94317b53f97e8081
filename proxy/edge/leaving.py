"""Whether a client that has sent its FIN is gone, or still wants its response.

A FIN alone may be a half-close. An interim response, which every HTTP/1.1 client must be able to
read (RFC 9110 §15.2), makes the kernel of a client that has closed for good answer with a reset.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Final

from proxy.edge.incoming import Incoming

PROBE_EVERY_S: Final = 1.0
"""A client that has sent its FIN and waits is asked this often whether it is still there."""


async def has_left(transport: asyncio.Transport, current: Callable[[], Incoming | None]) -> bool:
    """Return True once the client is known to be gone, False once the connection was closed here.

    `current` tells the request that is being served. Nobody half-closes an event stream.
    """
    while not transport.is_closing():
        incoming = current()
        if is_reset(transport) or (incoming is not None and incoming.is_event_stream):
            return True
        if incoming and not incoming.is_answered and incoming.view.version >= (1, 1):
            transport.write(b"HTTP/1.1 102 Processing\r\n\r\n")
        await asyncio.sleep(PROBE_EVERY_S)
    return False


def is_reset(transport: asyncio.Transport) -> bool:
    """Tell whether the kernel knows that the peer is gone (a pending socket error)."""
    sock = transport.get_extra_info("socket")
    if sock is None:
        return transport.is_closing()
    try:
        return bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))
    except OSError:
        return True
