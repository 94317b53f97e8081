"""What broke other gates, tried on a running one over real sockets (field.md §3, by number)."""

from __future__ import annotations

import itertools
import json
import re
import time
from dataclasses import replace

import jwt
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from proxy.core.formats import native
from proxy.services.schemes.build import open_sessions
from proxy.services.sessions import Login

SECRET = "0123456789abcdef0123456789abcdef"
CONFIG = """
store: {{url: "{store}"}}
upstreams:
  app: {{servers: ["{app}"]}}
schemes:
  web: {{type: session, format: native, cookie: sid}}
  api:
    type: jwt
    issuer: https://id.test
    audience: [app]
    algorithms: [HS256]
    keys: {{secret: {secret}}}
    from: [bearer, basic, {{cookie: token}}, {{query: access}}, {{header: X-Token}}]
    revocation: none
    max_lifetime: 10m
  other:
    type: jwt
    issuer: https://id.test
    audience: [elsewhere]
    algorithms: [HS256]
    keys: {{secret: {secret}}}
    revocation: none
    max_lifetime: 10m
routes:
  - {{match: {{path: /public/**}}, auth: none, upstream: app}}
  - {{match: {{path: /status}}, auth: none, upstream: app}}
  - {{match: {{path: /any/**}}, auth: [api, web], same_subjects: true, upstream: app}}
  - {{match: {{path: /read}}, auth: api, require: {{scopes: [read]}}, upstream: app}}
  - {{match: {{path: /write}}, auth: api, require: {{scopes: [write]}}, upstream: app}}
  - {{match: {{path: /elsewhere}}, auth: other, same_subjects: true, upstream: app}}
  - {{match: {{path: /admin/**}}, auth: web, require: {{roles: [admin]}}, upstream: app}}
"""


@pytest.fixture
def reached():
    """Return the list of paths that reached the application."""
    return []


@pytest.fixture
async def gate(start_gate, valkey, reached):
    """Start a gate before an application that tells what it was sent."""

    async def echo(request):
        reached.append(request.raw_path)
        told = [[name, value] for name, value in request.headers.items()]
        return web.json_response({"target": request.raw_path, "headers": told})

    application = web.Application()
    application.router.add_route("*", "/{tail:.*}", echo)
    async with TestServer(application) as server:
        app = f"http://127.0.0.1:{server.port}"
        yield await start_gate(CONFIG.format(store=valkey.url, app=app, secret=SECRET))


def token(**changes):
    """Return a good token of a reader."""
    now = int(time.time())
    said = {"iss": "https://id.test", "aud": "app", "sub": "ann", "scope": "read"}
    return jwt.encode(said | {"iat": now, "exp": now + 300} | changes, SECRET, "HS256")


async def ask(gate, target, *lines, method="GET", body=b""):
    """Return the status and the whole answer to one request; every line is text or bytes."""
    head = [f"{method} {target} HTTP/1.1", "Host: shop.test", "Connection: close", *lines]
    raw = b"\r\n".join(line if isinstance(line, bytes) else line.encode() for line in head)
    answer = await gate.exchange(raw + b"\r\n\r\n" + body)
    return int(answer.split(b" ", 2)[1]), answer


def told(answer, name):
    """Return what the application was told under a name."""
    body = answer.partition(b"\r\n\r\n")[2]
    return [value for key, value in json.loads(body)["headers"] if key.lower() == name.lower()]


TEMPTATIONS = (
    *("X-Forwarded-Uri: /public/x", "X-Original-URL: /public/x", "X-Original-URI: /public/x"),
    *("X-Rewrite-URL: /public/x", "X-Forwarded-Path: /public/x", "X-Forwarded-Method: OPTIONS"),
    *(
        "X-HTTP-Method-Override: OPTIONS",
        "X-Original-Method: OPTIONS",
        "X-Forwarded-Prefix: /public",
    ),
    *("X-Forwarded-For: 127.0.0.1", "X-Real-IP: 127.0.0.1", "Forwarded: for=127.0.0.1;host=x"),
    *("X-Forwarded-Host: public.test", "X-Forwarded-Proto: https", "X-Forwarded-Port: 443"),
    *("User-Agent: kube-probe/1.29", "User-Agent: GoogleHC/1.0", "User-Agent: ELB-HealthChecker/2"),
    *("X-Auth-Subject: ann", "X-Forwarded-User: ann", "Remote-User: ann", "X-Auth-Roles: admin"),
    *("X-Forwarded-Client-Cert: Subject=ann", "Ssl-Client-Verify: SUCCESS", "Via: 1.1 trusted"),
)


