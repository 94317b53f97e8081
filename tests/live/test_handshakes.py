"""Clients that begin TLS handshakes and do not end them take no more room than others."""

from __future__ import annotations

import asyncio
import contextlib
from ipaddress import ip_address

import pytest

from proxy.adapters.tasks import spawn
from proxy.core.proxy_protocol import SIGNATURE
from proxy.edge.server import GateServer
from proxy.edge.tls import server_context
from proxy.services.runtime import Runtime, load
from tests.byte_server import REQUEST, ByteServer
from tests.certificates import Authority, careless
from tests.live.conftest import bind

ONE_LANE = "handshakes come before any lane"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CONFIG = """
server:
  limits: {{{limits}}}
  {more}
upstreams: {{app: {{servers: ["{server}"]}}}}
routes: [{{match: {{path: /**}}, auth: none, upstream: app}}]
"""
GET = b"GET / HTTP/1.1\r\nHost: gate\r\n\r\n"


@pytest.fixture
async def begin(tmp_path):
    """Return a function that starts a gate with TLS under some limits."""
    upstream = ByteServer([[REQUEST, OK] * 9])
    await upstream.start()
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(upstream.stop)

        async def start(limits, more=""):
            path = tmp_path / "gate.yaml"
            path.write_text(CONFIG.format(limits=limits, more=more, server=upstream.address))
            runtime = await Runtime.start(load(path))
            stack.push_async_callback(runtime.close)
            gate, sock = GateServer(runtime), bind()
            await gate.start([sock], server_context(*Authority(tmp_path).issue("gate", "gate")))
            stack.push_async_callback(gate.drain, 1)
            return gate, sock.getsockname()[1]

        yield start


async def refused(gate, made, *, count):
    """Tell which of some connections the gate has ended, on which nothing was said; `count`: so many."""
    async with asyncio.timeout(5):
        while gate.counters.refused_connections < count:  # noqa: ASYNC110 - the gate's own count
            await asyncio.sleep(0.002)
        ends = [spawn(reader.read(1), name="end") for reader, _ in made]
        while sum(end.done() for end in ends) < count:
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED, timeout=0.01)
    told = [end.done() for end in ends]
    for end in ends:
        end.cancel()
    await asyncio.gather(*ends, return_exceptions=True)
    return told


async def served(port):
    """Return an open connection on which a request was answered; `None` where there was no room."""
    try:
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", port, ssl=careless(), server_hostname=""
        )
        writer.write(GET)
        await reader.readuntil(b"ok")
    except (ConnectionError, asyncio.IncompleteReadError):
        return None
    return writer


@pytest.mark.parametrize("limits", ["connections_per_address: 3", "connections: 3"])
async def test_a_handshake_that_is_not_ended_is_a_connection(begin, limits):
    """It counts from its beginning, once, and no longer than it lasts."""
    gate, port = await begin(limits)
    one = await served(port)
    silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(4)]

    assert [False, False, True, True] == await refused(gate, silent, count=2)
    assert await served(port) is None
    assert 3 == gate.counters.refused_connections
    silent[0][1].close()
    async with asyncio.timeout(5):
        while (two := await served(port)) is None:
            pass
    assert await served(port) is None
    for writer in (one, two, *(writer for _, writer in silent)):
        writer.close()
    async with asyncio.timeout(5):
        while gate._manager.taken:  # noqa: ASYNC110 - the loop tells of ends in its next turns
            await asyncio.sleep(0)
    assert {} == gate._manager._handshakes._networks


async def test_handshakes_behind_a_balancer_are_counted_of_the_client(begin):
    """PROXY protocol: of the address that was told, and not of the balancer; a /64 is one."""
    gate, port = await begin("connections_per_address: 1", "proxy_protocol: {from: [127.0.0.1]}")
    made = []
    told = ("192.0.2.1", "192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::ffff:1")
    for address in told:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        raw = ip_address(address)
        rest = raw.packed * 2 + b"\x12\x67\x01\xbb"
        front = b"\x21\x11" if raw.version == 4 else b"\x21\x21"
        writer.write(SIGNATURE + front + len(rest).to_bytes(2, "big") + rest)
        made.append((reader, writer))

    assert [False, True, False, False, True] == await refused(gate, made, count=2)
    for _, writer in made:
        writer.close()
