"""Tokens by HTTP: the endpoints for clients on a real gate, in the words of their RFCs."""

from __future__ import annotations

import asyncio
import base64
import json
import statistics
import time
from dataclasses import replace
from types import SimpleNamespace
from urllib.parse import urlencode

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from authlib.integrations.requests_client import OAuth2Session

from proxy.adapters.passwords import Place
from proxy.config.models import Config
from proxy.core.formats.native import cookie_digest
from proxy.core.oauth import SESSION_GRANT
from proxy.core.refresh import Holder
from proxy.core.revocation import RevocationKeys
from proxy.errors import LoginBusy
from proxy.services.revocations import Revocations
from proxy.services.schemes.build import open_sessions
from proxy.services.sessions import Login
from proxy.services.token_factors import Factors
from tests.token_workshop import unb64

ONE_LANE = "the gate answers for itself: nothing is forwarded"
SECRET = "0123456789abcdef0123456789abcdef"
OTHER_SECRET = "fedcba9876543210fedcba9876543210"
ISSUER = "http://127.0.0.1"
BASIC = {"Authorization": "Basic " + base64.b64encode(f"backend:{SECRET}".encode()).decode()}

CONFIG = """
store: {{url: "{store}"}}
secrets: {{key: "{key}"}}
upstreams: {{app: {{servers: ["{app}"]}}}}
schemes:
  api: {{type: jwt, keys: {{local: true}}}}
  web: {{type: session, format: native, cookie: sid, idle_timeout: {idle}}}
tokens: {{issuer: "http://127.0.0.1", audience: shop, access: 10m, refresh: 1d, reuse_grace: 10s, encrypt: {encrypt}}}
clients:
  spa: {{public: true, grants: [refresh_token]}}
  other: {{public: true, grants: [refresh_token]}}
  phone: {{public: true, grants: [password, refresh_token]}}
  script: {{secret: "{other}", grants: password}}
  backend: {{secret: "{secret}", grants: [client_credentials, refresh_token], roles: [robot], scopes: [read, write]}}
{login}
routes:
  - {{match: {{path: /public}}, auth: none, upstream: app}}
  - {{match: {{path: /robots}}, auth: api, upstream: app, require: {{roles: [robot]}}}}
  - {{match: {{path: /**}}, auth: [api, web], upstream: app}}
"""


async def _echo(request: web.Request) -> web.Response:
    return web.json_response(
        {
            "subject": request.headers.get("X-Auth-Subject"),
            "authorization": request.headers.get("Authorization"),
        }
    )


@pytest.fixture
async def app():
    application = web.Application()
    application.router.add_route("*", "/{tail:.*}", _echo)
    async with TestServer(application) as server:
        yield f"http://127.0.0.1:{server.port}"


class Caller:
    """Calls one gate as its clients do."""

    def __init__(self, gate, http):
        self.gate = gate
        self.http = http
        self.service = gate.runtime.tokens

    async def post(self, endpoint, form, headers=None):
        """Return status, headers and decoded body."""
        body = form if isinstance(form, (str, bytes)) else urlencode(form)
        given = {"Content-Type": "application/x-www-form-urlencoded"} | (headers or {})
        url = f"{self.gate.url}/_auth/{endpoint}"
        async with self.http.post(url, data=body, headers=given) as answer:
            text = await answer.text()
            return SimpleNamespace(
                status=answer.status,
                headers=answer.headers,
                text=text,
                json=json.loads(text) if text else None,
            )

    async def get(self, path, token=None, **headers):
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        async with self.http.get(self.gate.url + path, headers=headers) as answer:
            return answer.status, await answer.json()

    async def begin(self, client="spa", **holder):
        """Begin a family as a login would."""
        now = time.time()
        made = Holder(
            **{"subject": "ann", "roles": ("user",), "scopes": ("read", "write")} | holder
        )
        return (await self.service._families.begin(made, client, now, since=now)).members()

    async def refresh(self, token, client="spa", **more):
        form = {"grant_type": "refresh_token", "client_id": client, "refresh_token": token} | more
        return await self.post("token", form)

    async def introspect(self, token):
        return (await self.post("introspect", {"token": token}, BASIC)).json

    async def sign_in(self, **login):
        """Make a session as a login would; return its Cookie header and digest."""
        config: Config = self.gate.runtime.config
        sessions = open_sessions(config, config.schemes["web"], self.gate.runtime.store)
        made = await sessions.create(Login(**{"subject": "ann"} | login), time.time())
        return {"Cookie": f"sid={made.cookie}"}, made.digest


