from __future__ import annotations

import asyncio
import os
import signal
import time
import uuid
from pathlib import Path

import jwt
import pytest

from proxy.adapters.store import StoreAddress, open_store
from proxy.adapters.tasks import spawn
from proxy.core.revocation import RevocationKeys
from proxy.services.revocations import Revocations
from proxy.services.sessions import Login, Sessions
from tests.chaos_proxy import ChaosProxy
from tests.live.processes.conftest import eventually, fetch

pytestmark = pytest.mark.slow

SECRET = "s" * 64
ISSUER = "https://id.test"
PREFIX = "latchgate:"
STOPPED_S = 5.0

CONFIG = """
server: {{listen: "127.0.0.1:0", workers: 1, drain: 1s}}
health: {{listen: "unix:h"}}
log: {{format: json}}
store: {{url: "{store}"}}
upstreams: {{app: {{servers: ["http://127.0.0.1:{app}"]}}}}
schemes:
  web: {{type: session, format: native, cookie: sid}}
  api: {{type: jwt, issuer: "https://id.test", audience: [app], algorithms: [HS256], keys: {{secret: "{secret}"}}}}
routes:
  - {{match: {{path: /web}}, auth: web, upstream: app, same_subjects: false}}
  - {{match: {{path: /api}}, auth: api, upstream: app, same_subjects: false}}
"""


@pytest.fixture
async def store(valkey):
    """Give the store, as another program opens it."""
    opened = open_store(StoreAddress(socket_path=str(valkey.socket_path)), timeout_s=30.0)
    yield opened
    await opened.close()


class Person:
    """Somebody with a session and a token, and how they lose both."""

    def __init__(self, store):
        self.store = store
        self.sessions = Sessions(store, prefix=PREFIX, idle_timeout_s=1800, lifetime_s=43200)
        self.revocations = Revocations(store, RevocationKeys(PREFIX))
        self.jti = uuid.uuid4().hex

    async def sign_in(self):
        self.made = await self.sessions.create(Login("ada"), time.time())
        now = int(time.time())
        claims = {"iss": ISSUER, "aud": "app", "sub": "bo", "jti": self.jti, "iat": now}
        token = jwt.encode(claims | {"exp": now + 600}, SECRET)
        self.asks = {
            "/web": {"Cookie": f"sid={self.made.cookie}"},
            "/api": {"Authorization": f"Bearer {token}"},
        }

    async def lose_both(self):
        await self.store.delete(self.sessions.session_key(self.made.digest))
        await self.revocations.revoke_token(ISSUER, self.jti, time.time(), keep_s=600)

    async def ask(self, gate):
        return [(await gate.get(path, **headers))[0] for path, headers in self.asks.items()]


async def waiting(gate, person):
    """Send both requests on connections that are open already; return their statuses to come."""
    asked = []
    for path, headers in person.asks.items():
        streams = await asyncio.open_connection("127.0.0.1", gate.port)
        asked.append(spawn(fetch(streams, path, **headers), name="request"))
    await asyncio.sleep(0)
    return asked


async def statuses(asked):
    return {status for status, _ in await asyncio.gather(*asked)}


@pytest.mark.parametrize("is_cut", [False, True], ids=["told", "not told"])
async def test_r2_a_worker_stopped_for_five_seconds_serves_nothing_stale(
    serve, application, valkey, store, is_cut
):
    """R2: what was revoked meanwhile opens nothing when it goes on, whether the store can say so or not."""
    async with ChaosProxy(valkey.port) as network:
        url = f"redis://127.0.0.1:{network.port}/0"
        gate = await serve(CONFIG.format(store=url, app=application.port, secret=SECRET))
        await gate.ready()
        good, revoked = Person(store), Person(store)
        for person in (good, revoked):
            await person.sign_in()
            await eventually(lambda person=person: is_open(gate, person))
        (worker,) = gate.workers()
        os.kill(worker, signal.SIGSTOP)
        try:
            await eventually(lambda: Path(f"/proc/{worker}/stat").read_text().split()[2] == "T")
            if is_cut:
                network.cut("down")
            before = await waiting(gate, revoked)
            await revoked.lose_both()
            behind = await waiting(gate, revoked)
            welcome = await waiting(gate, good)
            await asyncio.sleep(STOPPED_S)  # the time is what is tested
        finally:
            os.kill(worker, signal.SIGCONT)
        assert 200 not in await statuses(before)
        assert 200 not in await statuses(behind)
        assert await statuses(welcome) <= ({503} if is_cut else {200, 503})
        network.heal()
        await eventually(lambda: is_open(gate, good))
        assert [401, 401] == await revoked.ask(gate)
        await gate.stop()


async def is_open(gate, person):
    return await person.ask(gate) == [200, 200]
