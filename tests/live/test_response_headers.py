"""Headers that an operator sets on answers, in every lane, over TLS and without it."""

from __future__ import annotations

import socket

import pytest

from proxy.edge.tls import server_context
from tests.certificates import Authority, careless
from tests.trio import pieces, trio

CONFIG = """
server:
  id: here
  trusted_proxies: [127.0.0.2]
  hsts: {max_age: 1d}
  response_headers: {set: {X-Frame-Options: DENY, X-All: "1"}, remove: [Server]}
upstreams:
  app: {servers: ["@app@"]}
schemes:
  api: {type: jwt, issuer: https://id.test, audience: [app], algorithms: [HS256], keys: {secret: 0123456789abcdef0123456789abcdef}, revocation: none, max_lifetime: 15m}
routes:
  - {match: {path: /**}, auth: none, upstream: app}
  - {match: {path: /own/**}, auth: none, upstream: app, response_headers: {set: {X-Own: own}, remove: [X-All]}}
  - {match: {path: /api/**}, auth: api, upstream: app, response_headers: {set: {X-Frame-Options: SAMEORIGIN}}}
"""
SAID = (
    b"HTTP/1.1 200 OK\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\nServer: x\r\nX-All: app\r\n"
    b"Strict-Transport-Security: max-age=1\r\nX_Frame_Options: ALLOW\r\nContent-Length: 2\r\n\r\nok"
)
ANSWERS = {
    path: [SAID] for path in (b"/", b"/own/a")
} | {b"/slow": pieces(SAID)}  # fmt: skip
HSTS = b"\r\nStrict-Transport-Security: max-age=86400\r\n"
TOLD = b"X-Forwarded-Proto: https\r\n"


@pytest.fixture
def listen(tmp_path):
    """Return what opens a listener with TLS on a gate."""
    context = server_context(*Authority(tmp_path).issue("gate", "gate"))

    async def tls(server):
        sock = socket.socket()
        sock.bind(("127.0.0.1", 0))
        sock.listen(16)
        await server.start([sock], context)
        return {"tls": sock.getsockname()[1]}

    return tls


def asking(path, *, is_tls=False, address=None, lines=b"", method=b"GET", times=3):
    """Return a conversation that asks for a path some times, on one connection."""

    async def talk(gate):
        options = {"port": gate.more["tls"], "ssl": careless()} if is_tls else {}
        client, heard = await gate.connect(address, **options), []
        for _ in range(times):
            await client.say(b"%b %b HTTP/1.1\r\nHost: gate\r\n%b\r\n" % (method, path, lines))
            heard.append(await client.hear(method))
        await client.close()
        return heard

    return talk


async def test_every_lane_says_the_same(tmp_path, listen):
    """Over TLS and without, one after the other: nobody is promised what another was promised."""
    async with trio(tmp_path, CONFIG, ANSWERS, listen=listen) as gates:
        for path in (b"/", b"/own/a", b"/slow"):
            for is_tls in (False, True, False):
                for heard in await gates.same(asking(path, is_tls=is_tls), f"{path} {is_tls}"):
                    head = heard.partition(b"\r\n\r\n")[0] + b"\r\n"
                    assert (HSTS in head) is is_tls, head
                    assert b"max-age=1\r\n" not in head
                    assert head.count(b"\r\nX-Frame-Options: DENY\r\n") == 1
                    assert b"ALLOW" not in head
                    assert b"\r\nServer:" not in head
                    assert (b"\r\nX-All: 1\r\n" in head) is (path != b"/own/a")
                    assert b"\r\nX-All: app" not in head
                    assert (b"\r\nX-Own: own\r\n" in head) is (path == b"/own/a")


async def test_only_who_is_trusted_says_https(tmp_path, listen):
    """A client's own X-Forwarded-Proto commits no browser; a trusted proxy's does (H5)."""
    async with trio(tmp_path, CONFIG, ANSWERS, listen=listen) as gates:
        for heard in await gates.same(asking(b"/", lines=TOLD)):
            assert b"Strict-Transport-Security" not in heard
        for heard in await gates.same(asking(b"/", address="127.0.0.2", lines=TOLD)):
            assert HSTS in heard


async def test_answers_of_the_gates_own_have_them_too(tmp_path, listen):
    """Refusals, answers to what is no request, and key sets: beside what the gate says itself."""
    async with trio(tmp_path, CONFIG, ANSWERS, listen=listen) as gates:
        for is_tls in (False, True):
            [refused] = await gates.same(asking(b"/api/a", is_tls=is_tls, times=1))
            assert refused.startswith(b"HTTP/1.1 401")
            assert b"\r\nX-Frame-Options: SAMEORIGIN\r\n" in refused
            [unknown] = await gates.same(asking(b"/_auth/nothing", is_tls=is_tls, times=1))
            assert unknown.startswith(b"HTTP/1.1 404")
            [broken] = await gates.same(asking(b"/", is_tls=is_tls, times=1, lines=b"A B: 1\r\n"))
            assert broken.startswith(b"HTTP/1.1 400")
            for heard in (refused, unknown, broken):
                assert (HSTS in heard) is is_tls
                assert b"\r\nX-All: 1\r\n" in heard