@pytest.fixture
async def http():
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:
        yield session


@pytest.fixture
async def callers(valkey, app, start_gate, http):
    """Return a function that starts gates which share one store."""

    async def start(number=1, **settings):
        said = {"encrypt": "false", "login": "login: {scheme: web}", "idle": "30m"} | settings
        text = CONFIG.format(
            store=valkey.url, key="00" * 32, app=app, secret=SECRET, other=OTHER_SECRET, **said
        )
        return [Caller(await start_gate(text), http) for _ in range(number)]

    return start


@pytest.fixture
async def caller(callers):
    """Give one gate and its clients."""
    (only,) = await callers()
    return only


def claims_of(token):
    return json.loads(unb64(token.split(".")[1]))


# RFC 6749


async def test_a_refresh_answers_as_rfc_6749_says(caller):
    """§5.1: the members, JSON, and nothing of it in a cache."""
    first = await caller.begin()
    answer = await caller.refresh(first["refresh_token"])

    assert answer.status == 200
    assert {"access_token", "token_type", "expires_in", "scope", "refresh_token"} == set(
        answer.json
    )
    assert ("Bearer", 600) == (answer.json["token_type"], answer.json["expires_in"])
    assert "application/json" == answer.headers["Content-Type"]
    assert ("no-store", "no-cache") == (answer.headers["Cache-Control"], answer.headers["Pragma"])
    assert (200, "ann") == (
        (found := await caller.get("/x", answer.json["access_token"]))[0],
        found[1]["subject"],
    )


async def test_a_client_gets_tokens_of_its_own(caller):
    """§4.4: client_credentials: no refresh token, roles and scopes of the configuration."""
    answer = await caller.post(
        "token", {"grant_type": "client_credentials", "scope": "read"}, BASIC
    )
    said = claims_of(answer.json["access_token"])

    assert {"access_token", "token_type", "expires_in", "scope"} == set(answer.json)
    assert ("client:backend", "backend", ["robot"], "read") == (
        said["sub"],
        said["client_id"],
        said["roles"],
        said["scope"],
    )
    assert 200 == (await caller.get("/robots", answer.json["access_token"]))[0]


GOOD_REFRESH = {"grant_type": "refresh_token", "client_id": "spa", "refresh_token": "lgr_x"}


@pytest.mark.parametrize(
    ("form", "headers", "error"),
    [
        ("", {}, "invalid_request"),
        ({"client_id": "spa"}, {}, "invalid_request"),
        ({"grant_type": "refresh_token", "client_id": "spa"}, {}, "invalid_request"),
        (
            "grant_type=refresh_token&client_id=spa&client_id=spa&refresh_token=x",
            {},
            "invalid_request",
        ),
        ("grant_type=refresh_token&grant_type=password&client_id=spa", {}, "invalid_request"),
        ("grant_type=%ff&client_id=spa", {}, "invalid_request"),
        (GOOD_REFRESH, {"Content-Type": "application/json"}, "invalid_request"),
        (GOOD_REFRESH, {"Content-Type": "multipart/form-data"}, "invalid_request"),
        (GOOD_REFRESH | {"client_secret": SECRET}, BASIC, "invalid_request"),
        (GOOD_REFRESH, {}, "invalid_grant"),
        (GOOD_REFRESH | {"scope": "a  b"}, {}, "invalid_scope"),
        (GOOD_REFRESH | {"client_id": "nobody"}, {}, "invalid_client"),
        (GOOD_REFRESH | {"client_id": "backend"}, {}, "invalid_client"),
        (GOOD_REFRESH | {"client_id": "phone", "client_secret": "x"}, {}, "invalid_client"),
        ({"grant_type": "refresh_token", "refresh_token": "x"}, {}, "invalid_client"),
        ({"grant_type": "client_credentials", "client_id": "spa"}, {}, "unauthorized_client"),
        ({"grant_type": "password", "client_id": "spa"}, {}, "unauthorized_client"),
        (
            {"grant_type": "password", "client_id": "phone", "username": "a", "password": "b"},
            {},
            "unsupported_grant_type",
        ),
        ({"grant_type": "authorization_code", "client_id": "spa"}, {}, "unsupported_grant_type"),
        ({"grant_type": "client_credentials", "scope": "admin"}, BASIC, "invalid_scope"),
        (
            {"grant_type": "client_credentials"},
            {"Authorization": "Basic " + base64.b64encode(b"backend:wrong").decode()},
            "invalid_client",
        ),
        ({"grant_type": "client_credentials"}, {"Authorization": "Bearer x"}, "invalid_client"),
    ],
)
async def test_errors_are_those_of_rfc_6749(caller, form, headers, error):
    """§5.2: the error's name, 400 or 401 with a challenge, never from a cache."""
    answer = await caller.post("token", form, headers)

    assert (401 if error == "invalid_client" else 400) == answer.status
    assert error == answer.json["error"]
    assert {"error", "error_description"} >= set(answer.json)
    assert ("WWW-Authenticate" in answer.headers) is (error == "invalid_client")
    assert ("no-store", "application/json") == (
        answer.headers["Cache-Control"],
        answer.headers["Content-Type"],
    )
    record = await caller.gate.next_record()
    assert error == record.code
    assert record.detail


