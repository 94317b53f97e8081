"""S14: a route in report mode lets through what it would refuse, in every lane, and tells of it."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import time

import aiohttp
import jwt
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from proxy.core.coherence.attempts import RATE, REFUSE_FACTOR
from proxy.core.formats.native import cookie_digest
from proxy.services.schemes.build import open_sessions
from proxy.services.sessions import Login

LANES = ("off", "cold", "warm")
SECRET = "s" * 64
UNTIL = "2099-12-31"
CONFIG = """
server: {{public_url: "http://gate.test"}}
store: {{url: "{store}", timeout: 5s, max_staleness: 60s}}
secrets: {{key: "{key}"}}
upstreams: {{app: {{servers: ["{app}"]}}}}
schemes:
  web: {{type: session, format: native, cookie: sid}}
  old: {{type: session, format: json, cookie: old, prefix: "sess:", identity: {{subject: user.id}}}}
  api:
    type: jwt
    issuer: "https://id.test"
    audience: [app]
    algorithms: [HS256]
    keys: {{secret: "{secret}"}}
    from: [bearer, {{query: token}}]
login: {{scheme: web, users: {{file: users.yaml}}}}
routes:
  - {{name: web, match: {{path: /web/**}}, auth: web, upstream: app, mode: {{report: {{until: {until}}}}}}}
  - {{name: old, match: {{path: /old/**}}, auth: [old, api, web], both: same_subject, same_subjects: true, upstream: app, mode: {{report: {{until: {until}}}}}}}
  - {{name: staff, match: {{path: /staff/**}}, auth: web, require: {{roles: [staff]}}, upstream: app, mode: {{report: {{until: {until}}}}}}}
  - {{name: fresh, match: {{path: /fresh}}, auth: web, require: {{mfa_within: 1m}}, upstream: app, mode: {{report: {{until: {until}}}}}}}
  - {{name: strict, match: {{path: /strict/**, methods: [GET]}}, auth: old, forward_credentials: false, upstream: app, mode: {{report: {{until: {until}}}}}}}
  - {{name: done, match: {{path: /web/done/**}}, auth: web, upstream: app}}
  - {{name: rated, match: {{path: /rated}}, auth: web, upstream: app, limits: {{rate: 2/h, parallel: 1}}, mode: {{report: {{until: {until}}}}}}}
  - {{name: small, match: {{path: /small}}, auth: web, upstream: app, limits: {{body_size: 4B}}, mode: {{report: {{until: {until}}}}}}}
  - {{name: enforced, match: {{path: /enforced}}, auth: web, upstream: app}}
"""
PAGE = {"Accept": "text/html", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
FORGED = {"X-Auth-Subject": "root", "X_Auth_Roles": "staff", "x-auth-email": "root@shop.test"}


async def _echo(request):
    told = [[name.lower(), value] for name, value in request.headers.items()]
    return web.json_response({"target": request.raw_path, "headers": told})


async def _socket(request):
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    await socket.send_str(request.headers.get("X-Auth-Subject", "nobody"))
    async for message in socket:
        await socket.send_str(message.data)
    return socket


@pytest.fixture
async def app():
    application = web.Application()
    application.router.add_get("/web/socket", _socket)
    application.router.add_route("*", "/{tail:.*}", _echo)
    async with TestServer(application) as server:
        yield f"http://127.0.0.1:{server.port}"


class Asking:
    """A gate whose routes are in report mode, and what its application has seen."""

    def __init__(self, gate):
        self.gate = gate

    async def __call__(self, target, headers=(), *, method="GET", host="gate.test"):
        lines = {"Host": host, **dict(headers)}
        text = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        raw = await self.gate.exchange(
            f"{method} {target} HTTP/1.1\r\n{text}Connection: close\r\n\r\n".encode()
        )
        head, _, body = raw.partition(b"\r\n\r\n")
        status = int(head.split()[1])
        record = await self.gate.next_record()
        seen = json.loads(body) if status == 200 else None
        return status, seen, record

    async def session(self, subject="ada", roles=()):
        config = self.gate.runtime.config
        sessions = open_sessions(config, config.schemes["web"], self.gate.runtime.store)
        made = await sessions.create(Login(subject, roles=roles), time.time())
        return f"sid={made.cookie}"

    def end_report_mode(self):
        """Have every route's last day be over, as the clock would."""
        for route in self.gate.runtime.gate.routes:
            if route.report_until:
                object.__setattr__(route, "report_until", time.time() - 1)


@pytest.fixture
def start(start_gate, valkey, app, tmp_path):
    (tmp_path / "users.yaml").write_text("users: {}\n")
    (tmp_path / "users.yaml").chmod(0o600)

    async def started(until=UNTIL, store=valkey.tcp_url):
        text = CONFIG.format(store=store, key="00" * 32, secret=SECRET, app=app, until=until)
        gate = await start_gate(text)
        # /_auth needs https to sign in; report mode must never send anybody there.
        return Asking(gate)

    return started


@pytest.fixture
async def ask(start):
    return await start()


def told(seen, *prefixes):
    """Return the headers of the application's request that begin so."""
    return [[n, v] for n, v in seen["headers"] if n.replace("_", "-").startswith(prefixes)]


def token(**claims):
    now = int(time.time())
    base = {"iss": "https://id.test", "aud": "app", "sub": "ada", "iat": now, "exp": now + 300}
    return jwt.encode({**base, **claims}, SECRET, algorithm="HS256")


async def test_s14_what_schemes_refuse_passes_without_an_identity(ask):
    """Nobody is recognised: the application hears of nobody, whatever the client says of itself."""
    cases = [
        ("/web/a", {}, "credential_missing"),
        ("/web/a", PAGE, "credential_missing"),
        ("/web/a", {"Cookie": "sid=" + "A" * 43}, "session_unknown"),
        ("/old/a", {"Authorization": "Bearer nonsense"}, "token_invalid"),
        ("/old/a", {"Authorization": "Bearer " + token(aud="another")}, "token_invalid"),
    ]
    for target, headers, code in cases:
        for _ in range(3):  # the third is known to every memory that a lane has
            status, seen, record = await ask(target, {**FORGED, **headers})

            assert (200, []) == (status, told(seen, "x-auth-")), code
            assert ("forward", code, None, None) == (
                record.decision, record.reported, record.subject, record.code,
            )  # fmt: skip
    assert {
        ("web", "credential_missing"): 6,
        ("web", "session_unknown"): 3,
        ("old", "token_invalid"): 6,
    } == ask.gate.server.counters.reported


async def test_s14_who_is_recognised_is_told_also_where_require_refuses(ask):
    """Identity headers are those of the session that came, though its role is missing."""
    cookie = await ask.session()
    for _ in range(3):
        status, seen, record = await ask("/staff/a", {**FORGED, "Cookie": cookie})

        assert status == 200
        assert told(seen, "x-auth-subject", "x-auth-roles") == [["x-auth-subject", "ada"]]
        assert ("role_missing", "ada") == (record.reported, record.subject)
    assert {("staff", "role_missing"): 3} == ask.gate.server.counters.reported


async def test_s14_who_would_pass_is_not_reported(ask):
    """The same session on a route that it opens, time after time."""
    cookie = await ask.session(roles=("staff",))
    for _ in range(3):
        status, seen, record = await ask("/staff/a", {"Cookie": cookie})
        assert (200, None) == (status, record.reported)
        assert ["x-auth-subject", "ada"] in seen["headers"]
    assert {} == ask.gate.server.counters.reported


async def test_s14_a_request_of_another_site_passes_and_is_reported(ask):
    """The cross-site rule of the route is relaxed with the rest of it."""
    cookie = await ask.session()
    evil = {"Cookie": cookie, "Origin": "https://evil.test", "Sec-Fetch-Site": "cross-site"}
    status, _, record = await ask("/web/a", {**evil, "Content-Length": "0"}, method="POST")

    assert (200, "cross_site", "ada") == (status, record.reported, record.subject)


async def test_s14_nobody_is_sent_to_a_page_of_the_gate(ask):
    """Neither to sign in nor to prove a second factor: what would be refused is let through."""
    status, _, record = await ask("/fresh", {**PAGE, "Cookie": await ask.session()})
    assert (200, "step_up_required") == (status, record.reported)
    status, _, record = await ask("/fresh", PAGE)
    assert (200, "credential_missing") == (status, record.reported)


async def test_s14_credentials_of_two_people_are_nobody(ask):
    """`both` refuses: neither of the two is who the application hears of."""
    cookie = await ask.session("bob")
    headers = {"Cookie": cookie, "Authorization": f"Bearer {token()}"}
    status, seen, record = await ask("/old/a", headers)

    assert (200, "credentials_differ", None) == (status, record.reported, record.subject)
    assert [] == told(seen, "x-auth-")


async def test_s14_an_applications_own_credential_still_reaches_it(ask):
    """What the gate could not read the application goes on to judge; what is the gate's it never sees."""
    cookies = "old=" + "x" * 20 + "; theme=dark; sid=" + "A" * 43
    headers = {"Cookie": cookies, "Authorization": "Bearer nonsense"}
    status, seen, _ = await ask("/old/a?token=nonsense&b=1", headers)
    assert status == 200
    assert told(seen, "cookie") == [["cookie", "old=" + "x" * 20 + "; theme=dark"]]
    assert told(seen, "authorization") == [["authorization", "Bearer nonsense"]]
    assert seen["target"] == "/old/a?token=nonsense&b=1"
    status, seen, _ = await ask("/strict/a", headers)
    assert status == 200
    assert told(seen, "cookie") == [["cookie", "theme=dark"]]


async def test_s14_everything_else_stays_enforced(ask):
    """Paths, headers, loops, 404 and 405, every other route, and readings that lead to one."""
    cases = [
        ("/web/../enforced", {}, "GET", 400, "path_ambiguous"),
        ("/web/..%2fenforced", {}, "GET", 400, "path_ambiguous"),
        ("/web/DONE/a", {}, "GET", 400, "path_ambiguous"),
        ("/elsewhere", {}, "GET", 404, "route_not_found"),
        ("/strict/a", {}, "PUT", 405, "method_not_allowed"),
        ("/web/a", {"Content_Length": "3"}, "GET", 400, "header_ambiguous"),
        ("/web/a", {"Cookie": "sid=a; sid=b"}, "GET", 400, "cookie_duplicate"),
        ("/web/a", {"Via": f"1.1 {ask.gate.runtime.gate_id}"}, "GET", 508, "loop"),
        ("/enforced", {}, "GET", 401, "credential_missing"),
        ("/web/done/a", {}, "GET", 401, "credential_missing"),
    ]
    for target, headers, method, status, code in cases:
        got, _, record = await ask(target, headers, method=method)

        assert (status, code, None) == (got, record.code, record.reported), target
    assert {} == ask.gate.server.counters.reported


async def test_s14_an_outage_stays_a_refusal(start):
    """A store out of reach is 503 on a route in report mode too: nobody knows who it is."""
    ask = await start(store="redis://127.0.0.1:1")
    status, _, record = await ask("/web/a", {"Cookie": "sid=" + "A" * 43})

    assert (503, "store_unavailable", None) == (status, record.code, record.reported)


async def test_s14_it_enforces_by_itself_when_its_day_is_over(ask):
    """Without a reload, and whatever a lane remembers of before; then the lane works as ever."""
    stranger, known = {}, {"Cookie": await ask.session()}
    for _ in range(3):
        assert 200 == (await ask("/web/a", stranger))[0]
        assert 200 == (await ask("/web/a", known))[0]
        assert 200 == (await ask("/staff/a", known))[0]
    ask.end_report_mode()
    for _ in range(3):
        assert 401 == (await ask("/web/a", stranger))[0]
        status, _, record = await ask("/web/a", known)
        assert (200, None) == (status, record.reported)
        assert 403 == (await ask("/staff/a", known))[0]


async def test_s14_a_day_that_has_passed_is_no_report_mode(start):
    """The day counts in UTC, to its end."""
    today = dt.datetime.fromtimestamp(time.time(), dt.UTC).date()
    over = await start(until=(today - dt.timedelta(days=1)).isoformat())
    assert 401 == (await over("/web/a"))[0]
    (route,) = [r for r in over.gate.runtime.gate.routes if r.name == "web"]
    midnight = dt.datetime.combine(today, dt.time(), dt.UTC).timestamp()
    assert (True, False) == (route.reports(midnight - 1), route.reports(midnight))


async def test_s14_an_open_connection_goes_on_until_the_route_enforces(ask):
    """A WebSocket of nobody's, and one whose session ends, are reported; both end with the last day."""
    gate, cookie = ask.gate, await ask.session()
    mine = {"Cookie": cookie, "Origin": "http://gate.test"}
    host = {"Host": "gate.test", "X-Auth-Subject": "root"}
    async with (
        aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as client,
        client.ws_connect(gate.url + "/web/socket", headers=host) as nobody,
        client.ws_connect(gate.url + "/web/socket", headers={**host, **mine}) as ada,
    ):
        assert ["nobody", "ada"] == [(await socket.receive(5)).data for socket in (nobody, ada)]
        config = gate.runtime.config
        sessions = open_sessions(config, config.schemes["web"], gate.runtime.store)
        await sessions.revoke(cookie_digest(cookie.partition("=")[2]))
        async with asyncio.timeout(10):
            while ("web", "session_unknown") not in gate.server.counters.reported:  # noqa: ASYNC110 - the store brings it about
                await asyncio.sleep(0.01)
        for socket in (nobody, ada):
            await socket.send_str("still here")
            assert "still here" == (await socket.receive(5)).data
        ask.end_report_mode()
        gate.runtime.vigil._look()
        assert [1008, 1008] == [(await socket.receive(5)).data for socket in (nobody, ada)]
    records = {(await gate.next_record()).reported for _ in range(2)}
    assert {"credential_missing", None} == records


async def test_s14_a_limit_stays_a_limit(ask):
    """Who tries one unknown session after the other is held up and refused on such a route too (R9)."""
    coherence = ask.gate.runtime.coherence
    for number in range(REFUSE_FACTOR * RATE + 1):
        coherence.guessed_sessions.delay_of("127.0.0.1", b"%08d" % number, coherence.clock())
    status, _, record = await ask("/web/a", {"Cookie": "sid=" + "A" * 43})

    assert (429, "too_many_attempts", None) == (status, record.code, record.reported)


async def test_s14_the_routes_own_limits_stay_enforced(ask):
    """Whoever comes, and whatever is reported of them: 429 beyond the rate, 413 beyond the size."""
    cookie = await ask.session()
    for headers, reported in (({}, "credential_missing"), ({"Cookie": cookie}, None)):
        answers = [await ask("/rated", headers) for _ in range(3)]

        assert [200, 200, 429] == [status for status, _, _ in answers]
        records = [record for _, _, record in answers]
        assert [reported, reported, None] == [record.reported for record in records]
        assert "too_many_requests" == records[2].code
    [limiter] = [route.limiter for route in ask.gate.runtime.gate.routes if route.name == "rated"]
    limiter.enter()
    status, _, record = await ask("/rated", {"Cookie": await ask.session("bob")})
    assert (429, "too_many_requests") == (status, record.code)
    limiter.leave()
    status, _, record = await ask("/small", {"Content-Length": "5"}, method="POST")
    assert (413, "body_too_large") == (status, record.code)
