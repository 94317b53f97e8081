"""Bodies of any size pass through bounded memory, however slow either side is."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from pathlib import Path

import pytest

LANES = ("off", "cold")
"""A GiB is no hit: what is large is passed on alike, known or not."""

GIB = 1 << 30
MIB = 1 << 20
CHUNK = b"x" * (256 * 1024)

CONFIG = """
upstreams: {{app: {{servers: ["http://127.0.0.1:{port}"]}}}}
routes: [{{match: {{path: /**}}, auth: none, upstream: app}}]
"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc"),
]


def resident():
    """Return this process's resident memory in bytes: gate, client and server together."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096


class Watch:
    """The highest resident memory between enter and exit, above what there was."""

    async def __aenter__(self):
        self.before = self.highest = resident()
        self.task = asyncio.get_running_loop().create_task(self._look())
        return self

    async def __aexit__(self, *_):
        self.task.cancel()
        self.highest = max(self.highest, resident())

    async def _look(self):
        while True:
            self.highest = max(self.highest, resident())
            await asyncio.sleep(0.02)

    @property
    def grown(self):
        return self.highest - self.before


@pytest.fixture
async def app():
    """Serve: take any body, and answer GET with a GiB as fast as it is taken."""
    taken = {"bytes": 0, "may_read": asyncio.Event()}
    taken["may_read"].set()

    async def serve(reader, writer):
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            if head.startswith(b"GET"):
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % GIB)
                for _ in range(GIB // len(CHUNK)):
                    writer.write(CHUNK)
                    await writer.drain()
            else:
                while taken["bytes"] < GIB:
                    await taken["may_read"].wait()
                    taken["bytes"] += len(await reader.read(MIB))
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            await writer.drain()
            await reader.read()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=MIB)
    async with server:
        yield server.sockets[0].getsockname()[1], taken


async def test_a_gib_down_with_a_reader_that_pauses(start_gate, app):
    """1 GiB of an answer costs less than 64 MiB, also while nobody reads it."""
    port, _ = app
    gate = await start_gate(CONFIG.format(port=port))
    async with Watch() as watch:
        reader, writer = await asyncio.open_connection("127.0.0.1", gate.port, limit=MIB)
        writer.write(b"GET / HTTP/1.1\r\nHost: gate\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        await asyncio.sleep(1)  # the reader is slow: what is not bounded would pile up now
        taken = 0
        while taken < GIB:
            taken += len(await reader.read(MIB))
        writer.close()

    assert taken == GIB
    assert watch.grown < 64 * MIB


async def test_a_gib_up_to_a_server_that_pauses(start_gate, app):
    """1 GiB of a request body costs less than 64 MiB, also while the server takes nothing."""
    port, taken = app
    taken["may_read"].clear()
    gate = await start_gate(CONFIG.format(port=port))
    async with Watch() as watch:
        reader, writer = await asyncio.open_connection("127.0.0.1", gate.port, limit=MIB)
        writer.write(b"POST / HTTP/1.1\r\nHost: gate\r\nContent-Length: %d\r\n\r\n" % GIB)
        asyncio.get_running_loop().call_later(1, taken["may_read"].set)
        for _ in range(GIB // len(CHUNK)):
            writer.write(CHUNK)
            await writer.drain()
        answer = await reader.readuntil(b"\r\n\r\n")
        writer.close()

    assert answer.startswith(b"HTTP/1.1 200 OK")
    assert taken["bytes"] == GIB
    assert watch.grown < 64 * MIB