async def test_only_post_is_answered(caller):
    """§3.2: the token endpoint takes POST; parameters of a query are not read."""
    async with caller.http.get(f"{caller.gate.url}/_auth/token") as answer:
        assert (405, "POST") == (answer.status, answer.headers["Allow"])
    found = await caller.post("token?" + urlencode(GOOD_REFRESH), "")
    assert "invalid_request" == found.json["error"]


async def test_s3_no_other_site_calls_the_endpoints(caller):
    """S3: not even with a client's own words."""
    for endpoint in ("token", "revoke", "introspect"):
        for origin in ({"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://evil.example"}):
            answer = await caller.post(endpoint, GOOD_REFRESH, origin)
            assert (403, "cross_site") == (answer.status, answer.json["code"])


async def test_no_log_line_has_a_credential(caller):
    """S15: what was sent and what was told stand in no log line."""
    first = await caller.begin()
    await caller.refresh(first["refresh_token"])
    await caller.refresh(first["refresh_token"] + "x")
    lines = [repr(await caller.gate.next_record()) for _ in range(2)]

    assert first["refresh_token"][4:20] not in "".join(lines)


# S9


@pytest.mark.parametrize("encrypt", ["false", "true"])
async def test_s9_reuse_ends_the_family_on_every_worker(callers, encrypt):
    """S9: a stolen token, used after its owner's: both have nothing then, within milliseconds."""
    pair = await callers(2, encrypt=encrypt)
    took = [await reuse(*pair) for _ in range(5)]

    assert statistics.median(took) < 0.1


async def reuse(one, two):
    """Use a spent refresh token again; return for how many seconds access tokens were still taken."""
    first = await one.begin()
    second = (await one.refresh(first["refresh_token"])).json
    third = (await two.refresh(second["refresh_token"])).json
    pairs = [(caller, answer) for caller in (one, two) for answer in (first, second, third)]
    for caller, answer in pairs:
        assert 200 == (await caller.get("/x", answer["access_token"]))[0]

    stolen = await two.refresh(first["refresh_token"])
    began = last = time.monotonic()
    assert "invalid_grant" == stolen.json["error"]
    for caller, answer in pairs:
        sent = time.monotonic()
        while (await caller.get("/x", answer["access_token"]))[0] != 401:
            last, sent = sent, time.monotonic()
            assert last - began < 2
    assert "invalid_grant" == (await one.refresh(third["refresh_token"])).json["error"]
    return last - began


async def test_s9_two_refreshes_at_once_are_one(callers):
    """S9: two workers are asked at the same moment (a lost answer): one answer, and the family lives."""
    one, two = await callers(2)
    first = await one.begin()
    answers = await asyncio.gather(
        *(caller.refresh(first["refresh_token"]) for caller in (one, two, one, two))
    )
    texts = {answer.text for answer in answers}

    assert 1 == len(texts)
    told = answers[0].json
    assert 200 == (await two.get("/x", told["access_token"]))[0]
    assert 200 == (await one.refresh(told["refresh_token"])).status


async def test_s9_another_client_ends_the_family(caller):
    """S9: a public client's name is no proof, but a wrong one is a thief's."""
    first = await caller.begin()

    assert "invalid_grant" == (await caller.refresh(first["refresh_token"], "other")).json["error"]
    assert "invalid_grant" == (await caller.refresh(first["refresh_token"])).json["error"]
    assert 401 == (await caller.get("/x", first["access_token"]))[0]


