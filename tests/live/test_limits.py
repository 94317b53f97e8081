"""What is beyond a route's limits never reaches the application, in whatever lane it came."""

from __future__ import annotations

import asyncio

import pytest

from tests.byte_server import REQUEST, ByteServer, Wait

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CONFIG = """
server: {{limits: {{body_size: 4B}}}}
upstreams:
  app: {{servers: ["{server}"], eject: {{failures: 1, rest: 30s, longest: 30s}}, timeouts: {{response: 200ms}}}}
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

    async def start(*scripts):
        server = ByteServer(scripts)
        await server.start()
        servers.append(server)
        return await start_gate(CONFIG.format(server=server.address)), server

    yield start
    for server in servers:
        await server.stop()


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
