"""Login with a provider, through a gate and a browser's eyes."""

from __future__ import annotations

import asyncio
import html
import json
import random
import re
import time
from urllib.parse import parse_qsl, urlsplit

import aiohttp
import pytest
from aiohttp import web
from yarl import URL

from proxy.adapters.store.port import Script
from proxy.adapters.tasks import spawn
from proxy.core.formats.native import cookie_digest
from proxy.edge.portal.providers import auth_time_of
from proxy.run.providers import Providers
from proxy.services import exchanges, openid_provider
from proxy.services.runtime import load
from tests.small_provider import CLIENT_ID, CLIENT_SECRET, running_provider

CONFIG = """
store: {{url: "{store}"}}
secrets: {{key: "{key}"}}
upstreams: {{app: {{servers: ["{app}"]}}}}
schemes:
  web: {{type: session, format: native}}
login:
  scheme: web
  providers:
    corp: {{issuer: "{issuer}", client_id: "{client_id}", client_secret: "{client_secret}"}}
routes:
  - {{match: {{path: /**}}, auth: web, upstream: app}}
  - {{match: {{path: /open/**}}, auth: none, upstream: app}}
  - {{match: {{path: /api/**}}, auth: web, upstream: app, identity: {{provider_token: true}}}}
"""
PAGE = {"Sec-Fetch-Mode": "navigate", "Accept": "text/html"}
PROGRAM = {"Sec-Fetch-Mode": "cors", "Accept": "application/json"}


@pytest.fixture
async def small():
    """Run a small provider."""
    async with running_provider() as provider:
        yield provider


@pytest.fixture
async def app():
    """Run an application that tells what it was sent, and tries to set cookies of the gate's."""

    async def tell(request):
        response = web.json_response({k.lower(): v for k, v in request.headers.items()})
        response.headers.add("Set-Cookie", "latchgate-login-0=planted; Path=/")
        response.headers.add("Set-Cookie", "__Host-latchgate-login-1=planted; Path=/; Secure")
        response.headers.add("Set-Cookie", "own=1; Path=/")
        return response

    application = web.Application()
    application.router.add_route("*", "/{path:.*}", tell)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


@pytest.fixture
async def gate(start_gate, valkey, small, app, tmp_path):
    """Start a gate with the provider `corp`."""
    text = CONFIG.format(
        store=valkey.url, key="a" * 64, app=app, issuer=small.issuer,
        client_id=CLIENT_ID, client_secret=CLIENT_SECRET,
    )  # fmt: skip
    file = tmp_path / "keys.yaml"
    file.write_text(text)
    providers = Providers(load(file).config, lambda *_told: None)
    providers.start()
    await providers.wait(5)
    yield await start_gate(text, key_sources=providers.sources())
    await providers.close()


@pytest.fixture
async def browser():
    """Give a browser: it keeps cookies, and is led by hand."""
    jar = aiohttp.CookieJar(unsafe=True)
    async with aiohttp.ClientSession(cookie_jar=jar, headers=PAGE) as session:
        yield session


async def go(session, url, **options):
    """Load a page without being led on; return the answer and its body."""
    async with session.get(url, allow_redirects=False, **options) as answer:
        return answer, await answer.read()


async def begin(session, gate, target="/orders?a=1"):
    """Begin a login; return where the browser is sent."""
    url = f"{gate.url}/_auth/start/corp"
    answer, _ = await go(session, url, params={"next": target})
    assert 303 == answer.status
    return answer.headers["Location"]


async def sign_in(session, gate, small, target="/orders?a=1"):
    """Log in; return the callback's answer."""
    query = small.enter(await begin(session, gate, target)).decode()
    return (await go(session, f"{gate.url}/_auth/callback/corp?{query}"))[0]


async def test_a_person_signs_in_and_is_where_they_wanted_to_go(gate, browser, small):
    """A session is made, the application is told who it is, and the login left nothing behind."""
    answer = await sign_in(browser, gate, small)
    cookies = {cookie.key for cookie in browser.cookie_jar}
    told, body = await go(browser, f"{gate.url}/orders?a=1")

    assert (303, "/orders?a=1") == (answer.status, answer.headers["Location"])
    assert "no-store" == answer.headers["Cache-Control"]
    assert {"sid"} == cookies
    assert 200 == told.status
    assert b'"x-auth-subject": "ann"' in body
    assert b'"x-auth-email": "ann@example.com"' in body
    assert b'"cookie"' not in body


