"""A configuration that believes other authorities: whoever the old ones let in has no further request."""

from __future__ import annotations

import asyncio
import contextlib
import ssl

import pytest

from proxy.edge.tls import listener_context
from proxy.services.runtime import Runtime, load
from tests.live.processes.conftest import eventually
from tests.live.test_mtls import SWITCHED, WEBSOCKET, gates_of
from tests.live.test_mtls import people as people  # noqa: PLC0414 - a fixture
from tests.trio import OK, Client

ASKED = b"GET /m/a HTTP/1.1\r\nHost: gate\r\n\r\n"
SLOW = b"GET /m/slow HTTP/1.1\r\nHost: gate\r\n\r\n"
MODES = ("off", "warm", "cold")


@pytest.fixture(params=MODES)
async def bench(request, tmp_path, people):
    """Give a connection of somebody's, and what makes the gate believe another authority."""
    mode = request.param
    async with gates_of(tmp_path, people, modes=(mode,)) as gates:
        gate = gates[mode]
        long = [b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab", 0.3, b"cd"]
        gate.mirror.answers = {
            b"/m/slow": [0.3, OK],
            b"/m/long": long,
            b"/m/ws": [SWITCHED, 30.0],
        }
        options = {"ssl": people[0]["ann"], "server_hostname": ""}
        client = Client(*await asyncio.open_connection("127.0.0.1", gate.more["tls"], **options))
        for _ in range(2):
            await client.say(ASKED)
            assert (await client.hear(b"GET")).startswith(b"HTTP/1.1 200 ")
        runtimes = []

        async def believe(who="stranger"):
            (tmp_path / "ca.ca.pem").write_bytes((tmp_path / f"{who}.ca.pem").read_bytes())
            loaded = load(tmp_path / f"{mode}.yaml")
            runtimes.append(await Runtime.start(loaded, gate_id="here"))
            gate.server.adopt(runtimes[-1], listener_context(loaded.config.server.tls))

        yield gate, client, believe
        await client.close()
        await gate.server.drain(0.0)
        for runtime in runtimes:
            await runtime.close()


def served(gate):
    """Return how many requests reached the application."""
    return len(gate.mirror.received)


async def test_r7_a_head_that_had_begun_is_not_served(bench):
    """What is still to be decided is of a connection that nobody would be let into."""
    gate, client, believe = bench
    before = served(gate)
    await client.say(ASKED[:20])
    await asyncio.sleep(0.05)
    await believe()
    with contextlib.suppress(ConnectionError, ssl.SSLError):
        await client.say(ASKED[20:])
    assert await client.hear(b"GET") in (b"<end>", b"<reset>")
    assert served(gate) == before


async def test_r7_requests_behind_one_that_is_under_way_are_not_served(bench):
    """That one ends as it began, and is the last."""
    gate, client, believe = bench
    before = served(gate)
    await client.say(SLOW + ASKED + ASKED)
    await eventually(lambda: served(gate) > before)
    await believe()
    with contextlib.suppress(ConnectionError, ssl.SSLError):
        await client.say(ASKED)
    assert (await client.hear(b"GET")).startswith(b"HTTP/1.1 200 ")
    assert await client.hear(b"GET") in (b"<end>", b"<reset>")
    assert served(gate) == before + 1


async def test_r7_requests_behind_an_answer_that_is_under_way_are_not_served(bench):
    """Its head has said that the connection stays open; it does not."""
    gate, client, believe = bench
    before = served(gate)
    await client.say(b"GET /m/long HTTP/1.1\r\nHost: gate\r\n\r\n" + ASKED + ASKED)
    assert b"close" not in await client.reader.readuntil(b"\r\n\r\n")
    await believe()
    with contextlib.suppress(ConnectionError, ssl.SSLError):
        await client.say(ASKED)
    assert await client.reader.readexactly(4) == b"abcd"
    assert await client.hear(b"GET") in (b"<end>", b"<reset>")
    assert served(gate) == before + 1


async def test_r7_a_tunnel_that_the_old_authority_opened_ends(bench):
    """It is not confirmed by anything that is believed now."""
    _, client, believe = bench
    await client.say(WEBSOCKET)
    assert (await client.reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
    await believe("ca")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await client.reader.readexactly(1)
    await believe()
    async with asyncio.timeout(5):
        assert (await client.reader.readexactly(4))[2:] == (1008).to_bytes(2, "big")
