"""Clients that have sent their FIN: gone, or waiting for their response."""

from __future__ import annotations

import asyncio
import socket
import struct

from proxy.adapters.tasks import spawn
from proxy.edge.leaving import has_left, is_reset


async def accepted() -> tuple[asyncio.Transport, socket.socket]:
    """Return the gate's end of a TCP connection, and the client's."""
    listener = socket.create_server(("127.0.0.1", 0))
    client = socket.create_connection(listener.getsockname())
    sock, _ = listener.accept()
    listener.close()
    loop = asyncio.get_running_loop()
    transport, _ = await loop.connect_accepted_socket(asyncio.Protocol, sock)
    return transport, client


async def test_a_client_that_only_waits_has_not_left():
    """Until the gate closes the connection nothing is said about the client."""
    transport, client = await accepted()
    watch = spawn(has_left(transport, lambda: None), name="watch")
    await asyncio.sleep(0)
    assert not watch.done()
    assert not is_reset(transport)
    transport.close()

    assert await watch is False
    client.close()


async def test_a_reset_tells_that_the_client_has_left():
    """The kernel keeps the reset as the socket's error, even where nothing is read."""
    transport, client = await accepted()
    transport.pause_reading()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()

    assert await has_left(transport, lambda: None) is True
    transport.abort()
