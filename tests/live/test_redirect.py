"""The listener that leads to https, on a real socket."""

from __future__ import annotations

import asyncio

import pytest

from proxy.config.models import Config
from proxy.edge.counters import RequestCounters
from proxy.edge.redirect import RedirectServer
from tests.live.conftest import bind

ONE_LANE = "it has no express lane"


@pytest.fixture
async def led():
    """Return the port of a listener, and what it logged."""
    config = Config.model_validate(
        {
            "server": {
                "limits": {"header_timeout": 0.2, "connections_per_address": 3},
                "hsts": {},
                "response_headers": {"set": {"X-All": "1"}},
            },
            "redirect": {"listen": "127.0.0.1:80", "hosts": ["shop.test"]},
        }
    )
    records = []
    server = RedirectServer(config, RequestCounters({}), records.append)
    sock = bind()
    await server.start([sock])
    yield sock.getsockname()[1], records
    await server.drain(1)


async def say(port, *packets):
    """Send bytes, and return all that comes until the end."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for packet in packets:
        writer.write(packet)
    async with asyncio.timeout(5):
        heard = await reader.read()
    writer.close()
    return heard


def get(path=b"/", host=b"shop.test", *lines, method=b"GET"):
    """Return a request."""
    return b"\r\n".join((method + b" " + path + b" HTTP/1.1", b"Host: " + host, *lines, b"", b""))


CLOSE = b"Connection: close"


async def test_several_requests_are_led_on_one_connection(led):
    """308, so that a method stays what it is; nothing is kept, and nothing is promised over http."""
    port, records = led
    heard = await say(port, get(b"/a?b") + get(b"/c", b"shop.test", CLOSE, method=b"POST"))

    first, second = heard.split(b"HTTP/1.1 308 Permanent Redirect\r\n")[1:]
    assert b"\r\nLocation: https://shop.test/a?b\r\n" in first
    assert b"\r\nLocation: https://shop.test/c\r\n" in second
    assert b"\r\nX-All: 1\r\n" in first
    assert b"Strict-Transport-Security" not in heard
    assert b"\r\nCache-Control: no-store\r\n" in first
    assert [(r.method, r.path, r.status, r.decision) for r in records] == [
        ("GET", "/a", 308, "answer"),
        ("POST", "/c", 308, "answer"),
    ]


async def test_a_body_is_not_waited_for(led):
    """What would follow is not read: the client sends it again, over https."""
    port, _ = led
    heard = await say(port, get(b"/a", b"shop.test", b"Content-Length: 1000000", method=b"PUT"))

    assert heard.startswith(b"HTTP/1.1 308 ")
    assert b"\r\nConnection: close\r\n" in heard


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (get(b"/", b"evil.test"), b"404"),
        (get(b"/", b"shop.test\r\nHost: evil.test"), b"400"),
        (get(b"http://evil.test/"), b"400"),
        (get(b"/", b"shop.test@evil.test"), b"400"),
        (b"GET / HTTP/1.1\r\n\r\n", b"400"),
        (b"CONNECT evil.test:443 HTTP/1.1\r\nHost: evil.test\r\n\r\n", b"400"),
        (get(b"/", b"shop.test", b"A B: 1"), b"400"),
        (get(b"/", b"shop.test", b"X: " + b"x" * 20_000), b"431"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"x" * 30, b"400"),
    ],
)
async def test_whoever_asks_otherwise_is_led_nowhere(led, raw, status):
    """Unknown and unclear hosts, what is no request, and TLS: an answer without a Location."""
    port, records = led
    heard = await say(port, raw)

    assert heard.startswith(b"HTTP/1.1 " + status)
    assert b"location:" not in heard.lower()
    assert b"evil" not in heard
    assert len(records) == 1


async def test_half_a_head_is_not_waited_for(led):
    """Who sends its head too slowly is told so and left (408)."""
    port, _ = led

    assert (await say(port, b"GET / HTTP/1.1\r\nHost:")).startswith(b"HTTP/1.1 408 ")


async def test_one_address_takes_no_more_than_its_part(led):
    """`server.limits.connections_per_address` holds here as well."""
    port, _ = led
    open_ones = [await asyncio.open_connection("127.0.0.1", port) for _ in range(4)]
    with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
        await asyncio.wait_for(open_ones[3][0].readexactly(1), 5)
    for _, writer in open_ones:
        writer.close()
