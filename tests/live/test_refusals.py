"""Refusals as people and programs get them, and the request id that ties them to the log."""

from __future__ import annotations

import html
import json
import time

import aiohttp
import jwt
import pytest

from proxy.codes import CODES
from tests.byte_server import REQUEST, ByteServer, Close

SECRET = "s" * 64
DEAD = "127.0.0.1:9"
"""Nobody listens on the port of the discard service."""

CONFIG = """
server: {{trusted_proxies: [{trusted}], limits: {{body_size: 1KiB}}}}
store: {{url: "unix:///nobody/listens/here"}}
secrets: {{key: "{key}"}}
branding: {{name: "Anna's <Shop>", logo: logo.svg}}
upstreams:
  app: {{servers: ["{app}"], timeouts: {{response: {patience}}}}}
  dead: {{servers: ["http://{dead}"]}}
schemes:
  web: {{type: session, format: native, cookie: sid}}
  api:
    type: jwt
    issuer: "https://id.test"
    audience: [app]
    algorithms: [HS256]
    keys: {{secret: "{secret}"}}
    from: [{{cookie: token}}, bearer]
    revocation: none
    max_lifetime: 10m
routes:
  - {{match: {{path: /public/**}}, auth: none, upstream: app}}
  - {{match: {{path: /dead}}, auth: none, upstream: dead}}
  - {{match: {{path: /read, methods: [GET]}}, auth: none, upstream: app}}
  - {{match: {{path: /web}}, auth: web, upstream: app}}
  - match: {{path: /api}}
    auth: api
    upstream: app
    cors: {{origins: ["https://app.example.com"]}}
  - {{match: {{path: /admin}}, auth: api, require: {{roles: [admin]}}, upstream: app}}
"""

LOGO = '<svg xmlns="http://www.w3.org/2000/svg"/>'
NAVIGATE = {"Sec-Fetch-Mode": "navigate", "Accept": "text/html"}
FETCH = {"Sec-Fetch-Mode": "cors", "Accept": "text/html"}
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def token():
    now = int(time.time())
    claims = {"iss": "https://id.test", "aud": "app", "sub": "ada", "iat": now, "exp": now + 300}
    return jwt.encode(claims, SECRET, algorithm="HS256")


@pytest.fixture
async def client():
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:
        yield session


@pytest.fixture
async def before(start_gate, tmp_path):
    """Return a function that starts a gate before a server that plays `scripts`."""
    servers = []

    async def start(*scripts, trusted="", patience="30s"):
        server = ByteServer(scripts)
        await server.start()
        servers.append(server)
        (tmp_path / "logo.svg").write_text(LOGO)
        text = CONFIG.format(
            app=server.address,
            dead=DEAD,
            key="00" * 32,
            secret=SECRET,
            trusted=trusted,
            patience=patience,
        )
        return await start_gate(text), server

    yield start
    for server in servers:
        await server.stop()


def upstream_id(server):
    lines = bytes(server.seen[0].received).lower().split(b"\r\n")
    (line,) = [line for line in lines if line.startswith(b"x-request-id:")]
    return line.partition(b": ")[2].decode()


REFUSED = [
    ("GET", "/web", {}, "credential_missing"),
    ("GET", "/api", {"Authorization": "Bearer x.y.z"}, "token_invalid"),
    ("GET", "/admin", {"Cookie": "token={token}"}, "role_missing"),
    ("POST", "/api", {"Cookie": "token={token}", "Sec-Fetch-Site": "cross-site"}, "cross_site"),
    ("GET", "/nothing?secret=marker", {"X-Marker": "marker"}, "route_not_found"),
    ("POST", "/read", {}, "method_not_allowed"),
    ("GET", "/public/%2e%2e/web", {}, "path_ambiguous"),
    ("GET", "/web", {"Cookie": "sid=marker; sid=other"}, "cookie_duplicate"),
    ("POST", "/public/upload", {"Content-Length": "4096"}, "body_too_large"),
    ("GET", "/dead", {}, "upstream_unreachable"),
    ("GET", "/web", {"Cookie": "sid=" + "a" * 43}, "store_unavailable"),
]


