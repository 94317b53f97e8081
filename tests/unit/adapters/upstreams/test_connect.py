"""Connecting: TLS, time, and never to the gate itself (F7)."""

from __future__ import annotations

import asyncio
import contextlib
import socket

import pytest

from proxy.adapters.upstreams import RequestHead
from proxy.adapters.upstreams.connect import is_own_address, is_own_path
from proxy.adapters.upstreams.settings import tls_context
from proxy.config.addresses import UpstreamServer
from proxy.config.upstream_models import UpstreamTlsConfig
from proxy.errors import UpstreamInvalid, UpstreamTimeout, UpstreamUnreachable
from tests.byte_server import REQUEST, Close, Cut, Wait

HELLO = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"


@pytest.fixture
def client_tls(certificate):
    """Give a client's context that trusts the tests' certificate."""
    return tls_context(UpstreamTlsConfig(ca=certificate[0]))


async def test_tls_is_spoken_and_the_connection_pooled(serve, reach, get, client_tls, server_tls):
    """An https server is asked over TLS, again and again on one connection."""
    server = await serve([REQUEST, HELLO] * 3, tls=server_tls)
    upstream = reach(server, tls=client_tls)
    for _ in range(3):
        with await upstream.open(get) as exchange:
            assert 200 == (await exchange.head()).status
            assert b"hello" == await exchange.read()

    assert 1 == len(server.seen)


async def test_much_content_passes_over_tls_with_back_pressure(
    serve, reach, get, client_tls, server_tls
):
    """Nothing is lost where reading stops and goes on."""
    size = 3 * 1024 * 1024
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size
    upstream = reach(await serve([REQUEST, answer, b"x" * size], tls=server_tls), tls=client_tls)
    total = 0
    with await upstream.open(get) as exchange:
        await exchange.head()
        while data := await exchange.read():
            total += len(data)
            await asyncio.sleep(0.001)

    assert size == total
    assert 1 == upstream.servers[0].idle


async def test_a_certificate_that_nobody_vouches_for_is_refused(serve, reach, get, server_tls):
    """Without the authority the handshake fails, and no byte of the request is sent."""
    server = await serve([REQUEST, HELLO], tls=server_tls)

    with pytest.raises(UpstreamUnreachable, match="certificate"):
        await reach(server, tls=tls_context(UpstreamTlsConfig())).open(get)
    assert all(seen.received == b"" for seen in server.seen)


async def test_a_certificate_of_another_name_is_refused(serve, reach, get, client_tls, server_tls):
    """The configured name is the one that is checked."""
    server = await serve([REQUEST, HELLO], tls=server_tls)

    with pytest.raises(UpstreamUnreachable):
        await reach(server, tls=client_tls, server_name="shop.example").open(get)
    with await reach(server, tls=client_tls, server_name="localhost").open(get) as exchange:
        assert 200 == (await exchange.head()).status


@pytest.mark.parametrize(("end", "is_whole"), [(Close(), True), (Cut(), False)])
async def test_f6_over_tls_only_close_notify_ends_a_body(
    end, is_whole, serve, reach, get, client_tls, server_tls
):
    """Somebody on the wire can end the TCP connection, but not the body."""
    read = asyncio.Event()
    script = [REQUEST, b"HTTP/1.1 200 OK\r\n\r\nabc", Wait(read), end]
    with await reach(await serve(script, tls=server_tls), tls=client_tls).open(get) as exchange:
        await exchange.head()
        assert b"abc" == await exchange.read()
        read.set()
        if is_whole:
            assert b"" == await exchange.read()
        else:
            with pytest.raises(UpstreamInvalid):
                await exchange.read()


async def test_a_tls_tunnel_cannot_be_half_closed(serve, reach, client_tls, server_tls):
    """The caller is told, so that it closes the whole."""
    switch = b"HTTP/1.1 101 S\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
    upstream = reach(await serve([REQUEST, switch, Close()], tls=server_tls), tls=client_tls)
    exchange = await upstream.open(RequestHead("GET", b"/", [], upgrade=b"websocket"))
    await exchange.head()
    end = exchange.upgraded()

    assert not end.write_eof()
    assert b"" == await end.read()
    end.close()


async def test_a_handshake_that_stalls_is_a_timeout(serve, reach, get, client_tls):
    """`connect` bounds TCP and TLS together: 504."""
    server = await serve([])
    silent = UpstreamServer("https", "127.0.0.1", server.address.port)
    upstream = reach(silent, tls=client_tls, connect_s=0.05)

    with pytest.raises(UpstreamTimeout) as caught:
        await upstream.open(get)
    assert 504 == caught.value.status
    assert 0 == upstream.servers[0].busy


