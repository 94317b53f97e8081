"""Requests that differ in one thing the memo must not take for another (design.md §8).

Two requests, equal but for method, query, version, route, peer, listener, TLS, trust or one line, are
asked in both orders of three gates, memo warm; see test_one_behaviour.
"""

from __future__ import annotations

import itertools
import socket
import ssl

import pytest

from proxy.edge.tls import server_context
from tests.live.test_one_behaviour import BEARER, CONFIG, SECRET, filled
from tests.live.test_tls import Authority
from tests.trio import is_over, talk_of, trio

pytestmark = pytest.mark.slow

BLOCK = filled(b"\r\nHost: gate\r\n" + BEARER + b"\r\nAccept: */*\r\n\r\n")
LINES = [
    *(b"GET /api/a HTTP/1.1", b"GET /api/a?x=1 HTTP/1.1", b"GET /api/a?x=2 HTTP/1.1"),
    *(b"HEAD /api/a HTTP/1.1", b"POST /api/a HTTP/1.1", b"OPTIONS /api/a HTTP/1.1"),
    *(b"GET /api/a HTTP/1.0", b"GET http://gate/api/a HTTP/1.1", b"GET /api//a HTTP/1.1"),
    *(b"GET / HTTP/1.1", b"GET /set/a HTTP/1.1", b"GET /admin/a HTTP/1.1", b"GET /kept HTTP/1.1"),
    *(b"GET /cors HTTP/1.1", b"GET /query HTTP/1.1", b"GET /get HTTP/1.1", b"HEAD /get HTTP/1.1"),
]


async def both_orders(gates, one, other, about):
    """Ask for the one and then for the other, and from a clean memo the other way round."""
    for first, second in ((one, other), (other, one)):
        for gate in gates:
            gate.forget()

        async def talk(gate, first=first, second=second):
            return [*await first(gate), *await second(gate), *await first(gate)]

        await gates.same(talk, about)


@pytest.mark.parametrize("number", range(len(LINES)))
async def test_request_lines_over_one_block(tmp_path, number):
    """Method, path, query, version and form are this request's, and lead to its own route."""
    async with trio(tmp_path, CONFIG, {}, secret=SECRET) as gates:
        for other in LINES[number + 1 :]:
            one = LINES[number]
            await both_orders(
                gates,
                talk_of([one + BLOCK], rounds=2),
                talk_of([other + BLOCK], rounds=2),
                f"{one} and {other}",
            )


POSTED = b"\r\nContent-Length: 3\r\n\r\nabc"
LADEN = [
    *(b"POST /api/a HTTP/1.1", b"POST /api/a?x=1 HTTP/1.1", b"PUT /api/a HTTP/1.1", b"DELETE /api/a HTTP/1.1"),
    *(b"PATCH /api/a HTTP/1.1", b"GET /api/a HTTP/1.1", b"POST /api/a HTTP/1.0", b"POST / HTTP/1.1"),
    *(b"POST /set/a HTTP/1.1", b"POST /admin/a HTTP/1.1", b"POST /cors HTTP/1.1", b"POST /get HTTP/1.1"),
]  # fmt: skip


async def test_request_lines_with_and_without_a_body(tmp_path):
    """What is known of a request with a body says nothing of one without, nor of another method's."""
    async with trio(tmp_path, CONFIG, {}, secret=SECRET) as gates:
        for number, one in enumerate(LADEN):
            laden = one + BLOCK[:-4] + POSTED
            for other in [
                one + BLOCK,
                *(other + BLOCK[:-4] + POSTED for other in LADEN[number + 1 :]),
            ]:
                first, second = talk_of([laden], rounds=2), talk_of([other], rounds=2)
                await both_orders(gates, first, second, f"{laden[:40]} and {other[:40]}")


