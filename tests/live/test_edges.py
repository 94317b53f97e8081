"""One table of requests through real proxies on what `emit` wrote, and through the gate itself.

Each must end alike: let through to the same application with the same identity, or refused.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time

import jwt
import pytest

from proxy.adapters.passwords import hash_password
from proxy.adapters.users_file import edit_users
from proxy.cli.emit import LUA, written
from proxy.config.addresses import Address
from proxy.config.models import SessionSchemeConfig
from proxy.core.headers import GUARDED_NAMES, OVERRIDE_NAMES, fold
from proxy.services.runtime import load
from proxy.services.schemes.build import open_sessions
from proxy.services.sessions import Login
from tests.edge_rig import PROXIES, Rig, exchange, missing, tool

pytestmark = pytest.mark.slow

SECRET = "s" * 64
CONFIG = """
server: {listen: "127.0.0.1:@listen@", workers: 1, trusted_proxies: [@trusted@]}
health: none
store: {url: "STORE", prefix: "edges:"}
secrets: {key: "KEY"}
decision: {listen: "@decision@", callers: [{from: @from@, dialect: @dialect@}]}
upstreams:
  app: {servers: ["http://127.0.0.1:@app@"], paths: exact}
  api: {servers: ["http://127.0.0.1:@api@"], host: api.internal}
schemes:
  web: {type: session, format: native, cookie: __Host-sid}
  key:
    type: jwt
    issuer: "https://id.test"
    audience: [app]
    algorithms: [HS256]
    keys: {secret: "SECRET"}
    from: [bearer, {header: X-Api-Key}]
    revocation: none
    max_lifetime: 10m
