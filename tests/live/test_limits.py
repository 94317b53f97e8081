"""What is beyond a route's limits never reaches the application, in whatever lane it came."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct

import pytest

from tests.byte_server import REQUEST, ByteServer, Reset, Until, Wait

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CONFIG = """
server: {{limits: {{body_size: 4B}}}}
upstreams:
  app: {{servers: ["{server}"{more}], eject: {{failures: 1, rest: {rest}, longest: 30s}}, timeouts: {{response: 200ms}}}}
routes:
  - {{match: {{path: /free}}, auth: none, upstream: app}}
  - {{match: {{path: /rated}}, auth: none, upstream: app, limits: {{rate: 2/h}}}}
  - {{match: {{path: /single}}, auth: none, upstream: app, limits: {{parallel: 1}}}}
  - {{match: {{path: /upload}}, auth: none, upstream: app, limits: {{body_size: 8B}}}}
"""


@pytest.fixture
async def before(start_gate):
    """Return a function that starts a gate before a server that plays `scripts`."""
    servers = []

    async def start(*scripts, more="", rest="30s"):
        server = ByteServer(scripts)
        await server.start()
        servers.append(server)
        return await start_gate(CONFIG.format(server=server.address, more=more, rest=rest)), server

    yield start
    for server in servers:
        await server.stop()


def limiter_of(gate, name):
    """Return what counts a route's requests."""
    return next(route.limiter for route in gate.runtime.gate.routes if route.name == name)


def leave(writer):
    """Close with a reset: a FIN alone may be a half-close."""
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def get(path):
    """Return a request."""
    return b"GET %b HTTP/1.1\r\nHost: gate\r\nConnection: close\r\n\r\n" % path


def post(path, size):
    """Return a request with a body."""
    head = b"POST %b HTTP/1.1\r\nHost: gate\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
    return head % (path, size) + b"x" * size


async def test_what_is_over_the_rate_is_429_and_goes_nowhere(before):
    """With the policy and the time to wait; other routes are not counted with it."""
    gate, server = await before([REQUEST, OK] * 9, [REQUEST, OK] * 9)
    answers = [await gate.exchange(get(b"/rated")) for _ in range(4)]

    assert [b"200", b"200", b"429", b"429"] == [raw.split(b" ")[1] for raw in answers]
    assert b'\r\nRateLimit-Policy: "requests";q=2;w=3600\r\n' in answers[3]
    assert b'\r\nRateLimit: "requests";r=0;t=1800\r\n' in answers[3]
    assert b"\r\nRetry-After: 1800\r\n" in answers[3]
    assert b'"too_many_requests"' in answers[3]
    assert (await gate.exchange(get(b"/free"))).endswith(b"ok")
    assert 3 == sum(bytes(seen.received).count(b"GET ") for seen in server.seen)


async def test_many_on_one_connection_are_counted_each(before):
    """Also those that would take the express lane: there is none where requests are counted."""
    gate, server = await before([REQUEST, OK] * 9)
    line = b"GET /rated HTTP/1.1\r\nHost: gate\r\n\r\n"
    raw = await gate.exchange(line * 5 + get(b"/rated"))

    assert (2, 4) == (raw.count(b"HTTP/1.1 200 "), raw.count(b"HTTP/1.1 429 "))
    assert 2 == sum(bytes(seen.received).count(b"GET ") for seen in server.seen)


async def test_only_so_many_at_once(before):
    """The second one is refused while the first is under way, and a third is not."""
    go = asyncio.Event()
    gate, server = await before([REQUEST, Wait(go), OK, REQUEST, OK], [REQUEST, OK])
    _, writer = await gate.connect()
    writer.write(get(b"/single"))
    while not (server.seen and server.seen[0].received):  # noqa: ASYNC110 - the server tells nobody
        await asyncio.sleep(0.005)
    refused = await gate.exchange(get(b"/single"))
    go.set()
    await gate.next_record()
    writer.close()

    assert refused.startswith(b"HTTP/1.1 429 ")
    assert 1 == len(server.seen)


