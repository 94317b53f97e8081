"""What a gate counts of real requests, and of what are none."""

from __future__ import annotations

import asyncio
import contextlib
import secrets

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from proxy.adapters.tasks import spawn
from proxy.edge.counters import KNOWN_CODES
from proxy.run.counting import count_worker

CONFIG = """
server: {{limits: {{connections: 5}}}}
store: {{url: "{store}"}}
upstreams: {{app: {{servers: ["{app}"]}}, gone: {{servers: ["http://127.0.0.1:1"]}}}}
schemes:
  web: {{type: session, format: native, cookie: sid}}
  api: {{type: jwt, issuer: "https://id.test", audience: [app], algorithms: [HS256], keys: {{secret: "{secret}"}}}}
routes:
  - {{name: either, match: {{path: /either, methods: [GET]}}, auth: [web, api], upstream: app}}
  - {{name: gone, match: {{path: /gone}}, auth: none, upstream: gone}}
  - {{name: open, match: {{path: /open/**}}, auth: none, upstream: app}}
"""
DECISIONS = {"forward", "answer", "challenge", "deny", "unavailable", "error"}


async def _open(request: web.Request) -> web.StreamResponse:
    if request.path == "/open/socket":
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            await socket.send_str(message.data)
        return socket
    if request.path == "/open/events":
        return web.Response(text="data: x\n\n", content_type="text/event-stream")
    return web.Response(status=int(request.query.get("status", "200")), body=await request.read())


@pytest.fixture
async def gate(start_gate, valkey):
    application = web.Application()
    application.router.add_route("*", "/{tail:.*}", _open)
    async with TestServer(application) as server:
        app = f"http://127.0.0.1:{server.port}"
        yield await start_gate(CONFIG.format(store=valkey.url, app=app, secret="s" * 40))


def cells(gate):
    """Return how many requests of each kind were counted."""
    return {key: cell.count for key, cell in gate.server.counters.cells.items()}


async def ask(gate, path, *lines, method="GET"):
    """Send one request on a connection of its own, and wait until it is over."""
    head = [f"{method} {path} HTTP/1.1", "Host: a", "Connection: close", *lines, "", ""]
    answer = await gate.exchange("\r\n".join(head).encode("latin-1"))
    await gate.next_record()
    return int(answer.split(b" ")[1])


async def test_who_decided_what_is_counted(gate):
    """Route, scheme, decision and code: of a refusal the scheme that refused, as far as one did."""
    assert 401 == await ask(gate, "/either")
    assert 401 == await ask(gate, "/either", "Cookie: sid=x")
    assert 401 == await ask(gate, "/either", "Authorization: Bearer x.y.z")
    assert 200 == await ask(gate, "/open/x")
    assert 502 == await ask(gate, "/gone")
    assert 404 == await ask(gate, "/nowhere")
    assert {
        ("challenge", "either", "", "credential_missing"): 1,
        ("challenge", "either", "web", "session_unknown"): 1,
        ("challenge", "either", "api", "token_invalid"): 1,
        ("forward", "open", "", None): 1,
        ("forward", "gone", "", "upstream_unreachable"): 1,
        ("deny", "", "", "route_not_found"): 1,
    } == cells(gate)


async def test_an_outage_names_the_scheme_that_needs_the_store(gate, start_gate, tmp_path):
    """Whose credential could not be looked up: there may be several stores."""
    text = CONFIG.format(store=f"unix://{tmp_path}/none", app="http://127.0.0.1:1", secret="s" * 40)
    gate = await start_gate(text)
    assert 503 == await ask(gate, "/either", "Cookie: sid=x")
    assert {("unavailable", "either", "web", "store_unavailable"): 1} == cells(gate)


