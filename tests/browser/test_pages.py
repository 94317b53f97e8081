"""The gate's pages in a browser: seen, read, and closed to everything that a page could do."""

from __future__ import annotations

import time

import jwt
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

SECRET = "s" * 64

CONFIG = """
server: {{trusted_proxies: ["127.0.0.1"]}}
store: {{url: "unix:///nobody/listens/here"}}
secrets: {{key: "{key}"}}
branding: {{name: "The Corner Shop", logo: logo.svg}}
upstreams: {{app: {{servers: ["{app}"]}}}}
schemes:
  web: {{type: session, format: native, cookie: sid}}
  api:
    type: jwt
    issuer: "https://id.test"
    audience: [app]
    algorithms: [HS256]
    keys: {{secret: "{secret}"}}
    from: [{{cookie: token}}]
    revocation: none
    max_lifetime: 10m
routes:
  - {{match: {{path: /}}, auth: none, upstream: app}}
  - {{match: {{path: /form}}, auth: none, upstream: app}}
  - {{match: {{path: /web}}, auth: web, upstream: app}}
  - {{match: {{path: /api}}, auth: api, upstream: app}}
  - {{match: {{path: /admin}}, auth: api, require: {{roles: [admin]}}, upstream: app}}
"""

LOGO = """<svg xmlns="http://www.w3.org/2000/svg" width="48" height="24" onload="top.hit = 1">
<style>rect { fill: #c33 }</style><script>top.hit = 1</script><rect width="48" height="24"/></svg>"""

FORM = '<form method="post" action="/api"><input name="a" value="b"><button>Send</button></form>'

CONTRAST = """() => {
  const parse = text => text.match(/[0-9.]+/g).map(Number)
  const light = ([r, g, b]) => [r, g, b].map(v => v / 255)
    .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0)
  const behind = node => {
    for (; node; node = node.parentElement) {
      const colour = parse(getComputedStyle(node).backgroundColor)
      if (colour[3] !== 0) return colour
    }
  }
  return [...document.querySelectorAll('span, p, h1, h2, a, code')].map(node => {
    const [low, high] = [light(parse(getComputedStyle(node).color)), light(behind(node))].sort((a, b) => a - b)
    return (high + 0.05) / (low + 0.05)
  })
}"""
"""The contrast of every text with what is behind it, as WCAG 2 measures it."""


INTRUSION = """() => new Promise(resolve => {
  const refused = new Set()
  addEventListener('securitypolicyviolation', event => {
    refused.add(event.effectiveDirective)
    if (refused.size === 5) resolve([...refused].sort())
  })
  document.body.innerHTML += '<img src="/x.png"><i style="color: red"></i>' +
    '<form action="/"></form><iframe src="/"></iframe>'
  const script = document.createElement('script')
  script.textContent = 'window.hit = 1'
  document.body.append(script)
  document.forms[0].submit()
})"""
"""What somebody might get into the page; returns the directives that refused it."""


def token():
    now = int(time.time())
    claims = {"iss": "https://id.test", "aud": "app", "sub": "ada", "iat": now, "exp": now + 300}
    return jwt.encode(claims, SECRET, algorithm="HS256")


def cookie(gate, name, value):
    return {"name": name, "value": value, "url": gate.url}


async def _application(request: web.Request) -> web.Response:
    body = FORM if request.path == "/form" else "<h1>The application</h1>"
    return web.Response(text=f"<!DOCTYPE html>{body}", content_type="text/html")


@pytest.fixture
async def gate(start_gate, tmp_path):
    application = web.Application()
    application.router.add_route("*", "/{tail:.*}", _application)
    (tmp_path / "logo.svg").write_text(LOGO)
    async with TestServer(application) as server:
        app = f"http://127.0.0.1:{server.port}"
        yield await start_gate(CONFIG.format(app=app, key="00" * 32, secret=SECRET))


class Watch:
    """What a page asked for and what the console said."""

    def __init__(self, page) -> None:
        self.fetched: list[str] = []
        self.said: list[str] = []
        page.on("request", lambda request: self.fetched.append(request.url))
        page.on("console", lambda message: self.said.append(message.text))
        page.on("pageerror", lambda error: self.said.append(str(error)))

    def complaints(self) -> list[str]:
        """Return what the console said beyond the status of the answer."""
        return [text for text in self.said if "responded with a status of" not in text]