@pytest.mark.parametrize(("method", "path", "headers", "code"), REFUSED)
async def test_a_person_gets_a_page_and_a_program_a_document(before, method, path, headers, code):
    """The same status, code and headers; only the form differs, and no word of the request."""
    gate, _ = await before()
    raw = {name: value.format(token=token()) for name, value in headers.items()}
    answers = []
    for kind in (NAVIGATE, FETCH):
        lines = {"Host": "gate", "Connection": "close", **raw, **kind}
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        data = await gate.exchange(f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode())
        top, _, body = data.partition(b"\r\n\r\n")
        status, *rest = top.decode().split("\r\n")
        answers.append((int(status.split()[1]), [line.split(": ", 1) for line in rest], body))
        assert (await gate.next_record()).code == code
    (page_status, page_lines, page), (status, lines, document) = answers

    assert (CODES[code].status,) * 2 == (page_status, status)
    assert page.startswith(b"<!DOCTYPE html>")
    assert CODES[code].remedy in html.unescape(page.decode())
    assert code == json.loads(document)["code"]
    assert b"marker" not in page + document
    own = {"Content-Type", "Content-Security-Policy", "Referrer-Policy"}
    varying = {*own, "Content-Length", "X-Request-Id", "Date"}
    assert [line for line in lines if line[0] not in varying] == [
        line for line in page_lines if line[0] not in varying
    ]
    assert own <= {name for name, _ in page_lines}


async def test_what_goes_with_a_refusal_goes_with_its_page(before, client):
    """Challenges, Allow, Retry-After and expired cookies are not lost to the looks."""
    gate, _ = await before()

    async def headers(path, method="GET", **more):
        async with client.request(method, gate.url + path, headers={**NAVIGATE, **more}) as answer:
            assert answer.content_type == "text/html"
            return answer.headers

    assert 'Cookie realm="web"' == (await headers("/web"))["WWW-Authenticate"]
    assert "GET, HEAD" == (await headers("/read", "POST"))["Allow"]
    assert "1" == (await headers("/web", Cookie="sid=" + "a" * 43))["Retry-After"]
    twice = (await headers("/web", Cookie="sid=a; sid=b")).getall("Set-Cookie")
    assert all("sid=;" in cookie for cookie in twice)


async def test_a_script_of_another_origin_can_read_its_refusal(before, client):
    """With `cors` the document carries the CORS headers, and the page those as well."""
    gate, _ = await before()
    origin = "https://app.example.com"
    for kind in (NAVIGATE, FETCH):
        async with client.get(gate.url + "/api", headers={"Origin": origin, **kind}) as answer:
            assert (401, origin) == (answer.status, answer.headers["Access-Control-Allow-Origin"])


async def test_head_gets_the_head_of_the_page_alone(before):
    """HEAD: the page's headers, its length, and not a byte of it."""
    gate, _ = await before()
    head = (
        b"HEAD /web HTTP/1.1\r\nHost: gate\r\nConnection: close\r\nSec-Fetch-Mode: navigate\r\n\r\n"
    )
    told = await gate.exchange(head)
    page = await gate.exchange(head.replace(b"HEAD /", b"GET /"))
    body = page.partition(b"\r\n\r\n")[2]

    assert told.endswith(b"\r\n\r\n")
    assert b"\r\nContent-Length: %d\r\n" % len(body) in told
    assert b"\r\nContent-Type: text/html; charset=utf-8\r\n" in told


async def test_a_refused_form_gets_a_page_with_a_link_and_no_redirect(before, client):
    """What was typed is not silently turned into a GET somewhere else."""
    gate, _ = await before()
    async with client.post(
        gate.url + "/web", headers=NAVIGATE, data={"a": "b"}, allow_redirects=False
    ) as answer:
        page = await answer.text()

    assert (401, None) == (answer.status, answer.headers.get("Location"))
    assert '<a href="/">' in page


async def test_an_upgrade_is_refused_in_the_words_of_programs(before, client):
    """A WebSocket cannot show a page."""
    gate, _ = await before()
    headers = {"Upgrade": "websocket", "Connection": "Upgrade", "Accept": "text/html"}
    async with client.get(gate.url + "/web", headers=headers) as answer:
        assert (401, "application/problem+json") == (answer.status, answer.content_type)


