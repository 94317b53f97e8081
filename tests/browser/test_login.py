"""Signing in with a browser: by keyboard, without a script, in two languages, light and dark."""

from __future__ import annotations

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from proxy.adapters.passwords import hash_password
from proxy.adapters.users_file import edit_users
from tests.browser.test_pages import CONTRAST, LOGO, Watch

PASSWORD = "correct horse"

CONFIG = """
store: {{url: "{store}"}}
branding: {{name: "The Corner Shop", logo: logo.svg}}
upstreams: {{app: {{servers: ["{app}"]}}}}
schemes:
  web: {{type: session, format: native}}
login: {{scheme: web, users: {{file: users.yaml}}}}
routes:
  - {{match: {{path: /**}}, auth: web, upstream: app}}
"""


async def _application(request: web.Request) -> web.Response:
    text = f"<!DOCTYPE html><title>x</title><h1>{request.headers['X-Auth-Subject']}</h1>"
    return web.Response(text=f"{text}<p>{request.path_qs}</p>", content_type="text/html")


@pytest.fixture
async def gate(start_gate, tmp_path, valkey):
    application = web.Application()
    application.router.add_route("*", "/{tail:.*}", _application)
    (tmp_path / "logo.svg").write_text(LOGO)
    user = {"password": hash_password(PASSWORD).text, "name": "Ada"}
    edit_users(tmp_path / "users.yaml", lambda users: users.update(ada=user) or True)
    async with TestServer(application) as server:
        app = f"http://127.0.0.1:{server.port}"
        yield await start_gate(CONFIG.format(app=app, store=valkey.url))


@pytest.mark.slow
@pytest.mark.parametrize("has_script", [True, False])
async def test_a_person_signs_in_and_is_back_where_they_were(gate, chromium, has_script):
    """By keyboard alone, with and without JavaScript; wrong once, then right, then out."""
    context = await chromium.new_context(java_script_enabled=has_script)
    page = await context.new_page()
    watch = Watch(page)
    await page.goto(f"{gate.url}/orders?page=2")
    assert "Sign in" == await page.inner_text("h1")
    await page.keyboard.type("ada")  # the first field has the focus
    await page.keyboard.press("Tab")
    await page.keyboard.type("wrong")
    await page.keyboard.press("Enter")
    await page.wait_for_selector(".error")
    assert "ada" == await page.input_value("#username")
    assert "" == await page.input_value("#password")
    await page.keyboard.type(PASSWORD)  # now the password's has it
    await page.keyboard.press("Enter")
    await page.wait_for_selector("text=/orders?page=2")

    assert f"{gate.url}/orders?page=2" == page.url
    assert "ada" == await page.inner_text("h1")
    (cookie,) = [each for each in await context.cookies() if each["name"] == "sid"]
    assert (True, "Lax", -1) == (cookie["httpOnly"], cookie["sameSite"], cookie["expires"])
    await page.goto(f"{gate.url}/_auth/login")
    assert "You are signed in as Ada." in await page.inner_text("main")
    await page.click("text=Sign out")
    await page.wait_for_selector("text=You are signed out.")
    await page.goto(f"{gate.url}/orders")
    assert "/_auth/login?next=%2Forders" in page.url
    assert [] == [text for text in watch.complaints() if "Cleared data types" not in text]


@pytest.mark.slow
async def test_the_page_can_be_read(gate, chromium, tmp_path):
    """Both languages, light and dark, 320 pixels wide: WCAG AA contrast, and nothing sticks out."""
    for scheme in ("light", "dark"):
        for language, heading in (("en", "Sign in"), ("ko", "로그인")):
            context = await chromium.new_context(
                color_scheme=scheme, viewport={"width": 320, "height": 640}, locale=language
            )
            page = await context.new_page()
            watch = Watch(page)
            await page.goto(f"{gate.url}/_auth/login")
            await page.fill("#username", "nobody")
            await page.fill("#password", "x")
            await page.press("#password", "Enter")
            await page.wait_for_selector(".error")

            assert heading == await page.inner_text("h1")
            assert min(await page.evaluate(CONTRAST)) >= 4.5
            assert 320 >= await page.evaluate("document.documentElement.scrollWidth")
            assert [] == watch.complaints()
            await page.screenshot(path=tmp_path / f"{scheme}-{language}.png")
            await context.close()


@pytest.mark.slow
async def test_a_language_that_was_chosen_stays(gate, chromium):
    """From English to Korean by the link, and Korean when the form comes back."""
    page = await chromium.new_page()
    await page.goto(f"{gate.url}/orders")
    await page.click("text=한국어")
    await page.wait_for_selector("h1:has-text('로그인')")
    await page.fill("#username", "ada")
    await page.fill("#password", "wrong")
    await page.press("#password", "Enter")
    await page.wait_for_selector(".error")
    assert "ko" == await page.get_attribute("html", "lang")
    await page.fill("#password", PASSWORD)
    await page.press("#password", "Enter")
    await page.wait_for_selector("text=/orders")
