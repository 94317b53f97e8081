"""Login with a certified OpenID provider, as a process of its own (npm's oidc-provider)."""

from __future__ import annotations

import asyncio
import time
from urllib.parse import parse_qsl, urlsplit

import aiohttp
import pytest
from aiohttp import web

from proxy.core.formats.native import cookie_digest
from proxy.run.providers import Providers
from proxy.services.runtime import load
from tests.node_provider import NodeProvider, NotHere, installed, led

ONE_LANE = "the gate answers for itself: nothing is forwarded"
CONFIG = """
store: {{url: "{store}"}}
secrets: {{key: "{key}"}}
upstreams: {{app: {{servers: ["{app}"]}}}}
schemes:
  web: {{type: session, format: native}}
login:
  scheme: web
  providers:
    corp:
      issuer: "{issuer}"
      client_id: gate
      client_secret: "a secret: of the tests %"
      scopes: [openid, email, profile, offline_access]
      userinfo: true
routes:
  - {{match: {{path: /**}}, auth: web, require: {{roles: [customer]}}, upstream: app}}
"""
PAGE = {"Sec-Fetch-Mode": "navigate", "Accept": "text/html"}

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def place():
    """Give the directory in which the provider is installed."""
    try:
        return installed()
    except NotHere as reason:
        pytest.skip(f"no certified OpenID provider here: {reason}")


@pytest.fixture
async def provider(place):
    """Run the provider; it waits for its client."""
    running = await NodeProvider.start(place)
    yield running
    await running.stop()


@pytest.fixture
async def app():
    """Run an application that tells what it was sent."""

    async def tell(request):
        return web.json_response({k.lower(): v for k, v in request.headers.items()})

    application = web.Application()
    application.router.add_route("*", "/{path:.*}", tell)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


@pytest.fixture
async def gate(start_gate, valkey, provider, app, tmp_path):
    """Start a gate with the provider, which then learns where the gate is."""
    text = CONFIG.format(store=valkey.url, key="a" * 64, app=app, issuer=provider.issuer)
    file = tmp_path / "keys.yaml"
    file.write_text(text)
    keys = Providers(load(file).config, lambda *_told: None)
    gate = await start_gate(text, key_sources=keys.sources())
    await provider.serve(
        {
            "client_id": "gate",
            "client_secret": "a secret: of the tests %",
            "redirect_uris": [f"{gate.url}/_auth/callback/corp"],
            "post_logout_redirect_uris": [f"{gate.url}/_auth/login?signed_out=1"],
            "backchannel_logout_uri": f"{gate.url}/_auth/backchannel/corp",
            "backchannel_logout_session_required": True,
            "grant_types": ["authorization_code", "refresh_token"],
            "response_types": ["code"],
        }
    )
    keys.start()
    await keys.wait(5)
    yield gate
    await keys.close()


@pytest.fixture
async def browser():
    """Give a browser."""
    jar = aiohttp.CookieJar(unsafe=True)
    async with aiohttp.ClientSession(cookie_jar=jar, headers=PAGE) as session:
        yield session


async def sign_in(gate, browser, name):
    """Log in as `name` at the provider; return the callback's answer and the session's digest."""
    start = f"{gate.url}/_auth/start/corp?next=/orders"
    async with browser.get(start, allow_redirects=False) as answer:
        location = answer.headers["Location"]
    callback = await led(browser, location, login=name, password="any")
    async with browser.get(callback, allow_redirects=False) as answer:
        assert 303 == answer.status, await answer.text()
    (cookie,) = [c.value for c in browser.cookie_jar if c.key == "sid"]
    return answer, cookie_digest(cookie)