async def test_the_page_has_the_name_and_logo_of_the_file(before, client):
    """`branding` is shown, as text and as a picture inside the page."""
    gate, _ = await before()
    async with client.get(gate.url + "/nothing", headers=NAVIGATE) as answer:
        page = await answer.text()

    assert "<span>Anna&#39;s &lt;Shop&gt;</span>" in page
    assert '<img src="data:image/svg+xml;base64,' in page


# The request id


async def test_a_forwarded_request_has_one_id(before, client):
    """What the upstream was sent is what the log and the answer say."""
    gate, server = await before([REQUEST, OK])
    async with client.get(gate.url + "/public/x", headers={"X-Request-Id": "mine"}) as answer:
        assert 200 == answer.status
    record = await gate.next_record()

    assert upstream_id(server) == answer.headers["X-Request-Id"] == record.request_id
    assert record.request_id != "mine"


@pytest.mark.parametrize(
    ("script", "code"),
    [
        ([REQUEST], "upstream_timeout"),
        ([REQUEST, b"nonsense\r\n\r\n", Close()], "upstream_invalid"),
    ],
)
@pytest.mark.parametrize("kind", [NAVIGATE, FETCH])
async def test_a_failed_request_has_one_id_in_all_three_places(before, client, script, code, kind):
    """The refusal, its header, the upstream's request and the log line agree."""
    gate, server = await before(script, patience="300ms")
    async with client.post(gate.url + "/public/x", headers=kind) as answer:
        body = await answer.text()
    record = await gate.next_record()

    assert code == record.code
    assert record.request_id == upstream_id(server)
    assert record.request_id == answer.headers["X-Request-Id"]
    assert record.request_id in body


@pytest.mark.parametrize("kind", [NAVIGATE, FETCH])
async def test_a_refused_request_has_one_id(before, client, kind):
    """The refusal, its header and the log line agree."""
    gate, server = await before()
    async with client.get(gate.url + "/web", headers=kind) as answer:
        body = await answer.text()
    record = await gate.next_record()

    assert record.request_id == answer.headers["X-Request-Id"]
    assert record.request_id in body
    assert [] == server.seen


async def test_the_id_of_a_trusted_peer_is_kept_and_stays_text(before, client):
    """It is in all three places, and on the page without its meaning for HTML."""
    gate, server = await before([REQUEST, Close()], trusted='"127.0.0.0/8"')
    chosen = "<b>'\"&lt;"
    headers = {"X-Request-Id": chosen, **NAVIGATE}
    async with client.post(gate.url + "/public/x", headers=headers) as answer:
        page = await answer.text()
    record = await gate.next_record()

    assert (chosen,) * 3 == (answer.headers["X-Request-Id"], record.request_id, upstream_id(server))
    assert "<code>&lt;b&gt;&#x27;&quot;&amp;lt;</code>" in page


async def test_what_is_no_request_has_an_id_too(before):
    """Before a head is read nobody knows who asks: a document, with the log line's id."""
    gate, _ = await before()
    answer = await gate.exchange(b"GET / HTTP/1.1\r\nAccept: text/html\r\nHost : gate\r\n\r\n")
    document = json.loads(answer.partition(b"\r\n\r\n")[2])
    record = await gate.next_record()

    assert ("bad_request", record.request_id) == (document["code"], document["request_id"])


class BrokenGate:
    """A gate with a mistake in it."""

    def __init__(self, rules):
        self.rules = rules

    async def decide(self, view, now, *, fresh=None):
        del view, now, fresh
        raise ZeroDivisionError

    def decide_now(self, view, now):
        del view, now
        raise ZeroDivisionError


@pytest.mark.parametrize("kind", [NAVIGATE, FETCH])
async def test_a_mistake_of_the_gate_has_one_id(before, client, kind, caplog):
    """500 without a decision: the log line can be found all the same."""
    gate, _ = await before()
    gate.runtime.gate = BrokenGate(gate.runtime.gate.rules)
    if gate.server.lane is not None:
        gate.server.lane.gate = gate.runtime.gate
    async with client.get(gate.url + "/web", headers=kind) as answer:
        body = await answer.text()
    record = await gate.next_record()

    assert (500, "internal_error") == (answer.status, record.code)
    assert record.request_id == answer.headers["X-Request-Id"]
    assert record.request_id in body
    assert f"request {record.request_id} ended in an error" in caplog.text