async def test_r6_revoking_a_person_reaches_what_could_renew(caller):
    """R6: "log out everywhere" by subject leaves nothing that makes new tokens."""
    first = await caller.begin()
    revocations = Revocations(caller.gate.runtime.store, RevocationKeys("latchgate:"))
    await revocations.revoke_subject(ISSUER, "ann", time.time(), keep_s=86_460)

    assert "invalid_grant" == (await caller.refresh(first["refresh_token"])).json["error"]


# S6


@pytest.mark.parametrize("encrypt", ["false", "true"])
async def test_s6_a_session_gets_a_short_token_that_dies_with_it(callers, encrypt):
    """S6: at most five minutes, no refresh token, and refused as soon as the session is deleted."""
    one, two = await callers(2, encrypt=encrypt)
    cookie, digest = await one.sign_in(roles=["user"], claims={"tenant": "acme", "iss": "x"})
    answer = await one.post("token", {"grant_type": SESSION_GRANT}, cookie)
    token = answer.json["access_token"]

    assert (200, 300) == (answer.status, answer.json["expires_in"])
    assert "refresh_token" not in answer.json
    for caller in (one, two):
        assert (200, "ann") == ((found := await caller.get("/x", token))[0], found[1]["subject"])
    await one.gate.runtime.store.delete(f"latchgate:session:{{{digest}}}")
    for caller in (one, two):
        assert 401 == await eventually(caller, token)
    assert {"active": False} == await one.introspect(token)
    assert (
        "invalid_grant"
        == (await one.post("token", {"grant_type": SESSION_GRANT}, cookie)).json["error"]
    )


async def test_s6_the_token_says_what_the_session_does(caller):
    """S7: `auth_time` and `amr` are the session's; what only the issuer says is the issuer's."""
    cookie, digest = await caller.sign_in(
        amr=["pwd"], claims={"tenant": "acme", "iss": "x", "sid": "y"}
    )
    form = {"grant_type": SESSION_GRANT, "client_id": "spa"}
    said = claims_of((await caller.post("token", form, cookie)).json["access_token"])

    assert ("ann", ISSUER, "acme", "spa", digest, ["pwd"]) == (
        said["sub"],
        said["iss"],
        said["tenant"],
        said["client_id"],
        said["latchgate_session"],
        said["amr"],
    )
    assert abs(said["auth_time"] - time.time()) < 10
    assert "sid" not in said
    assert digest == cookie_digest(cookie["Cookie"].partition("=")[2])


async def test_s6_a_token_with_fewer_scopes_names_no_others(caller):
    """S6: what a page did not ask for stands nowhere in the token of its session."""
    cookie, _ = await caller.sign_in(scopes=["read", "write"])
    form = {"grant_type": SESSION_GRANT, "client_id": "spa", "scope": "read"}
    said = claims_of((await caller.post("token", form, cookie)).json["access_token"])

    assert "read" == said["scope"]
    assert "write" not in json.dumps(said)


@pytest.mark.parametrize(
    "headers",
    [{"Sec-Fetch-Site": "same-site"}, {"Sec-Fetch-Site": "cross-site"}, {"Origin": "null"}],
)
async def test_s6_another_site_gets_no_token_of_a_session(caller, headers):
    """S6: same-origin, without exceptions."""
    cookie, _ = await caller.sign_in()
    answer = await caller.post("token", {"grant_type": SESSION_GRANT}, cookie | headers)

    assert (403, "cross_site") == (answer.status, answer.json["code"])


async def test_s6_a_token_lives_no_longer_than_its_session_might(callers):
    """S6: nor than the session would without further use."""
    (caller,) = await callers(idle="1m")
    cookie, _ = await caller.sign_in()
    answer = await caller.post("token", {"grant_type": SESSION_GRANT}, cookie)

    assert 60 == answer.json["expires_in"]


async def test_s6_no_session_no_token(callers):
    """S6: without a session nothing; without `login:` the grant is not there."""
    (caller,) = await callers()
    assert (
        "invalid_grant" == (await caller.post("token", {"grant_type": SESSION_GRANT})).json["error"]
    )
    (caller,) = await callers(login="")
    cookie, _ = await caller.sign_in()
    answer = await caller.post("token", {"grant_type": SESSION_GRANT}, cookie)
    assert "unsupported_grant_type" == answer.json["error"]