HEADS = [
    *(b"Host: gate", b"Host: GATE", b"Host: gate:80", b"Host: other.test", b"Host: gate:8080"),
    *(b"Host: localhost", b"Host: 127.0.0.1"),
]
MORE = [
    *(b"Accept: */*", b"Cookie: sid=@TOKEN@", b"Cookie: sid=@BOB@", b"Authorization: Bearer @BOB@"),
    *(b"Authorization: Basic eDp5", b"X-Token: @BOB@", b"User-Agent: a", b"User-Agent: b"),
    *(b"Origin: https://a.test", b"Origin: https://b.test", b"Connection: keep-alive"),
    *(b"Connection: X-Gone\r\nX-Gone: 1", b"X-Gone: 1", b"X-Auth-Token: 1", b"x-auth-token: 2"),
    *(b"Connection: close", b"Via: 1.1 here", b"X-Forwarded-For: 192.0.2.1", b"Forwarded: for=x"),
    *(b"X-Real-IP: 192.0.2.1", b"X_Token: 1", b"Content-Length: 0", b"Host: other.test"),
]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        *((path, b"") for path in (b"/", b"/api/a", b"/cors", b"/kept", b"/open")),
        (b"/api/a", b"abc"),
    ],
)
async def test_blocks_that_differ_in_a_line(tmp_path, path, body):
    """Whatever a line says, it says it of the request that it came with."""
    line = b"%b %b HTTP/1.1\r\n" % (b"POST" if body else b"GET", path)
    plain = line + filled(b"Host: gate\r\n" + BEARER) + b"\r\n\r\n"
    more_lines = [*MORE, *((b"Content-Type: a/b", b"Content-Type: c/d") if body else ())]
    others = [line + filled(host + b"\r\n" + BEARER) + b"\r\n\r\n" for host in HEADS[1:]]
    others += [plain[:-2] + filled(more) + b"\r\n\r\n" for more in more_lines]
    others += [line + filled(b"Host: gate\r\n" + more) + b"\r\n\r\n" for more in MORE]
    others += [line + filled(b"%b\r\nHost: gate" % more) + b"\r\n\r\n" for more in MORE[:6]]
    length = b"\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    async with trio(tmp_path, CONFIG, {}, secret=SECRET) as gates:
        for other in others:
            one, two = (head[:-4] + length if body else head for head in (plain, other))
            talks = talk_of([one], rounds=2), talk_of([two], rounds=2)
            await both_orders(gates, *talks, repr(other))


WHENCE = {
    "here": {"address": "127.0.0.1"},
    "trusted": {"address": "127.0.0.2"},
    "there": {"address": "127.0.0.3"},
    "another listener": {"listener": "second"},
    "another listener, trusted": {"listener": "second", "address": "127.0.0.2"},
    "tls": {"listener": "tls"},
    "tls, trusted": {"listener": "tls", "address": "127.0.0.2"},
    "unix": {"listener": "unix"},
}
TOLD = [
    b"",
    b"X-Forwarded-For: 192.0.2.9\r\n",
    b"X-Forwarded-For: 192.0.2.9, 127.0.0.2\r\nX-Forwarded-Proto: https\r\nX-Request-Id: mine\r\n",
    b"X-Forwarded-Host: localhost\r\nX-Forwarded-Port: 8443\r\nX-Forwarded-Prefix: /p\r\n",
    b"X-Request-Id: mine\r\n",
    b"Forwarded: for=192.0.2.9;proto=https\r\nX-Real-IP: 192.0.2.9\r\n",
]


@pytest.fixture
def listen(tmp_path):
    """Return a function that opens a gate's further listeners, and says where they are."""
    cert, key = Authority(tmp_path).issue("gate")
    numbers = itertools.count()

    async def open_all(server):
        more = {}
        for kind in ("second", "tls"):
            sock = socket.socket()
            sock.bind(("127.0.0.1", 0))
            sock.listen(16)
            await server.start([sock], server_context(cert, key) if kind == "tls" else None)
            more[kind] = sock.getsockname()[1]
        sock = socket.socket(socket.AF_UNIX)
        more["unix"] = str(tmp_path / f"s{next(numbers)}")
        sock.bind(more["unix"])
        sock.listen(16)
        await server.start([sock])
        return more

    return open_all


async def opened(gate, address=None, listener=None):
    """Open a connection from an address to a listener."""
    if listener is None:
        return await gate.connect(address)
    if listener == "unix":
        return await gate.connect(path=gate.more["unix"])
    options = {"port": gate.more[listener]}
    if listener == "tls":
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        options |= {"ssl": context}
    return await gate.connect(address, **options)


def from_(whence, head):
    """Return a conversation that asks three times from there."""

    async def talk(gate):
        heard, client = [], await opened(gate, **WHENCE[whence])
        for _ in range(3):
            await client.say(head)
            heard.append(await client.hear(b"GET"))
            assert not is_over(heard[-1])
        await client.close()
        return heard

    return talk


PAIRS = [
    *itertools.combinations(("here", "trusted", "there"), 2),
    *(("here", other) for other in list(WHENCE)[3:]),
    *(("trusted", other) for other in list(WHENCE)[4:7]),
]


@pytest.mark.parametrize("number", range(len(TOLD)))
async def test_h5_one_block_from_everywhere(tmp_path, listen, number):
    """Who sent it, how, and what they may say of others is the connection's, not the block's."""
    async with trio(tmp_path, CONFIG, {}, listen=listen, secret=SECRET) as gates:
        path = (b"/", b"/set/a")[number % 2]
        head = b"GET %b HTTP/1.1\r\nHost: gate\r\n%b" % (path, TOLD[number])
        head += filled(BEARER) + b"\r\n\r\n"
        for one, other in PAIRS:
            about = f"{one} and {other}: {head[:90]!r}"
            await both_orders(gates, from_(one, head), from_(other, head), about)