async def test_upstreams_and_bytes_are_counted(gate):
    """Answers by class, failures by code, bodies by their bytes."""
    assert 204 == await ask(gate, "/open/x?status=204")
    assert 418 == await ask(gate, "/open/x?status=418")
    assert 502 == await ask(gate, "/gone")
    counters = gate.server.counters
    assert [0, 1, 0, 1, 0] == counters.upstreams["app"].statuses
    assert 2 == sum(counters.upstreams["app"].durations.buckets)
    assert 1 == counters.upstreams["gone"].errors["upstream_unreachable"]
    assert 0 == sum(counters.upstreams["gone"].durations.buckets)
    before = counters.bytes_out
    async with (
        aiohttp.ClientSession() as client,
        client.post(f"{gate.url}/open/x", data=b"a" * 5000) as answer,
    ):
        assert 5000 == len(await answer.read())
        await gate.next_record()
    assert (5000, 5000) == (counters.bytes_in, counters.bytes_out - before)


async def test_tunnels_are_counted_while_they_are_open(gate):
    """A gauge for what is open; a tunnel and an event stream are decisions, but no durations."""
    streams = gate.runtime.coherence.streams
    async with aiohttp.ClientSession() as client:
        async with client.ws_connect(f"{gate.url}/open/socket") as socket:
            await socket.send_str("x")
            assert "x" == await socket.receive_str()
            assert 1 == streams.tunnels
        await gate.next_record()
        assert 0 == streams.tunnels
        async with client.get(f"{gate.url}/open/events") as answer:
            assert "data: x\n\n" == await answer.text()
        await gate.next_record()
    (cell,) = gate.server.counters.cells.values()
    assert (2, 0) == (cell.count, sum(cell.durations.buckets))


async def test_connections_beyond_the_limit_are_counted(gate):
    """Who is turned away leaves no line in the log, but a number."""
    streams = [await gate.connect() for _ in range(12)]
    ends = [spawn(end_of(reader), name="end of a connection") for reader, _ in streams]
    async with asyncio.timeout(30):
        for _, end in zip(range(7), asyncio.as_completed(ends), strict=False):
            await end
    assert 7 == gate.server.counters.refused_connections
    for _, writer in streams:
        writer.close()
    await asyncio.wait(ends)


async def end_of(reader):
    """Wait until the gate closes a connection, in whatever way."""
    with contextlib.suppress(ConnectionError):
        await reader.read()


def hostile(word):
    """Return requests with `word` wherever a client may write one."""
    host = f"Host: {word}\r\nConnection: close"
    yield f"{word} /open/x HTTP/1.1\r\n{host}\r\n\r\n"
    yield f"{word.upper()} /{word} HTTP/1.1\r\n{host}\r\n\r\n"
    yield f"GET /{word} HTTP/1.1\r\n{host}\r\n\r\n"
    yield f"GET /open/{word}?{word}={word} HTTP/1.1\r\n{host}\r\n\r\n"
    yield f"GET /either HTTP/1.1\r\n{host}\r\nCookie: sid={word}; {word}=1\r\n\r\n"
    yield f"GET /either HTTP/1.1\r\n{host}\r\nAuthorization: Bearer {word}.{word}.x\r\n\r\n"
    yield f"GET /either HTTP/1.1\r\n{host}\r\nAuthorization: {word}\r\nX-{word}: {word}\r\n\r\n"
    yield f"GET /either HTTP/1.1\r\n{host}\r\nUpgrade: {word}\r\nExpect: {word}\r\n\r\n"
    yield f"OPTIONS /open/x HTTP/1.1\r\n{host}\r\nAccess-Control-Request-Method: {word}\r\n\r\n"
    yield f"GET /open/%zz{word} HTTP/{word}\r\n{host}\r\n\r\n"
    yield f"{word}\r\n\r\n"


async def test_s15_hostile_requests_make_no_label(gate):
    """S15: whatever a client sends, the labels are names of the file, decisions and codes."""
    words = [secrets.token_hex(6) for _ in range(8)]
    told = []
    for word in words:
        for raw in hostile(word):
            await gate.exchange(raw.encode())
            await gate.next_record()
        told.append(len(gate.server.counters.cells))
    assert told[0] == told[-1] <= 11  # the first round has made every label that there is
    for decision, route, scheme, code in gate.server.counters.cells:
        assert decision in DECISIONS
        assert route in {"either", "gone", "open", ""}
        assert scheme in {"web", "api", ""}
        assert code is None or code in KNOWN_CODES
    tally = count_worker(gate.server.counters, gate.runtime.coherence, 0)
    assert not [word for word in words if word in repr(tally)]
