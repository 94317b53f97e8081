"""Sessions, tokens, and either: real requests through a real gate, with a real store."""

from __future__ import annotations

import asyncio
import json
import time

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from proxy.adapters.store.port import Script
from proxy.config.models import SessionSchemeConfig
from proxy.core.revocation import RevocationKeys
from proxy.services.compile import own_issuers
from proxy.services.revocations import Revocations
from proxy.services.schemes.build import open_sessions
from proxy.services.sessions import Login
from proxy.services.tokens import TokenIssuer

KEY = "00" * 32

CONFIG = """
store: {{url: "{store}"}}
secrets: {{key: "{key}"}}
tokens: {{issuer: "https://gate.test", audience: app}}
upstreams:
  app: {{servers: ["{app}"]}}
schemes:
  web: {{type: session, format: native, cookie: sid}}
  api:
    type: jwt
    audience: [app]
    algorithms: [EdDSA]
    keys: {{local: true}}
routes:
  - {{match: {{path: /public}}, auth: none, upstream: app}}
  - {{match: {{path: /web/**}}, auth: web, upstream: app}}
  - {{match: {{path: /api/**}}, auth: api, upstream: app}}
  - {{match: {{path: /any/**}}, auth: [api, web], upstream: app}}
  - {{match: {{path: /admin/**}}, auth: [web, api], require: {{roles: [admin]}}, upstream: app}}
  - {{match: {{path: /scoped}}, auth: [web, api], require: {{scopes: ["orders:read"]}}, upstream: app}}
  - {{match: {{path: /same}}, auth: [web, api], both: same_subject, upstream: app}}
  - {{match: {{path: /one}}, auth: [web, api], both: refuse, upstream: app}}
  - {{match: {{path: /kept}}, auth: [web, api], forward_credentials: true, upstream: app}}
  - {{match: {{path: /signed}}, auth: web, identity: {{assertion: true}}, upstream: app}}
"""


async def _echo(request: web.Request) -> web.Response:
    told = [[name, value] for name, value in request.headers.items()]
    return web.json_response({"target": request.raw_path, "headers": told})


@pytest.fixture
async def app():
    application = web.Application()
    application.router.add_route("*", "/{tail:.*}", _echo)
    async with TestServer(application) as server:
        yield f"http://127.0.0.1:{server.port}"


@pytest.fixture
async def gate(start_gate, valkey, app):
    return await start_gate(CONFIG.format(store=valkey.url, key=KEY, app=app))


@pytest.fixture
async def client():
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:
        yield session


@pytest.fixture
def sessions(gate):
    scheme = gate.runtime.config.schemes["web"]
    assert isinstance(scheme, SessionSchemeConfig)
    return open_sessions(gate.runtime.config, scheme, gate.runtime.store)


@pytest.fixture
def revocations(gate):
    return Revocations(gate.runtime.store, RevocationKeys(gate.runtime.config.store.prefix))


@pytest.fixture
def mint(gate):
    runtime = gate.runtime
    issuer = TokenIssuer(
        issuer="https://gate.test",
        audience="app",
        lifetime_s=600,
        max_lifetime_s=86400,
        signer=runtime.token_keys,
        store=runtime.store,
        revoked=RevocationKeys(runtime.config.store.prefix),
    )

    async def make(subject, **said):
        return await issuer.mint(subject, now=time.time(), **said)

    return make


@pytest.fixture
def get(gate, client):
    async def ask(path, *, cookie=None, bearer=None, method="GET", **headers):
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if cookie:
            sent["Cookie"] = f"sid={cookie}"
        if bearer:
            sent["Authorization"] = f"Bearer {bearer}"
        async with client.request(method, gate.url + path, headers=sent) as answer:
            return answer.status, await answer.json(), answer.headers

    return ask


@pytest.fixture
def get_until_refused(get):
    """Return a function that asks until the store's word has arrived, which takes milliseconds."""

    async def ask(path, **sent):
        async with asyncio.timeout(10):
            while (answer := await get(path, **sent))[0] == 200:  # noqa: ASYNC110 - the store brings it about
                await asyncio.sleep(0.001)
        return answer

    return ask


def told(body, name):
    return [value for key, value in body["headers"] if key.lower() == name.lower()]


async def test_a_public_route_needs_nothing(get):
    """`auth: none` lets everybody through, without an identity."""
    status, body, _ = await get("/public")

    assert status == 200
    assert told(body, "X-Auth-Subject") == []


