"""Sessions in a browser: two devices, one click, and an administrator who proves a factor again."""

from __future__ import annotations

import time

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from proxy.adapters.passwords import hash_password
from proxy.adapters.users_file import edit_users
from proxy.core.refresh import Holder, Spot
from proxy.services.refresh import Start
from proxy.services.schemes.build import open_login_sessions
from proxy.services.sessions import Login
from tests.browser.test_pages import CONTRAST, Watch

PASSWORD = "correct horse"

CONFIG = """
store: {{url: "{store}"}}
secrets: {{key: "{key}"}}
upstreams: {{app: {{servers: ["{app}"]}}}}
tokens: {{issuer: "http://127.0.0.1", audience: shop}}
clients: {{phone: {{public: true}}}}
schemes:
  web: {{type: session, format: native}}
login: {{scheme: web, users: {{file: users.yaml}}, administrators: {{roles: [gate-admin]}}}}
routes:
  - {{match: {{path: /**}}, auth: web, upstream: app}}
"""


async def _application(_request: web.Request) -> web.Response:
    return web.Response(text="<!DOCTYPE html><h1>shop</h1>", content_type="text/html")


@pytest.fixture
async def gate(start_gate, tmp_path, valkey):
    application = web.Application()
    application.router.add_route("*", "/{tail:.*}", _application)
    user = {"password": hash_password(PASSWORD).text, "name": "Ada", "roles": ["gate-admin"]}
    edit_users(tmp_path / "users.yaml", lambda users: users.update(ada=user) or True)
    async with TestServer(application) as server:
        app = f"http://127.0.0.1:{server.port}"
        yield await start_gate(CONFIG.format(app=app, store=valkey.url, key="ab" * 32))


async def signed_in(gate, chromium, path, **options):
    """Sign Ada in in a browser of her own, and go to `path` by it."""
    context = await chromium.new_context(**options)
    page = await context.new_page()
    await page.goto(f"{gate.url}{path}")
    if "/login" not in page.url:
        await page.goto(f"{gate.url}/_auth/login?next={path}")
    await page.fill("#username", "ada")
    await page.fill("#password", PASSWORD)
    await page.press("#password", "Enter")
    await page.wait_for_url(f"{gate.url}{path}")
    return page


@pytest.mark.slow
@pytest.mark.parametrize("has_script", [True, False])
async def test_a_person_sees_two_sessions_and_ends_one(gate, chromium, has_script):
    """One click on one device signs the other one out; the first goes on."""
    phone = await signed_in(gate, chromium, "/shop", user_agent="Mozilla/5.0 (iPhone) Safari/1")
    desk = await signed_in(gate, chromium, "/shop", java_script_enabled=has_script)
    watch = Watch(desk)
    await desk.goto(f"{gate.url}/_auth/sessions")
    assert 2 == await desk.locator("ul.cards li").count()
    assert 1 == await desk.locator(".mark").count()
    await desk.locator("li", has_text="Safari on iPhone").get_by_role("button").click()
    await desk.wait_for_selector(".notice")

    assert 1 == await desk.locator("ul.cards li").count()
    await phone.goto(f"{gate.url}/shop")
    assert "/_auth/login" in phone.url
    await desk.goto(f"{gate.url}/shop")
    assert "shop" == await desk.inner_text("h1")
    assert [] == watch.complaints()


async def program(gate, subject):
    """Let a program have access in somebody's name."""
    now = time.time()
    spot = Spot("digest", "2001:db8:85a3:8d3:1319:8a2e:370:7348", "okhttp/4.12.0")
    await gate.runtime.tokens._families.begin(
        Holder(subject), "phone", now, since=now, start=Start(spot)
    )


@pytest.mark.slow
@pytest.mark.parametrize("has_script", [True, False])
async def test_a_person_sees_a_program_and_ends_its_access(gate, chromium, has_script):
    """It stands below the sessions; one click ends it, and this session goes on."""
    page = await signed_in(gate, chromium, "/shop", java_script_enabled=has_script)
    await program(gate, "ada")
    watch = Watch(page)
    await page.goto(f"{gate.url}/_auth/sessions")
    await page.get_by_role("button", name="End access: phone").click()
    await page.wait_for_selector(".notice")

    assert "Programs ended: 1." == await page.inner_text(".notice")
    assert 0 == await page.get_by_text("phone").count()
    await page.goto(f"{gate.url}/shop")
    assert "shop" == await page.inner_text("h1")
    assert [] == watch.complaints()


@pytest.mark.slow
async def test_s6_an_administrator_with_an_old_session_proves_a_factor_and_comes_back(
    gate, chromium
):
    """S6: five minutes after the password the page asks for it once more, then shows everybody."""
    sessions = open_login_sessions(gate.runtime.config, gate.runtime.store)
    now = time.time()
    await sessions.create(Login("eve", agent="curl/8"), now)
    old = Login("ada", roles=["gate-admin"], amr=["pwd"], auth_time=now - 3600)
    made = await sessions.create(old, now)
    context = await chromium.new_context()
    await context.add_cookies([{"name": "sid", "value": made.cookie, "url": gate.url}])
    page = await context.new_page()
    watch = Watch(page)
    await page.goto(f"{gate.url}/_auth/admin")
    assert "/_auth/step-up?next=" in page.url
    await page.fill("#password", PASSWORD)
    await page.press("#password", "Enter")
    await page.wait_for_url(f"{gate.url}/_auth/admin")
    await page.get_by_label("Person").fill("eve")
    await page.get_by_role("button", name="Search").click()
    await page.get_by_role("button", name="End every session and program of eve").click()
    await page.wait_for_selector(".notice")

    assert "There are no such sessions." in await page.inner_text("main")
    assert [] == watch.complaints()


@pytest.mark.slow
async def test_the_pages_can_be_read(gate, chromium):
    """Both languages, light and dark, 320 pixels wide: WCAG AA contrast, and nothing sticks out."""
    await program(gate, "ada")
    for scheme in ("light", "dark"):
        for language in ("en", "ko"):
            options = {"color_scheme": scheme, "locale": language}
            page = await signed_in(
                gate, chromium, "/shop", viewport={"width": 320, "height": 640}, **options
            )
            for path in ("/_auth/sessions?ended=1&programs=1", "/_auth/admin?subject=ada&ended=1"):
                await page.goto(f"{gate.url}{path}")
                assert language == await page.get_attribute("html", "lang")
                assert min(await page.evaluate(CONTRAST)) >= 4.5
                assert 320 >= await page.evaluate("document.documentElement.scrollWidth")
