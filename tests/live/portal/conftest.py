"""A gate with endpoints of its own, and people who have sessions there."""

from __future__ import annotations

import time

import aiohttp
import pytest

from proxy.services.schemes.build import open_sessions
from proxy.services.sessions import Login

CONFIG = """
store: {{url: "{store}"}}
upstreams: {{app: {{servers: ["http://127.0.0.1:9"]}}}}
schemes:
  web: {{type: session, format: native, cookie: sid}}
login: {login}
routes:
  - {{match: {{path: /**}}, auth: none, upstream: app}}
  - {{match: {{host: shop.test, path: /**}}, auth: none, upstream: app}}
"""


@pytest.fixture
async def client():
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:
        yield session


@pytest.fixture
def portal_config():
    """Give the text of the configuration, with `store` and `login` still to be filled in."""
    return CONFIG


@pytest.fixture
async def start(start_gate, valkey):
    async def begin(login="{scheme: web}"):
        return await start_gate(CONFIG.format(store=valkey.url, login=login))

    return begin


@pytest.fixture
def sign_in():
    return _sign_in


async def _sign_in(gate, subject="ada", **said):
    config = gate.runtime.config
    sessions = open_sessions(config, config.schemes["web"], gate.runtime.store)
    return await sessions.create(Login(subject, **said), time.time())