async def test_the_time_of_the_factor_is_the_providers(gate, browser, small):
    """Who was let in without being asked is not fresh; who never says when was asked never (S7)."""
    said = int(time.time()) - 5000
    for auth_time, expected in ((said, said), (..., 0), (int(time.time()) + 9, None)):
        small.id_token["auth_time"] = auth_time
        await sign_in(browser, gate, small)
        _, body = await go(browser, f"{gate.url}/_auth/me")
        me = json.loads(body)
        assert expected in (me["auth_time"], None)
        assert me["auth_time"] <= time.time()


async def test_random_callbacks_are_400(gate, browser, small):
    """Two hundred mutations of a good one, none of which is an error of the gate."""
    chance = random.Random(25)
    good = small.enter(await begin(browser, gate)).decode()
    for _ in range(200):
        letters = list(good)
        for _ in range(chance.randint(1, 6)):
            place = chance.randrange(len(letters))
            letters[place] = chance.choice(["", "%", "&", "=", "code=", "%00", "%ff", "x" * 50])
        url = URL(f"{gate.url}/_auth/callback/corp?{''.join(letters)}", encoded=True)
        answer, _ = await go(browser, url)
        assert 500 > answer.status >= 400 or answer.status == 502
    assert "sid" not in {cookie.key for cookie in browser.cookie_jar}


async def test_the_redirect_uri_is_below_the_gates_own_path(gate, browser):
    """On the origin that the browser sees."""
    location = await begin(browser, gate)

    assert (
        f"{gate.url}/_auth/callback/corp"
        == dict(parse_qsl(urlsplit(location).query))["redirect_uri"]
    )


@pytest.mark.parametrize(
    "target",
    [
        "//evil.example",
        "https://evil.example/",
        "/\\evil.example",
        "/%5Cevil.example",
        "/%09/evil.example",
        "javascript:alert(1)",
        "/_auth/callback/corp?code=a",
        "/_auth/start/corp",
        "/_auth/me",
        "/a\r\nSet-Cookie: a=b",
        "/../x",
        "/" + "x" * 2048,
        "",
    ],
)
async def test_s4_the_target_of_a_login_is_a_page_of_this_host(gate, browser, small, target):
    """Anything else is the first page (security.md, S4)."""
    assert "/" == (await sign_in(browser, gate, small, target)).headers["Location"]


CALLBACKS = [
    "",
    "?",
    "?code=a",
    "?state=0.{state}",
    "?code=a&state=0.{state}",
    "?code=a&code=b&state=0.{state}",
    "?code=a&state=0.{state}&state=0.{state}",
    "?code=a&state=" + "x" * 5000,
    "?code=" + "x" * 5000 + "&state=0.{state}",
    "?code=%00&state=%ff",
    "?code=%C3%28&state=0.{state}",
    "?state=0.{state}&error=access_denied",
    "?state=0.{state}&error=%0d%0aSet-Cookie:a=b",
    "?code=a&error=b&state=0.{state}",
    "?" + "&".join(f"a{n}=1" for n in range(200)),
    "?code=a&state=0.{state}&iss=https://evil.example",
    "?code[]=a&state[]=b",
    "?CODE=a&STATE=b",
    "?code=a;state=b",
    "?&&&=&=",
]


@pytest.mark.parametrize("query", CALLBACKS, ids=range(len(CALLBACKS)))
async def test_a_callback_that_is_none_is_400(gate, browser, query):
    """Missing, doubled, oversized, undecodable, or of no login (field.md, Envoy CVE-2023-27496)."""
    url = f"{gate.url}/_auth/callback/corp{query.format(state='s' * 43)}"
    answer, body = await go(browser, url)

    assert 400 == answer.status
    assert "Set-Cookie" not in answer.headers
    assert b"evil" not in body