@pytest.mark.parametrize(
    ("path", "challenge"),
    [
        ("/web/x", ['Cookie realm="web"']),
        ("/api/x", ['Bearer realm="api"']),
        ("/any/x", ['Bearer realm="api"']),
    ],
)
async def test_no_credential_is_401_with_a_challenge(get, path, challenge):
    """Who brings nothing is asked for what the route takes, in a problem document."""
    status, body, headers = await get(path)

    assert (401, "credential_missing") == (status, body["code"])
    assert challenge == headers.getall("WWW-Authenticate")
    assert headers["Cache-Control"] == "no-store"


async def test_a_session_opens_and_its_identity_goes_on(get, sessions):
    """A live session's subject, roles and scheme reach the application; its cookie does not."""
    made = await sessions.create(Login("ada", roles=["customer", "a,b"]), time.time())
    status, body, _ = await get("/web/x?q=1", cookie=made.cookie)

    assert status == 200
    assert body["target"] == "/web/x?q=1"
    assert told(body, "X-Auth-Subject") == ["ada"]
    assert told(body, "X-Auth-Roles") == ["customer,a%2Cb"]
    assert told(body, "X-Auth-Scheme") == ["web"]
    assert told(body, "X-Auth-Issuer") == ["https://gate.test"]
    assert told(body, "Cookie") == []


async def test_a_revoked_session_is_refused_at_once(get, get_until_refused, sessions):
    """Deleting the key ends access as soon as the store has said so."""
    made = await sessions.create(Login("ada"), time.time())
    assert (await get("/web/x", cookie=made.cookie))[0] == 200
    await sessions.revoke(made.digest)
    status, body, _ = await get_until_refused("/web/x", cookie=made.cookie)

    assert (401, "session_unknown") == (status, body["code"])


async def test_a_token_opens_and_does_not_travel_on(get, mint):
    """A local token's identity reaches the application; the token itself does not (H6)."""
    minted = await mint("bo", scopes=["orders:read"], email="bo@gate.test")
    status, body, _ = await get("/api/x", bearer=minted.token)

    assert status == 200
    assert told(body, "X-Auth-Subject") == ["bo"]
    assert told(body, "X-Auth-Scopes") == ["orders:read"]
    assert told(body, "X-Auth-Email") == ["bo@gate.test"]
    assert told(body, "Authorization") == []


@pytest.mark.parametrize("by", ["token", "subject", "issuer", "all"])
async def test_a_revoked_token_is_refused_at_once(get, get_until_refused, mint, revocations, by):
    """R3: by jti, subject, issuer or all, it is refused as soon as the store has said so."""
    minted = await mint("bo")
    assert (await get("/api/x", bearer=minted.token))[0] == 200
    now = time.time()
    if by == "token":
        await revocations.revoke_token("https://gate.test", minted.jti, now, keep_s=3600)
    elif by == "subject":
        await revocations.revoke_subject("https://gate.test", "bo", now, keep_s=3600)
    elif by == "issuer":
        await revocations.revoke_issuer("https://gate.test", now, keep_s=3600)
    else:
        await revocations.revoke_all(now, keep_s=3600)
    status, body, headers = await get_until_refused("/api/x", bearer=minted.token)

    assert (401, "token_revoked") == (status, body["code"])
    assert 'error="invalid_token"' in headers["WWW-Authenticate"]


async def test_r4_a_lost_deny_list_is_unavailable_until_it_is_repaired(
    get, get_until_refused, mint, gate
):
    """After FLUSHALL no token is accepted: first 503, then revoked with all the others."""
    minted = await mint("bo")
    assert (await get("/api/x", bearer=minted.token))[0] == 200
    for key in ("epoch", "count"):
        await gate.runtime.store.delete(f"latchgate:{{revoked}}:{key}")
    status, body, _ = await get_until_refused("/api/x", bearer=minted.token)
    assert (503, "store_unavailable") == (status, body["code"])
    while status == 503:
        status, body, _ = await get("/api/x", bearer=minted.token)

    assert (401, "token_revoked") == (status, body["code"])


async def begin_anew(gate, minted):
    """Do in one step what FLUSHALL and the start of another gate do to a token's marker."""
    keys = RevocationKeys("latchgate:")
    begun_anew = Script("redis.call('DEL', KEYS[2], KEYS[3]) redis.call('SET', KEYS[1], 'other')")
    marker = keys.for_jti("https://gate.test", minted.jti)
    await gate.runtime.store.run(begun_anew, [keys.epoch, keys.count, marker])