@pytest.mark.parametrize("temptation", TEMPTATIONS)
@pytest.mark.parametrize("path", ["/any/x", "/admin/x", "/nothing"])
async def test_p6_no_other_header_turns_a_refusal_into_an_answer(gate, reached, path, temptation):
    """P6 (#1, #2, #3, #18): nothing but the credential opens a route, whatever a client says."""
    status, _ = await ask(gate, path, temptation)

    assert (404 if path == "/nothing" else 401) == status
    assert [] == reached


@pytest.mark.parametrize(
    "target",
    [
        "/any/x?path=/status",
        "/any/x?/public/x",
        "/any/x;/../status",
        "/any/x%3f/status",
        "/any/x#/status",
        "/any/x%23/status",
        "/status#/../any/x",
        "/public/../any/x",
        "/public/%2e%2e/any/x",
        "/public/..%2fany/x",
        "/public/..%5cany/x",
        "/public\\..\\any/x",
        "//any/x",
        "/public/..;/any/x",
        "/public/%00/../any/x",
        "/public/%c0%ae%c0%ae/any/x",
        "/public/%zz",
        "/%",
        "http://[/status",
        "http://shop.test:99999999/status",
        "status",
        "*",
        "",
    ],
)
async def test_p2_an_odd_target_never_opens_what_is_guarded(gate, reached, target):
    """P2 (#4, #5, #12, #15, #19, #34): refused, and the application is not asked."""
    status, _ = await ask(gate, target)

    assert status in {400, 401, 404}
    assert [] == reached


GARBAGE = (
    *(b"", b" ", b"%", b"%00", b"%zz", b"\xff\xfe", b"null", b"{}", b"[]", b"..", b"a.b", b"a.b.c"),
    *(b"e30.e30.e30", b"=", b'"', b"'; --", b"../../x", b"A" * 3000, b"\xe2\x80\xae", b"undefined"),
)
SLOTS = (
    b"Cookie: sid=%b",
    b"Cookie: token=%b",
    b"Cookie: sid=%b; token=%b",
    b"Authorization: Bearer %b",
    b"Authorization: Basic %b",
    b"Authorization: %b",
    b"X-Token: %b",
)


@pytest.mark.parametrize("slot", SLOTS)
async def test_k2_garbage_in_a_credentials_place_opens_nothing(gate, reached, slot):
    """K2, S12 (#20, #24): no 2xx and no 500, and nothing reaches the application."""
    for garbage in GARBAGE:
        line = slot.replace(b"%b", garbage)
        status, _ = await ask(gate, "/any/x", line)
        assert status in {400, 401}, line
    status, _ = await ask(gate, "/any/x?access=%ff%00")

    assert 401 == status
    assert [] == reached


async def test_h1_an_answer_means_an_identity(gate):
    """H1 (#20): where a guarded route answers 200 the application was told who it is."""
    good = token()
    for line in (
        f"Authorization: Bearer {good}",
        f"Cookie: token={good}",
        f"X-Token: {good}",
    ):
        status, answer = await ask(gate, "/any/x", line, "Sec-Fetch-Site: same-origin")
        assert 200 == status
        assert ["ann"] == told(answer, "X-Auth-Subject")
    status, answer = await ask(gate, f"/any/x?access={good}")
    assert 200 == status
    assert ["ann"] == told(answer, "X-Auth-Subject")


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "GET", "OPTIONS", "HEAD"])
async def test_f6_a_refused_request_never_reaches_the_application(gate, reached, method):
    """F6 (#30): not its head, not its body, by no method; and nothing of an answer comes back."""
    status, answer = await ask(gate, "/any/x", "Content-Length: 4", method=method, body=b"a=b\n")

    assert 401 == status
    assert b'"target"' not in answer
    assert [] == reached


