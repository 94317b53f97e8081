"""The two example applications, by themselves: what they do, and that they know no gate."""

from __future__ import annotations

import re

import pytest
from aiohttp.test_utils import TestClient, TestServer

from upstream_example.api import make_api
from upstream_example.site import make_site

TOLD = {"X-Auth-Subject": "ada", "X-Auth-Roles": "customer"}


@pytest.fixture
async def site():
    async with TestClient(TestServer(make_site())) as client:
        yield client


@pytest.fixture
async def api():
    async with TestClient(TestServer(make_api())) as client:
        yield client


@pytest.mark.parametrize("path", ["/", "/public/about", "/account", "/admin", "/chat"])
async def test_every_page_names_the_caller(site, path):
    """Every page shows the subject that the gate told, or nobody."""
    told = await (await site.get(path, headers=TOLD)).text()
    untold = await (await site.get(path)).text()

    assert "<strong>ada</strong>" in told
    assert "<strong>nobody</strong>" in untold


async def test_the_account_page_shows_the_identity_headers(site):
    """What the gate told stands on the page, escaped."""
    page = await (await site.get("/account", headers={"X-Auth-Name": "<b>"})).text()

    assert "&lt;b&gt;" in page
    assert "<b>" not in page


async def test_a_note_is_kept_under_the_callers_name(site):
    """The form posts a note, which the list then shows with who wrote it."""
    posted = await site.post("/notes", data={"text": "hi"}, headers=TOLD)

    assert re.search(r"<strong>ada</strong>: hi", await posted.text())


async def test_the_chat_reaches_everybody(site):
    """A message of one WebSocket arrives at the other, with the sender's name."""
    async with (
        site.ws_connect("/chat/socket", headers=TOLD) as ada,
        site.ws_connect("/chat/socket", headers={"X-Auth-Subject": "bo"}) as bo,
    ):
        await ada.receive_json()
        await bo.receive_json()
        await ada.send_str("hello")

        assert {"from": "ada", "text": "hello"} == await bo.receive_json()


async def test_the_event_stream_counts(site):
    """The first event comes at once."""
    async with site.get("/events", headers=TOLD) as stream:
        assert stream.content_type == "text/event-stream"
        assert (
            b'data: {"number": 1, "for": "ada"}\n' == (await stream.content.readuntil(b"}\n"))[6:]
        )


async def test_the_api_says_who_it_was_told_of(api):
    """`/whoami` returns the identity headers as they arrived."""
    answer = await (await api.get("/whoami", headers=TOLD)).json()

    assert answer == {"subject": "ada", "headers": TOLD}


async def test_an_order_is_kept(api):
    """A posted order can be read again, under its number."""
    made = await (await api.post("/orders", json={"item": "sail"}, headers=TOLD)).json()

    assert made == await (await api.get(f"/orders/{made['id']}")).json()
    assert made["by"] == "ada"
    assert (await api.get("/orders/999")).status == 404


@pytest.mark.parametrize("body", [b"{", b"[]", b"{}", b'{"item": 3}'])
async def test_a_bad_order_is_refused(api, body):
    """What is no order is 400."""
    assert (await api.post("/orders", data=body)).status == 400
