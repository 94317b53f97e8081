"""The store goes away under traffic, and comes back: nobody is let through, nothing hangs."""

from __future__ import annotations

import asyncio
import json
import time

import aiohttp
import jwt
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from proxy.services.schemes.build import open_sessions
from proxy.services.sessions import Login
from tests.conftest import Valkey

SECRET = "s" * 64

CONFIG = """
store: {{url: "{store}", timeout: 300ms}}
secrets: {{key: "{key}"}}
upstreams: {{app: {{servers: ["{app}"]}}}}
schemes:
  web: {{type: session, format: native, cookie: sid}}
  shop: {{type: session, format: json, cookie: shop, prefix: "sess:", identity: {{subject: user.id}}}}
  api: {{type: jwt, issuer: "https://id.test", audience: [app], algorithms: [HS256], keys: {{secret: "{secret}"}}}}
  free:
    type: jwt
    issuer: "https://id.test"
    audience: [app]
    algorithms: [HS256]
    keys: {{secret: "{secret}"}}
    revocation: none
    max_lifetime: 10m
routes:
  - {{match: {{path: /public}}, auth: none, upstream: app}}
  - {{match: {{path: /web}}, auth: web, upstream: app}}
  - {{match: {{path: /shop}}, auth: shop, upstream: app}}
  - {{match: {{path: /api}}, auth: api, upstream: app}}
  - {{match: {{path: /free}}, auth: free, upstream: app}}
"""


async def _ok(request: web.Request) -> web.Response:
    return web.json_response({"subject": request.headers.get("X-Auth-Subject")})


@pytest.fixture
async def app():
    application = web.Application()
    application.router.add_get("/{tail:.*}", _ok)
    async with TestServer(application) as server:
        yield f"http://127.0.0.1:{server.port}"


@pytest.fixture
def own_valkey():
    """Give a server that the test may kill."""
    server = Valkey()
    server.start()
    try:
        yield server
    finally:
        server.remove()


@pytest.fixture
async def gate(start_gate, own_valkey, app):
    text = CONFIG.format(store=own_valkey.url, key="00" * 32, app=app, secret=SECRET)
    return await start_gate(text)


@pytest.fixture
async def ask(gate):
    """Return a function that asks every kind of route with good credentials."""
    config = gate.runtime.config
    sessions = open_sessions(config, config.schemes["web"], gate.runtime.store)
    made = await sessions.create(Login("ada"), time.time())
    now = int(time.time())
    claims = {"iss": "https://id.test", "aud": "app", "sub": "bo", "iat": now, "exp": now + 300}
    token = {"Authorization": f"Bearer {jwt.encode(claims, SECRET)}"}
    await gate.runtime.store.put("sess:abc123", json.dumps({"user": {"id": 7}}).encode())
    sent = {
        "/public": {},
        "/web": {"Cookie": f"sid={made.cookie}"},
        "/shop": {"Cookie": "shop=abc123"},
        "/api": token,
        "/free": token,
    }
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as client:

        async def all_routes():
            statuses = {}
            for path, headers in sent.items():
                async with client.get(gate.url + path, headers=headers) as answer:
                    statuses[path] = answer.status
                    if answer.status == 503:
                        assert answer.headers["Retry-After"]
                        assert (await answer.json())["code"] == "store_unavailable"
            return statuses

        yield all_routes


def states(gate):
    """Return what the tracked connections say of themselves."""
    return [tracked.source.state for tracked in gate.runtime.coherence.tracked.values()]


async def test_killing_the_store_is_503_and_starting_it_again_heals(gate, ask, own_valkey):
    """Routes whose credential needs the store are 503; `auth: none` and `revocation: none` go on."""
    up = dict.fromkeys(("/public", "/web", "/shop", "/api", "/free"), 200)
    assert await ask() == up
    own_valkey.kill()
    async with asyncio.timeout(20):
        # The end of the connection is heard before max_staleness is over, but not before it is heard.
        while "lost" not in states(gate):  # noqa: ASYNC110 - the server's end brings it about
            await asyncio.sleep(0.01)
        down = await ask()
    own_valkey.start()
    healed = await ask()
    async with asyncio.timeout(20):
        while 503 in healed.values():  # each connection to the store comes back for itself
            healed = await ask()

    assert down == {"/public": 200, "/web": 503, "/shop": 503, "/api": 503, "/free": 200}
    # The server had no log: its sessions are gone, and with the deny-list every older token is.
    assert healed == {"/public": 200, "/web": 401, "/shop": 401, "/api": 401, "/free": 200}


@pytest.mark.parametrize(
    "record",
    [
        b"",
        b"not json",
        b"\xff\xfe",
        b"[]",
        b"null",
        b'{"v": 1}',
        b'{"v": 2, "sub": "eve", "created_at": 0, "expires_at": 99999999999}',
        b'{"v": 1, "sub": ["eve"], "created_at": 0, "expires_at": 99999999999}',
        b'{"v": 1, "sub": "eve", "sub": "bob", "created_at": 0, "expires_at": 99999999999}',
        b'{"v": 1, "sub": "eve", "created_at": "0", "expires_at": NaN}',
        b"[" * 100_000,
        b'{"v": 1, "sub": "' + b"x" * 10_000_000 + b'"}',
    ],
    ids=lambda record: repr(record[:24]),
)
async def test_a_record_that_does_not_fit_is_no_session(gate, record):
    """reference.md §4: 401 and one log line, for both formats; never a 500."""
    config = gate.runtime.config
    sessions = open_sessions(config, config.schemes["web"], gate.runtime.store)
    made = await sessions.create(Login("ada"), time.time())
    await gate.runtime.store.put(sessions.session_key(made.digest), record)
    await gate.runtime.store.put("sess:abc", record)
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as client:
        for path, cookie in (("/web", f"sid={made.cookie}"), ("/shop", "shop=abc")):
            async with client.get(gate.url + path, headers={"Cookie": cookie}) as answer:
                assert (answer.status, (await answer.json())["code"]) == (401, "session_unknown")

    assert [record.code for record in gate.records] == ["session_unknown", "session_unknown"]