async def test_r1_one_token_is_judged_by_each_route_alone(gate):
    """R1 (#16, #17): in every order, what one route said is no answer of another one."""
    line = f"Authorization: Bearer {token()}"
    expected = {"/any/x": 200, "/read": 200, "/write": 403, "/elsewhere": 401}
    for order in itertools.permutations(expected):
        for path in order:
            status, _ = await ask(gate, path, line)
            assert expected[path] == status, (order, path)


async def test_r6_a_role_that_is_taken_away_is_gone_with_the_next_request(gate):
    """R6 (#22): what the store says now counts, not what it said at the login."""
    runtime = gate.runtime
    sessions = open_sessions(runtime.config, runtime.config.schemes["web"], runtime.store)
    ada = await sessions.create(Login("ada", roles=("admin",)), time.time())
    line = f"Cookie: sid={ada.cookie}"
    before, _ = await ask(gate, "/admin/x", line)
    key = sessions.session_key(ada.digest)
    [record] = await runtime.store.fetch([key])
    demoted = replace(native.read(record), roles=(), version=2)
    await runtime.store.put(key, native.encode(demoted), ttl_s=600)
    after, _ = await ask(gate, "/admin/x", line)

    assert (200, 403) == (before, after)


SMUGGLED = b"GET /any/smuggled HTTP/1.1\r\nHost: shop.test\r\n\r\n"
FRAMINGS = {
    "CL.TE": (
        [f"Content-Length: {len(SMUGGLED) + 5}", "Transfer-Encoding: chunked"],
        b"0\r\n\r\n" + SMUGGLED,
    ),
    "TE.CL": (
        ["Transfer-Encoding: chunked", "Content-Length: 4"],
        b"%x\r\n%b\r\n0\r\n\r\n" % (len(SMUGGLED), SMUGGLED),
    ),
    "TE.TE": (["Transfer-Encoding: chunked", "Transfer-Encoding: cow"], b"0\r\n\r\n" + SMUGGLED),
    "a list of codings": (["Transfer-Encoding: chunked, identity"], b"0\r\n\r\n" + SMUGGLED),
    "an unknown coding": (["Transfer-Encoding: xchunked"], b"0\r\n\r\n" + SMUGGLED),
    "a tab before the coding": (
        ["Transfer-Encoding:\tchunked", "Content-Length: 5"],
        b"0\r\n\r\n" + SMUGGLED,
    ),
    "a folded name": (["Transfer_Encoding: chunked"], b"0\r\n\r\n" + SMUGGLED),
    "a folded length": ([f"Content_Length: {len(SMUGGLED)}"], SMUGGLED),
    "a dotted length": ([f"content.length: {len(SMUGGLED)}"], SMUGGLED),
    "a space before the colon": (["Transfer-Encoding : chunked"], b"0\r\n\r\n" + SMUGGLED),
    "a folded line": (["X: y", " Transfer-Encoding: chunked"], b"0\r\n\r\n" + SMUGGLED),
    "a bare LF in the head": (["X: y\nTransfer-Encoding: chunked"], b"0\r\n\r\n" + SMUGGLED),
    "a bare CR in the head": (["X: y\rTransfer-Encoding: chunked"], b"0\r\n\r\n" + SMUGGLED),
    "a NUL in the head": (["X: y\0z"], b""),
    "two lengths": (["Content-Length: 0", "Content-Length: 5"], b"hello" + SMUGGLED),
    "two equal lengths": (["Content-Length: 5", "Content-Length: 5"], b"hello" + SMUGGLED),
    "a list of lengths": (["Content-Length: 5, 5"], b"hello" + SMUGGLED),
    "a signed length": (["Content-Length: +5"], b"hello" + SMUGGLED),
    "a negative length": (["Content-Length: -5"], b"hello" + SMUGGLED),
    "a hexadecimal length": (["Content-Length: 0x5"], b"hello" + SMUGGLED),
    "a length of other digits": (["Content-Length: \u0665"], b"hello" + SMUGGLED),
    "an endless length": (["Content-Length: " + "9" * 40], b"hello" + SMUGGLED),
}
CHUNKS = {
    "a bare LF behind the size": b"5\nhello\r\n0\r\n\r\n" + SMUGGLED,
    "a bare LF behind the chunk": b"5\r\nhello\n0\r\n\r\n" + SMUGGLED,
    "a LF in an extension": b"5;x\n\r\nhello\r\n0\r\n\r\n" + SMUGGLED,
    "a CR in an extension": b"5;x\ry\r\nhello\r\n0\r\n\r\n" + SMUGGLED,
    "a chunk longer than its size": b"4\r\nhello\r\n0\r\n\r\n" + SMUGGLED,
    "a chunk shorter than its size": b"9\r\nhello\r\n0\r\n\r\n" + SMUGGLED,
    "a size with a sign": b"+5\r\nhello\r\n0\r\n\r\n" + SMUGGLED,
    "a size with 0x": b"0x5\r\nhello\r\n0\r\n\r\n" + SMUGGLED,
    "a size with an underscore": b"0_5\r\nhello\r\n0\r\n\r\n" + SMUGGLED,
    "no size": b"\r\nhello\r\n0\r\n\r\n" + SMUGGLED,
    "a size that overflows": b"10000000000000005\r\nhello\r\n0\r\n\r\n" + SMUGGLED,
    "a trailer that is none": b"5\r\nhello\r\n0\r\nnone\r\n\r\n" + SMUGGLED,
    "a bare LF behind a trailer": b"5\r\nhello\r\n0\r\nX: y\n\r\n" + SMUGGLED,
}