async def test_r4_a_deny_list_begun_anew_opens_nothing_before_it_is_adopted(
    get, get_until_refused, mint, gate, revocations
):
    """R4: the store is emptied, and another gate starts before this one has looked: no revoked token passes."""
    minted = await mint("bo")
    await revocations.revoke_token("https://gate.test", minted.jti, time.time(), keep_s=3600)
    await get_until_refused("/api/x", bearer=minted.token)
    await begin_anew(gate, minted)
    status, statuses, is_adopted = 0, set(), False
    while not is_adopted or status != 401:  # then every token issued until now is refused
        status, _, _ = await get("/api/x", bearer=minted.token)
        statuses.add(status)
        is_adopted = await gate.runtime.store.fetch([RevocationKeys("latchgate:").all]) != [None]

    assert 200 not in statuses


async def test_r4_a_deny_list_begun_anew_opens_nothing_to_the_first_token_either(
    get, mint, gate, revocations
):
    """R4: a worker that has seen no token knows nevertheless which history is the gate's."""
    minted = await mint("bo")
    await revocations.revoke_token("https://gate.test", minted.jti, time.time(), keep_s=3600)
    await begin_anew(gate, minted)
    status, statuses, is_adopted = 0, set(), False
    while not is_adopted or status != 401:
        status, _, _ = await get("/api/x", bearer=minted.token)
        statuses.add(status)
        is_adopted = await gate.runtime.store.fetch([RevocationKeys("latchgate:").all]) != [None]

    assert 200 not in statuses


async def test_either_key_opens_one_route(get, sessions, mint):
    """A session and a token open the same route."""
    made = await sessions.create(Login("ada"), time.time())
    minted = await mint("bo")
    _, by_cookie, _ = await get("/any/x", cookie=made.cookie)
    _, by_token, _ = await get("/any/x", bearer=minted.token)

    assert told(by_cookie, "X-Auth-Subject") == ["ada"]
    assert told(by_token, "X-Auth-Subject") == ["bo"]


async def test_with_both_keys_the_first_scheme_listed_decides(get, sessions, mint):
    """And the other credential is removed."""
    made = await sessions.create(Login("ada"), time.time())
    minted = await mint("bo")
    _, body, _ = await get("/any/x", cookie=made.cookie, bearer=minted.token)

    assert told(body, "X-Auth-Subject") == ["bo"]
    assert told(body, "Cookie") == []
    assert told(body, "Authorization") == []


async def test_a_bad_token_is_never_silently_the_session(get, sessions):
    """Rejected stops: a tampered token beside a live session is 401."""
    made = await sessions.create(Login("ada"), time.time())
    status, body, _ = await get("/any/x", cookie=made.cookie, bearer="a.b.c")

    assert (401, "token_invalid") == (status, body["code"])


async def test_an_unknown_session_beside_a_good_token_is_absent(get, mint):
    """A stale cookie does not keep a token from opening."""
    minted = await mint("bo")
    status, body, _ = await get("/admin/x", cookie="x" * 43, bearer=minted.token)

    assert (403, "role_missing") == (status, body["code"])


async def test_both_same_subject(get, sessions, mint):
    """Two credentials of one person open, two of different people do not."""
    ada = await sessions.create(Login("ada"), time.time())
    same, other = await mint("ada"), await mint("bo")

    assert (await get("/same", cookie=ada.cookie, bearer=same.token))[0] == 200
    status, body, _ = await get("/same", cookie=ada.cookie, bearer=other.token)
    assert (403, "credentials_differ") == (status, body["code"])
    assert (await get("/same", cookie=ada.cookie))[0] == 200


async def test_both_refuse(get, sessions, mint):
    """One credential at a time."""
    ada = await sessions.create(Login("ada"), time.time())
    token = await mint("ada")

    assert (await get("/one", bearer=token.token))[0] == 200
    status, body, _ = await get("/one", cookie=ada.cookie, bearer=token.token)
    assert (403, "credentials_differ") == (status, body["code"])


async def test_a_missing_role_is_403_for_every_scheme(get, sessions, mint):
    """`require` is the same for a session and a token."""
    ada = await sessions.create(Login("ada", roles=["customer"]), time.time())
    chief = await sessions.create(Login("eve", roles=["admin"]), time.time())
    token = await mint("bo", roles=["admin"])

    assert (await get("/admin/x", cookie=ada.cookie))[1]["code"] == "role_missing"
    assert (await get("/admin/x", cookie=chief.cookie))[0] == 200
    assert (await get("/admin/x", bearer=token.token))[0] == 200