async def test_tls_towards_a_plain_server_is_unreachable(serve, reach, get, client_tls):
    """An answer that is not TLS fails the handshake."""
    server = await serve([b"HTTP/1.1 400 Bad\r\n\r\n"])
    upstream = reach(UpstreamServer("https", "127.0.0.1", server.address.port), tls=client_tls)

    with pytest.raises(UpstreamUnreachable):
        await upstream.open(get)


async def test_a_name_that_does_not_exist_is_unreachable(reach, get):
    """502, not a crash; neither for a name that no DNS could hold."""
    for name in ("does-not-exist.invalid", "a" * 70 + ".invalid", "x..y"):
        with pytest.raises(UpstreamUnreachable):
            await reach(UpstreamServer("http", name, 80)).open(get)


async def test_a_socket_that_does_not_exist_is_unreachable(reach, get, tmp_path):
    """Neither a missing path nor one that is too long is a crash."""
    for path in (tmp_path / "s", tmp_path / ("x" * 200)):
        with pytest.raises(UpstreamUnreachable):
            await reach(UpstreamServer("unix", "", 0, path)).open(get)


async def test_f7_the_gates_own_unix_listener_is_refused(serve, reach, get, tmp_path_factory):
    """Under its own and under any other name."""
    directory = tmp_path_factory.mktemp("u")
    server = await serve([REQUEST, HELLO], path=directory / "s")
    (directory / "t").symlink_to(directory / "s")
    own = frozenset({str(directory / "s")})

    for name in ("s", "t"):
        upstream = reach(UpstreamServer("unix", "", 0, directory / name), own_addresses=own)
        with pytest.raises(UpstreamUnreachable, match="this gate itself"):
            await upstream.open(get)
    assert [] == server.seen


async def test_f7_0_0_0_0_leads_home_too(serve, reach, get):
    """The peer's address counts, not the one that is written."""
    server = await serve([REQUEST, HELLO])
    port = server.address.port
    upstream = reach(
        UpstreamServer("http", "0.0.0.0", port), own_addresses=frozenset({("127.0.0.1", port)})
    )

    with pytest.raises(UpstreamUnreachable, match="this gate itself"):
        await upstream.open(get)


@pytest.mark.parametrize(
    ("host", "own", "expected"),
    [
        ("127.0.0.1", "127.0.0.1", True),
        ("127.0.0.1", "0.0.0.0", True),
        ("127.0.0.9", "0.0.0.0", True),
        ("::ffff:127.0.0.1", "127.0.0.1", True),
        ("127.0.0.1", "::", True),
        ("192.0.2.1", "0.0.0.0", False),
        ("127.0.0.1", "127.0.0.2", False),
        ("192.0.2.1", "127.0.0.1", False),
    ],
)
def test_f7_own_addresses_are_known_in_every_spelling(host, own, expected):
    """A wildcard listener is met at every address of this machine."""
    assert expected == is_own_address(host, 8080, frozenset({(own, 8080), "/run/x"}))
    assert not is_own_address(host, 8081, frozenset({(own, 8080)}))


def test_f7_own_paths_that_are_gone_refuse_nothing(tmp_path):
    """A listener that does not exist cannot be met."""
    own = frozenset({str(tmp_path / "gone"), ("0.0.0.0", 80)})

    assert not is_own_path(str(tmp_path / "other"), own)


async def test_a_failed_connect_leaks_no_socket(reach, serve, get, monkeypatch):
    """Cancelled at any turn, every socket that was made is closed again."""
    made = []
    real = socket.socket

    def remember(*args, **kwargs):
        sock = real(*args, **kwargs)
        if "fileno" not in kwargs:  # else it is one that the server has accepted
            made.append(sock)
        return sock

    server = await serve(*[[REQUEST, HELLO]] * 10)
    monkeypatch.setattr("proxy.adapters.upstreams.connect.socket.socket", remember)
    upstream = reach(server)
    for turns in range(8):
        task = asyncio.create_task(upstream.open(get))  # noqa: TID251 - awaited below
        for _ in range(turns):
            await asyncio.sleep(0)
        if not task.done():
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            (await task).release()
    await upstream.close(0)

    assert {-1} == {sock.fileno() for sock in made}