async def test_a_person_is_never_taken_for_a_client(caller):
    """RFC 9068 §5: a session whose subject looks like a client's gets no token."""
    cookie, _ = await caller.sign_in(subject="client:backend", roles=["robot"])
    answer = await caller.post("token", {"grant_type": SESSION_GRANT}, cookie)

    assert "invalid_grant" == answer.json["error"]


# The password grant


class Ann:
    """People with one person, attempts that are counted, and a code that is good once."""

    def __init__(self, *, is_enrolled=False, wait_s=0.0, is_disabled=False):
        self.is_enrolled_, self.wait_s, self.is_disabled = is_enrolled, wait_s, is_disabled
        self.taken, self.cleared, self.codes = [], [], {"123456"}
        self.is_busy = False

    def name_of(self, subject):
        return subject

    async def known(self, _name):
        return None

    def place(self, network):
        if self.is_busy:
            raise LoginBusy("full")
        return Place(network, lambda: None)

    async def verify(self, name, password, _place):
        assert self.taken, "an attempt is counted before it is checked"
        if (name, password) != ("ann", "correct horse"):
            return None
        return SimpleNamespace(
            subject="ann",
            email="ann@example.com",
            name="Ann",
            roles=("user",),
            scopes=("read", "write"),
            is_disabled=self.is_disabled,
        )

    async def take(self, account, network, _now, *, is_second=False):
        assert not is_second or self.taken, "a second factor comes after a first"
        self.taken.append((account, network))
        return self.wait_s

    async def clear(self, account, network):
        self.cleared.append((account, network))

    async def is_enrolled(self, _subject):
        return self.is_enrolled_

    async def check(self, _subject, code, _now):
        good = code in self.codes
        self.codes.discard(code)
        return good


def with_ann(caller, **options):
    ann = Ann(**options)
    caller.service.factors = Factors(ann, ann, ann)
    return ann


PASSWORD = {
    "grant_type": "password",
    "client_id": "phone",
    "username": "ann",
    "password": "correct horse",
}


async def test_s7_a_trusted_client_logs_in_by_password(caller):
    """S7: a family of its own, with the time and way of the login; attempts are cleared."""
    ann = with_ann(caller)
    answer = await caller.post("token", PASSWORD | {"scope": "read"})
    said = claims_of(answer.json["access_token"])

    assert ("ann", ["pwd"], "read", "phone") == (
        said["sub"],
        said["amr"],
        said["scope"],
        said["client_id"],
    )
    assert abs(said["auth_time"] - time.time()) < 10
    assert ([("ann", "127.0.0.0/24")], [("ann", "127.0.0.0/24")]) == (ann.taken, ann.cleared)
    renewed = await caller.refresh(answer.json["refresh_token"], "phone")
    assert said["auth_time"] == claims_of(renewed.json["access_token"])["auth_time"]


async def test_a_client_without_the_grant_gets_no_refresh_token(caller):
    """What its `grants` do not list, it is not given."""
    with_ann(caller)
    form = PASSWORD | {"client_id": "script", "client_secret": OTHER_SECRET}
    answer = await caller.post("token", form)

    assert 200 == answer.status
    assert "refresh_token" not in answer.json


@pytest.mark.parametrize(
    ("change", "options"),
    [
        ({"password": "wrong"}, {}),
        ({"username": "bob"}, {}),
        ({}, {"is_disabled": True}),
        ({"otp": "000000"}, {"is_enrolled": True}),
    ],
)
async def test_a_failed_login_stays_counted(caller, change, options):
    """S8: invalid_grant, the same for each reason, and nothing is cleared."""
    ann = with_ann(caller, **options)
    answer = await caller.post("token", PASSWORD | change)

    assert (400, {"error": "invalid_grant"}) == (answer.status, answer.json)
    assert ann.taken
    assert not ann.cleared


async def test_a_locked_account_is_429(caller):
    """S8: nothing is checked while one has to wait."""
    ann = with_ann(caller, wait_s=12.3)
    answer = await caller.post("token", PASSWORD)

    assert (429, "too_many_attempts") == (answer.status, answer.json["code"])
    assert ["13"] == answer.headers.getall("Retry-After")
    assert not ann.cleared


async def test_s8_a_password_that_finds_no_room_is_not_counted(caller):
    """S8: nobody uses up the tries of others by a flood."""
    ann = with_ann(caller)
    ann.is_busy = True
    answer = await caller.post("token", PASSWORD)

    assert (503, "login_busy", []) == (answer.status, answer.json["code"], ann.taken)


