"""One behaviour, whichever way a request takes: compared byte for byte, memo warm (design.md §8).

Every request is sent several times to a gate without the express lane, to one whose lane parses
everything, and to one whose lane remembers. What the client hears, what the application is sent,
and what is logged and counted has to be the same.
"""

from __future__ import annotations

import time

import jwt
import pytest

from tests.trio import talk_of, trio

SECRET = "0123456789abcdef0123456789abcdef"
CONFIG = """
server: {id: here, limits: {header_size: 8KiB}, trusted_proxies: [127.0.0.2]}
upstreams:
  app: {servers: ["@app@"], timeouts: {response: 2s}}
schemes:
  api:
    type: jwt
    issuer: https://id.test
    audience: [app]
    algorithms: [HS256]
    keys: {secret: @secret@}
    from: [bearer, {cookie: sid}, {header: X-Token}]
    revocation: none
    max_lifetime: 15m
  asked:
    type: jwt
    issuer: https://id.test
    audience: [app]
    algorithms: [HS256]
    keys: {secret: @secret@}
    from: [{query: token}]
    revocation: none
    max_lifetime: 15m
routes:
  - {match: {path: /**}, auth: none, upstream: app}
  - {match: {path: /get, methods: [GET]}, auth: none, upstream: app}
  - {match: {path: /api/**}, auth: api, upstream: app}
  - match: {path: /set/**}
    auth: api
    upstream: app
    strip_prefix: /set
    identity: {preset: remote-user, headers: {X-Tenant: "{tenant}"}}
  - {match: {path: /admin/**}, auth: api, require: {roles: [admin]}, upstream: app}
  - {match: {path: /query}, auth: asked, upstream: app}
  - match: {path: /cors}
    auth: api
    upstream: app
    cors: {origins: ["https://a.test"], credentials: true}
  - {match: {path: /open, host: other.test}, auth: none, upstream: app}
  - match: {path: /kept}
    auth: api
    upstream: app
    forward_credentials: true
    pass_headers: [X-Auth-Token]
"""


def token(**said):
    now = int(time.time())
    claims = {
        "iss": "https://id.test",
        "aud": "app",
        "sub": "ann",
        "tenant": "acme",
        "roles": ["x"],
    }
    return jwt.encode(claims | {"iat": now, "exp": now + 600} | said, SECRET, "HS256")


TOKENS = {
    b"@TOKEN@": token().encode(),
    b"@BOB@": token(sub="bob").encode(),
    b"@ADMIN@": token(roles=["admin"]).encode(),
    b"@OVER@": token(exp=int(time.time()) - 9).encode(),
    b"@FORGED@": jwt.encode({"iss": "https://id.test", "sub": "eve"}, "x" * 32, "HS256").encode(),
}


def filled(raw):
    for mark, value in TOKENS.items():
        raw = raw.replace(mark, value)
    return raw


def get(target=b"/", *lines, method=b"GET", version=b"HTTP/1.1"):
    """Return a request's head, with its Host before `lines`."""
    head = (b"%b %b %b" % (method, target, version), b"Host: gate", *lines)
    return b"\r\n".join(head) + b"\r\n\r\n"