async def test_a_login_at_a_certified_provider(gate, browser, provider):
    """Discovery, PKCE, nonce, state, iss, UserInfo: the application is told who came in."""
    answer, digest = await sign_in(gate, browser, "ann")
    async with browser.get(f"{gate.url}/orders") as page:
        told = await page.json()
    tokens = await gate.runtime.own.oidc.vault.read(digest)

    assert "/orders" == answer.headers["Location"]
    assert ("ann", "ann@example.com", "Name%20of%20ann", "customer") == (
        told["x-auth-subject"],
        told["x-auth-email"],
        told["x-auth-name"].replace(" ", "%20"),
        told["x-auth-roles"],
    )
    assert provider.issuer == tokens.issuer
    assert tokens.refresh_token
    assert tokens.sid


async def test_k6_an_unverified_address_is_none(gate, browser):
    """The provider says `email_verified: false`."""
    await sign_in(gate, browser, "mallory")
    async with browser.get(f"{gate.url}/orders") as page:
        told = await page.json()

    assert "mallory" == told["x-auth-subject"]
    assert "x-auth-email" not in told


async def test_tokens_are_refreshed_once(gate, browser):
    """Rotation is on: had two asked with one refresh token, the provider would end them all."""
    _, digest = await sign_in(gate, browser, "ann")
    vault = gate.runtime.own.oidc.vault
    for ahead_s in (3590, 7180):
        vault._clock = lambda ahead_s=ahead_s: time.time() + ahead_s
        before = await vault.read(digest)
        renewed = set(await asyncio.gather(*(vault.access_token(digest) for _ in range(50))))
        await asyncio.gather(*vault._renewing.values())
        after = await vault.read(digest)
        assert before.refresh_token != after.refresh_token
        assert renewed <= {before.access_token, after.access_token}


async def test_a_logout_here_is_one_there_and_comes_back(gate, browser):
    """RP-initiated logout; the provider then calls the back channel for what came from there."""
    _, digest = await sign_in(gate, browser, "ann")
    jar = aiohttp.CookieJar(unsafe=True)
    async with aiohttp.ClientSession(cookie_jar=jar, headers=PAGE) as other:
        _, of_other = await sign_in(gate, other, "ann")
        headers = {"Sec-Fetch-Site": "same-origin"}
        async with browser.post(
            f"{gate.url}/_auth/logout", headers=headers, allow_redirects=False
        ) as answer:
            location = answer.headers["Location"]
        back = await led(browser, location, logout="yes")

        assert f"{gate.url}/_auth/login?signed_out=1" == back
        assert [401, 200] == [await status_of(gate, one) for one in (browser, other)]
    vault = gate.runtime.own.oidc.vault
    assert [None, True] == [
        await vault.read(digest), await vault.read(of_other) is not None
    ]  # fmt: skip


async def test_a_logout_there_is_one_here(gate, browser, provider):
    """At the provider's own page: the back channel ends the session that came from there."""
    await sign_in(gate, browser, "ann")
    assert 200 == await status_of(gate, browser)
    await led(
        browser, f"{provider.issuer}/session/end", logout="yes", ends_at="/session/end/success"
    )

    assert 401 == await status_of(gate, browser)


async def status_of(gate, browser):
    """Ask as a script does, which is not led to the login page."""
    async with browser.get(f"{gate.url}/orders", headers={"Sec-Fetch-Mode": "cors"}) as page:
        return page.status


async def test_a_refused_consent_signs_nobody_in(gate, browser):
    """The provider leads back with `access_denied`."""
    start = f"{gate.url}/_auth/start/corp"
    async with browser.get(start, allow_redirects=False) as answer:
        location = answer.headers["Location"]
    async with browser.get(location) as page:
        text = await page.text()
    abort = text.partition('/abort">')[0].rpartition('href="')[2] + "/abort"
    home = "{0.scheme}://{0.netloc}".format(urlsplit(location))
    callback = await led(browser, abort if abort.startswith("http") else home + abort)
    async with browser.get(callback, allow_redirects=False) as answer:
        assert 403 == answer.status

    assert "access_denied" == dict(parse_qsl(urlsplit(callback).query))["error"]
    assert "login_refused" == gate.records[-1].code