async def test_s7_an_enrolled_person_needs_the_code(caller):
    """S7: the grant wants it too; each code once, and each is an attempt of its own (S8)."""
    ann = with_ann(caller, is_enrolled=True)
    missing = await caller.post("token", PASSWORD)
    assert ("invalid_grant", "otp is required") == (
        missing.json["error"],
        missing.json["error_description"],
    )
    answer = await caller.post("token", PASSWORD | {"otp": "123456"})

    assert ["pwd", "otp", "mfa"] == claims_of(answer.json["access_token"])["amr"]
    assert 3 == len(ann.taken)
    again = await caller.post("token", PASSWORD | {"otp": "123456"})
    assert {"error": "invalid_grant"} == again.json


@pytest.mark.parametrize(
    ("rule", "age_s", "agents"),
    [("always", 0, "aa"), ("new_client", 0, "ab"), (3600.0, 3600, "aa")],
)
async def test_s7_a_refresh_asks_for_the_code_by_the_rule(caller, rule, age_s, agents):
    """S7: `tokens.otp`: without the code nothing is spent; with it `auth_time` is now."""
    ann = with_ann(caller, is_enrolled=True)
    caller.service.rules = replace(caller.service.rules, otp=rule)
    first, second = ({"User-Agent": agent} for agent in agents)
    answer = await caller.post("token", PASSWORD | {"otp": "123456"}, first)
    form = {
        "grant_type": "refresh_token",
        "client_id": "phone",
        "refresh_token": answer.json["refresh_token"],
    }
    ann.codes, ann.taken, ann.cleared = {"654321"}, [], []
    real = caller.service._admit
    caller.service._admit = lambda request, family: real(
        request, replace(family, holder=replace(family.holder, auth_time=int(time.time()) - age_s))
    )

    missing = await caller.post("token", form, second)
    wrong = await caller.post("token", form | {"otp": "1"}, second)
    assert ("otp is required", {"error": "invalid_grant"}) == (
        missing.json["error_description"],
        wrong.json,
    )
    assert ([("ann", "127.0.0.0/24")], []) == (ann.taken, ann.cleared)
    renewed = await caller.post("token", form | {"otp": "654321"}, second)
    said = claims_of(renewed.json["access_token"])
    assert abs(said["auth_time"] - time.time()) < 10
    assert ["pwd", "otp", "mfa"] == said["amr"]
    assert ann.cleared


@pytest.mark.parametrize(
    ("rule", "is_enrolled"),
    [("never", True), ("always", False), ("new_client", True), (60.0, True)],
)
async def test_s7_a_refresh_that_needs_no_code_counts_nothing(caller, rule, is_enrolled):
    """S8: no attempt is counted where no code is asked for, or can be."""
    ann = with_ann(caller, is_enrolled=is_enrolled)
    caller.service.rules = replace(caller.service.rules, otp=rule)
    answer = await caller.post("token", PASSWORD | {"otp": "123456"})
    ann.taken.clear()

    assert 200 == (await caller.refresh(answer.json["refresh_token"], "phone")).status
    assert not ann.taken


async def test_s7_a_code_that_nobody_can_check_is_not_waived(caller):
    """S7: where the rule asks for one and the part that checks it is missing, the answer is no."""
    caller.service.rules = replace(caller.service.rules, otp="always")
    caller.service.factors = replace(caller.service.factors, codes=None)
    first = await caller.begin()

    assert "invalid_grant" == (await caller.refresh(first["refresh_token"])).json["error"]
    caller.service.rules = replace(caller.service.rules, otp="never")
    assert 200 == (await caller.refresh(first["refresh_token"])).status


# RFC 7009 and RFC 7662


async def test_a_client_revokes_its_tokens(callers):
    """RFC 7009: a refresh token with its family; an access token alone; 200 without a word."""
    one, two = await callers(2)
    first = await one.begin()
    second = (await one.refresh(first["refresh_token"])).json
    assert 200 == (await two.get("/x", second["access_token"]))[0]
    answer = await one.post("revoke", {"token": second["access_token"], "client_id": "spa"})
    assert (200, "") == (answer.status, answer.text)
    assert 401 == await eventually(two, second["access_token"])
    assert 200 == (await two.get("/x", first["access_token"]))[0]

    form = {"token": second["refresh_token"], "client_id": "spa", "token_type_hint": "access_token"}
    assert 200 == (await two.post("revoke", form)).status
    assert 401 == await eventually(one, first["access_token"])
    assert "invalid_grant" == (await one.refresh(second["refresh_token"])).json["error"]


