"""Upgrades: a tunnel begins after the right 101 only, and then every byte goes both ways."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib

import aiohttp
import pytest
from aiohttp.test_utils import TestServer

from tests.byte_server import REQUEST, ByteServer, Close, HalfClose, Say, Take, Until, Wait
from upstream_example.site import make_site

KEY = base64.b64encode(b"0123456789abcdef")
ACCEPT = base64.b64encode(
    hashlib.sha1(KEY + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11", usedforsecurity=False).digest()
)
SWITCH = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: " + ACCEPT + b"\r\n\r\n"
)
ECHO = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\nConnection: Upgrade\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

CONFIG = """
upstreams:
  app: {{servers: ["{server}"]}}
routes:
  - {{match: {{path: /**}}, auth: none, upstream: app, upgrades: [websocket, echo]}}
  - {{match: {{path: /plain}}, auth: none, upstream: app, upgrades: []}}
"""


def handshake(*lines, target=b"/", token=b"websocket"):
    head = [
        b"GET " + target + b" HTTP/1.1",
        b"Host: gate",
        b"Connection: keep-alive, Upgrade",
        b"Upgrade: " + token,
    ]
    return b"\r\n".join([*head, *lines]) + b"\r\n\r\n"


WEBSOCKET = (b"Sec-WebSocket-Version: 13", b"Sec-WebSocket-Key: " + KEY)


@pytest.fixture
async def through(start_gate):
    async with contextlib.AsyncExitStack() as stack:

        async def start(*scripts):
            server = ByteServer(scripts)
            await server.start()
            stack.push_async_callback(server.stop)
            return await start_gate(CONFIG.format(server=server.address)), server

        yield start


async def test_a_websocket_goes_through_with_its_subprotocol(start_gate):
    """A real client talks to a real server: messages both ways, and the closing handshake."""
    async with TestServer(make_site()) as site:
        gate = await start_gate(CONFIG.format(server=f"http://127.0.0.1:{site.port}"))
        async with (
            aiohttp.ClientSession() as client,
            client.ws_connect(gate.url + "/chat/socket") as socket,
        ):
            assert await socket.receive_json() == {"from": "chat", "text": "hello nobody"}
            await socket.send_str("x" * 100)
            assert (await socket.receive_json())["text"] == "x" * 100
            await socket.close()
        record = await gate.next_record()

    assert record.status == 101
    assert record.bytes_in > 100


async def test_extensions_and_subprotocols_go_end_to_end(through):
    """Sec-WebSocket-* headers are the two ends' own, both ways; the request id is the gate's."""
    switch = SWITCH.replace(b"\r\n\r\n", b"\r\nSec-WebSocket-Protocol: chat\r\n\r\n")
    gate, server = await through([REQUEST, switch, Close()])
    raw = await gate.exchange(
        handshake(*WEBSOCKET, b"Sec-WebSocket-Protocol: chat, x", b"Sec-WebSocket-Extensions: e")
    )
    sent = bytes(server.seen[0].received)

    assert b"Sec-WebSocket-Protocol: chat, x\r\n" in sent
    assert b"Sec-WebSocket-Extensions: e\r\n" in sent
    assert b"Upgrade: websocket\r\n" in sent
    assert b"Sec-WebSocket-Protocol: chat\r\n" in raw
    (told,) = [line for line in sent.split(b"\r\n") if line.startswith(b"X-Request-Id: ")]
    assert 1 == raw.count(b"X-Request-Id: ") == raw.count(told + b"\r\n")
    assert raw.startswith(b"HTTP/1.1 101 Switching Protocols\r\n")


async def test_a_handshake_may_say_that_it_has_no_body(through):
    """`Content-Length: 0` beside an upgrade is no body; found by fuzzing, where it was a 500."""
    gate, server = await through([REQUEST, SWITCH, Close()])
    raw = await gate.exchange(handshake(*WEBSOCKET, b"Content-Length: 0"))

    assert raw.startswith(b"HTTP/1.1 101 ")
    assert b"content-length" not in server.seen[0].received.lower()


async def test_bytes_go_both_ways(through):
    """What comes behind the 101 in the same packet is the tunnel's first byte."""
    gate, server = await through([REQUEST, SWITCH + b"first", Until(b"ping"), b"pong", Close()])
    reader, writer = await gate.connect()
    writer.write(handshake(*WEBSOCKET))
    await reader.readuntil(b"first")
    writer.write(b"ping")

    assert await reader.read() == b"pong"
    assert server.seen[0].received.endswith(b"ping")
    writer.close()


async def test_a_tunnel_keeps_of_its_request_what_the_log_says_of_it(through):
    """Neither its other headers nor the parser stay for as long as the tunnel does: each costs KiB."""
    gate, _ = await through([REQUEST, SWITCH, Until(b"ping"), b"pong", Close()])
    reader, writer = await gate.connect()
    writer.write(handshake(*WEBSOCKET, b"User-Agent: some browser", target=b"/chat?x=1"))
    await reader.readuntil(b"\r\n\r\n")
    (connection,) = gate.server._manager.connections
    kept = connection._current.view.headers
    writer.write(b"ping")
    assert await reader.read() == b"pong"
    writer.close()
    record = await gate.next_record()

    assert [b"host"] == [name.lower() for name, _ in kept]
    assert (101, "gate", "/chat") == (record.status, record.host, record.path)


async def test_f4_no_byte_goes_on_before_the_101(through):
    """F4: Early bytes of the client wait for the answer; a refusal turns them into a request."""
    go = asyncio.Event()
    arrived = asyncio.Event()
    gate, server = await through(
        [REQUEST, Say(arrived), Wait(go), SWITCH, Until(b"early"), Close()]
    )
    reader, writer = await gate.connect()
    writer.write(handshake(*WEBSOCKET) + b"early")
    await arrived.wait()
    await asyncio.sleep(0.05)  # a byte that went on wrongly would be there by now
    before = bytes(server.seen[0].received)
    go.set()
    await reader.read()

    assert b"early" not in before
    assert server.seen[0].received.endswith(b"early")
    writer.close()


async def test_f4_a_refused_upgrade_leaves_an_ordinary_connection(through):
    """F4: After 200 instead of 101 the next request is parsed and answered."""
    gate, _ = await through([REQUEST, OK], [REQUEST, OK])
    second = b"GET /2 HTTP/1.1\r\nHost: gate\r\nConnection: close\r\n\r\n"
    raw = await gate.exchange(handshake(*WEBSOCKET) + second)

    assert raw.count(b"HTTP/1.1 200 OK") == 2


@pytest.mark.parametrize("size", [None, 1, 7])
async def test_f1_a_request_behind_a_foreign_upgrade_is_answered(through, size):
    """The parser of aiohttp drops what it reads in one piece behind `Upgrade: h2c`; found by fuzzing."""
    gate, _ = await through([REQUEST, OK, REQUEST, OK])
    second = b"GET /2 HTTP/1.1\r\nHost: gate\r\nConnection: close\r\n\r\n"
    raw = handshake(token=b"h2c") + second
    reader, writer = await gate.connect()
    for at in range(0, len(raw), size or len(raw)):
        writer.write(raw[at : at + (size or len(raw))])
        await writer.drain()

    assert (await reader.read()).count(b"HTTP/1.1 200 OK") == 2
    writer.close()


async def test_f1_no_request_is_believed_where_bytes_may_be_lost(through):
    """Behind a body the parser's loss cannot be prevented: the answer is the connection's last."""
    gate, server = await through([REQUEST, OK, REQUEST, OK])
    raw = await gate.exchange(
        b"POST /1 HTTP/1.1\r\nHost: gate\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n"
        b"Content-Length: 2\r\n\r\nokGET /2 HTTP/1.1\r\nHost: gate\r\n\r\n"
    )

    assert raw.count(b"HTTP/1.1 200 OK") == 1
    assert b"\r\nConnection: close\r\n" in raw
    assert b"GET /2" not in server.seen[0].received


async def test_a_half_close_goes_through(through):
    """A client that has said all still hears the rest, and so does a server."""
    gate, server = await through([REQUEST, ECHO, Take(3), b"late", HalfClose()])
    reader, writer = await gate.connect()
    writer.write(handshake(token=b"echo"))
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"abc")
    writer.write_eof()

    assert await reader.read() == b"late"
    async with asyncio.timeout(5):
        await server.seen[0].over.wait()
    writer.close()


async def test_f4_another_protocol_only_where_the_route_names_it(through):
    """F4: `upgrades: []` makes an ordinary request of it."""
    gate, server = await through([REQUEST, OK])
    reader, writer = await gate.connect()
    writer.write(handshake(*WEBSOCKET, target=b"/plain"))
    await reader.readuntil(b"\r\n\r\nok")

    assert b"Upgrade" not in server.seen[0].received
    writer.close()


@pytest.mark.parametrize(
    "raw",
    [
        handshake(b"HTTP2-Settings: AAMAAABkAAQAAP__", token=b"h2c").replace(
            b"keep-alive, Upgrade", b"Upgrade, HTTP2-Settings"
        ),
        handshake(*WEBSOCKET).replace(b"13", b"8"),
        handshake(b"Sec-WebSocket-Version: 13"),
        handshake(*WEBSOCKET).replace(KEY, b"short"),
        handshake(*WEBSOCKET).replace(b"GET", b"POST"),
        handshake(*WEBSOCKET).replace(b"HTTP/1.1", b"HTTP/1.0"),
        handshake(*WEBSOCKET, token=b"websocket, h2c"),
        handshake(*WEBSOCKET).replace(b"keep-alive, Upgrade", b"keep-alive"),
        handshake(*WEBSOCKET, token=b"unknown"),
    ],
)
async def test_f4_what_is_no_websocket_is_an_ordinary_request(through, raw):
    """F4: h2c never, and nothing that is not a handshake: Upgrade and HTTP2-Settings are removed."""
    gate, server = await through([REQUEST, OK])
    reader, writer = await gate.connect()
    writer.write(raw)
    async with asyncio.timeout(5):
        answer = await reader.readuntil(b"ok")
    sent = server.seen[0].received.lower()

    assert answer.startswith(b"HTTP/1.1 200 OK")
    assert b"\r\nupgrade:" not in sent
    assert b"http2-settings" not in sent
    writer.close()


async def test_f4_h2c_is_never_upgraded(through):
    """F4: A server that would speak HTTP/2 is not asked to, and what it switches to unasked is no tunnel."""
    switch = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n"
    gate, server = await through([REQUEST, switch + b"smuggled", Close()])
    asked = handshake(b"HTTP2-Settings: AAMAAABkAAQAAP__", token=b"h2c")
    raw = await gate.exchange(
        asked.replace(b"keep-alive, Upgrade", b"close, Upgrade, HTTP2-Settings")
    )
    sent = server.seen[0].received.lower()

    assert raw.startswith(b"HTTP/1.1 502 ")
    assert b"smuggled" not in raw
    assert b"h2c" not in sent
    assert b"http2-settings" not in sent


@pytest.mark.parametrize(
    "answer",
    [
        SWITCH.replace(ACCEPT, base64.b64encode(b"x" * 20)),
        SWITCH.replace(b"Sec-WebSocket-Accept: " + ACCEPT + b"\r\n", b""),
        SWITCH.replace(b"Upgrade: websocket", b"Upgrade: echo"),
        SWITCH.replace(b"Upgrade: websocket\r\n", b""),
    ],
)
async def test_f4_a_wrong_101_is_502(through, answer):
    """F4: A switch to something else, or without the right accept, never becomes a tunnel."""
    gate, _ = await through([REQUEST, answer + b"smuggled", Close()])
    raw = await gate.exchange(handshake(*WEBSOCKET).replace(b"keep-alive", b"close"))

    assert raw.startswith(b"HTTP/1.1 502 ")
    assert b"smuggled" not in raw


async def test_f4_an_unasked_101_is_502(through):
    """F4: A server cannot turn an ordinary request into a tunnel."""
    gate, _ = await through([REQUEST, ECHO + b"smuggled", Close()])
    raw = await gate.exchange(b"GET / HTTP/1.1\r\nHost: gate\r\nConnection: close\r\n\r\n")

    assert raw.startswith(b"HTTP/1.1 502 ")
    assert b"smuggled" not in raw
    assert "a 101 response that was not asked for" == (await gate.next_record()).detail


async def test_f4_a_101_that_does_not_say_for_what_is_502(through):
    """F4: And the log says what it lacks, in the gate's own words."""
    gate, _ = await through([REQUEST, b"HTTP/1.1 101 Switching Protocols\r\n\r\nsmuggled", Close()])
    raw = await gate.exchange(b"GET / HTTP/1.1\r\nHost: gate\r\nConnection: close\r\n\r\n")

    assert raw.startswith(b"HTTP/1.1 502 ")
    assert "a 101 without an Upgrade that Connection names" == (await gate.next_record()).detail


async def test_a_client_that_leaves_ends_the_tunnel(through):
    """The server's side closes when the client's is gone."""
    gate, server = await through([REQUEST, SWITCH, Until(b"never")])
    reader, writer = await gate.connect()
    writer.write(handshake(*WEBSOCKET))
    await reader.readuntil(b"\r\n\r\n")
    writer.transport.abort()
    async with asyncio.timeout(5):
        await server.seen[0].over.wait()

    assert server.seen[0].over.is_set()
