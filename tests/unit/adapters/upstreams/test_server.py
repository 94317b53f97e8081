"""What is kept, counted and remembered of one server."""

from __future__ import annotations

import asyncio

import pytest

from proxy.adapters.upstreams import server as module
from proxy.adapters.upstreams.server import FIRST_DOWN_S, LONGEST_DOWN_S, Server
from proxy.adapters.upstreams.settings import UpstreamSettings
from proxy.config.addresses import UpstreamServer
from proxy.errors import UpstreamUnreachable
from tests.byte_server import REQUEST

HELLO = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        (UpstreamServer("http", "shop.example", 80), b"shop.example"),
        (UpstreamServer("http", "shop.example", 8080), b"shop.example:8080"),
        (UpstreamServer("https", "shop.example", 443), b"shop.example"),
        (UpstreamServer("https", "10.0.0.7", 80), b"10.0.0.7:80"),
        (UpstreamServer("http", "::1", 9001), b"[::1]:9001"),
        (UpstreamServer("unix", "", 0, "/run/app.sock"), b"localhost"),
    ],
)
def test_the_authority_is_what_host_says(address, expected):
    """A default port is left out, IPv6 stands in brackets, a path has no name."""
    assert expected == Server(address, UpstreamSettings("shop", ()), None).authority


async def test_the_freshest_connection_is_taken(serve, reach, get):
    """The others may then grow old and go."""
    script = [REQUEST, HELLO, REQUEST, HELLO]
    upstream = reach(await serve(script, script))
    exchanges = [await upstream.open(get) for _ in range(2)]
    for exchange in exchanges:
        await exchange.head()
        await exchange.read()
    (server,) = upstream.servers
    newest = list(server._idle)[-1]

    assert 2 == server.idle
    taken = server.take(asyncio.get_running_loop().time(), is_careful=False)
    assert newest is taken
    taken.abort()


async def test_an_old_connection_is_not_taken(serve, reach, get):
    """Also in the moment before the clock has closed it."""
    upstream = reach(await serve([REQUEST, HELLO]))
    with await upstream.open(get) as exchange:
        await exchange.head()
    (server,) = upstream.servers
    now = asyncio.get_running_loop().time()

    assert server.take(now + 4.1, is_careful=False) is None
    assert 0 == server.idle


async def test_only_so_many_are_kept(serve, reach, get, monkeypatch):
    """A burst does not leave its connections behind."""
    monkeypatch.setattr(module, "MAX_IDLE", 1)
    upstream = reach(await serve([REQUEST, HELLO], [REQUEST, HELLO]))
    exchanges = [await upstream.open(get) for _ in range(2)]
    for exchange in exchanges:
        await exchange.head()
        await exchange.read()

    assert 1 == upstream.servers[0].idle


async def test_a_server_out_of_reach_rests_longer_each_time(serve, reach):
    """From half a second to ten; one success forgives everything."""
    gone = await serve([])
    await gone.stop()
    (server,) = reach(gone).servers
    loop = asyncio.get_running_loop()
    rests = []
    for _ in range(7):
        with pytest.raises(UpstreamUnreachable):
            await server.connect(loop)
        rests.append(server.down_until - loop.time())

    assert rests[0] == pytest.approx(FIRST_DOWN_S, abs=0.2)
    assert rests[1] == pytest.approx(2 * FIRST_DOWN_S, abs=0.2)
    assert rests[-1] == pytest.approx(LONGEST_DOWN_S, abs=0.2)
    server.address = (await serve([])).address
    (await server.connect(loop)).abort()
    assert 0.0 == server.down_until
    assert 0 == server._failures
    assert 0 == server.busy


async def test_an_answer_in_http_1_0_is_remembered_for_a_while(serve, reach):
    """Then a body of unknown length may be tried again (F2)."""
    (server,) = reach(await serve([])).servers
    now = asyncio.get_running_loop().time()
    server.on_version((1, 0))

    assert server.speaks_http10(now + 1)
    assert not server.speaks_http10(now + 100)
    server.on_version((1, 1))
    assert not server.speaks_http10(now + 1)


async def test_a_connection_that_comes_after_the_drain_is_not_used(serve, reach):
    """A connect under way when the upstream closes ends in a refusal."""
    upstream = reach(await serve([]))
    (server,) = upstream.servers
    server.drain()

    with pytest.raises(UpstreamUnreachable):
        await server.connect(asyncio.get_running_loop())
    assert set() == upstream._connections


def test_repr_shows_the_load():
    """Name, busy and idle."""
    server = Server(UpstreamServer("http", "a", 80), UpstreamSettings("shop", ()), None)

    assert "<Server http://a:80: 0 busy, 0 idle>" == repr(server)