@pytest.mark.slow
async def test_people_see_a_page_that_asks_for_nothing_else(gate, chromium):
    """401, 403, 404 and 503: one request each, and no complaint of the Content-Security-Policy."""
    context = await chromium.new_context()
    await context.add_cookies([cookie(gate, "token", token())])
    for path, status, heading in [
        ("/web", 401, "Please sign in."),
        ("/admin", 403, "You do not have a role that opens this."),
        ("/nothing", 404, "There is nothing here."),
        ("/web", 503, "Sessions cannot be looked up at the moment."),
    ]:
        if status == 503:
            await context.add_cookies([cookie(gate, "sid", "a" * 43)])
        page = await context.new_page()
        watch = Watch(page)
        answer = await page.goto(gate.url + path)

        assert (status, heading) == (answer.status, await page.inner_text("h1"))
        assert "The Corner Shop" in await page.inner_text("header")
        assert (await gate.next_record()).request_id in await page.inner_text("footer")
        assert [gate.url + path] == [url for url in watch.fetched if not url.startswith("data:")]
        assert [] == watch.complaints()
        await page.close()


@pytest.mark.slow
async def test_nothing_on_a_page_runs(gate, chromium):
    """The logo shows, its scripts do not run, and what gets into the page is refused by the policy."""
    page = await chromium.new_page()
    await page.goto(gate.url + "/nothing")
    assert 48 == await page.evaluate("document.images[0].naturalWidth")
    assert await page.evaluate("window.hit") is None

    assert [
        "form-action",
        "frame-src",
        "img-src",
        "script-src-elem",
        "style-src-attr",
    ] == await page.evaluate(INTRUSION)
    assert await page.evaluate("window.hit") is None
    assert ["/nothing"] == [record.path for record in gate.records]


@pytest.mark.slow
async def test_a_page_can_be_read(gate, chromium):
    """Light and dark: every text has the contrast of WCAG AA, and 320 pixels are wide enough."""
    brightness = {}
    for scheme in ("light", "dark"):
        context = await chromium.new_context(
            color_scheme=scheme,
            viewport={"width": 320, "height": 480},
            extra_http_headers={"X-Request-Id": "W" * 128},
        )
        page = await context.new_page()
        await page.goto(gate.url + "/nothing")
        paper = await page.evaluate("getComputedStyle(document.body).backgroundColor")
        brightness[scheme] = sum(map(int, paper[4:-1].split(",")))

        assert min(await page.evaluate(CONTRAST)) >= 4.5
        assert "W" * 128 in await page.inner_text("footer")
        assert await page.evaluate("document.documentElement.scrollWidth") <= 320
    assert brightness["light"] > 700
    assert brightness["dark"] < 100


@pytest.mark.slow
async def test_trying_again_after_signing_in_opens_the_page(gate, chromium):
    """The link asks for the same address, query included."""
    context = await chromium.new_context()
    page = await context.new_page()
    await page.goto(gate.url + "/api?page=2")
    assert "Please sign in." == await page.inner_text("h1")

    await context.add_cookies([cookie(gate, "token", token())])
    await page.click("text=Try again")

    assert "The application" == await page.inner_text("h1")
    assert gate.url + "/api?page=2" == page.url


@pytest.mark.slow
async def test_a_form_that_lost_its_session_gets_a_page_and_a_way_back(gate, chromium):
    """No redirect: the browser stays at the form's address, and the link leads to the start."""
    page = await chromium.new_page()
    await page.goto(gate.url + "/form")
    await page.click("button")
    assert ("Please sign in.", gate.url + "/api") == (await page.inner_text("h1"), page.url)

    await page.click("text=Go to the start page")

    assert ("The application", gate.url + "/") == (await page.inner_text("h1"), page.url)


@pytest.mark.slow
async def test_a_script_gets_the_document(gate, chromium):
    """fetch() is no navigation, whatever it accepts."""
    page = await chromium.new_page()
    await page.goto(gate.url + "/")
    told = await page.evaluate("""async () => {
      const answer = await fetch('/api', {headers: {Accept: 'text/html'}})
      return [answer.headers.get('Content-Type'), (await answer.json()).code]
    }""")

    assert ["application/problem+json", "credential_missing"] == told
