"""The corpora of tests/attacks, and smuggling, through every lane: compared byte for byte (design.md §8).

See test_one_behaviour. What is right, tests/attacks and test_data_plane say.
"""

from __future__ import annotations

import asyncio
import itertools
import time

import pytest

from proxy.services.schemes.build import open_sessions
from proxy.services.sessions import Login
from tests.attacks.test_cookies import GOOD, PLANTED
from tests.attacks.test_cross_site import ATTACKS
from tests.attacks.test_paths import ALWAYS_REFUSED, HARMLESS, corpus
from tests.live.test_one_behaviour import BEARER, CONFIG, SECRET, filled
from tests.trio import PROBE, talk_of, trio

ROUTES = """
server: {id: here, public_url: "https://shop.example"}
store: {url: "@store@"}
verdicts: {entries: 3}
upstreams:
  app: {servers: ["@app@"]}
schemes:
  web: {type: session, format: native, cookie: sid}
  php: {type: session, format: json, cookie: psid, prefix: "php:", identity: {subject: id}}
routes:
  - {match: {path: /**}, auth: none, upstream: app}
  - {match: {path: /admin/**}, auth: web, require: {roles: [admin]}, upstream: app}
  - {match: {path: /public/**}, auth: none, upstream: app, allow_paths: [encoded_slash, double_slash]}
  - {match: {path: /transfer}, auth: web, upstream: app}
  - {match: {path: /php}, auth: php, upstream: app}
"""


def get(target, *lines, method=b"GET"):
    head = (b"%b %b HTTP/1.1" % (method, target), b"Host: shop.example", *lines)
    return b"\r\n".join(head) + b"\r\n\r\n"


async def session(gates, subject, roles=()):
    """Return the Cookie value of a session, and its digest."""
    runtime = gates["off"].runtime
    sessions = open_sessions(runtime.config, runtime.config.schemes["web"], runtime.store)
    made = await sessions.create(Login(subject, roles=roles), time.time())
    return made.cookie.encode(), made.digest, sessions


async def test_paths(tmp_path, valkey):
    """No spelling of a path leads elsewhere because another was asked for before."""
    targets = [*ALWAYS_REFUSED, *HARMLESS, *itertools.islice(corpus(), 0, None, 197)]
    async with trio(tmp_path, ROUTES, {}, store=valkey.url) as gates:
        cookie, *_ = await session(gates, "root", ["admin"])
        for target in targets[:350]:
            raw = target if isinstance(target, bytes) else target.encode()
            asked = [
                [get(raw, b"Cookie: sid=" + cookie)],
                [get(b"/admin/a", b"Cookie: sid=" + cookie)],
            ]
            await gates.same(talk_of(*asked, rounds=2), repr(target))


async def test_cookies(tmp_path, valkey):
    """S2: a twin of the session's cookie is noticed beside a block that is known."""
    async with trio(tmp_path, ROUTES, {}, store=valkey.url) as gates:
        cookie, *_ = await session(gates, "ann")
        good = b"sid=" + cookie
        for planted in PLANTED:
            twin = planted.encode("utf-8").replace(GOOD.encode(), cookie)
            values = (good, twin + b"; " + good, good + b"; " + twin, good + b"\r\nCookie: " + twin)
            asked = [[get(b"/transfer", b"Cookie: " + value)] for value in values]
            asked += [[get(b"/", b"Cookie: " + value)] for value in values]
            await gates.same(talk_of(*asked, rounds=2), planted)


async def test_cross_site(tmp_path, valkey):
    """S3: what another site makes a browser send is refused behind requests that were not."""
    async with trio(tmp_path, ROUTES, {}, store=valkey.url) as gates:
        cookie, *_ = await session(gates, "ann")
        for attack in ATTACKS:
            lines = [b"%b: %b" % pair for pair in attack.view().headers[1:] if pair[0] != b"Cookie"]
            lines.append(b"Cookie: sid=" + cookie)
            safe = [get(b"/transfer", *lines)] if not attack.upgrade else [PROBE]
            hostile = [get(b"/transfer", *lines, method=attack.method.encode())]
            await gates.same(talk_of(safe, hostile, rounds=3), attack.what)


async def test_r1_a_verdict_that_made_room_is_believed_no_more(tmp_path, valkey):
    """Whoever still holds it hears of no change: it is looked up again."""
    async with trio(tmp_path, ROUTES, {}, store=valkey.url) as gates:
        cookie, digest, sessions = await session(gates, "ann")
        asked = [get(b"/transfer", b"Cookie: sid=" + cookie)]
        await gates.same(talk_of(asked))
        others = [await session(gates, f"user{number}") for number in range(8)]
        await gates.same(
            talk_of(
                *([get(b"/transfer", b"Cookie: sid=" + other[0])] for other in others), rounds=2
            )
        )
        await sessions.end(digest, "ann")
        heard = await gates.same(talk_of(asked))

        assert all(raw.startswith(b"HTTP/1.1 401 ") for raw in heard[:-1])


