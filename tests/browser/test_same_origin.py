"""A script of an application on the gate's own host, in a real browser, against the pages of factors."""

from __future__ import annotations

import time

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from proxy.adapters.passwords import hash_password
from proxy.adapters.users_file import edit_users
from proxy.services.sessions import Login

CONFIG = """
store: {{url: "{store}"}}
secrets: {{key: "{key}"}}
upstreams: {{app: {{servers: ["{app}"]}}}}
schemes:
  web: {{type: session, format: native}}
login: {{scheme: web, users: {{file: users.yaml}}, administrators: {{roles: [gate-admin]}}}}
routes:
  - {{match: {{path: /**}}, auth: web, upstream: app}}
"""
LOOK = """async (path) => {
  const found = window.opened;
  for (let n = 0; n < 50; n++) {
    await new Promise(done => setTimeout(done, 100));
    try {
      const page = found.document;
      if (page.location.pathname === path && page.readyState === 'complete' && page.body.innerText)
        return page.body.innerText;
    } catch (refused) {}
  }
  return 'nothing';
}"""
"""Read what a window shows that this page has opened, as soon as it is there."""
SEND = """([path, fields]) => {
  const form = document.createElement('form');
  Object.assign(form, {method: 'post', action: path, target: '_blank'});
  for (const [name, value] of Object.entries(fields))
    form.append(Object.assign(document.createElement('input'), {name, value}));
  document.body.append(form);
  form.submit();
}"""
"""Send a form to a window of its own, as the page of the gate would."""


async def _application(_request: web.Request) -> web.Response:
    text = "<!DOCTYPE html><title>x</title><button>Click me</button>"
    return web.Response(text=text, content_type="text/html")


@pytest.fixture
async def gate(start_gate, tmp_path, valkey):
    application = web.Application()
    application.router.add_route("*", "/{tail:.*}", _application)
    user = {"password": hash_password("correct horse").text}
    edit_users(tmp_path / "users.yaml", lambda users: users.update(ada=user) or True)
    async with TestServer(application) as server:
        app = f"http://127.0.0.1:{server.port}"
        yield await start_gate(CONFIG.format(app=app, store=valkey.url, key="ab" * 32))


@pytest.fixture
async def page(gate, chromium):
    """Show a page of the application to somebody who has just signed in."""
    context = await chromium.new_context()
    page = await context.new_page()
    login = Login("ada", amr=("pwd", "otp", "mfa"), roles=("gate-admin",))
    made = await gate.runtime.own.login.sessions.create(login, time.time())
    await context.add_cookies([{"name": "sid", "value": made.cookie, "url": gate.url}])
    await page.goto(f"{gate.url}/app")
    yield page
    await context.close()


async def opened(page, path):
    """Let the application open a window, with a click as every browser wants it; return what it reads there."""
    await page.evaluate(
        "path => document.querySelector('button').onclick = () => { window.opened = open(path) }",
        path,
    )
    await page.click("button")
    return await page.evaluate(LOOK, path)


@pytest.mark.slow
@pytest.mark.parametrize("path", ["/_auth/otp", "/_auth/admin"])
async def test_s6_a_script_reads_nothing_in_a_window_that_it_opens(page, path):
    """S6: the pages where factors change, and where sessions are administered, are no application's."""
    assert "nothing" != await opened(page, "/app")
    assert "nothing" == await opened(page, path)


@pytest.mark.slow
async def test_s6_a_form_of_a_script_changes_no_factor(page, gate):
    """S6: a form is believed only from the page of the gate, which scripts cannot read."""
    otp = gate.runtime.own.step_up.otp
    record, pending = otp.record_key("ada"), otp.pending_key("ada")
    store = gate.runtime.store
    await store.put(record, b"an app", ttl_s=60)
    for action in ("remove", "begin", "renew"):
        async with page.context.expect_page() as shown:
            await page.evaluate(SEND, ["/_auth/otp", {"action": action}])
        window = await shown.value
        await window.wait_for_load_state()
        assert "403" in await window.inner_text("body")
        await window.close()

    assert [b"an app", None] == await store.fetch([record, pending])