async def eventually(caller, token):
    """Return the status once it is no longer 200."""
    end = time.monotonic() + 2
    while (status := (await caller.get("/x", token))[0]) == 200:
        assert time.monotonic() < end
    return status


@pytest.mark.parametrize("token", ["x", "a.b.c", "a.b.c.d.e", "lgr_x", "ü" * 9])
async def test_what_is_no_token_is_revoked_already(caller, token):
    """RFC 7009 §2.2: an unknown token is no error."""
    answer = await caller.post("revoke", {"token": token, "client_id": "spa"})

    assert (200, "") == (answer.status, answer.text)


async def test_no_client_revokes_anothers_tokens(caller):
    """RFC 7009 §2.1: refused, and the tokens go on working."""
    first = await caller.begin()
    for token in (first["access_token"], first["refresh_token"]):
        answer = await caller.post("revoke", {"token": token, "client_id": "other"})
        assert (400, "invalid_grant") == (answer.status, answer.json["error"])
    for form in ({"token": "x"}, {"token": "x", "client_id": "backend"}):
        assert 401 == (await caller.post("revoke", form)).status

    assert 200 == (await caller.get("/x", first["access_token"]))[0]
    assert 200 == (await caller.refresh(first["refresh_token"])).status


@pytest.mark.parametrize("encrypt", ["false", "true"])
async def test_introspection_tells_what_a_token_is_worth(callers, encrypt):
    """RFC 7662 §2.2: its claims while it is good, and `active: false` alone once it is not."""
    (caller,) = await callers(encrypt=encrypt)
    first = await caller.begin()
    told = await caller.introspect(first["access_token"])

    assert (True, "ann", "spa", "read write", ISSUER, "shop", "Bearer") == (
        told["active"],
        told["sub"],
        told["client_id"],
        told["scope"],
        told["iss"],
        told["aud"],
        told["token_type"],
    )
    assert 600 == told["exp"] - told["iat"]
    await caller.post("revoke", {"token": first["refresh_token"], "client_id": "spa"})
    for dead in (first["access_token"], first["refresh_token"], "x", "a.b.c"):
        assert {"active": False} == await caller.introspect(dead)


async def test_introspection_of_refresh_tokens_is_for_their_client(caller):
    """A resource server has no business with them."""
    own, others = await caller.begin("backend"), await caller.begin("spa")
    told = await caller.introspect(own["refresh_token"])

    assert (True, "ann", "backend") == (told["active"], told["sub"], told["client_id"])
    assert {"active": False} == await caller.introspect(others["refresh_token"])


async def test_introspection_is_for_clients_that_prove_themselves(caller):
    """RFC 7662 §2.1: a public client's word is not enough."""
    for form in ({"token": "x"}, {"token": "x", "client_id": "spa"}):
        answer = await caller.post("introspect", form)
        assert (401, "invalid_client") == (answer.status, answer.json["error"])


# RFC 8414 and independent clients


async def test_the_metadata_leads_to_the_endpoints(caller):
    """RFC 8414 §3: at the well-known place, for everybody, and what it names is there."""
    status, told = await caller.get("/.well-known/oauth-authorization-server")

    assert (200, ISSUER) == (status, told["issuer"])
    assert f"{ISSUER}/_auth/token" == told["token_endpoint"]
    assert ["client_credentials", "password", "refresh_token", SESSION_GRANT] == told[
        "grant_types_supported"
    ]
    for name in ("token", "revocation", "introspection"):
        path = told[f"{name}_endpoint"].removeprefix(f"{ISSUER}/_auth/")
        assert 400 == (await caller.post(path, "", BASIC)).status
    assert 200 == (await caller.get("/_auth/jwks.json"))[0]


