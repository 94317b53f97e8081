"""The decision listener itself: questions in every dialect, as bytes on a real socket."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass

import jwt
import pytest

from proxy.config.models import SessionSchemeConfig
from proxy.edge.decision import DecisionServer
from proxy.services.schemes.build import open_sessions
from proxy.services.sessions import Login
from tests.live.conftest import bind

ONE_LANE = "questions are decided in the request loop"
SECRET = "s" * 64
CONFIG = """
server: {{public_url: "https://shop.test", workers: 1}}
store: {{url: "{store}"}}
secrets: {{key: "{key}"}}
decision: {{listen: "127.0.0.1:9191", callers: [{{from: 127.0.0.1, dialect: {dialect}}}]}}
upstreams:
  app: {{servers: ["http://127.0.0.1:9"]}}
  api: {{servers: ["http://127.0.0.1:9"]}}
schemes:
  web: {{type: session, format: native, cookie: __Host-sid}}
  key:
    type: jwt
    issuer: "https://id.test"
    audience: [app]
    algorithms: [HS256]
    keys: {{secret: "{secret}"}}
    from: [bearer, {{query: token}}, {{header: X-Api-Key}}]
    revocation: none
    max_lifetime: 10m
login: {{scheme: web, users: {{file: users.yaml}}}}
routes:
  - {{match: {{path: /public/**}}, auth: none, upstream: app}}
  - {{match: {{path: /web/**}}, auth: web, upstream: app, identity: {{headers: {{Remote-User: "{{sub}}"}}}}}}
  - match: {{path: /api/**}}
    auth: [key, web]
    upstream: api
    strip_prefix: /api
    cross_site: refuse
    cors: {{origins: ["https://other.test"]}}
    forward_credentials: false
  - {{match: {{path: /admin}}, auth: key, require: {{roles: [admin]}}, upstream: app, forward_credentials: false}}
  - {{match: {{path: /kept}}, auth: key, upstream: app, forward_credentials: true}}
"""
IDENTITY = [
    "remote-user",
    "x-auth-assertion",
    "x-auth-email",
    "x-auth-issuer",
    "x-auth-name",
    "x-auth-roles",
    "x-auth-scheme",
    "x-auth-scopes",
    "x-auth-subject",
]
PAGE = {"Accept": "text/html", "Sec-Fetch-Mode": "navigate"}


def token(**claims):
    """Return a token that is good for some minutes."""
    now = int(time.time())
    base = {"iss": "https://id.test", "aud": "app", "sub": "bob", "iat": now, "exp": now + 300}
    return jwt.encode({**base, **claims}, SECRET, algorithm="HS256")


@dataclass
class Answer:
    """What a proxy is answered."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def __getitem__(self, name):
        """Return the only value of a header; `None` without one."""
        found = [value for key, value in self.headers if key == name]
        assert len(found) < 2, name
        return found[0] if found else None


def question(dialect, method, target, headers, *, place=None, said=None):
    """Return the bytes with which a proxy asks about a request."""
    lines = dict(said or {})
    if dialect in ("nginx", "haproxy"):
        base = {"Host": "shop.test", "X-Original-Method": method, "X-Original-URI": target}
        first = f"GET {place or '/check'} HTTP/1.1"
    elif dialect == "envoy":
        base = {"Host": "shop.test"}
        first = f"{method} {place or '/check' + target} HTTP/1.1"
    else:
        base = {
            "Host": "gate",
            "X-Forwarded-Host": "shop.test",
            "X-Forwarded-Method": method,
            "X-Forwarded-Uri": target,
        }
        first = f"GET {place or '/check'} HTTP/1.1"
    base |= {"X-Forwarded-For": "203.0.113.7", "X-Forwarded-Proto": "https"}
    base = {name: lines.pop(name, value) for name, value in base.items()}
    pairs = [*base.items(), *lines.items(), *headers]
    text = "".join(f"{name}: {value}\r\n" for name, value in pairs if value is not None)
    return f"{first}\r\n{text}Connection: close\r\n\r\n".encode("latin-1")


class Asking:
    """A gate with a decision listener, and one proxy of a dialect that asks there."""

    def __init__(self, gate, server, port, dialect):
        self.gate, self.server, self.port, self.dialect = gate, server, port, dialect

    async def raw(self, data):
        """Send bytes; return the answer."""
        own = self.gate.port
        self.gate.port = self.port
        try:
            received = await self.gate.exchange(data)
        finally:
            self.gate.port = own
        head, _, body = received.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        pairs = [line.split(": ", 1) if ": " in line else (line[:-1], "") for line in lines]
        return Answer(int(first.split()[1]), [(k.lower(), v) for k, v in pairs], body)

    async def __call__(self, target="/web/a", headers=(), *, method="GET", **more):
        """Ask about a request."""
        pairs = headers.items() if isinstance(headers, dict) else headers
        return await self.raw(question(self.dialect, method, target, list(pairs), **more))

    async def session(self, subject="ada"):
        """Return the Cookie header of a session."""
        scheme = self.gate.runtime.config.schemes["web"]
        assert isinstance(scheme, SessionSchemeConfig)
        sessions = open_sessions(self.gate.runtime.config, scheme, self.gate.runtime.store)
        made = await sessions.create(Login(subject, roles=("user",)), time.time())
        return {"Cookie": f"{scheme.cookie}={made.cookie}"}


@pytest.fixture
async def start(start_gate, valkey, tmp_path):
    """Return a function that starts a gate which one proxy may ask."""
    (tmp_path / "users.yaml").write_text("users: {}\n")
    (tmp_path / "users.yaml").chmod(0o600)
    servers = []

    async def started(dialect, change=lambda text: text):
        text = CONFIG.format(
            store=valkey.tcp_url, key="A" * 43 + "=", secret=SECRET, dialect=dialect
        )
        gate = await start_gate(change(text))
        config = gate.runtime.config.decision
        server = DecisionServer(gate.runtime, config, gate.server.counters, gate.log)
        sock = bind()
        await server.start([sock])
        servers.append(server)
        return Asking(gate, server, sock.getsockname()[1], dialect)

    yield started
    for server in servers:
        await server.drain(1.0)


@pytest.fixture(params=["nginx", "traefik", "caddy", "envoy", "haproxy"])
async def ask(start, request):
    """Ask in every dialect."""
    return await start(request.param)


@pytest.fixture
async def nginx(start):
    """Ask as nginx does."""
    return await start("nginx")


async def test_s13_every_identity_header_is_always_answered(ask):
    """S13: With an identity, and empty without one: what a client sent under such a name never stays."""
    known = await ask("/web/a", await ask.session())
    public = await ask("/public/a")

    assert (200, 200) == (known.status, public.status)
    assert ("ada", "ada", "web", "user") == (
        known["x-auth-subject"],
        known["remote-user"],
        known["x-auth-scheme"],
        known["x-auth-roles"],
    )
    assert ("", "") == (known["x-auth-email"], known["x-auth-assertion"])
    assert [""] * len(IDENTITY) == [public[name] for name in IDENTITY]
    assert ["no-store"] * 2 == [answer["cache-control"] for answer in (known, public)]
    assert ["forward", "app"] == [known[f"x-latchgate-{it}"] for it in ("decision", "upstream")]


async def test_h6_the_proxy_is_told_which_credentials_travel_on(ask):
    """The session's cookie goes out of the others, a token not at all, or as the route says."""
    cookies = (await ask.session())["Cookie"]
    session = await ask("/web/a", {"Cookie": f"theme=dark; {cookies}; x=1"})
    bearer = {"Authorization": f"Bearer {token()}"}
    kept = await ask("/kept", bearer)

    assert session["cookie"] == "theme=dark; x=1"
    assert (200, bearer["Authorization"]) == (kept.status, kept["authorization"])
    dropped = await ask("/kept", {"X-Api-Key": token()})
    assert (200, dropped["x-api-key"] is not None) == (dropped.status, True)


async def test_no_credential_is_refused_as_by_the_gate(ask):
    """A program sees the gate's own 401; nginx sees it in the words that it understands."""
    answer = await ask("/web/a")

    assert answer.status == 401
    if ask.dialect != "nginx":  # which fetches it at /answer
        assert answer["www-authenticate"] == 'Cookie realm="web"'
        assert json.loads(answer.body)["code"] == "credential_missing"
    assert answer["x-latchgate-decision"] is None


async def test_a_page_load_is_sent_to_sign_in(ask):
    """With a redirect, which nginx hears as 401 with a Location."""
    answer = await ask("/web/a?b=1", PAGE)

    assert (401 if ask.dialect == "nginx" else 303) == answer.status
    assert (
        answer["location"] == "/_auth/login?next=/web/a?b%3D1"
        or "/_auth/login" in answer["location"]
    )


@pytest.mark.parametrize(
    ("target", "headers", "code", "status"),
    [
        ("/admin", {"Authorization": "Bearer @token@"}, "role_missing", 403),
        ("/nowhere", {}, "route_not_found", 404),
        ("/web/../admin", {}, "path_ambiguous", 400),
        ("/web/%2e%2e/admin", {}, "path_ambiguous", 400),
        ("/web/a\\b", {}, "path_ambiguous", 400),
        ("/admin", {"Authorization": "Bearer x.y.z"}, "token_invalid", 401),
        ("/web/a", {"Cookie": "__Host-sid=a; __Host-sid=b"}, "cookie_duplicate", 400),
    ],
)  # fmt: skip
async def test_refusals_are_the_gates(ask, target, headers, code, status):
    """The same codes; nginx is told 401 or 403 alone, and never anything that lets pass."""
    good = token()  # not while tests are collected: it is good for some minutes
    answer = await ask(
        target, {name: value.replace("@token@", good) for name, value in headers.items()}
    )

    told = {401: 401}.get(status, 403) if ask.dialect == "nginx" else status
    assert told == answer.status
    record = await ask.gate.next_record()
    assert (code, status, ask.dialect) == (record.code, record.status, record.caller)


async def test_s3_another_sites_post_is_refused(ask):
    """What a browser was made to send does not pass for being asked about."""
    cookie = await ask.session()
    own, forged = [
        await ask("/web/a", {**cookie, "Origin": origin}, method="POST")
        for origin in ("https://shop.test", "https://evil.test")
    ]

    assert (200, 403) == (own.status, forged.status)


async def test_s3_another_sites_websocket_is_refused(ask):
    """Where the proxy keeps `Upgrade` to itself, too."""
    cookie = await ask.session()
    handshake = {
        **cookie,
        "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
        "Sec-WebSocket-Version": "13",
    }
    own, forged = [
        await ask("/web/a", {**handshake, "Origin": origin})
        for origin in ("https://shop.test", "https://evil.test")
    ]

    assert (200, 403) == (own.status, forged.status)
    assert own["x-latchgate-upgrade"] == "websocket"


@pytest.mark.parametrize(
    "name",
    ["X_Auth_Subject", "X-Auth.Subject", "X-Auth-Anything", "X_Remote-User", "Remote_User",
     "X-HTTP-Method-Override", "X-Rewrite-URL", "CF-Connecting-IP", "X-Latchgate-Upstream"],
)  # fmt: skip
async def test_h1_what_the_gate_would_remove_never_passes(ask, name):
    """A proxy that can take it out by name is told to; of another it is refused."""
    cookie = await ask.session()
    answer = await ask("/web/a", {**cookie, name: "mallory"})

    if ask.dialect in ("envoy", "haproxy"):
        way = {"envoy": "x-envoy-auth-headers-to-remove", "haproxy": "x-latchgate-remove"}
        removed = (answer[way[ask.dialect]] or "").split(",")
        is_replaced = name.lower() in {key for key, _ in answer.headers}
        if ask.dialect == "haproxy":  # whose script sets identity and credentials, and no more
            is_replaced = is_replaced and not name.startswith("X-Latchgate")
        is_harmless = name == "X_Remote-User"
        assert answer.status == 200
        assert name in removed or is_replaced or is_harmless
    elif name == "X_Remote-User":
        assert answer.status == 200
    else:
        assert answer.status == 403
        assert (await ask.gate.next_record()).code == "decision_unanswerable"


async def test_a_prefix_that_nobody_takes_off_is_refused(ask):
    """The application never sees another path than the route gives it."""
    bearer = {"Authorization": f"Bearer {token()}"}
    answer = await ask("/api/orders", bearer)
    tagged = (
        await ask("/api/orders", bearer, place="/check/api/api")
        if ask.dialect == "traefik"
        else answer
    )

    assert (403 if ask.dialect == "traefik" else 200) == answer.status
    assert (200, "api", "/api") == (
        tagged.status,
        tagged["x-latchgate-upstream"],
        tagged["x-latchgate-strip"],
    )
    if ask.dialect in ("nginx", "haproxy"):
        assert answer["x-latchgate-target"] == "/orders"


async def test_h6_a_credential_in_the_query_is_taken_out_or_refused(ask):
    """An application that does not get the token does not find it in its log either."""
    answer = await ask(f"/admin?a=1&token={token(roles=['admin'])}&b=2")

    if ask.dialect in ("nginx", "haproxy"):
        assert (200, "/admin?a=1&b=2") == (answer.status, answer["x-latchgate-target"])
    else:
        assert answer.status == 403


async def test_a_proxy_that_leads_elsewhere_is_refused(ask):
    """Where a proxy has chosen the upstream already, it is the route's."""
    if ask.dialect == "envoy":
        pytest.skip("what stands behind its prefix is the target")
    cookie = await ask.session()
    right, wrong, cut = [
        await ask("/web/a", cookie, place=f"/check/{place}") for place in ("app", "api", "app/web")
    ]

    assert (200, 403, 403) == (right.status, wrong.status, cut.status)


async def test_a_preflight_is_never_let_through(ask):
    """The gate's 204 reaches the client, and never means that the request may pass."""
    headers = {
        "Origin": "https://other.test",
        "Access-Control-Request-Method": "GET",
    }
    answer = await ask("/api/x", headers, method="OPTIONS")

    expected = {"nginx": 403, "traefik": 403}.get(ask.dialect, 204)
    assert expected == answer.status
    assert answer["x-latchgate-decision"] is None
    if answer.status == 204:
        assert answer["access-control-allow-origin"] == "https://other.test"


@pytest.mark.parametrize("target", ["/_auth/login", "/_auth/jwks.json", "/_auth/me", "/_auth/x"])
async def test_the_gates_own_pages_are_not_let_through(ask, target):
    """They are on the gate's own listener; asked about, they are no page of the application's."""
    answer = await ask(target, await ask.session())

    assert answer.status in (403, 404, 405)
    assert answer["x-latchgate-decision"] is None


async def test_cors_headers_are_told_with_the_answer(ask):
    """What the gate would add to the application's answer, the proxy is told to add."""
    headers = {"Authorization": f"Bearer {token()}", "Origin": "https://other.test"}
    place = {"place": "/check/api/api"} if ask.dialect == "traefik" else {}
    answer = await ask("/api/x", headers, **place)

    assert answer["access-control-allow-origin"] == "https://other.test"


@pytest.mark.parametrize("method", ["PURGE", "get", "TRACE", "CONNECT"])
async def test_methods_are_taken_as_they_are(ask, method):
    """Nothing is made of a method but what the client sent."""
    answer = await ask("/web/a", method=method)

    assert answer.status in (400, 401, 403, 405)


async def test_s13_a_description_of_the_clients_own_is_refused(ask):
    """S13: Doubled, missing or of another family: 403 whatever credential came with it."""
    cookie = await ask.session()
    spoofed = [
        "X-Forwarded-Uri",
        "X-Forwarded-Method",
        "X-Forwarded-Host",
        "X-Original-URI",
        "X-Original-Method",
        "X-Forwarded-Proto",
        "X-Forwarded-For",
        "X_Forwarded_Proto",
        "X.Forwarded.For",
    ]
    for name in spoofed:
        answer = await ask("/web/a", {**cookie, name: "/public/a"})
        assert answer.status == 403, name
        assert (await ask.gate.next_record()).code == "decision_misdescribed"


async def test_two_authorizations_are_refused(ask):
    """Nobody knows which of them the application would read."""
    twice = [("Authorization", f"Bearer {token()}"), ("Authorization", "Basic eDp5")]
    answer = await ask("/kept", twice)

    assert answer.status in (400, 403)


async def test_s13_a_stranger_is_told_nothing(start):
    """S13: 403, not a word, whatever was asked."""
    ask = await start("nginx", lambda text: text.replace("from: 127.0.0.1", "from: 192.0.2.1"))
    answer = await ask("/public/a")

    assert (403, b"") == (answer.status, answer.body)
    assert {"cache-control", "content-length", "connection", "date"} == {
        name for name, _ in answer.headers
    }
    assert ask.gate.records == []


async def test_nginx_fetches_the_clients_answer(nginx):
    """What `auth_request` cannot show its client is asked for once more, and relayed as it is."""
    page = await nginx("/web/a", PAGE, place="/answer")
    twice = await nginx("/web/a", {"Cookie": "__Host-sid=a; __Host-sid=b"}, place="/answer")
    preflight = await nginx(
        "/api/x",
        {"Origin": "https://other.test", "Access-Control-Request-Method": "GET"},
        method="OPTIONS",
        place="/answer",
    )

    assert (303, 400, 204) == (page.status, twice.status, preflight.status)
    assert [value for name, value in twice.headers if name == "set-cookie"]


async def test_nginx_is_never_answered_with_what_may_pass_now(nginx):
    """An answer for a client is a refusal: the application's is not to be had there."""
    answer = await nginx("/web/a", await nginx.session(), place="/answer")

    assert (503, "1") == (answer.status, answer["retry-after"])
    assert answer["x-auth-subject"] is None


async def test_nginx_shows_why_it_could_not_ask_for_a_request(nginx):
    """What nginx cannot carry out is 403 for its client as well, with its reason, and no change that one waits for."""
    headers = {**await nginx.session(), "X-Auth-Anything": "root"}
    asked = await nginx("/web/a", headers)
    shown = await nginx("/web/a", headers, place="/answer")

    assert (403, 403) == (asked.status, shown.status)
    assert json.loads(shown.body)["code"] == "decision_unanswerable"
    assert shown["retry-after"] is None


async def test_s13_an_outage_is_a_refusal(ask):
    """S13: A store that is away opens nothing, and its 503 lets nothing pass."""
    cookie = await ask.session()
    await ask.gate.runtime.coherence.close()
    answer = await ask("/web/a", cookie)

    assert answer.status == (403 if ask.dialect == "nginx" else 503)
    assert answer["x-latchgate-decision"] is None


async def test_a_question_is_logged_and_counted_once(nginx):
    """The line names the request that was asked about, who sent it, and which proxy asked."""
    await nginx("/web/a?secret=1", await nginx.session())
    record = await nginx.gate.next_record()

    assert ("GET", "shop.test", "/web/a", 200, "allow", None) == (
        record.method,
        record.host,
        record.path,
        record.status,
        record.decision,
        record.code,
    )
    assert ("ada", "203.0.113.7", "nginx", "app") == (
        record.subject,
        record.client,
        record.caller,
        record.upstream,
    )
    cells = nginx.gate.server.counters.cells
    assert [1] == [cell.count for key, cell in cells.items() if key[0] == "allow"]


REPORTING = "mode: {report: {until: 2099-12-31}}"


async def test_s14_a_route_in_report_mode_lets_pass_what_it_would_refuse(start):
    """A proxy is told to forward, with nobody or whoever was recognised, and the account says why."""

    def reporting(text):
        text = text.replace("auth: web, upstream", f"auth: web, {REPORTING}, upstream")
        return text.replace("auth: key, require", f"auth: key, {REPORTING}, require")

    ask = await start("haproxy", reporting)
    nobody = await ask("/web/a", {"X-Auth-Subject": "root", **PAGE})
    weak = await ask("/admin", {"Authorization": f"Bearer {token()}"})
    odd = await ask("/admin/../kept", {})
    enforced = await ask("/kept", {})
    records = [await ask.gate.next_record() for _ in range(4)]

    assert (200, 200, 400, 401) == (nobody.status, weak.status, odd.status, enforced.status)
    assert [""] * len(IDENTITY) == [nobody[name] for name in IDENTITY]
    assert "bob" == weak["x-auth-subject"]
    assert [
        ("allow", "credential_missing"),
        ("allow", "role_missing"),
        ("deny", None),
        ("challenge", None),
    ] == [(record.decision, record.reported) for record in records]
    assert {("/web/**", "credential_missing"): 1, ("/admin", "role_missing"): 1} == (
        ask.gate.server.counters.reported
    )
