"""Cookies of applications in every spelling that the application itself takes for its session's.

The gate and the application must mean the same session: else one of two is known at the gate, and the other
one acts in the application.
"""

from __future__ import annotations

import json

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

ADA, MALLORY = "a" * 32, "b" * 32
CONFIG = """
upstreams: {{app: {{servers: ["http://127.0.0.1:{port}"]}}}}
schemes:
  shop:
    type: session
    format: php
    cookie: my_shop.session
    store: "{store}"
    identity: {{subject: user}}
routes:
  - {{match: {{path: /**}}, auth: shop, upstream: app}}
"""
TWINS = [
    "my.shop_session", "my_shop_session", "my shop.session", "my[shop.session", "my_shop.session[a]",
    "my.shop.session[]",
]  # fmt: skip
"""Names of which PHP 8.2 makes `my_shop_session`, as it does of the configured one."""


@pytest.fixture
async def app():
    """Serve an empty answer to everybody."""

    async def answer(_request):
        return web.Response()

    made = web.Application()
    made.router.add_get("/", answer)
    server = TestServer(made)
    await server.start_server()
    yield server
    await server.close()


@pytest.mark.parametrize("is_first", [True, False], ids=["before", "after"])
@pytest.mark.parametrize("twin", TWINS)
async def test_s2_another_spelling_that_php_folds_into_the_name_is_a_second_cookie(
    twin, is_first, start_gate, app, valkey
):
    """S2: PHP takes the first of `my.session` and `my_session` for its own, whichever the gate reads."""
    with valkey.client() as apps:
        for session, user in ((ADA, "ada"), (MALLORY, "mallory")):
            apps.set(f"PHPREDIS_SESSION:{session}", f'user|s:{len(user)}:"{user}";', ex=600)
    gate = await start_gate(CONFIG.format(port=app.port, store=valkey.tcp_url))
    pairs = [f"{twin}={MALLORY}", f"my_shop.session={ADA}"]
    cookies = "; ".join(pairs if is_first else pairs[::-1])

    async def ask(cookies):
        raw = f"GET / HTTP/1.1\r\nHost: a\r\nAccept: application/json\r\nConnection: close\r\nCookie: {cookies}\r\n\r\n"
        head, _, body = (await gate.exchange(raw.encode())).partition(b"\r\n\r\n")
        return head, body

    head, _ = await ask(pairs[1])
    assert head.startswith(b"HTTP/1.1 200")
    head, body = await ask(cookies)
    assert head.startswith(b"HTTP/1.1 400")
    assert json.loads(body)["code"] == "cookie_duplicate"
    assert f"Set-Cookie: {twin}=;".encode() in head
