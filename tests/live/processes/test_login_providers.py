"""Login with a provider in a whole gate: several workers, the embedded store, keys fetched once."""

from __future__ import annotations

import asyncio
import signal

import aiohttp
import pytest

from tests.live.processes.conftest import eventually
from tests.small_provider import CLIENT_ID, CLIENT_SECRET, running_provider

pytestmark = pytest.mark.slow

CONFIG = """
server: {{listen: ["127.0.0.1:0"], workers: 3, drain: 2s}}
health: {{listen: "unix:{directory}/h"}}
log: {{format: json}}
store: {{url: "embedded:{directory}/store"}}
upstreams: {{app: {{servers: ["http://127.0.0.1:{port}"]}}}}
schemes:
  web: {{type: session, format: native, cookie: sid}}
login:
  scheme: web
  providers:
    corp: {{issuer: "{issuer}", client_id: "{client_id}", client_secret: "{client_secret}"}}
routes:
  - {{match: {{path: /**}}, auth: web, upstream: app, identity: {{provider_token: true}}}}
"""
PAGE = {"Sec-Fetch-Mode": "navigate"}


@pytest.fixture
async def small():
    """Run a small provider."""
    async with running_provider() as provider:
        yield provider


@pytest.fixture
def config(directory, application, small):
    """Give the configuration of a gate with three workers."""
    return CONFIG.format(
        directory=directory,
        port=application.port,
        issuer=small.issuer,
        client_id=CLIENT_ID,
        client_secret=CLIENT_SECRET,
    )


async def sign_in(browser, url, small):
    """Log in; return the cookie header of the session."""
    start = f"{url}/_auth/start/corp?next=/a"
    async with browser.get(start, allow_redirects=False, headers=PAGE) as answer:
        query = small.enter(answer.headers["Location"]).decode()
    callback = f"{url}/_auth/callback/corp?{query}"
    async with browser.get(callback, allow_redirects=False, headers=PAGE) as answer:
        assert 303 == answer.status, await answer.text()
        return f"sid={answer.cookies['sid'].value}"


async def status_of(url, cookie):
    """Ask on a connection of its own, so that any worker may answer."""
    headers = {"Cookie": cookie}
    async with aiohttp.ClientSession() as client, client.get(f"{url}/a", headers=headers) as answer:
        return answer.status


async def test_a_slow_refresh_is_one_in_all_workers_and_a_logout_reaches_them(
    serve, config, application, small
):
    """Sixty requests in three workers while the provider takes its time: it is asked once."""
    gate = await serve(config)
    await gate.ready()
    url = f"http://127.0.0.1:{gate.port}"
    small.life_s = 0
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as browser:
        cookie = await sign_in(browser, url, small)
    small.life_s, small.pause_s = 3600, 1.5

    statuses = await asyncio.gather(*(status_of(url, cookie) for _ in range(60)))
    tokens = {head.partition(b"X-Auth-Provider-Token: ")[2][:22] for head in application.heads}

    assert {200} == set(statuses)
    assert (2, 0) == (len(small.asked), small.spent_again)
    assert {small.access_tokens[-1].encode()} == tokens

    form = {"logout_token": small.logout_token(sid="sid-1")}
    backchannel = f"{url}/_auth/backchannel/corp"
    async with aiohttp.ClientSession() as server, server.post(backchannel, data=form) as answer:
        assert 200 == answer.status
    statuses = await asyncio.gather(*(status_of(url, cookie) for _ in range(30)))
    assert {401} == set(statuses)
    gate.send(signal.SIGTERM)
    assert 0 == await gate.exit()


async def test_a_provider_that_is_down_keeps_the_gate_from_nothing(serve, config, small):
    """Without its keys the gate is ready; when the provider is back people sign in."""
    await small.stop()
    gate = await serve(config)
    await gate.ready()
    assert (200, b"ok\n") == await gate.health("/readyz")
    url = f"http://127.0.0.1:{gate.port}"
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as browser:
        async with browser.get(f"{url}/_auth/start/corp", headers=PAGE) as answer:
            assert 503 == answer.status
        await small.start()

        async def is_back():
            try:
                return await sign_in(browser, url, small)
            except (KeyError, AssertionError):
                return None

        await eventually(is_back)
