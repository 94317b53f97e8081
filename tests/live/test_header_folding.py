"""Spoofed headers through the whole gate, into real applications that fold names."""

from __future__ import annotations

import asyncio
import json
import time

import jwt
import pytest

from proxy.core.headers import fold
from tests.backends.running import running

SECRET = "0123456789abcdef0123456789abcdef"
CONFIG = """
server: {{id: gate-1}}
store: {{url: "{store}"}}
upstreams:
  app: {{servers: ["http://127.0.0.1:{port}"]}}
schemes:
  api:
    type: jwt
    issuer: https://id.test
    audience: [app]
    algorithms: [HS256]
    keys: {{secret: {secret}}}
    revocation: none
    max_lifetime: 10m
routes:
  - {{match: {{path: /public}}, auth: none, upstream: app}}
  - {{match: {{path: /cors}}, auth: api, cors: upstream, upstream: app, pass_headers: [X-HTTP-Method-Override]}}
  - match: {{path: /private}}
    auth: api
    upstream: app
    strip_prefix: /private
    identity: {{preset: remote-user, headers: {{X-Tenant: "{{tenant}}"}}}}
  - match: {{path: /other}}
    auth: api
    upstream: app
    identity: {{preset: oauth2-proxy}}
    pass_headers: [X-Auth-Token]
"""
NAMES = [
    "X-Auth-Subject",
    "X-Auth-Roles",
    "X-Auth-Assertion",
    "X-Auth-Unheard-Of",
    "X-Auth-Request-User",
    "X-Tenant",
    "Remote-User",
    "Remote-Groups",
    "X-Forwarded-User",
    "X-Forwarded-For",
    "X-Forwarded-Proto",
    "X-Forwarded-Prefix",
    "X-Forwarded-Port",
    "X-Real-IP",
    "X-Request-Id",
    "X-Original-URL",
    "X-Script-Name",
    "X-HTTP-Method-Override",
    "Ssl-Client-Verify",
]
MARKS = ["-", "_", ".", "~", "!", "|"]
ROUTES = ["/public", "/private", "/other"]


@pytest.fixture(params=["wsgi", "cgi"])
async def gate(request, start_gate, valkey):
    """Start a gate before a real application; the application's process ends behind it."""
    with running(request.param) as backend:
        text = CONFIG.format(store=valkey.url, port=backend.port, secret=SECRET)
        yield await start_gate(text)


def bearer():
    """Return a good Authorization line of a customer."""
    now = int(time.time())
    claims = {
        "iss": "https://id.test",
        "aud": "app",
        "sub": "alice",
        "roles": ["customer"],
        "tenant": "acme",
        "iat": now,
        "exp": now + 60,
    }
    return f"Authorization: Bearer {jwt.encode(claims, SECRET, 'HS256')}"


def spoofed(marks):
    """Return lines that say mallory under every name, spelled with each of `marks`."""
    return [f"{name.replace('-', mark)}: mallory" for name in NAMES for mark in marks]


async def ask(gate, path, *lines):
    """Return the status and the environ, where the application was reached."""
    head = [f"GET {path} HTTP/1.1", "Host: shop.test", "Connection: close", *lines, "", ""]
    async with asyncio.timeout(20):
        raw = await gate.exchange("\r\n".join(head).encode("latin-1"))
    status = int(raw.split(b" ", 2)[1])
    body = raw.partition(b"\r\n\r\n")[2]
    return status, json.loads(body[body.index(b"{") : body.rindex(b"}") + 1])


def names_of(environ, value):
    """Return the variables whose value contains `value`."""
    return sorted(name for name, said in environ.items() if value in said)


@pytest.mark.parametrize("path", ROUTES)
@pytest.mark.parametrize("mark", MARKS)
async def test_h1_h2_no_spoofed_header_reaches_the_environ(gate, path, mark):
    """On public and guarded routes, in every spelling (field.md §3 #6, #9, #10, #14, #27)."""
    status, environ = await ask(gate, path, bearer(), *spoofed([mark]))

    assert status == 200
    assert names_of(environ, "mallory") == []