BEARER = b"Authorization: Bearer @TOKEN@"
NAMES = (
    *(b"X-Auth-Subject", b"X-Auth-Roles", b"X-Auth-Assertion", b"X-Auth-Token", b"X-Auth-New"),
    *(b"Remote-User", b"Remote-Groups", b"X-Tenant", b"X-Forwarded-For", b"X-Forwarded-Proto"),
    *(b"X-Forwarded-Host", b"X-Forwarded-Port", b"X-Forwarded-Prefix", b"X-Forwarded-User"),
    *(b"Forwarded", b"X-Real-IP", b"True-Client-IP", b"CF-Connecting-IP", b"X-Request-Id"),
    *(b"X-Original-URL", b"X-Rewrite-URL", b"X-HTTP-Method-Override", b"X-Script-Name", b"Proxy"),
    *(b"X-Forwarded-Client-Cert", b"Ssl-Client-Verify", b"X-Token", b"Via", b"Keep-Alive", b"TE"),
    *(b"Proxy-Connection", b"Proxy-Authorization", b"Upgrade-Insecure-Requests", b"HTTP2-Settings"),
    *(b"Content-Length", b"Transfer-Encoding", b"Trailer", b"Expect", b"Upgrade", b"DPoP"),
    *(b"Cookie", b"Host", b"Authorization", b"Connection", b"Origin", b"Sec-Fetch-Site"),
    *(b"Content-Type", b"Content-Encoding", b"ETag", b"Server", b"Max-Forwards", b"Range"),
)
SPELLINGS = (
    lambda name: name,
    bytes.lower,
    bytes.upper,
    lambda name: name.replace(b"-", b"_"),
    lambda name: name.replace(b"-", b"."),
    lambda name: name.replace(b"-", b"~"),
    lambda name: name + b"_",
)
VALUES = (b"1", b"mallory", b"close", b"@BOB@", b"a, b")

SPOOFED = [
    (get(path, spell(name) + b": " + value, BEARER),)
    for number, name in enumerate(NAMES)
    for step, spell in enumerate(SPELLINGS)
    for path in ((b"/", b"/api/a", b"/set/a", b"/kept")[(number + step) % 4],)
    for value in (VALUES[(number + step) % len(VALUES)],)
    if spell(name).lower() != b"content-length"  # whose body would be waited for
]

ODD_LINES = [
    (get(b"/api/a", BEARER, line),)
    for line in (
        *(b"X:1", b"X:  1", b"X: 1 ", b"X: 1\t", b"X:\t1", b"X: ", b"X:", b"X : 1", b" X: 1"),
        *(b"X: a\r\n b", b"X: a\r\n\tb", b"X: a\nY: b", b"X: a\rY: b", b"X: a\x00b", b"X: \x7f"),
        *(b"X: \xc3\xa9", b"X: \xff", b"X\xff: 1", b": 1", b"X", b"X: a: b", b"(X): 1", b"X[]: 1"),
        *(b"X: 1\r\nX: 2", b"x: 1\r\nX: 1", b"Host: gate", b"Host: other.test", b"host:gate"),
        *(b"Authorization: Bearer @TOKEN@", b"authorization: Basic eDp5", b"X-Token: @BOB@"),
        *(b"X-Token: @TOKEN@\r\nX-Token: @BOB@", b"x_token: @BOB@", b"Cookie: sid=@BOB@"),
        *(
            b"Content-Length: 0",
            b"Content-Length: -1",
            b"Content-Length: +0",
            b"Content-Length: 0, 0",
        ),
        *(b"Content-Length: 0\r\nContent-Length: 0", b"Content-Length: 1\r\nContent-Length: 0"),
        *(b"Transfer-Encoding: identity", b"Transfer-Encoding: x, y", b"Transfer-Encoding:"),
        *(b"Transfer-Encoding: chunked\r\nContent-Length: 3", b"Transfer-Encoding: \x0bchunked"),
        *(b"Transfer-Encoding : chunked", b"X: 1\r\nTransfer-Encoding: xchunked", b"TE: trailers"),
        *(
            b"Connection: close",
            b"Connection: keep-alive",
            b"connection: Keep-Alive, X-A\r\nX-A: 1",
        ),
        *(b"Connection: X-B\r\nX-B: 1", b"Connection: Host", b"Connection: X-Auth-Subject"),
        *(b"Connection: Authorization", b"Connection: upgrade", b"Connection: te", b"Connection:"),
        *(b"Connection: ,", b"Connection: keep-alive\r\nConnection: close", b"Connection: via"),
        *(b"Upgrade: h2c\r\nConnection: Upgrade", b"Upgrade: websocket", b"Connection: upgrade,x"),
        *(b"HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA", b"Expect: 100-continue", b"Expect: x"),
        *(
            b"Via: 1.1 here",
            b"Via: 1.1 there",
            b"Max-Forwards: 0",
            b"Trailer: X",
            b"Accept: text/html",
        ),
        *(b"Sec-WebSocket-Key: AAAA", b"Sec-WebSocket-Key1: A", b"Sec_Fetch_Site: none"),
        *(b"Origin: https://evil.test", b"Origin: https://a.test", b"Origin: a\r\nOrigin: b"),
        *(b"Range: bytes=0-0", b"If-None-Match: x", b"Accept-Encoding: gzip", b"Referer: /"),
        *(
            b"DPoP: a.b.c",
            b"Y: " + b"z" * 3000,
            b"Y: " + b"z" * 9000,
            b"\r\n".join([b"A: b"] * 900),
        ),
    )
]

