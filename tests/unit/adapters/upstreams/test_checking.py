"""Checks of a server: what they ask, and what they make of the answer."""

from __future__ import annotations

import asyncio

import pytest

from proxy.adapters.upstreams.checking import probe
from proxy.adapters.upstreams.settings import HealthCheck
from proxy.errors import UpstreamDown
from tests.byte_server import REQUEST, Close, Wait

GOOD = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
BAD = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"
CHECK = HealthCheck(b"/healthz", timeout_s=0.2)


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ([REQUEST, GOOD], None),
        ([REQUEST, BAD], "it answers 503"),
        ([REQUEST, Close()], "the server closed the connection without an answer"),
        ([REQUEST, b"nonsense\r\n\r\n"], "status"),
    ],
    ids=["good", "bad", "closed", "nonsense"],
)
async def test_only_a_listed_status_is_good(serve, reach, script, expected):
    """Every other answer, and none, says what is wrong; the pool is not touched."""
    (server,) = reach(await serve(script)).servers
    problem = await probe(server, CHECK)

    if expected is None or expected != "status":
        assert expected == problem
    else:
        assert problem
    assert (0, 0, 0) == (server.busy, server.open, server.idle)


async def test_silence_is_no_health(serve, reach):
    """A server that takes the question and says nothing is as good as gone."""
    (server,) = reach(await serve([REQUEST, Wait(asyncio.Event())])).servers

    assert "no answer in time" == await probe(server, CHECK)


async def test_a_server_that_fails_its_checks_is_out_until_one_succeeds(serve, reach, get):
    """Requests are refused at once meanwhile, and nobody but the check finds out."""
    app = await serve([REQUEST, BAD], [REQUEST, BAD], [REQUEST, GOOD], [REQUEST, GOOD])
    upstream = reach(app, check=HealthCheck(b"/", interval_s=0.01, timeout_s=0.5))
    (server,) = upstream.servers
    seen = []
    news = asyncio.Event()
    noted = server.on_check

    def on_check(**options):
        if noted(**options):
            seen.append(options["is_good"])
            if not options["is_good"]:
                seen.append(server.standing.admit(1e9) > 0)
            else:
                news.set()
        return False

    server.on_check = on_check
    upstream.start()
    async with asyncio.timeout(5):
        await news.wait()

    assert [False, True, True] == seen
    assert not server.standing.is_out


async def test_what_is_down_is_refused_at_once(serve, reach, get):
    """No connection is tried, and none that was idle is used."""
    upstream = reach(await serve([REQUEST, GOOD]))
    with await upstream.open(get) as exchange:
        await exchange.head()
        await exchange.read()
    (server,) = upstream.servers
    assert 1 == server.idle
    server.on_check(is_good=False, most=1)

    assert 0 == server.idle
    with pytest.raises(UpstreamDown):
        await upstream.open(get)