async def test_h1_a_guarded_route_says_who_it_is(gate):
    """The application finds the gate's word under the names of its preset and mapping."""
    _, environ = await ask(gate, "/private", bearer(), *spoofed(["_", "."]))

    assert names_of(environ, "alice") == ["HTTP_REMOTE_USER", "HTTP_X_AUTH_SUBJECT"]
    assert names_of(environ, "customer") == ["HTTP_REMOTE_GROUPS", "HTTP_X_AUTH_ROLES"]
    assert environ["HTTP_X_TENANT"] == "acme"
    assert environ["HTTP_X_FORWARDED_PREFIX"] == "/private"
    assert environ["HTTP_X_FORWARDED_FOR"] == "127.0.0.1"
    assert environ["HTTP_VIA"] == "1.1 gate-1"


async def test_h1_a_public_route_says_nobody(gate):
    """With a good token too: nothing was evaluated, so nothing is said (field.md §3 #20)."""
    _, environ = await ask(gate, "/public", bearer(), *spoofed(["-", "_"]))

    assert names_of(environ, "customer") == []
    assert [name for name in environ if name.startswith(("HTTP_X_AUTH", "HTTP_REMOTE"))] == []


@pytest.mark.parametrize("mark", MARKS)
async def test_h1_a_preflight_for_the_upstream_is_cleaned(gate, mark):
    """It goes on before authentication, without any of the gate's names (field.md §3 #27)."""
    preflight = ["Origin: https://a.test", "Access-Control-Request-Method: GET"]
    head = [
        "OPTIONS /cors HTTP/1.0",
        "Host: shop.test",
        *preflight,
        "Cookie: a=mallory",
        bearer(),
        *spoofed([mark]),
    ]
    raw = await gate.exchange("\r\n".join([*head, "", ""]).encode())

    assert raw.split(b" ", 2)[1] == b"200"
    assert b"https://a.test" in raw
    assert b"mallory" not in raw
    assert b"HTTP_AUTHORIZATION" not in raw


async def test_h2_pass_headers_restores_nothing_before_authentication(gate):
    """A method override passes with a token, and never makes a request of a preflight."""
    override = "X-HTTP-Method-Override: DELETE"
    wanted = ["Origin: https://a.test", "Access-Control-Request-Method: GET"]
    head = ["OPTIONS /cors HTTP/1.0", "Host: shop.test", *wanted, override]
    raw = await gate.exchange("\r\n".join([*head, "", ""]).encode())
    _, environ = await ask(gate, "/cors", bearer(), override)

    assert raw.split(b" ", 2)[1] == b"200"
    assert b"DELETE" not in raw
    assert environ["HTTP_X_HTTP_METHOD_OVERRIDE"] == "DELETE"


async def test_h1_pass_headers_restores_an_applications_own(gate):
    """Its exact name passes on the route that says so, its aliases nowhere."""
    lines = ["x-auth-token: mine", "X_Auth_Token: mallory", "X.Auth.Token: mallory"]
    _, environ = await ask(gate, "/other", bearer(), *lines)
    _, elsewhere = await ask(gate, "/private", bearer(), *lines)

    assert environ["HTTP_X_AUTH_TOKEN"] == "mine"
    assert names_of(environ, "mallory") == []
    assert "HTTP_X_AUTH_TOKEN" not in elsewhere


@pytest.mark.parametrize(
    "line",
    [
        "Connection: X-Auth-Subject",
        "Connection: remote_user",
        "Connection: Authorization",
        "Content_Length: 5",
        "Transfer.Encoding: chunked",
        "Sec_Fetch_Site: none",
        "Authorization: Basic eDp5",
    ],
)
async def test_h3_what_could_be_read_in_two_ways_is_refused(gate, line):
    """400, and the application is never asked (field.md §3 #32, #33)."""
    status, problem = await ask(gate, "/private", bearer(), line)

    assert status == 400
    assert problem["code"] == "header_ambiguous"


async def test_the_names_are_ones_that_the_application_would_fold(gate):
    """What is not the gate's arrives under its folded name: the tests above can fail."""
    _, environ = await ask(gate, "/public", "X_Mine: mallory")

    assert names_of(environ, "mallory") == [
        "HTTP_" + fold(b"X-Mine").replace(b"-", b"_").decode().upper()
    ]