async def test_a_missing_scope_says_so_in_the_challenge(get, mint):
    """RFC 6750: insufficient_scope, with the scope that is needed."""
    minted = await mint("bo")
    status, body, headers = await get("/scoped", bearer=minted.token)

    assert (403, "scope_missing") == (status, body["code"])
    assert 'scope="orders:read"' in headers["WWW-Authenticate"]
    assert 'error="insufficient_scope"' in headers["WWW-Authenticate"]


async def test_forward_credentials_lets_only_the_deciding_one_travel_on(get, sessions, mint):
    """H6: the cookie that decided goes on, the token beside it does not."""
    ada = await sessions.create(Login("ada"), time.time())
    token = await mint("ada")
    _, body, _ = await get("/kept", cookie=ada.cookie, bearer=token.token)

    assert told(body, "Cookie") == [f"sid={ada.cookie}"]
    assert told(body, "Authorization") == []


async def test_own_credentials_never_reach_a_public_route(get, sessions, mint):
    """H6: native cookies and the gate's own bearers are removed on every route."""
    ada = await sessions.create(Login("ada"), time.time())
    token = await mint("ada")
    _, body, _ = await get("/public", cookie=f"{ada.cookie}; other=1", bearer=token.token)

    assert told(body, "Cookie") == ["other=1"]
    assert told(body, "Authorization") == []


@pytest.mark.parametrize(
    "spelling",
    ["Bearer\t{0}", "{0}", "Token {0}", "DPoP {0}", 'Token token="{0}"', "Bearer other, {0}"],
)
@pytest.mark.parametrize("path", ["/public", "/web/x"])
async def test_h6_no_spelling_carries_an_own_token_on(get, sessions, mint, path, spelling):
    """H6: where no scheme of the route reads it, the gate's token is removed however it is sent."""
    ada = await sessions.create(Login("ada"), time.time())
    token = await mint("ada")
    _, body, _ = await get(path, cookie=ada.cookie, Authorization=spelling.format(token.token))

    assert told(body, "Authorization") == []


async def test_a_foreign_authorization_passes_where_no_scheme_reads_it(get):
    """An application's own Basic or Bearer stays on a public route."""
    _, basic, _ = await get("/public", Authorization="Basic YTpi")
    _, bearer, _ = await get("/public", Authorization="Bearer opaque")

    assert told(basic, "Authorization") == ["Basic YTpi"]
    assert told(bearer, "Authorization") == ["Bearer opaque"]


@pytest.mark.parametrize("spelling", ["X-Auth-Subject", "x_auth_subject", "X.Auth-Subject"])
async def test_a_spoofed_identity_is_removed(get, sessions, spelling):
    """H1: whatever spelling a client sends, the application sees the gate's word only."""
    ada = await sessions.create(Login("ada"), time.time())
    _, public, _ = await get("/public", **{spelling: "eve"})
    _, guarded, _ = await get("/web/x", cookie=ada.cookie, **{spelling: "eve"})

    assert "eve" not in json.dumps(public)
    assert "eve" not in json.dumps(guarded)


async def test_s3_another_site_cannot_use_the_session(get, sessions):
    """An unsafe method with a cookie passes from its own origin only; a token from anywhere."""
    ada = await sessions.create(Login("ada"), time.time())
    foreign = {"Origin": "https://evil.test"}
    status, body, _ = await get("/web/x", cookie=ada.cookie, method="POST", **foreign)

    assert (403, "cross_site") == (status, body["code"])
    assert (await get("/web/x", cookie=ada.cookie, method="POST"))[0] == 200
    assert (await get("/web/x", cookie=ada.cookie, **foreign))[0] == 200


async def test_s2_a_doubled_session_cookie_is_refused_and_expired(get, sessions):
    """Two values of the session cookie are 400, and the answer clears them."""
    ada = await sessions.create(Login("ada"), time.time())
    status, body, headers = await get("/web/x", cookie=f"{ada.cookie}; sid=other")

    assert (400, "cookie_duplicate") == (status, body["code"])
    assert any(value.startswith("sid=;") for value in headers.getall("Set-Cookie"))