async def test_a_callback_by_another_method_or_for_nobody_is_refused(gate, browser):
    """The provider answers by query alone, and only providers of the file have endpoints."""
    url = f"{gate.url}/_auth/callback/corp"
    async with browser.post(url, data={"code": "a"}) as answer:
        assert 405 == answer.status
    for looked_at in (url, f"{gate.url}/_auth/start/corp"):
        async with browser.head(looked_at) as answer:
            assert (405, "GET") == (answer.status, answer.headers["Allow"])
    for path in ("callback/other", "start/other", "start/corp/more", "start"):
        answer, _ = await go(browser, f"{gate.url}/_auth/{path}")
        assert 404 == answer.status
    async with browser.post(f"{gate.url}/_auth/backchannel/other") as answer:
        assert 404 == answer.status


async def test_a_callback_in_another_browser_is_refused(gate, browser, small):
    """Whoever is sent somebody else's callback is not signed in (login CSRF)."""
    query = small.enter(await begin(browser, gate)).decode()
    async with aiohttp.ClientSession(headers=PAGE) as victim:
        answer, body = await go(victim, f"{gate.url}/_auth/callback/corp?{query}")

    assert 400 == answer.status
    assert b"This sign-in is not known here" in body
    assert [] == small.asked


async def test_a_callback_counts_once(gate, browser, small):
    """A page that is loaded again makes no second session."""
    query = small.enter(await begin(browser, gate)).decode()
    url = f"{gate.url}/_auth/callback/corp?{query}"
    kept = {c.key: c.value for c in browser.cookie_jar}
    assert 303 == (await go(browser, url))[0].status
    async with aiohttp.ClientSession(headers=PAGE) as copy:
        answer, _ = await go(copy, url, cookies=kept)

    assert 400 == answer.status


async def test_s1_a_login_makes_a_new_id_and_ends_the_old_session(gate, browser, small):
    """A cookie that was set beforehand never survives."""
    await sign_in(browser, gate, small)
    (before,) = [c.value for c in browser.cookie_jar if c.key == "sid"]
    await sign_in(browser, gate, small)
    (after,) = [c.value for c in browser.cookie_jar if c.key == "sid"]
    async with aiohttp.ClientSession() as old:
        answer, _ = await go(old, f"{gate.url}/", headers={"Cookie": f"sid={before}"})

    assert before != after
    assert 401 == answer.status


async def test_s5_nobody_signs_in_over_plain_http(gate, browser):
    """But on this machine: an address that people see has to be https (security.md, S5)."""
    answer, _ = await go(
        browser, f"{gate.url}/_auth/start/corp", headers={"Host": "shop.example.com"}
    )

    assert 400 == answer.status
    assert "insecure_origin" == (await gate.next_record()).code


async def test_a_login_begins_with_a_page_load(gate, browser):
    """Pictures and scripts of other pages begin none (state cookies do not pile up)."""
    for headers in ({"Sec-Fetch-Mode": "no-cors"}, {"Sec-Fetch-Mode": "cors"}):
        answer, _ = await go(browser, f"{gate.url}/_auth/start/corp", headers=headers)
        assert 400 == answer.status
        assert "Set-Cookie" not in answer.headers


async def test_200_logins_in_one_browser_leave_five_cookies(gate, browser):
    """In parallel, as a page with many frames begins them."""
    await asyncio.gather(*(begin(browser, gate, "/" + "x" * 500) for _ in range(200)))
    cookies = [c for c in browser.cookie_jar if c.key.startswith("latchgate-login-")]

    assert 5 >= len(cookies) > 0
    assert 6 * 1024 >= sum(len(cookie.value) for cookie in cookies)


@pytest.mark.parametrize(
    ("spoil", "status", "code"),
    [
        (lambda p: p.id_token.update(iss="https://evil.example"), 502, "provider_invalid"),
        (lambda p: p.id_token.update(aud="another"), 502, "provider_invalid"),
        (lambda p: p.id_token.update(nonce="another"), 502, "provider_invalid"),
        (lambda p: p.codes.clear(), 403, "login_refused"),
        (lambda p: setattr(p, "status", 503), 503, "provider_unavailable"),
        (lambda p: p.person.update(big="x" * 30_000), 502, "provider_invalid"),
        (lambda p: p.person.update(many=["x" * 10] * 9_000), 502, "provider_invalid"),
    ],
    ids=["iss", "aud", "nonce", "code", "status", "big", "many"],
)
async def test_a_provider_that_fails_signs_nobody_in(gate, browser, small, spoil, status, code):
    """The page says no more than the code; the log says what it was."""
    query = small.enter(await begin(browser, gate)).decode()
    spoil(small)
    answer, _ = await go(browser, f"{gate.url}/_auth/callback/corp?{query}")
    records = [await gate.next_record() for _ in range(2)]

    assert (status, code) == (answer.status, records[-1].code)
    assert "sid" not in {cookie.key for cookie in browser.cookie_jar}