def once_refused(session, url):
    """Return the status once it is no longer 200: the store's word takes its milliseconds."""
    end = time.monotonic() + 2
    while (status := session.get(url).status_code) == 200:
        assert time.monotonic() < end
    return status


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post"])
async def test_an_independent_client_goes_all_the_way(caller, method):
    """Authlib gets, renews, introspects and revokes tokens, knowing the metadata alone."""
    _, told = await caller.get("/.well-known/oauth-authorization-server")
    ends = {
        k: v.replace(ISSUER, caller.gate.url) for k, v in told.items() if k.endswith("_endpoint")
    }
    first = await caller.begin("backend")
    session = OAuth2Session("backend", SECRET, token_endpoint_auth_method=method)
    robots, guarded = f"{caller.gate.url}/robots", f"{caller.gate.url}/x"

    def walk():
        own = session.fetch_token(ends["token_endpoint"], grant_type="client_credentials")
        look = (ends["introspection_endpoint"], own["access_token"])
        assert 200 == session.get(robots).status_code
        assert session.introspect_token(*look).json()["active"]
        assert session.revoke_token(ends["revocation_endpoint"], own["access_token"]).ok
        assert {"active": False} == session.introspect_token(*look).json()
        assert 401 == once_refused(session, robots)

        second = session.refresh_token(ends["token_endpoint"], first["refresh_token"])
        assert first["refresh_token"] != second["refresh_token"]
        assert "ann" == session.get(guarded).json()["subject"]
        assert session.revoke_token(
            ends["revocation_endpoint"], second["refresh_token"], token_type_hint="refresh_token"
        ).ok
        assert 401 == once_refused(session, guarded)

    await asyncio.to_thread(walk)
    session.close()


async def test_an_independent_public_client_refreshes(caller):
    """Authlib renews a public client's tokens by its name alone."""
    first = await caller.begin()
    session = OAuth2Session("spa", token_endpoint_auth_method="none")

    def walk():
        url = f"{caller.gate.url}/_auth/token"
        second = session.refresh_token(url, first["refresh_token"])
        assert second["refresh_token"] != first["refresh_token"]
        assert 200 == session.get(f"{caller.gate.url}/x").status_code

    await asyncio.to_thread(walk)
    session.close()


# Encrypted tokens


async def test_an_encrypted_token_is_good_here_and_unreadable(callers):
    """Its client sees the issuer and nothing else; the gate reads it once, then from its cache."""
    (caller,) = await callers(encrypt="true")
    first = await caller.begin(email="ann@example.com")
    segments = first["access_token"].split(".")
    seen = b"".join(unb64(segment) for segment in segments)

    assert 5 == len(segments)
    for word in (b"ann", b"read", b"user", b"spa"):
        assert word not in seen
    for _ in range(3):
        assert (200, "ann") == (
            (found := await caller.get("/x", first["access_token"]))[0],
            found[1]["subject"],
        )
    assert 2 == caller.gate.runtime.coherence.counters.hits


async def test_no_client_reads_its_encrypted_tokens_by_introspection(callers):
    """Of its own tokens a client hears what it was told with them; whoever is asked for them hears all."""
    (caller,) = await callers(encrypt="true")
    own, others = [
        await caller.begin(client, email="ann@example.com") for client in ("backend", "spa")
    ]
    known = {"active", "scope", "client_id", "exp", "iat"}

    assert known | {"token_type"} == (await caller.introspect(own["access_token"])).keys()
    assert known == (await caller.introspect(own["refresh_token"])).keys()
    told = await caller.introspect(others["access_token"])
    assert ("ann", "ann@example.com", ["user"]) == (told["sub"], told["email"], told["roles"])


async def test_switching_encryption_refuses_no_token(callers):
    """Tokens of both kinds are good before and after the switch, in either direction."""
    plain, encrypting = [(await callers(encrypt=word))[0] for word in ("false", "true")]
    tokens = [(await each.begin())["access_token"] for each in (plain, encrypting)]

    for caller in (plain, encrypting):
        for token in tokens:
            assert 200 == (await caller.get("/x", token))[0]


async def test_h6_an_encrypted_token_travels_no_further(callers):
    """H6: the gate knows its own tokens by their header, also where nobody asks for one."""
    (caller,) = await callers(encrypt="true")
    token = (await caller.begin())["access_token"]

    for path in ("/public", "/x"):
        assert (200, None) == (
            (found := await caller.get(path, token))[0],
            found[1]["authorization"],
        )


async def test_a_gate_for_programs_alone_needs_no_login(callers):
    """`clients:` without `login:`: the endpoints are there, and nobody can sign in."""
    (caller,) = await callers(login="")
    answer = await caller.post("token", {"grant_type": "client_credentials"}, BASIC)

    assert 200 == answer.status
    assert 404 == (await caller.get("/_auth/me"))[0]