COOKIES = [
    (get(path, b"Cookie: " + cookie, *more),)
    for cookie in (
        *(
            b"sid=@TOKEN@",
            b"a=1; sid=@TOKEN@; b=2",
            b"sid=@TOKEN@; sid=@BOB@",
            b"sid=@TOKEN@;sid=@TOKEN@",
        ),
        *(b"sid=@BOB@\r\nCookie: sid=@TOKEN@", b"%73id=@BOB@; sid=@TOKEN@", b'sid="@TOKEN@"'),
        *(b"sid = @TOKEN@", b"SID=@TOKEN@", b"sid=@OVER@", b"sid=@FORGED@", b"sid=", b"theme=dark"),
        *(
            b"theme=dark; sid=@TOKEN@\r\ncookie: x=1",
            b"a=1, sid=@BOB@",
            b"=sid=@BOB@",
            b"; ;",
            b"x",
        ),
    )
    for path, more in (
        (b"/api/a", ()),
        (b"/api/a", (b"Accept: */*",)),
        (b"/", ()),
        (b"/kept", (b"A: 1",)),
    )
] + [
    (get(path, b"Cookie: theme=dark; sid=x", BEARER, b"Accept: */*"),)
    for path in (b"/api/a", b"/kept")
]

TARGETS = [
    (get(target, BEARER),)
    for target in (
        *(
            b"/api/a?x=1",
            b"/api/a?x=2",
            b"/api/a?",
            b"/api/a#f",
            b"/api/%61",
            b"/%61pi/a",
            b"/API/a",
        ),
        *(
            b"/api//a",
            b"//api/a",
            b"/api/./a",
            b"/api/../api/a",
            b"/api/%2e%2e/x",
            b"/api%2fa",
            b"/api/a;x",
        ),
        *(
            b"/api\\a",
            b"/api/%00",
            b"/api/%ff",
            b"/api/\xff",
            b"/admin/..;/api/a",
            b"/api/a%0d%0aX: 1",
        ),
        *(
            b"http://gate/api/a",
            b"http://other.test/api/a",
            b"https://gate/api/a",
            b"HTTP://gate/api/a",
        ),
        *(
            b"http://u:p@gate/api/a",
            b"*",
            b"gate:80",
            b"",
            b"api/a",
            b"?x",
            b"/api/a b",
            b"/api/a\tb",
        ),
        *(b"/query?token=@TOKEN@", b"/query?token=@BOB@", b"/query?a=1&token=@TOKEN@&b", b"/query"),
        *(
            b"/_auth/me",
            b"/_auth/jwks.json",
            b"/set/x?y",
            b"/set",
            b"/open",
            b"/get",
            b"/nothing/here",
        ),
        *(b"/" + b"a" * 2500, b"/" + b"a" * 7000, b"/?" + b"q" * 2030),
    )
]