@pytest.mark.parametrize("name", FRAMINGS)
async def test_f1_an_ambiguous_request_is_refused_and_the_connection_closed(gate, reached, name):
    """F1 (#39): one 400, then the end: what was hidden in the body is nobody's request."""
    lines, body = FRAMINGS[name]
    head = ["POST /public/x HTTP/1.1", "Host: shop.test", *lines]
    raw = await gate.exchange("\r\n".join(head).encode() + b"\r\n\r\n" + body)

    assert [b"400"] == re.findall(rb"HTTP/1\.1 (\d{3}) ", raw)
    assert [] == reached


@pytest.mark.parametrize("name", CHUNKS)
async def test_f1_an_ambiguous_chunk_ends_the_connection(gate, reached, name):
    """F1 (#39): at most one answer, and nothing behind the bad chunk is a request."""
    head = b"POST /public/x HTTP/1.1\r\nHost: shop.test\r\nTransfer-Encoding: chunked\r\n\r\n"
    raw = await gate.exchange(head + CHUNKS[name])

    assert [b"400"] == re.findall(rb"HTTP/1\.1 (\d{3}) ", raw)
    assert "/any/smuggled" not in reached


async def test_f1_chunked_in_http_1_0_is_refused(gate, reached):
    """F1 (#39): HTTP/1.0 has no chunks; one of two servers would take them for the next request."""
    head = b"POST /public/x HTTP/1.0\r\nHost: shop.test\r\nTransfer-Encoding: chunked\r\n\r\n"
    raw = await gate.exchange(head + b"0\r\n\r\n" + SMUGGLED)

    assert [b"400"] == re.findall(rb"HTTP/1\.1 (\d{3}) ", raw)
    assert [] == reached


@pytest.mark.parametrize(
    ("lines", "code"),
    [
        (["Host: shop.test", "Host: other.test"], b"bad_request"),
        ([], b"bad_request"),
        (["Host: shop.test/../x"], b"host_invalid"),
        (["Host: user@shop.test"], b"host_invalid"),
        (["Host: shop.test, other.test"], b"host_invalid"),
        (["Host: shop.test#"], b"host_invalid"),
        (["Host: "], b"host_invalid"),
    ],
)
async def test_p3_a_host_that_two_servers_read_differently_is_refused(gate, reached, lines, code):
    """P3 (#33, #34, #40): one Host, or it is no HTTP; and a host in it."""
    head = ["GET /public/x HTTP/1.1", *lines, "Connection: close"]
    raw = await gate.exchange("\r\n".join(head).encode() + b"\r\n\r\n")

    assert raw.startswith(b"HTTP/1.1 400 ")
    assert b'"code": "' + code + b'"' in raw.replace(b'"code":"', b'"code": "')
    assert [] == reached