INNER = b"GET /admin/a HTTP/1.1\r\nHost: gate\r\n\r\n"
CHUNK = b"Transfer-Encoding: chunked"
SMUGGLED = {
    "CL.TE": (b"Content-Length: 6", CHUNK, b"", b"0\r\n\r\nG"),
    "TE.CL": (CHUNK, b"Content-Length: 4", b"", b"5c\r\nGPOST / HTTP/1.1\r\n\r\n0\r\n\r\n"),
    "TE.TE": (CHUNK, b"Transfer-encoding: x", b"", b"0\r\n\r\n" + INNER),
    "TE tab": (b"Transfer-Encoding:\tchunked", b"", b"0\r\n\r\n" + INNER),
    "TE folded": (b"Transfer-Encoding:\r\n chunked", b"", b"0\r\n\r\n" + INNER),
    "TE underscore": (b"Transfer_Encoding: chunked", b"", b"0\r\n\r\n" + INNER),
    "TE space": (b"Transfer-Encoding : chunked", b"", b"0\r\n\r\n" + INNER),
    "TE in a value": (b"X: a\nTransfer-Encoding: chunked", b"", b"0\r\n\r\n" + INNER),
    "CL in a value": (b"X: a\rContent-Length: %d" % len(INNER), b"", INNER),
    "CL twice": (b"Content-Length: 0", b"Content-Length: %d" % len(INNER), b"", INNER),
    "CL list": (b"Content-Length: 0, %d" % len(INNER), b"", INNER),
    "CL plus": (b"Content-Length: +%d" % len(INNER), b"", INNER),
    "CL underscore": (b"Content_Length: %d" % len(INNER), b"", INNER),
    "CL space": (b"Content-Length : %d" % len(INNER), b"", INNER),
    "CL body": (b"Content-Length: %d" % len(INNER), b"", INNER),
    "CL zero": (b"Content-Length: 0", b"", INNER),
    "no CL": (b"X: 1", b"", INNER),
    "chunk extension": (CHUNK, b"", b"0;a=b\r\n\r\n" + INNER),
    "chunk extension LF": (CHUNK, b"", b"0;a\nb\r\n\r\n" + INNER),
    "chunk size": (CHUNK, b"", b"0x0\r\n\r\n" + INNER),
    "chunk LF": (CHUNK, b"", b"0\n\n" + INNER),
    "trailers": (CHUNK, b"", b"0\r\nX-Auth-Subject: eve\r\n\r\n" + INNER),
    "trailer like a head": (CHUNK, b"", b"0\r\nGET: /admin\r\n\r\n" + INNER),
    "upgrade": (b"Upgrade: h2c", b"Connection: Upgrade", b"", INNER),
    "websocket": (b"Upgrade: websocket", b"Connection: Upgrade", b"", INNER),
    "expect": (b"Expect: 100-continue", b"Content-Length: 0", b"", INNER),
    "connection": (b"Connection: Content-Length", b"Content-Length: 3", b"", b"abc" + INNER),
    "close": (b"Connection: close", b"", INNER),
    "proxy close": (b"Proxy-Connection: close", b"", INNER),
    "bare CR": (b"X: 1\r\r", b"", INNER),
    "blank line": (b"X: 1\n", b"", INNER),
}  # fmt: skip


@pytest.mark.parametrize("method", [b"GET", b"POST", b"HEAD"])
async def test_f1_smuggling(tmp_path, method):
    """Behind and before requests that the memo knows: the same requests are seen, or none."""
    known = filled(b"GET /api/a HTTP/1.1\r\nHost: gate\r\n" + BEARER + b"\r\n\r\n")

    def talk_about(lines, *, apart):
        *head, _, body = lines
        raw = b"\r\n".join((method + b" /api/a HTTP/1.1", b"Host: gate", filled(BEARER), *head))
        raw += b"\r\n\r\n" + body

        async def talk(gate):
            heard, client = [], await gate.connect()
            for _ in range(2):
                await client.say(known)
                heard.append(await client.hear(b"GET"))
            await client.say(*((raw, known) if apart else (raw + known,)))
            await asyncio.sleep(0.02)  # whatever is to be answered is answered by then
            client.writer.write_eof()
            try:
                heard.append(await asyncio.wait_for(client.reader.read(), 5))
            except ConnectionError:
                heard.append(b"<reset>")
            await client.close()
            return [raw.replace(b"HTTP/1.1 102 Processing\r\n\r\n", b"") for raw in heard]

        return talk

    async with trio(tmp_path, CONFIG, {}, secret=SECRET) as gates:
        for name, lines in SMUGGLED.items():
            for apart in (False, True):
                await gates.same(talk_about(lines, apart=apart), f"{name} apart={apart}")
            for gate in gates:
                assert not any(sent.startswith(b"GET /admin") for sent in gate.mirror.received), (
                    name
                )