@pytest.mark.parametrize("is_all", [False, True])
async def test_r6_no_login_outlives_the_end_of_everything_of_its_owner(
    gate, browser, small, is_all
):
    """R6: whoever was at the provider meanwhile comes back to nothing, and signs in anew."""
    sessions = gate.runtime.own.login.sessions
    query = small.enter(await begin(browser, gate)).decode()
    await (sessions.revoke_all() if is_all else sessions.revoke_subject("ann"))
    answer, _ = await go(browser, f"{gate.url}/_auth/callback/corp?{query}")

    assert (400, []) == (answer.status, answer.headers.getall("Set-Cookie", []))
    assert 303 == (await sign_in(browser, gate, small)).status


async def test_r6_the_end_of_somebody_elses_sessions_stops_no_login_at_a_provider(
    gate, browser, small
):
    """R6: nor does an end that was before the login began."""
    sessions = gate.runtime.own.login.sessions
    await sessions.revoke_subject("ann")
    query = small.enter(await begin(browser, gate)).decode()
    await sessions.revoke_subject("bob")
    answer, _ = await go(browser, f"{gate.url}/_auth/callback/corp?{query}")

    assert 303 == answer.status


async def test_a_session_ends_before_its_provider_is_asked(gate, browser, small, monkeypatch):
    """A provider that takes its time, or never answers, keeps nobody signed in meanwhile."""
    await sign_in(browser, gate, small)
    (cookie,) = [c for c in browser.cookie_jar if c.key == "sid"]
    digest = cookie_digest(cookie.value)
    monkeypatch.setattr(openid_provider, "METADATA_FRESH_S", -1.0)
    small.may_describe.clear()
    before = small.discoveries
    leaving = spawn(browser.post(f"{gate.url}/_auth/logout", headers=PROGRAM), name="logout")
    async with asyncio.timeout(10):
        while small.discoveries == before:  # noqa: ASYNC110 - the provider only counts
            await asyncio.sleep(0.01)
    try:
        assert not await gate.runtime.own.login.sessions.is_there(digest)
    finally:
        small.may_describe.set()
    async with await leaving as answer:
        assert "provider_logout" in await answer.json()


async def test_k6_a_provider_names_nobody_like_a_client(gate, browser, small):
    """K6: whoever chooses their own name there does not become what a client's own token says."""
    small.person["sub"] = "client:billing"
    answer = await sign_in(browser, gate, small)

    assert (502, []) == (answer.status, answer.headers.getall("Set-Cookie", []))


async def test_h6_h7_login_state_is_the_gates_alone(gate, browser):
    """No application sees it, and none can plant one."""
    await begin(browser, gate)
    answer, body = await go(browser, f"{gate.url}/open/x", headers={"X-A": "b"})

    assert b"latchgate-login" not in body
    assert ["own=1; Path=/"] == answer.headers.getall("Set-Cookie")


async def test_a_route_is_told_the_providers_token_where_it_asks_for_it(gate, browser, small):
    """And no other route is; whatever a client sends under that name is removed everywhere (H1)."""
    await sign_in(browser, gate, small)
    spoof = {"X-Auth-Provider-Token": "mine", "X_Auth_Provider_Token": "mine"}
    (token,) = small.access_tokens
    bodies = [
        (await go(browser, f"{gate.url}/{path}", headers=spoof))[1]
        for path in ("api/a", "a", "open/a")
    ]

    assert [True, False, False] == [b"x-auth-provider-token" in body for body in bodies]
    assert f'"x-auth-provider-token": "{token}"'.encode() in bodies[0]
    assert not [body for body in bodies if b"mine" in body]


