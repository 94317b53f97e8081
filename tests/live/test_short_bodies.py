"""What a short body, which is taken whole with its head, must not leave behind at a gate."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import tracemalloc
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from tests.byte_server import REQUEST, ByteServer, Take
from tests.lanes import is_whole

LANES = ("off", "cold", "warm")

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
GET = b"GET / HTTP/1.1\r\nHost: gate\r\n\r\n"
CONFIG = """
store: {{url: "{store}"}}
secrets: {{key: "{key}"}}
upstreams: {{app: {{servers: ["{server}"]}}}}
schemes: {{web: {{type: session, format: native, cookie: sid}}}}
routes:
  - {{match: {{path: /**}}, auth: none, upstream: app}}
  - {{match: {{path: /web}}, auth: web, upstream: app}}
"""


@pytest.fixture
async def before(start_gate: Any, valkey: Any) -> AsyncIterator[Callable[..., Any]]:
    """Return a function that starts a gate before a server that plays `scripts`."""
    async with contextlib.AsyncExitStack() as stack:

        async def start(*scripts: Any) -> Any:
            server = ByteServer(scripts)
            await server.start()
            stack.push_async_callback(server.stop)
            return await start_gate(
                CONFIG.format(server=server.address, store=valkey.url, key="00" * 32)
            )

        yield start


@pytest.fixture
async def connect() -> AsyncIterator[Callable[..., Any]]:
    """Return a function that opens a client connection to a gate, which ends with the test."""
    async with contextlib.AsyncExitStack() as stack:

        async def opened(gate: Any) -> Any:
            reader, writer = await gate.connect()
            stack.callback(writer.close)
            return reader, writer

        yield opened


def post(path: bytes, size: int, *lines: bytes) -> bytes:
    head = (b"POST %b HTTP/1.1" % path, b"Host: gate", *lines, b"Content-Length: %d" % size)
    return b"\r\n".join(head) + b"\r\n\r\n" + b"x" * size


async def ask(line: Any, raw: bytes) -> bytes:
    reader, writer = line
    writer.write(raw)
    said = b""
    async with asyncio.timeout(10):
        while not is_whole(said, raw.partition(b" ")[0]):
            data = await reader.read(65536)
            assert data
            said += data
    return said


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - what is waited for happens in another connection
            await asyncio.sleep(0.002)


def kept_by(gate: Any) -> int:
    """Return how many bytes of what they were sent the connections of a gate hold on to."""
    connections = gate.server._manager.connections
    held = (thing for one in connections for thing in gc.get_referents(one))
    return sum(len(thing) for thing in held if isinstance(thing, bytes))


@pytest.mark.parametrize(
    ("path", "size", "line", "status"),
    [
        (b"/", 40_000, b"Accept: */*", b"200"),
        (b"/", 300_000, b"Accept: */*", b"200"),
        (b"/web", 40_000, b"Cookie: sid=" + b"x" * 43, b"401"),
        (b"/web", 40_000, b"Accept: */*", b"401"),
    ],
    ids=["short", "long", "looked up", "refused"],
)
async def test_an_idle_connection_keeps_nothing_of_a_body(
    before, connect, path, size, line, status
):
    """Thousands that have sent one and now rest cost what others cost that rest."""
    gate = await before([REQUEST, OK, REQUEST, Take(size), OK, REQUEST, OK])
    client = await connect(gate)
    await ask(client, GET)
    said = await ask(client, post(path, size, line))

    assert status == said[9:12]
    assert kept_by(gate) < 1000


async def test_a_body_that_was_sent_on_is_not_kept_while_it_is_answered(before, connect):
    """However long the application thinks, and however long its answer takes: it is sent once (F3)."""
    count, size = 20, 60_000
    gate = await before(*[[REQUEST, Take(size)] for _ in range(count)])
    (app,) = {route.upstream for route in gate.runtime.gate.routes}
    clients = [await connect(gate) for _ in range(count)]
    tracemalloc.start()
    try:
        for client in clients:
            client[1].write(post(b"/", size))
        await until(lambda: app.servers[0].begun == count)
        gc.collect()
        ours = tracemalloc.take_snapshot().filter_traces([tracemalloc.Filter(True, "*/proxy/*")])
    finally:
        tracemalloc.stop()

    assert sum(trace.size for trace in ours.traces) < count * size / 4
