"""What is kept, counted and remembered of one server."""

from __future__ import annotations

import asyncio

import pytest

from proxy.adapters.tasks import spawn
from proxy.adapters.upstreams import server as module
from proxy.adapters.upstreams.names import Names
from proxy.adapters.upstreams.server import FIRST_DOWN_S, LONGEST_DOWN_S, Server
from proxy.adapters.upstreams.settings import UpstreamSettings
from proxy.config.addresses import UpstreamServer
from proxy.core.standing import Ejection
from proxy.errors import UpstreamBusy, UpstreamDown, UpstreamTimeout, UpstreamUnreachable
from tests.byte_server import REQUEST, Close, Wait

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
    for _ in range(server.settings.ejection.failures - 1):
        with pytest.raises(UpstreamUnreachable):
            await server.connect(loop)
        rests.append(server.down_until - loop.time())

    assert rests[0] == pytest.approx(FIRST_DOWN_S, abs=0.2)
    assert rests[1] == pytest.approx(2 * FIRST_DOWN_S, abs=0.2)
    server._failures = 9
    with pytest.raises(UpstreamUnreachable):
        await server.connect(loop)
    assert server.down_until - loop.time() == pytest.approx(LONGEST_DOWN_S, abs=0.2)
    server.standing.answered()
    server.names = Names((await serve([])).address, 30.0, lambda _: None)
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


async def fail(upstream, get, *errors):
    """Ask as often as there are errors, and expect each of them in turn."""
    for error in errors:
        with pytest.raises(error), await upstream.open(get) as exchange:
            await exchange.head()


async def test_silence_ejects_and_the_next_answer_ends_it(serve, reach, get):
    """Then requests are refused at once; after the rest one tries, and its answer is the end of it."""
    silent = [REQUEST, Wait(asyncio.Event())]
    app = await serve(silent, silent, [REQUEST, HELLO])
    upstream = reach(app, response_s=0.03, ejection=Ejection(2, 0.05, 1.0))
    (server,) = upstream.servers
    await fail(upstream, get, UpstreamTimeout, UpstreamTimeout, UpstreamDown, UpstreamDown)
    assert 2 == len(app.seen)
    await asyncio.sleep(0.06)
    with await upstream.open(get) as exchange:
        assert 200 == (await exchange.head()).status

    assert (False, 0.0) == (server.standing.is_out, server.down_until)


async def test_a_connection_that_is_closed_on_a_new_request_is_a_failure_only_when_it_is_new(
    serve, reach, post
):
    """A server that restarts closes what is idle: no reason to leave it alone."""
    app = await serve([REQUEST, Close()], [REQUEST, HELLO, REQUEST, Close()])
    upstream = reach(app)
    (server,) = upstream.servers
    await fail(upstream, post, UpstreamUnreachable)
    assert 1 == server.standing._failures
    server.standing.answered()
    with await upstream.open(post) as exchange:
        await exchange.send(b"12345")
        await exchange.finish()
        await exchange.read()
    await fail(upstream, post, UpstreamUnreachable)

    assert server.standing.is_good


async def test_a_server_that_is_left_alone_costs_the_others_nothing(serve, reach, get):
    """Requests go where they are answered, also in the moment in which one tries the ejected one."""
    up = await serve(*[[REQUEST, HELLO]] * 20)
    down = await serve([])
    upstream = reach(down, up, ejection=Ejection(1, 0.01, 0.01), connect_s=0.02, keepalive_s=0)
    first = upstream.servers[0]
    first.on_failed(None, UpstreamTimeout("silence"))
    await asyncio.sleep(0.02)
    now = asyncio.get_running_loop().time()
    first.standing.admit(now)
    first.down_until = now + 5
    for _ in range(20):
        with await upstream.open(get) as exchange:
            assert 200 == (await exchange.head()).status


async def test_no_more_connections_than_may_be(serve, reach, get):
    """Who comes then waits, so many at most, and gets the connection that becomes free first."""
    held = asyncio.Event()
    app = await serve([REQUEST, Wait(held), HELLO, REQUEST, HELLO])
    upstream = reach(app, most_connections=1, most_waiting=1)
    (server,) = upstream.servers
    first = await upstream.open(get)
    second = spawn(upstream.open(get), name="waits")
    await asyncio.sleep(0)
    assert 1 == server.waiting
    await fail(upstream, get, UpstreamBusy)
    held.set()
    await first.head()
    await first.read()
    with await second as exchange:
        assert 200 == (await exchange.head()).status
        await exchange.read()

    assert (1, 1, 0, 0, 1) == (
        len(app.seen), server.open, server.waiting, server.busy, server.idle,
    )  # fmt: skip


async def test_who_has_waited_long_enough_is_told(serve, reach, get):
    """Not longer than a connection may take; whoever gives up leaves nothing behind."""
    app = await serve([REQUEST, Wait(asyncio.Event())], [REQUEST, HELLO])
    upstream = reach(app, most_connections=1, connect_s=0.05)
    (server,) = upstream.servers
    first = await upstream.open(get)
    await fail(upstream, get, UpstreamBusy)
    assert (0, 1) == (server.waiting, server.busy)
    waiting = spawn(upstream.open(get), name="waits")
    await asyncio.sleep(0)
    first.release()  # its connection is lost, so that there is room for another one
    with await waiting as exchange:
        assert 200 == (await exchange.head()).status


async def test_connections_to_addresses_that_are_over_are_not_used_again(serve, reach, get):
    """An idle one is closed, one with a request after its answer."""
    held = asyncio.Event()
    script = [REQUEST, HELLO, REQUEST, HELLO]
    app = await serve(script, [REQUEST, Wait(held), HELLO])
    upstream = reach(app)
    (server,) = upstream.servers
    one, two = await upstream.open(get), await upstream.open(get)
    await one.head()
    await one.read()
    server._on_moved(frozenset({"127.0.0.1"}))
    assert 1 == server.idle
    server._on_moved(frozenset({"10.0.0.1"}))
    assert 0 == server.idle
    held.set()
    await two.head()
    await two.read()

    assert 0 == server.idle


async def test_f3_second_attempts_end_with_their_budget(serve, reach, get, monkeypatch):
    """Beyond it the first attempt was the last: where all fails, nothing is sent twice."""
    monkeypatch.setattr("proxy.core.standing.LEAST_RETRIES", 0)
    app = await serve([REQUEST, HELLO, REQUEST, Close()], [REQUEST, HELLO])
    upstream = reach(app, retry_share=0.0)
    with await upstream.open(get) as exchange:
        await exchange.head()
        await exchange.read()
    await fail(upstream, get, UpstreamUnreachable)

    assert (1, 0) == (len(app.seen), upstream.servers[0].retries)


def test_repr_shows_the_load():
    """Name, busy and idle."""
    server = Server(UpstreamServer("http", "a", 80), UpstreamSettings("shop", ()), None)

    assert "<Server http://a:80: 0 busy, 0 idle>" == repr(server)
