"""An app set up, a factor proved again and a second step, in a real browser without a script."""

from __future__ import annotations

import base64
import time

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from proxy.adapters.passwords import hash_password
from proxy.adapters.users_file import edit_users
from proxy.core.otp import code_at
from proxy.services.sessions import Login
from tests.browser.test_pages import CONTRAST, Watch

PASSWORD = "correct horse"
CONFIG = """
store: {{url: "{store}"}}
secrets: {{key: "{key}"}}
upstreams: {{app: {{servers: ["{app}"]}}}}
schemes:
  web: {{type: session, format: native}}
login: {{scheme: web, users: {{file: users.yaml}}}}
routes:
  - {{match: {{path: /**}}, auth: web, upstream: app}}
  - {{match: {{path: /admin/**}}, auth: web, upstream: app, require: {{mfa_within: 15m}}}}
"""
CODE_LINES = """() => [...document.querySelectorAll('ol.codes code')]
  .map(code => code.getClientRects().length)"""
"""In how many pieces each recovery code is shown."""
GAP = """() => document.querySelector('.hint').getBoundingClientRect().top -
  document.querySelector('#code').getBoundingClientRect().bottom"""
"""Between the field and its hint, in pixels."""


async def _application(request: web.Request) -> web.Response:
    text = f"<!DOCTYPE html><title>x</title><h1>{request.path_qs}</h1>"
    return web.Response(text=text, content_type="text/html")


@pytest.fixture
async def gate(start_gate, tmp_path, valkey):
    application = web.Application()
    application.router.add_route("*", "/{tail:.*}", _application)
    user = {"password": hash_password(PASSWORD).text}
    edit_users(tmp_path / "users.yaml", lambda users: users.update(ada=user) or True)
    async with TestServer(application) as server:
        app = f"http://127.0.0.1:{server.port}"
        yield await start_gate(CONFIG.format(app=app, store=valkey.url, key="ab" * 32))


async def sign_in(page, gate, path="/"):
    """Give name and password."""
    await page.goto(gate.url + path)
    await page.fill("#username", "ada")
    await page.fill("#password", PASSWORD)
    await page.press("#password", "Enter")


async def set_up(page):
    """Set an app up on the page that is open; return its secret."""
    await page.click("text=Set up an app")
    return await confirm(page)


async def confirm(page):
    """Enter the first code of the app that the page shows; return its secret."""
    await page.wait_for_selector("img.qr")
    secret = base64.b32decode((await page.inner_text("main code")).replace(" ", ""))
    await page.fill("#code", code_at(secret, time.time()))
    await page.press("#code", "Enter")
    await page.wait_for_selector("ol.codes")
    return secret


@pytest.mark.slow
@pytest.mark.parametrize("has_script", [True, False])
async def test_a_person_sets_an_app_up_and_is_asked_for_it(gate, chromium, has_script):
    """From a page that wants two factors to the app, back to the page; then at the next sign-in."""
    context = await chromium.new_context(java_script_enabled=has_script)
    page = await context.new_page()
    watch = Watch(page)
    await sign_in(page, gate, "/admin/users?page=2")
    await page.wait_for_selector("text=no app set up")
    await page.click("text=Set up an app")
    secret = await set_up(page)
    codes = await page.locator("ol.codes code").all_inner_texts()
    assert 10 == len(set(codes))
    await page.click("main a:has-text('Continue')")
    assert "/admin/users?page=2" == await page.inner_text("h1")

    await context.clear_cookies()
    await sign_in(page, gate, "/admin/users?page=3")
    await page.wait_for_selector("text=One more step")
    await page.keyboard.type("000000")  # the only field has the focus
    await page.keyboard.press("Enter")
    await page.wait_for_selector(".error")
    await page.keyboard.type(code_at(secret, time.time() + 30))
    await page.keyboard.press("Enter")
    await page.wait_for_selector("h1:has-text('users?page=3')")
    assert [] == watch.complaints()


@pytest.mark.slow
async def test_a_person_proves_a_factor_again_and_is_back_where_they_were(gate, chromium):
    """With a recovery code, by keyboard, at a page that wants a fresh one."""
    page = await (await chromium.new_context(java_script_enabled=False)).new_page()
    watch = Watch(page)
    otp = gate.runtime.own.step_up.otp
    then = time.time() - 300
    begun = await otp.begin("ada", "d", then)
    assert await otp.confirm("ada", "d", code_at(base64.b32decode(begun.secret), then), then)
    sessions = gate.runtime.own.login.sessions
    made = await sessions.create(Login("ada", amr=("pwd",)), time.time())
    await page.context.add_cookies([{"name": "sid", "value": made.cookie, "url": gate.url}])
    await page.goto(f"{gate.url}/admin/a?b=c")
    assert "Is it still you?" == await page.inner_text("h1")
    await page.keyboard.type("wrong")
    await page.keyboard.press("Enter")
    await page.wait_for_selector(".error")
    await page.keyboard.type(begun.recovery_codes[0])
    await page.keyboard.press("Enter")
    await page.wait_for_selector("h1:has-text('/admin/a?b=c')")

    assert f"{gate.url}/admin/a?b=c" == page.url
    assert [] == watch.complaints()


@pytest.mark.slow
async def test_the_pages_can_be_read(gate, chromium, tmp_path):
    """Both languages, light and dark, 320 pixels wide: WCAG AA contrast, nothing sticks out or is covered."""
    otp = gate.runtime.own.step_up.otp
    for scheme in ("light", "dark"):
        for language in ("en", "ko"):
            await otp.remove("ada")
            context = await chromium.new_context(
                color_scheme=scheme, viewport={"width": 320, "height": 640}, locale=language
            )
            page = await context.new_page()
            watch = Watch(page)
            await sign_in(page, gate)
            for number, show in enumerate(
                (
                    lambda page=page: page.goto(f"{gate.url}/_auth/step-up"),
                    lambda page=page: page.goto(f"{gate.url}/_auth/otp"),
                    lambda page=page: page.click("main button"),
                    lambda page=page: confirm(page),
                )
            ):
                await show()
                await page.wait_for_load_state()
                assert language == await page.get_attribute("html", "lang")
                assert min(await page.evaluate(CONTRAST)) >= 4.5
                assert 320 >= await page.evaluate("document.documentElement.scrollWidth")
                await page.screenshot(
                    path=tmp_path / f"{scheme}-{language}-{number}.png", full_page=True
                )
            assert {1} == set(await page.evaluate(CODE_LINES))
            await page.goto(f"{gate.url}/_auth/step-up")
            assert await page.evaluate(GAP) > 6  # the ring around the field is drawn so far out
            assert [] == watch.complaints()
            await context.close()