async def test_a_token_is_renewed_before_it_is_told(gate, browser, small):
    """Requests in parallel are told the same new one, and the provider is asked once."""
    await sign_in(browser, gate, small)
    gate.runtime.own.oidc.vault._clock = small.clock = lambda: time.time() + 3700
    answers = await asyncio.gather(*(go(browser, f"{gate.url}/api/a") for _ in range(30)))
    token = small.access_tokens[-1]

    assert 2 == len(small.asked)
    assert {True} == {f'"x-auth-provider-token": "{token}"'.encode() in body for _, body in answers}


async def test_without_a_good_token_a_route_that_wants_one_is_unavailable(gate, browser, small):
    """An outage of the provider: 503 where its token is wanted, and everything else goes on."""
    await sign_in(browser, gate, small)
    gate.runtime.own.oidc.vault._clock = small.clock = lambda: time.time() + 3700
    small.status = 503
    answer, _ = await go(browser, f"{gate.url}/api/a")
    assert (503, True) == (answer.status, "Retry-After" in answer.headers)
    assert 200 == (await go(browser, f"{gate.url}/a"))[0].status

    small.status = None
    small.refresh_tokens.clear()
    answer, body = await go(browser, f"{gate.url}/api/a")
    assert 200 == answer.status
    assert b"x-auth-provider-token" not in body


async def test_h4_a_token_that_is_too_long_for_a_head_is_refused(gate, browser, small):
    """Never cut, and never sent."""
    small.answer["access_token"] = "a" * 9000
    small.id_token["at_hash"] = ...
    await sign_in(browser, gate, small)

    assert 403 == (await go(browser, f"{gate.url}/api/a"))[0].status
    assert 200 == (await go(browser, f"{gate.url}/a"))[0].status


async def test_the_login_page_offers_each_provider(gate, browser, small):
    """A link with where the person wanted to go; no password is asked for where nobody has one."""
    answer, body = await go(browser, f"{gate.url}/orders?a=1")
    assert (303, True) == (answer.status, answer.headers["Location"].startswith("/_auth/login?"))
    answer, body = await go(browser, f"{gate.url}{answer.headers['Location']}")
    (link,) = re.findall(r'class="provider" href="([^"]*)">([^<]*)<', body.decode())

    assert "Sign in with corp" == link[1]
    assert b'type="password"' not in body
    assert small.issuer in answer.headers["Content-Security-Policy"]
    answer, _ = await go(browser, f"{gate.url}{html.unescape(link[0])}")
    query = small.enter(answer.headers["Location"]).decode()
    answer, _ = await go(browser, f"{gate.url}/_auth/callback/corp?{query}")
    assert "/orders?a=1" == answer.headers["Location"]


async def test_a_logout_leads_to_the_provider(gate, browser, small):
    """The session here is over, its tokens are gone, and the provider is told by the browser."""
    await sign_in(browser, gate, small)
    headers = {"Sec-Fetch-Site": "same-origin", "Origin": gate.url}
    async with browser.post(
        f"{gate.url}/_auth/logout", headers=headers, allow_redirects=False
    ) as answer:
        location = answer.headers["Location"]
    told = dict(parse_qsl(urlsplit(location).query))

    assert f"{small.issuer}/end" == location.partition("?")[0]
    assert f"{gate.url}/_auth/login?signed_out=1" == told["post_logout_redirect_uri"]
    assert 3 == len(told["id_token_hint"].split("."))
    assert 303 == (await go(browser, f"{gate.url}/"))[0].status
    assert not [key async for key in gate.runtime.store.scan("latchgate:provider:")]


