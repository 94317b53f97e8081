"""The page that asks people of an application for a code: who sees what, and how a proxy leads there."""

from __future__ import annotations

import json

import aiohttp
import pytest

from proxy.edge.decision import DecisionServer
from tests.live.conftest import bind
from tests.live.foreign_people import CONFIG, FORM, ONE, PAGE, SECRET, Person, write
from tests.live.test_decision import Asking


@pytest.fixture
async def gate(start_gate, valkey):
    config = CONFIG.format(
        own=f'url: "{valkey.url}"', apps=valkey.url, key="ab" * 32, port=9, secret=SECRET
    )
    caller = '{listen: "127.0.0.1:9191", callers: [{from: 127.0.0.1, dialect: nginx}]}'
    return await start_gate(f"{config}decision: {caller}\n")


@pytest.fixture
def apps(valkey):
    with valkey.client() as client:
        yield client


@pytest.fixture
async def http():
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:
        yield session


async def test_whoever_is_not_signed_in_is_told_so(gate, http, apps):
    """A code proves nothing for nobody, and an unknown scheme is no place."""
    write(apps, ONE, None)
    nobody = Person(gate, http, ONE)
    for method in ("GET", "POST"):
        sent = {"json": {"code": "1"}} if method == "POST" else {}
        assert 401 == (await nobody.ask(method, "/_auth/step-up/shop", **sent))[0].status
        assert 404 == (await nobody.ask(method, "/_auth/step-up/web", **sent))[0].status


async def test_without_an_app_the_page_says_whom_to_ask(gate, http, apps):
    """There is no form that could not be answered."""
    write(apps, ONE, "ada")
    answer, text = await Person(gate, http, ONE).ask("GET", "/_auth/step-up/shop", PAGE)
    assert (200, 0) == (answer.status, text.count("<form"))
    assert "Ask whoever runs this site" in text


async def test_a_form_that_failed_says_why_and_knows_where_to_go(gate, http, apps):
    """The page is shown again, with the destination, and in the language that was chosen."""
    write(apps, ONE, "ada")
    ada = Person(gate, http, ONE)
    await ada.enrol()
    sent = {"code": "000000", "next": "/pay/now", "lang": "ko"}
    answer, text = await ada.ask("POST", "/_auth/step-up/shop", FORM, data=sent)
    assert (403, "ko") == (answer.status, answer.headers["Content-Language"])
    assert (1, 1) == (text.count('value="/pay/now"'), text.count('class="error"'))
    answer, text = await ada.ask("POST", "/_auth/step-up/shop", json={"next": "/pay/now"})
    assert (400, "bad_request") == (answer.status, json.loads(text)["code"])


async def test_s4_a_destination_elsewhere_is_none(gate, http, apps):
    """S4: `next` is checked as at the sign-in."""
    write(apps, ONE, "ada")
    ada = Person(gate, http, ONE)
    await ada.enrol()
    status, told = await ada.prove(ada.code(), next="https://evil.test/")
    assert (200, "/") == (status, told["next"])


async def test_s5_no_code_travels_in_the_clear(gate, http, apps):
    """S5: the page is for https, and for http on this machine."""
    write(apps, ONE, "ada")
    ada = Person(gate, http, ONE)
    answer, _ = await ada.ask("GET", "/_auth/step-up/shop", {"Host": "shop.example.com"})
    assert 400 == answer.status


async def test_s13_a_proxy_is_answered_with_the_way_to_the_page(gate, http, apps):
    """S13: as natively: the page for who has proved nothing, and through with the factor's cookie."""
    write(apps, ONE, "ada")
    ada = Person(gate, http, ONE)
    await ada.enrol()
    server = DecisionServer(
        gate.runtime, gate.runtime.config.decision, gate.server.counters, gate.log
    )
    sock = bind()
    await server.start([sock])
    try:
        ask = Asking(gate, server, sock.getsockname()[1], "nginx")
        said = {"Cookie": f"connect.sid={ada.cookies['connect.sid']}"}
        sent = await ask("/pay/now", {**said, **PAGE, "Sec-Fetch-Mode": "navigate"})
        assert (401, "/_auth/step-up/shop?next=%2Fpay%2Fnow") == (sent.status, sent["location"])
        assert 403 == (await ask("/pay/now", said)).status
        await ada.prove(ada.code())
        factor = ada.cookies["latchgate-factor-shop"]
        said["Cookie"] += f"; __Host-latchgate-factor-shop={factor}"
        through = await ask("/pay/now", said)
        assert (200, "ada") == (through.status, through["x-auth-subject"])
    finally:
        await server.drain(1.0)
