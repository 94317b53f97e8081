"""A listener with one request and one answer for each connection."""

from __future__ import annotations

import asyncio
import socket

from proxy.edge.one_shot import OneShotListener


class Echo(OneShotListener):
    async def exchange(self, reader, client, heard):
        """Return the line that came, and from whom."""
        line = await reader.readline()
        heard()
        if line == b"slow\n":
            raise TimeoutError
        return client.encode() + b" " + line if line else None


async def test_each_connection_has_one_answer():
    """The client is told by its address; who is slow gets nothing, and nobody else suffers."""
    sock = socket.create_server(("127.0.0.1", 0))
    listener = Echo(limit=1024, most=2, patience_s=10)
    await listener.start([sock])
    for sent, answer in ((b"a\n", b"127.0.0.1 a\n"), (b"slow\n", b""), (b"b\n", b"127.0.0.1 b\n")):
        reader, writer = await asyncio.open_connection(*sock.getsockname())
        writer.write(sent)
        assert answer == await reader.read()
        writer.close()
    await listener.close()