async def test_a_route_may_take_more_or_less_than_the_gate(before):
    """The route's own `body_size` counts in place of the server's."""
    gate, _ = await before([REQUEST, OK], [REQUEST, OK])

    assert (await gate.exchange(post(b"/upload", 9))).startswith(b"HTTP/1.1 413 ")
    assert (await gate.exchange(post(b"/upload", 8))).startswith(b"HTTP/1.1 200 ")
    assert (await gate.exchange(post(b"/free", 5))).startswith(b"HTTP/1.1 413 ")


async def test_what_goes_nowhere_keeps_no_server_out(before):
    """A body that is too long is not the one request that finds out whether a server is back."""
    gate, _ = await before([REQUEST, OK] * 99, more=', "http://127.0.0.1:1"', rest="100ms")
    gone = gate.runtime.upstreams["app"].servers[1]
    async with asyncio.timeout(10):
        while not gone.down_until:
            await gate.exchange(get(b"/free"))
    until, now = gone.down_until, asyncio.get_running_loop().time()
    await asyncio.sleep(until - now + 0.01)  # its rest is over: the next one finds out
    for _ in range(20):
        reader, writer = await gate.connect()
        writer.write(post(b"/free", 5).replace(b"Connection: close\r\n", b""))
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 413 ")
        writer.close()

    assert until == gone.down_until


@pytest.mark.parametrize("size", [8, 9])
async def test_a_body_without_a_length_is_counted_as_it_comes(before, size):
    """Chunked, in pieces that end anywhere: what is cut off in the middle is 413, and no request."""
    gate, server = await before([REQUEST, Until(b"0\r\n\r\n"), OK])
    body = b"1\r\nx\r\n" * size + b"0\r\n\r\n"
    reader, writer = await gate.connect()
    chunked = b"Content-Length: 0\r\n", b"Transfer-Encoding: chunked\r\n"
    writer.write(post(b"/upload", 0).replace(*chunked))
    for at in range(0, len(body), 4):
        writer.write(body[at : at + 4])
        await asyncio.sleep(0)
    raw = await reader.read()
    writer.close()

    assert raw.startswith(b"HTTP/1.1 200 " if size == 8 else b"HTTP/1.1 413 ")
    assert (size == 8) == (b"0\r\n\r\n" in server.seen[0].received)


WEBSOCKET = b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
SWITCHED = (
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
)
UPGRADE = WEBSOCKET + b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
ENDS = {
    "left": (b"", [b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok"]),
    "left before": (b"", []),
    "cut": (b"Content-Length: 4\r\n", []),
    "tunnel": (UPGRADE, [SWITCHED]),
    "no tunnel": (UPGRADE, [OK]),
    "nonsense": (b"", [b"nonsense\r\n\r\n"]),
    "gone": (b"", [Reset()]),
}


@pytest.mark.parametrize("way", ENDS)
async def test_a_place_is_free_however_its_request_ended(before, way):
    """The client leaves, its body is cut, a tunnel ends, the application does: no place is lost."""
    more, said = ENDS[way]
    gate, _ = await before(*[[REQUEST, *said]] * 2, [REQUEST, OK] * 3)
    for _ in range(2):
        reader, writer = await gate.connect()
        writer.write(b"GET /single HTTP/1.1\r\nHost: gate\r\n%b\r\n" % more)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.1):
                await reader.read()
        leave(writer)
        await gate.next_record()

    assert not limiter_of(gate, "/single").busy


async def test_what_is_down_is_answered_at_once(before):
    """503 with Retry-After, in every lane, and nothing of it is sent on."""
    gate, server = await before([REQUEST, OK, REQUEST, Wait(asyncio.Event())])
    await gate.exchange(get(b"/free"))
    line = b"GET /free HTTP/1.1\r\nHost: gate\r\n\r\n"
    raw = await gate.exchange(line * 3 + get(b"/free"))

    assert (1, 3) == (raw.count(b"HTTP/1.1 504 "), raw.count(b"HTTP/1.1 503 "))
    assert 3 == raw.count(b"\r\nRetry-After: 1\r\n")
    assert 3 == raw.count(b'"upstream_down"')
    assert 1 == len(server.seen)