async def test_a_script_that_signs_out_is_told_where_the_provider_does(gate, browser, small):
    """It may lead the browser there; a provider without such a place is not named."""
    headers = {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors", "Accept": "*/*"}
    await sign_in(browser, gate, small)
    async with browser.post(f"{gate.url}/_auth/logout", headers=headers) as answer:
        told = await answer.json()
    assert 1 == told["ended"]
    assert told["provider_logout"].startswith(f"{small.issuer}/end?")
    async with browser.post(f"{gate.url}/_auth/logout", headers=headers) as answer:
        assert {"ended": 0} == await answer.json()


async def test_what_happened_is_in_the_audit_trail(gate, browser, small):
    """Logins, failures and the provider's own logouts, each with the provider's name."""
    await sign_in(browser, gate, small)
    small.id_token["aud"] = "another"
    await sign_in(browser, gate, small)
    form = {"logout_token": small.logout_token(sid="sid-1")}
    async with browser.post(f"{gate.url}/_auth/backchannel/corp", data=form) as answer:
        assert 200 == answer.status
    await gate.runtime.audit.close()
    noted = await gate.runtime.store.run(
        Script("return redis.call('XRANGE', KEYS[1], '-', '+')"), ["latchgate:audit"]
    )
    text = repr(noted)

    for words in ("login_failed", "provider corp: provider_invalid", "session_ended", "ann"):
        assert words in text
    assert 1 == text.count("b'login'")


async def test_the_provider_ends_a_session(gate, browser, small):
    """Back-channel logout: 200 without a cookie, and the next request is nobody's."""
    await sign_in(browser, gate, small)
    url = f"{gate.url}/_auth/backchannel/corp"
    form = {"logout_token": small.logout_token(sid="sid-1")}
    async with aiohttp.ClientSession() as server, server.post(url, data=form) as done:
        assert (200, "no-store") == (done.status, done.headers["Cache-Control"])
    answer, _ = await go(browser, f"{gate.url}/")

    assert 303 == answer.status


async def test_what_is_no_logout_token_is_400(gate, browser, small):
    """Back-Channel Logout §2.8, and never a word of the token; the session goes on."""
    await sign_in(browser, gate, small)
    used = small.logout_token(sub="nobody")
    url = f"{gate.url}/_auth/backchannel/corp"
    bodies = [
        {"logout_token": "a.b.c"},
        {"logout_token": ""},
        {"token": "a"},
        {},
        {"logout_token": small.logout_token(sid="sid-1", nonce="n")},
        {"logout_token": small.logout_token(sid="sid-1", exp=int(time.time()) - 100)},
        {"logout_token": "x" * 50_000},
        [("logout_token", "a"), ("logout_token", "b")],
    ]
    async with aiohttp.ClientSession() as server:
        async with server.post(url, data={"logout_token": used}) as answer:
            assert 200 == answer.status
        for body in [{"logout_token": used}, *bodies]:
            async with server.post(url, data=body) as answer:
                assert 400 == answer.status
        async with server.post(url, json={"logout_token": used}) as answer:
            assert 400 == answer.status
        async with server.post(url, data={"logout_token": "a.b.c"}) as answer:
            assert "invalid_request" == (await answer.json())["error"]
    assert 200 == (await go(browser, f"{gate.url}/"))[0].status


async def test_s15_nothing_of_a_login_is_logged(gate, browser, small):
    """Neither code nor state: they stand in a query, and no query is logged."""
    query = small.enter(await begin(browser, gate)).decode()
    await go(browser, f"{gate.url}/_auth/callback/corp?{query}")
    records = [await gate.next_record() for _ in range(2)]
    values = [value for _, value in parse_qsl(query) if not value.startswith("http")]

    assert "ann" == records[-1].subject
    assert not [value for value in values if value in repr(records)]
    assert re.fullmatch(r"/_auth/callback/corp", records[-1].path)


@pytest.mark.parametrize(
    ("told", "kept"),
    [(None, 0.0), (50.0, 50.0), (109.0, 100.0), (100_000.0, 0.0), (float("nan"), 0.0)],
)
def test_s7_a_time_that_lies_far_ahead_is_no_fresh_factor(told, kept):
    """S7: a provider's milliseconds, or a clock that is wrong, never read as "just now"."""
    assert kept == auth_time_of(told, 100.0)


async def test_who_makes_up_codes_is_told_to_wait(gate, browser, small, monkeypatch):
    """429 with `Retry-After`, and the provider hears no more of it."""
    monkeypatch.setattr(exchanges, "MOST", 1)
    codes = []
    for _ in range(3):
        query = small.enter(await begin(browser, gate), code="made-up").decode()
        answer, _ = await go(browser, f"{gate.url}/_auth/callback/corp?{query}")
        codes.append((answer.status, "Retry-After" in answer.headers))

    assert [(429, True)] * 2 == codes[1:]
    assert 429 != codes[0][0]
    assert 1 == len(small.asked)