LINES = [
    (get(b"/api/a", BEARER, method=method, version=version),)
    for method in (
        b"GET",
        b"HEAD",
        b"POST",
        b"OPTIONS",
        b"TRACE",
        b"CONNECT",
        b"get",
        b"PURGE",
        b"G\xff",
    )
    for version in (
        b"HTTP/1.1",
        b"HTTP/1.0",
        b"HTTP/1.2",
        b"HTTP/2.0",
        b"http/1.1",
        b"HTTP/1.1 ",
        b"",
    )
] + [
    (b"\r\n" + get(b"/api/a", BEARER),),
    (b"\r\n\r\n" + get(b"/api/a", BEARER),),
    (b"\n" + get(b"/api/a", BEARER),),
    (get(b"/api/a", BEARER).replace(b"\r\n", b"\n"),),
    (b"GET  /api/a HTTP/1.1\r\nHost: gate\r\n\r\n",),
    (b"GET\t/api/a HTTP/1.1\r\nHost: gate\r\n\r\n",),
    (b"GET /api/a HTTP/1.1\rHost: gate\r\n\r\n",),
    (b"GET /api/a HTTP/1.1\nHost: gate\r\n\r\n",),
    (b"GET /api/a HTTP/1.1\r\n\r\n",),
    (b"GET /a HTTP/1.0\r\n\r\n",),
    (b"GET /a HTTP/1.0\r\nHost: gate\r\nConnection: keep-alive\r\n\r\n",),
]

CREDENTIALS = [
    (get(path, line),)
    for path in (b"/api/a", b"/set/a", b"/admin/a", b"/kept", b"/")
    for line in (
        *(
            BEARER,
            b"Authorization: bearer @TOKEN@",
            b"Authorization: Bearer  @TOKEN@",
            b"X-Token: @TOKEN@",
        ),
        *(
            b"Authorization: Bearer @ADMIN@",
            b"Authorization: Bearer @OVER@",
            b"Authorization: Bearer @FORGED@",
        ),
        *(
            b"Authorization: Basic eDp5",
            b"Authorization: DPoP @TOKEN@",
            b"Authorization:",
            b"x-token: @BOB@",
        ),
    )
]

TABLES = {
    "spoofed": SPOOFED,
    "odd lines": ODD_LINES,
    "cookies": COOKIES,
    "targets": TARGETS,
    "request lines": LINES,
    "credentials": CREDENTIALS,
}
GROUPS = [(name, first) for name, table in TABLES.items() for first in range(0, len(table), 40)]


@pytest.mark.parametrize(("name", "first"), GROUPS, ids=[f"{name} {at}" for name, at in GROUPS])
async def test_every_request_is_treated_alike(tmp_path, name, first):
    """Whatever stands in a head, in whatever spelling, has the same answer and the same effect."""
    async with trio(tmp_path, CONFIG, {}, secret=SECRET) as gates:
        for packets in TABLES[name][first : first + 40]:
            await gates.same(talk_of([filled(packet) for packet in packets]), repr(packets)[:300])


async def test_the_memo_is_really_asked(tmp_path, monkeypatch):
    """What the comparison rests on: a warm lane decides and parses nothing anew."""
    async with trio(tmp_path, CONFIG, {}, secret=SECRET) as gates:
        head = filled(get(b"/api/a", BEARER, b"Accept: */*"))
        await gates.same(talk_of([head]))
        gate = gates["warm"]
        client = await gate.connect()
        await client.say(head)  # what comes with the connection may be before the lane
        await client.hear(b"GET")
        monkeypatch.setattr(gate.server.lane.gate, "decide_now", None)
        monkeypatch.setattr(gate.server.lane.gate, "decide", None)
        for lines in ([], [b"X-New: 1"], [b"X-New: 2"], []):
            await client.say(filled(get(b"/api/new", BEARER, b"Accept: */*", *lines)))
            assert (await client.hear(b"GET")).startswith(b"HTTP/1.1 200 ")
        await client.close()