login: {scheme: web, users: {file: users.yaml}}
routes:
  - {match: {path: /public/**}, auth: none, upstream: app}
  - {match: {path: /web/**}, auth: web, upstream: app, identity: {headers: {Remote-User: "{sub}"}}}
  - {match: {path: /upload, methods: [POST]}, auth: web, upstream: app}
  - match: {path: /api/**}
    auth: [key, web]
    same_subjects: true
    upstream: api
    strip_prefix: /api
    forward_credentials: false
    cors: {origins: ["https://other.test"]}
  - {match: {path: "/users/{id}/mail"}, auth: key, upstream: api, forward_credentials: true}
  - {match: {path: /admin/**}, auth: [web, key], same_subjects: true, require: {roles: [admin]}, upstream: app}
  - {match: {path: /few/**}, auth: key, upstream: app, limits: {rate: 2/h, in: store}}
  - {match: {path: /few/public/**}, auth: none, upstream: app, limits: {rate: 2/h, per: {header: X-Who}}}
"""
IDENTITY = ("x-auth-", "remote-user")
PASSWORD = "correct horse"


def token(**claims):
    """Return a token that is good for some minutes."""
    now = int(time.time())
    base = {"iss": "https://id.test", "aud": "app", "sub": "bob", "iat": now, "exp": now + 300}
    return jwt.encode({**base, **claims}, SECRET, algorithm="HS256")


def rig_in(directory, valkey_server, **options):
    """Return gates and applications, to be started."""
    edit_users(
        directory / "users.yaml",
        lambda users: users.update(eve={"password": hash_password(PASSWORD).text}) or True,
    )
    values = {"STORE": valkey_server.tcp_url, "SECRET": SECRET, "KEY": "A" * 43 + "="}
    text = CONFIG
    for name, value in values.items():
        text = text.replace(name, value)
    return Rig(directory, text, **options)


@pytest.fixture(scope="module")
def rig(valkey_server, tmp_path_factory):
    """Run gates and applications; proxies start when they are first asked for."""
    with rig_in(tmp_path_factory.mktemp("edges"), valkey_server) as running:
        yield running


@pytest.fixture(scope="module")
def cookies(rig):
    """Make sessions; give their Cookie values by subject."""
    config = rig.runtime.config
    scheme = config.schemes["web"]
    assert isinstance(scheme, SessionSchemeConfig)
    sessions = open_sessions(config, scheme, rig.runtime.store)

    async def make(subject, *roles):
        made = await sessions.create(Login(subject, roles=roles), time.time())
        return f"{scheme.cookie}={made.cookie}"

    return {name: rig.run(make(name, *roles)) for name, *roles in (("ada",), ("root", "admin"))}


@pytest.fixture(params=PROXIES)
def name(request):
    """Name a proxy that this machine has."""
    if why := missing(request.param):
        pytest.skip(why)
    return request.param


def request(target, *headers, method="GET", host="shop.test", body=b""):
    """Return the bytes of a request; `headers` are lines."""
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host}", *headers]
    if body or method == "POST":
        lines.append(f"Content-Length: {len(body)}")
    if not any(line.lower().startswith("connection:") for line in lines):
        lines.append("Connection: close")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def outcome(answer):
    """Return what counts: where the request came, as whose, with which credentials; or that it did not."""
    seen = answer.seen
    if seen is None:
        return "answered" if 200 <= answer.status < 400 else "refused"
    headers = [(key, value) for key, value in seen["headers"] if value]
    return (
        seen["app"],
        seen["method"],
        seen["target"],
        sorted(item for item in headers if item[0].startswith(IDENTITY)),
        sorted(item for item in headers if item[0] in ("cookie", "authorization", "x-api-key")),
    )


WEBSOCKET = (
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)
PAGE = ("Accept: text/html", "Sec-Fetch-Mode: navigate")
PREFLIGHT = ("Origin: https://other.test", "Access-Control-Request-Method: GET")


def table(cookies):
    """Yield every request of the table under a name."""
    ada, root = f"Cookie: {cookies['ada']}", f"Cookie: {cookies['root']}"
    bob = f"Authorization: Bearer {token()}"
    boss = f"Authorization: Bearer {token(roles=['admin'])}"
    # Who may and who may not
    yield "public", request("/public/a?x=1&y=%2F")
    yield "public with an identity of its own", request("/public/a", "X-Auth-Subject: mallory")
    yield "good session", request("/web/a", ada)
    yield "good session among others", request("/web/a", f"Cookie: a=1; {cookies['ada']}; b=2")
    yield "good session in a second header", request("/web/a", "Cookie: a=1", ada)
    yield "good token", request("/api/orders?x=1", bob)
    yield "good token in its header", request("/api/orders", f"X-Api-Key: {token()}")
    yield "either: the session", request("/api/orders", ada)
    yield "either: both", request("/api/orders", ada, bob)
    yield "token that travels on", request("/users/7/mail", bob)
    yield "no credential", request("/web/a")
    yield "nobody's session", request("/web/a", "Cookie: __Host-sid=" + "A" * 43)
    yield (
        "expired token",
        request("/api/x", f"Authorization: Bearer {token(exp=int(time.time()) - 99)}"),
    )
    yield "forged token", request("/api/x", bob[:-4] + "AAAA")
    yield "wrong role", request("/admin/x", ada)
    yield "wrong role, token", request("/admin/x", bob)
    yield "right role", request("/admin/x", root)
    yield "right role, token", request("/admin/x", boss)
    yield "no route", request("/nowhere")
    yield "method of no route", request("/upload", ada)
    yield "post", request("/upload", ada, "Origin: http://shop.test", method="POST", body=b"abc")
    yield (
        "post of another site",
        request("/upload", ada, "Origin: https://evil.test", method="POST"),
    )
    yield "page load", request("/web/a?b=1", *PAGE)
    yield "head", request("/web/a", ada, method="HEAD")
    yield "options", request("/web/a", ada, method="OPTIONS")
    yield "options without a session", request("/web/a", method="OPTIONS")
    yield "preflight", request("/api/x", *PREFLIGHT, method="OPTIONS")
    yield (
        "preflight of a stranger",
        request("/api/x", "Origin: https://evil.test", PREFLIGHT[1], method="OPTIONS"),
    )
    yield "websocket", request("/web/s", ada, "Origin: http://shop.test", *WEBSOCKET)
    yield (
        "websocket of another site",
        request("/web/s", ada, "Origin: https://evil.test", *WEBSOCKET),
    )
    yield "websocket without a session", request("/web/s", *WEBSOCKET)
    yield "upgrade to something else", request("/web/a", ada, "Connection: Upgrade", "Upgrade: foo")
    yield (
        "upgrade to HTTP/2",
        request(
            "/web/a",
            ada,
            "Connection: Upgrade, HTTP2-Settings",
            "Upgrade: h2c",
            "HTTP2-Settings: AAMAAABkAAQAAP__",
        ),
    )
    yield "method override", request("/web/a", ada, "X-HTTP-Method-Override: DELETE")
    # Whose word counts
    for spelling in (
        "X-Auth-Subject", "x-auth-subject", "X-AUTH-SUBJECT", "X_Auth_Subject", "X-Auth_Subject",
        "X.Auth.Subject", "X-Auth-Email", "X-Auth-Roles", "X_AUTH_ROLES", "Remote-User",
        "Remote_User", "X-Auth-Assertion",
    ):  # fmt: skip
        yield f"{spelling}: mallory", request("/web/a", ada, f"{spelling}: mallory")
        yield f"{spelling}: mallory, nobody", request("/public/a", f"{spelling}: mallory")
    yield "two subjects", request("/web/a", ada, "X-Auth-Subject: m", "X-Auth-Subject: n")
    for line in (
        "X-Forwarded-Uri: /public/a", "X-Forwarded-Method: OPTIONS", "X-Original-URI: /public/a",
        "X-Original-URL: /public/a", "X-Original-Method: OPTIONS", "X-Rewrite-URL: /public/a",
        "X-Forwarded-Prefix: /public", "X-Latchgate-Decision: forward",
        "X-Latchgate-Upstream: app", "X-Latchgate-Target: /public/a", "X-Latchgate-Strip: /admin",
    ):  # fmt: skip
        yield f"{line}, nobody", request("/web/a", line)
        yield f"{line}, wrong role", request("/admin/x", ada, line)
        yield line, request("/web/a", ada, line)
    for line in (
        "User-Agent: GoogleHC/1.0", "User-Agent: kube-probe/1.30", "X-Envoy-Original-Path: /public/a",
        "X-Envoy-Internal: true", "X-Envoy-Auth-Headers-To-Remove: x-auth-subject",
        "X-Accel-Redirect: /public/a", "X-Sendfile: /public/a", "Content_Length: 5",
        "Transfer_Encoding: chunked", "Co_okie: x", "X-Forwarded-Proto: https", "X_Forwarded_Proto: https",
        "Forwarded: for=203.0.113.9;host=localhost", "X-Latchgate-Remove: x-auth-subject",
    ):  # fmt: skip
        yield f"{line}, nobody", request("/web/a", line)
        yield f"{line}, somebody", request("/web/a", ada, line)
    yield "two hosts", request("/web/a", ada, "Host: localhost")
    yield "no host", request("/web/a", ada).replace(b"Host: shop.test\r\n", b"")
    yield "HTTP/1.0", request("/web/a", ada).replace(b"HTTP/1.1", b"HTTP/1.0", 1)
    yield "absolute form", request("http://shop.test/web/a", ada)
    yield "absolute form of another host", request("http://localhost/public/a")
    yield "trace", request("/web/a", ada, method="TRACE")
    yield "made up method", request("/web/a", ada, method="PURGE")
    yield "another host", request("/web/a", "X-Forwarded-Host: localhost", host="shop.test")
    yield (
        "another address",
        request("/web/a", ada, "X-Forwarded-For: 203.0.113.9", "X-Real-IP: 203.0.113.9"),
    )
    yield "nominated", request("/web/a", ada, "Connection: close, X-Auth-Subject")
    yield (
        "nominated lower",
        request("/web/a", ada, "Connection: close, x-auth-subject, remote-user"),
    )
    yield "nominated cookie", request("/web/a", ada, "Connection: close, Cookie")
    # Which host, and whose word about the description
    for host in (
        "shop.test,evil.test", "evil.test,shop.test", "shop.test.", "x@shop.test", "shop.test/x", "shop%2etest",
    ):  # fmt: skip
        yield f"host {host}", request("/web/a", ada, host=host)
        yield f"host {host}, nobody", request("/public/a", host=host)
    yield "another host in the target", request("http://evil.test/web/a", ada)
    for line in (
        "X-Envoy-Auth-Headers-To-Remove: x-auth-subject", "X-Envoy-Original-Path: /public/a",
        "X-Latchgate-Remove: x-auth-subject", "X_Latchgate_Target: /public/a", "X-Forwarded_Uri: /public/a",
    ):  # fmt: skip
        yield line, request("/web/a", ada, line)
        yield f"{line}, wrong role", request("/admin/x", ada, line)
    # What could be read in two ways
    for target in (
        "/public/../web/a", "/public/%2e%2e/web/a", "/public/..%2fweb/a", "/public/%2e%2e%2fadmin/x",
        "/public//../web/a", "//web/a", "/web//a", "/web/%2Fa", "/web/a%2Fb", "/public/..;/web/a",
        "/web;x/a", "/public\\..\\web\\a", "/public/%5c..%5cweb", "/public/%00", "/%77eb/a",
        "/WEB/a", "/web/a/", "/admin/./x", "/public/%252e%252e/admin/x", "/public/a%0d%0ax",
        "/public/a#/web", "/public/a%23", "/_auth/../web/a", "/api/../web/a", "/api//x", "/apix",
    ):  # fmt: skip
        yield f"GET {target}", request(target)
        yield f"GET {target} with a session", request(target, ada)
    yield "two authorizations", request("/users/7/mail", bob, "Authorization: Basic eDp5")
    yield "two equal sessions", request("/web/a", ada, ada)
    yield "two sessions", request("/web/a", ada, root)
    yield "two sessions in one", request("/web/a", f"Cookie: {cookies['ada']}; {cookies['root']}")
    yield "garbage", request("/web/a", "Cookie: __Host-sid=\x01\x02", "Authorization: \xff")


STRICTER = {
    # It shows several Cookie lines of HTTP/1.1 joined by a comma, which no cookie has between its own.
    # It knows no upgrades but those that are configured, and no HTTP/1.0.
    "envoy": {
        "good session in a second header", "two equal sessions", "upgrade to something else", "HTTP/1.0",
    },
}  # fmt: skip
"""Requests that a proxy refuses, or describes in a way that the gate refuses, though it would take them."""

HARMLESS = {"nominated", "nominated lower", "nominated cookie"}
"""Refused by the gate because some proxies remove what Connection names. These five do not, or not
what they were told by the gate: the request must end as one without a nomination."""


def strays(answer):
    """Yield headers that the application saw and could take for others, or for the gate's word."""
    for header, value in (answer.seen or {"headers": []})["headers"]:
        folded = fold(header.encode()).decode()
        is_guarded = folded.startswith(
            ("x-auth-", "remote-", "x-latchgate-")
        ) or folded.encode() in (GUARDED_NAMES | OVERRIDE_NAMES)
        if is_guarded and (
            folded != header or "mallory" in value or folded.startswith("x-latchgate")
        ):
            yield header


def by_the_gate(rig, case, raw, found):
    """Return how the gate itself would have ended a request as the application saw it.

    Some proxies write a path anew before anybody sees it (`/a/../b` is `/b`), or drop a header with
    "_" in its name: the gate is asked about what they have made of it, and that is what has to be right.
    """
    first, _, rest = raw.partition(b"\r\n")
    if isinstance(found, tuple):
        app, _, target, *_ = found
        is_cut = app == "api" and not target.startswith("/users/")
        method, _, version = first.split(b" ", 2)[0], None, b"HTTP/1.1"
        first = b" ".join((method, (("/api" if is_cut else "") + target).encode(), version))
    rest = re.sub(rb"(?m)^(?:Content_Length|Transfer_Encoding): .*\r\n", b"", rest)
    if case in HARMLESS:
        rest = re.sub(rb"Connection: [^\r]*", b"Connection: close", rest)
    return outcome(exchange(rig.proxy("gate"), first + b"\r\n" + rest))


def test_the_same_table_ends_alike(rig, cookies, name):
    """Let through to the same place with the same identity, or refused, by whichever way."""
    port = rig.proxy(name)
    odd = []
    for case, raw in table(cookies):
        answer = exchange(port, raw)
        found = outcome(answer)
        odd += [f"{case}: the application saw {header}" for header in strays(answer)]
        if found == "refused" and case in STRICTER.get(name, ()):
            continue
        expected = outcome(exchange(rig.proxy("gate"), raw))
        if found != expected and found != by_the_gate(rig, case, raw, found):
            odd.append(f"{case}: {found} ({answer.status}), by the gate {expected}")

    assert not odd, "\n".join(odd)


def told(answer):
    """Return what a client is told of a refusal."""
    wanted = (
        "location",
        "www-authenticate",
        "content-type",
        "access-control-allow-origin",
        "allow",
    )
    headers = [(key, value) for key, value in answer.headers if key in wanted]
    code = re.findall(rb'"code": "(\w+)"', answer.body)
    cookies = [re.sub("=[^;]*", "", value, count=1) for value in answer.values("set-cookie")]
    return answer.status, sorted(headers), code, sorted(cookies)


def test_a_client_is_told_the_same(rig, cookies, name):
    """Status, challenge, redirect, cookies and problem document are the gate's own."""
    wanted = {
        "no credential", "forged token", "expired token", "wrong role", "no route", "page load",
        "two sessions in one", "post of another site", "websocket of another site", "preflight",
        "method of no route", "head", "websocket",
    }  # fmt: skip
    odd = []
    for case, raw in table(cookies):
        if case in wanted:
            expected, found = (told(exchange(rig.proxy(way), raw)) for way in ("gate", name))
            if expected != found:
                odd.append(f"{case}: {found}, by the gate {expected}")

    assert not odd, "\n".join(odd)


def test_whoever_asks_too_often_is_told_so_and_comes_no_further(rig, name):
    """429 with the policy and the time to wait, of each proxy's own clients as of the gate's."""
    port = rig.proxy(name)
    ways = (
        (request("/few/a", f"Authorization: Bearer {token(sub=f'many-{name}')}"), "many"),
        (request("/few/public/a", f"X-Who: {name}"), "who"),
        (request("/few/public/page", f"X-Who: page-{name}", *PAGE), "page"),
    )
    for raw, about in ways:
        answers = [exchange(port, raw) for _ in range(4)]

        assert [200, 200, 429, 429] == [answer.status for answer in answers], about
        for answer in answers[2:]:
            assert answer.seen is None
            assert [value[:17] for value in answer.values("ratelimit-policy")] == [
                '"requests";q=2;w='
            ]
            assert ['"requests";r=0;t=1'] == [value[:18] for value in answer.values("ratelimit")]
            assert 1700 < int(answer.values("retry-after")[0]) <= 1800
            assert b"too_many_requests" in answer.body
            assert answer.body.startswith(b"<!DOCTYPE") == (about == "page")
            assert ["no-store"] == answer.values("cache-control")


def test_people_sign_in_through_the_proxy(rig, name):
    """The gate's pages come by the proxy: a cookie is set, and opens what it should."""
    port = rig.proxy(name)
    host = f"localhost:{port}"
    page = exchange(port, request("/_auth/login", *PAGE, host=host))
    state = page.values("set-cookie")[0].partition(";")[0]
    field = re.search(
        rb'name="csrf" value="([^"]+)"|name="(\w+)" type="hidden" value="([^"]+)"', page.body
    )
    body = json.dumps({"username": "eve", "password": PASSWORD}).encode()
    lines = ("Content-Type: application/json", f"Origin: http://{host}", f"Cookie: {state}")
    signed = exchange(port, request("/_auth/login", *lines, method="POST", host=host, body=body))
    cookie = [value.partition(";")[0] for value in signed.values("set-cookie") if "sid=" in value]
    opened = exchange(port, request("/web/a", f"Cookie: {cookie[0]}", host=host))

    assert page.status == 200
    assert field or page.body
    assert ["x-auth-subject", "eve"] in opened.seen["headers"]
    assert not [
        value for key, value in opened.seen["headers"] if key == "cookie" and "sid" in value
    ]


def test_h5_the_gates_pages_believe_no_client(rig, name):
    """Though they trust the proxy: what it passes on of the way here is its own word."""
    port = rig.proxy(name)
    body = json.dumps({"username": "eve", "password": PASSWORD}).encode()
    lines = (
        "Content-Type: application/json", "Origin: http://evil.test", "X-Forwarded-Host: evil.test",
        "X-Forwarded-For: 203.0.113.9", "X-Forwarded-Port: 80", "Forwarded: host=evil.test",
        "X-Forwarded-Prefix: /evil",
    )  # fmt: skip
    answer = exchange(
        port, request("/_auth/login", *lines, method="POST", host="localhost", body=body)
    )

    assert answer.status == 403
    record = rig.last_record("/_auth/login")
    assert record.code == "cross_site"
    assert record.client != "203.0.113.9"


def test_the_application_sees_the_client_and_its_own_host(rig, cookies, name):
    """Forwarding headers are the proxy's, Host is as the upstream has it, the id is the log's."""
    ada = f"Cookie: {cookies['ada']}"
    spoofed = ("X-Forwarded-For: 203.0.113.9", "X-Forwarded-Host: evil.test", "X-Request-Id: mine")
    seen = exchange(rig.proxy(name), request("/web/a", ada, *spoofed)).seen
    api = exchange(rig.proxy(name), request("/api/x", ada)).seen
    headers = dict(seen["headers"])

    if name != "envoy":  # which names its own machine for a client on it
        assert headers["x-forwarded-for"] == "127.0.0.1"
    assert "203.0.113.9" not in headers["x-forwarded-for"].rpartition(",")[2]
    assert headers["x-forwarded-proto"] == "http"
    assert headers.get("x-forwarded-host", "shop.test") == "shop.test"
    assert headers["host"] == "shop.test"
    assert headers["x-request-id"] in {record.request_id for record in rig.records}
    assert not [key for key, _ in seen["headers"] if key.startswith("x-latchgate")]
    if name != "traefik":
        assert ["host", "api.internal"] in api["headers"]


def test_an_answer_of_the_application_gets_what_the_gate_adds(rig, name):
    """Where the gate speaks of CORS, a page of another origin may read the answer."""
    if name == "traefik":
        pytest.skip("ForwardAuth adds nothing to an answer: docs/decision.md")
    lines = (f"Authorization: Bearer {token()}", "Origin: https://other.test")
    answer = exchange(rig.proxy(name), request("/api/x", *lines))

    assert answer.seen is not None
    assert answer.values("access-control-allow-origin") == ["https://other.test"]


def test_s13_without_the_gate_nothing_passes(rig, cookies, name):
    """S13: A proxy whose questions nobody answers refuses, public routes included."""
    port = rig.proxy(name)
    with rig.silent(name):
        answers = [
            exchange(port, request(target, f"Cookie: {cookies['ada']}"))
            for target in (["/web/a", "/public/a"] if name != "haproxy" else ["/public/a"])
        ]  # HAProxy tries three times, a second apart

    assert all(answer.seen is None and answer.status >= 400 for answer in answers)
    assert exchange(port, request("/public/a")).seen is not None


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl speaks HTTP/2 here")
def test_http2_clients_are_served_alike(rig, cookies, name):
    """What the gate itself does not speak its proxy does, and asks as of any other request."""
    if name == "nginx":
        pytest.skip("nginx 1.22 speaks HTTP/2 by TLS alone")
    url = f"http://127.0.0.1:{rig.proxy(name)}"
    ada = f"Cookie: {cookies['ada']}"

    def get(path, *lines):
        headers = [part for line in ("Host: shop.test", *lines) for part in ("-H", line)]
        told = ["-o", os.devnull, "-w", "%{http_version} %{http_code} %header{x-seen}"]
        command = ["curl", "-s", "--http2-prior-knowledge", *headers, *told, url + path]
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
        version, status, seen = done.stdout.split(" ", 2)
        headers = json.loads(seen)["headers"] if seen else []
        return (
            version,
            status,
            [value for key, value in headers if fold(key.encode()) == b"x-auth-subject" and value],
        )

    assert ("2", "200", ["ada"]) == get("/web/a", "Cookie: a=1", ada)
    assert ("2", "200", ["ada"]) == get(
        "/web/a", ada, "x-auth-subject: mallory", "x_auth_subject: mallory"
    )
    assert ("2", "200", []) == get("/public/a", "x-auth-subject: mallory")
    assert ("2", "401", []) == get("/web/a")
    assert ("2", "403", []) == get("/admin/x", ada)


def test_questions_may_come_by_a_unix_socket(valkey_server, tmp_path, name):
    """Nobody else on the machine asks then; Traefik alone cannot."""
    if name == "traefik":
        pytest.skip("Traefik reaches nothing on unix sockets, as `emit` says")
    with rig_in(tmp_path, valkey_server, sockets=True) as running:
        port = running.proxy(name)

        assert exchange(port, request("/public/a")).seen is not None
        assert exchange(port, request("/web/a")).status == 401


RICH = """
server: {listen: ["unix:g.sock", "0.0.0.0:8080"], trusted_proxies: [127.0.0.1]}
decision: {listen: "127.0.0.1:9191", callers: [{from: 127.0.0.1, dialect: @dialect@}]}
tokens: {issuer: https://shop.test, audience: shop}
upstreams:
  shop: {servers: ["https://127.0.0.1:8443", "https://127.0.0.1:8444"], tls: {server_name: shop.internal}}
  host-of_its.own: {servers: ["http://127.0.0.1:9001"], host: upstream}
schemes:
  api: {type: jwt, keys: {local: true}, from: [bearer, {query: access_token}]}
routes:
  - {match: {host: shop.test, path: "/api/{x}/y"}, auth: api, upstream: shop, strip_prefix: /api}
  - {match: {host: "*.shop.test", path: /**}, auth: api, upstream: host-of_its.own, upgrades: []}
  - {match: {host: "127.0.0.1", path: "/a%20b/c.d"}, auth: none, upstream: shop, pass_headers: [X-Rewrite-URL]}
"""


def validated(name, directory):
    """Return the command by which a proxy checks its configuration."""
    own = f"{directory}/"
    return {
        "nginx": [tool("nginx"), "-t", "-p", own, "-c", f"{own}nginx.conf", "-e", "stderr"],
        "haproxy": [tool("haproxy"), "-c", "-f", "haproxy.cfg"],
        "caddy": [tool("caddy"), "validate", "--adapter", "caddyfile", "--config", "Caddyfile"],
        "envoy": [tool("envoy"), "--mode", "validate", "-c", "envoy.yaml"],
    }[name]


def test_the_proxy_understands_what_is_written(tmp_path, name):
    """TLS, sockets, wildcards and odd names included: its own check finds no fault."""
    if name == "traefik":
        pytest.skip("Traefik checks nothing before it runs")
    file = tmp_path / "latchgate.yaml"
    file.write_text(RICH.replace("@dialect@", name))
    listen = Address("127.0.0.1", 8123)
    text = written(load(file).config, name, file="latchgate.yaml", listen=listen)
    (
        tmp_path
        / {"caddy": "Caddyfile", "envoy": "envoy.yaml", "haproxy": "haproxy.cfg"}.get(
            name, "l.conf"
        )
    ).write_text(text)
    if name == "haproxy":
        script = written(load(file).config, name, file="f", listen=listen, is_lua=True)
        (tmp_path / LUA).write_text(script)
    (tmp_path / "nginx.conf").write_text("pid p; events {} http { include l.conf; }")
    environment = {**os.environ, "XDG_DATA_HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)}
    done = subprocess.run(
        validated(name, tmp_path),
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