async def test_the_assertion_can_be_verified_with_the_published_keys(get, gate, client, sessions):
    """K4: an upstream can check that the headers came from the gate."""
    import jwt  # noqa: PLC0415 - the upstream's view, nothing that the gate uses here

    ada = await sessions.create(Login("ada"), time.time())
    _, body, _ = await get("/signed", cookie=ada.cookie)
    [assertion] = told(body, "X-Auth-Assertion")
    async with client.get(gate.url + "/_auth/jwks.json") as answer:
        keys = jwt.PyJWKSet.from_dict(await answer.json(content_type=None))
    key = keys[jwt.get_unverified_header(assertion)["kid"]]
    claims = jwt.decode(
        assertion,
        key.key,
        algorithms=["EdDSA"],
        audience="app",
        issuer="https://gate.test/assertion",
    )

    assert claims["sub"] == "ada"
    assert claims["exp"] - claims["iat"] <= 60


async def test_no_kind_of_token_passes_for_another(get, sessions):
    """K4: an assertion is no access token."""
    ada = await sessions.create(Login("ada"), time.time())
    _, body, _ = await get("/signed", cookie=ada.cookie)
    [assertion] = told(body, "X-Auth-Assertion")
    status, refused, _ = await get("/api/x", bearer=assertion)

    assert (401, "token_invalid") == (status, refused["code"])


@pytest.mark.parametrize("path", ["/nothing", "/_auth/login", "/_auth"])
async def test_what_no_route_matches_is_404(get, path):
    """Deny is the default; the gate's own pages are reserved."""
    status, body, _ = await get(path)

    assert (404, "route_not_found") == (status, body["code"])


async def test_one_log_line_for_each_request(get, gate, sessions):
    """Every request leaves exactly one record: route, decision, code, subject, no credential."""
    ada = await sessions.create(Login("ada"), time.time())
    await get("/web/x?secret=1", cookie=ada.cookie)
    await get("/web/x", cookie="nobody")
    first, second = gate.records

    assert ("forward", None, "ada", "/web/x", 200) == (
        first.decision,
        first.code,
        first.subject,
        first.path,
        first.status,
    )
    assert ("challenge", "session_unknown", None, 401) == (
        second.decision,
        second.code,
        second.subject,
        second.status,
    )
    assert ada.cookie not in repr(first)
    assert "secret" not in repr(first)


def test_the_gates_own_issuers(gate):
    """Tokens and assertions have an issuer each, and both are the gate's own."""
    issuers = own_issuers(gate.runtime.config)

    assert issuers == {"https://gate.test", "https://gate.test/assertion"}


COOKIE_TOKENS = """
store: {{url: "{store}"}}
secrets: {{key: "{key}"}}
tokens: {{issuer: "https://gate.test", audience: app}}
upstreams:
  app: {{servers: ["{app}"]}}
  login: {{servers: ["{app}"]}}
schemes:
  web: {{type: session, format: native, cookie: sid, issued_by: [login]}}
  own: {{type: jwt, audience: [app], algorithms: [EdDSA], keys: {{local: true}}, from: [bearer, {{cookie: tok}}]}}
  theirs: {{type: jwt, issuer: "https://id.test", audience: any, algorithms: [HS256],
            keys: {{secret: "{key}"}}, from: [{{cookie: foreign}}]}}
routes:
  - {{match: {{path: /app}}, auth: none, upstream: app}}
  - {{match: {{path: /login}}, auth: none, upstream: login}}
  - {{match: {{path: /x}}, auth: [own, theirs], same_subjects: true, upstream: app}}
"""


async def test_h7_no_application_sets_the_cookie_of_a_local_token(start_gate, valkey, client):
    """H7: an application sets its own cookies, and of the gate's those that `issued_by` gives it."""

    async def set_all(_: web.Request) -> web.Response:
        answer = web.Response()
        for name in ("sid", "tok", "foreign", "other"):
            answer.set_cookie(name, "planted")
        return answer

    application = web.Application()
    application.router.add_route("*", "/{tail:.*}", set_all)
    async with TestServer(application) as server:
        app = f"http://127.0.0.1:{server.port}"
        gate = await start_gate(COOKIE_TOKENS.format(store=valkey.url, key=KEY, app=app))
        async with client.get(f"{gate.url}/app") as by_app:
            pass
        async with client.get(f"{gate.url}/login") as by_login:
            pass

    assert set(by_app.cookies) == {"foreign", "other"}
    assert set(by_login.cookies) == {"sid", "foreign", "other"}
