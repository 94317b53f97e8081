"""A Cluster loses a master and moves slots under traffic: no acknowledged change is lost."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import signal
import time

import aiohttp
import jwt
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from proxy.core.revocation import RevocationKeys
from proxy.core.slots import slot_of
from proxy.errors import StoreUnavailable
from proxy.services.revocations import Revocations
from proxy.services.schemes.build import open_sessions
from proxy.services.sessions import Login
from tests.cluster_set import NODE_TIMEOUT_MS, running

ONE_LANE = "what the store's topology means for a verdict is the same in every lane"
STALENESS_S = 1.0
SECRET = "s" * 64
CONFIG = """
store:
  url: "{store}"
  timeout: 400ms
  max_staleness: 1s
  durability: {{replicas: all, timeout: 100ms}}
secrets: {{key: "{key}"}}
upstreams: {{app: {{servers: ["{app}"]}}}}
schemes:
  web: {{type: session, format: native, cookie: sid}}
  api:
    {{type: jwt, issuer: "https://id.test", audience: [app], algorithms: [HS256], keys: {{secret: "{secret}"}}}}
routes:
  - {{match: {{path: /api}}, auth: api, upstream: app}}
  - {{auth: web, upstream: app}}
"""


@pytest.fixture(scope="module")
def servers():
    with running() as made:
        yield made


@pytest.fixture
def mortal_servers():
    """Give a Cluster of this test alone."""
    with running() as made:
        yield made


@pytest.fixture
async def app():
    async def ok(_request):
        return web.Response()

    application = web.Application()
    application.router.add_get("/{tail:.*}", ok)
    async with TestServer(application) as server:
        yield f"http://127.0.0.1:{server.port}"


def config_of(servers, app):
    return CONFIG.format(store=servers.url, key="00" * 32, app=app, secret=SECRET)


@pytest.fixture
async def gate(start_gate, servers, app):
    return await start_gate(config_of(servers, app))


@pytest.fixture
async def client():
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as made:
        yield made


async def status(client, gate, *, cookie=None, token=None):
    path, headers = ("/api", {"Authorization": f"Bearer {token}"}) if token else ("/", {})
    if cookie:
        headers = {"Cookie": f"sid={cookie}"}
    async with client.get(gate.url + path, headers=headers) as answer:
        return answer.status


def token_of(jti):
    now = int(time.time())
    claims = {"iss": "https://id.test", "aud": "app", "sub": "bo", "iat": now, "exp": now + 300}
    return jwt.encode({**claims, "jti": jti}, SECRET)


def sessions_of(gate):
    config = gate.runtime.config
    return open_sessions(config, config.schemes["web"], gate.runtime.store)


async def persistently(make):
    """Do what `make` does until the store has confirmed it, as whoever is answered 503 does."""
    async with asyncio.timeout(30):
        while True:
            with contextlib.suppress(StoreUnavailable):
                return await make()
            await asyncio.sleep(0.05)


async def until(ask, expected):
    async with asyncio.timeout(30):
        while await ask() != expected:  # noqa: ASYNC110 - the Cluster heals
            await asyncio.sleep(0.02)


async def hits(gate):
    return gate.runtime.coherence.counters.hits


async def test_a_verdict_of_any_node_is_kept_and_ends_with_its_session(gate, client):
    """Sessions stand in all three masters; a second request costs no look-up, a logout is heard."""
    made = [
        await persistently(lambda n=n: sessions_of(gate).create(Login(f"u{n}"), time.time()))
        for n in range(9)
    ]
    for one in made:
        await until(lambda one=one: status(client, gate, cookie=one.cookie), 200)
    tracked = next(iter(gate.runtime.coherence.tracked.values()))
    async with asyncio.timeout(10):
        while tracked.source.state != "tracking":  # noqa: ASYNC110 - the nodes answer
            await asyncio.sleep(0.01)
    for one in made:
        assert await status(client, gate, cookie=one.cookie) == 200
    before = await hits(gate)
    for one in made:
        assert await status(client, gate, cookie=one.cookie) == 200
    assert await hits(gate) == before + len(made)
    for one in made:
        assert await sessions_of(gate).revoke(one.digest)
    for one in made:
        await until(lambda one=one: status(client, gate, cookie=one.cookie), 401)


async def test_r2_a_revocation_behind_a_moved_slot_counts_within_the_staleness(
    gate, client, servers
):
    """R2: a node does not tell of a key that was not there and is written where its slot went."""
    keys = RevocationKeys("latchgate:")
    revocations = Revocations(gate.runtime.store, keys)
    old = await asyncio.to_thread(servers.master_of, keys.count)
    new = next(one for one in servers.masters if one is not old)
    slot = slot_of(keys.count.encode())
    for way in (lambda: servers.move(slot, old, new), lambda: servers.move(slot, new, old)):
        token = token_of(f"moved-{time.monotonic_ns()}")
        await until(lambda token=token: status(client, gate, token=token), 200)
        assert await status(client, gate, token=token) == 200
        await asyncio.to_thread(way)
        claims = jwt.decode(token, options={"verify_signature": False})
        await persistently(
            lambda jti=claims["jti"]: revocations.revoke_token(
                "https://id.test", jti, time.time(), keep_s=600
            )
        )
        revoked_at, last = time.monotonic(), 0.0
        while (sent_at := time.monotonic()) < revoked_at + STALENESS_S + 0.2:
            if await status(client, gate, token=token) == 200:
                last = sent_at - revoked_at
            await asyncio.sleep(0.01)
        assert last <= STALENESS_S
        await until(lambda token=token: status(client, gate, token=token), 401)


async def test_a_slot_on_its_way_is_read_where_its_keys_are(gate, client, servers):
    """MOVED and ASK are followed: a session is found before, on and behind its way, and ends there."""
    made = await persistently(lambda: sessions_of(gate).create(Login("ada"), time.time()))
    key = sessions_of(gate).session_key(made.digest)
    slot = slot_of(key.encode())
    old = await asyncio.to_thread(servers.master_of, key)
    new = next(one for one in servers.masters if one is not old)
    ask = lambda: status(client, gate, cookie=made.cookie)  # noqa: E731 - it is asked in three places
    await until(ask, 200)
    await asyncio.to_thread(servers.begin_move, slot, old, new)
    assert await ask() == 200
    await asyncio.to_thread(servers.move_keys, slot, old, new)
    assert await ask() == 200
    assert await gate.runtime.store.fetch([key]) != [None]
    await asyncio.to_thread(servers.end_move, slot, new)
    assert await ask() == 200
    assert await persistently(lambda: sessions_of(gate).revoke(made.digest))
    await until(ask, 401)


async def test_r2_a_master_without_a_majority_vouches_for_nothing(gate, client, servers):
    """R2: one of three masters that still answers lets nobody through after `max_staleness`."""
    for node in servers.nodes:
        node.ask("CONFIG", "SET", "cluster-node-timeout", 60_000)
    alone, *others = servers.masters
    made = []
    for number in range(40):
        one = await persistently(
            lambda n=number: sessions_of(gate).create(Login(f"u{n}"), time.time())
        )
        key = sessions_of(gate).session_key(one.digest)
        if await asyncio.to_thread(servers.master_of, key) is alone:
            made.append(one.cookie)
    assert made
    await until(lambda: status(client, gate, cookie=made[0]), 200)
    for node in others:
        os.kill(node.pid, signal.SIGSTOP)
    try:
        stopped_at, last = time.monotonic(), 0.0
        assert alone.ask("PING")
        while (sent_at := time.monotonic()) < stopped_at + STALENESS_S + 0.3:
            if await status(client, gate, cookie=made[0]) == 200:
                last = sent_at - stopped_at
            await asyncio.sleep(0.01)
        assert last <= STALENESS_S
        assert await status(client, gate, cookie=made[0]) == 503
    finally:
        for node in others:
            os.kill(node.pid, signal.SIGCONT)
    await until(lambda: status(client, gate, cookie=made[0]), 200)
    for node in servers.nodes:
        node.ask("CONFIG", "SET", "cluster-node-timeout", NODE_TIMEOUT_MS)


async def test_r2_a_master_is_killed_and_slots_move_under_load(
    start_gate, app, client, mortal_servers
):
    """R2: what was confirmed with `replicas: all` holds wherever its slot is in the end."""
    servers = mortal_servers
    gate = await start_gate(config_of(servers, app))
    sessions = sessions_of(gate)
    made = [
        await persistently(lambda n=n: sessions.create(Login(f"u{n}"), time.time()))
        for n in range(150)
    ]
    kept, ended, begun = made[-20:], [], []
    is_healed = asyncio.Event()
    first, second, third = servers.masters

    async def end():
        for one in made[:-20]:
            if is_healed.is_set():
                return
            with contextlib.suppress(StoreUnavailable):
                await sessions.revoke(one.digest)
                ended.append(one)
            await asyncio.sleep(0.01)

    async def begin():
        for number in itertools.count():
            if is_healed.is_set():
                return
            with contextlib.suppress(StoreUnavailable):
                begun.append(await sessions.create(Login(f"new{number}"), time.time()))
            await asyncio.sleep(0.01)

    def move_some():
        for one in made[:6]:
            key = sessions.session_key(one.digest)
            source = servers.master_of(key)
            if source is not first:
                servers.move(slot_of(key.encode()), source, third if source is second else second)

    async def fail_over():
        while len(ended) < 10:  # noqa: ASYNC110 - it goes on under load
            await asyncio.sleep(0.005)
        await asyncio.to_thread(move_some)
        first.kill()
        await asyncio.to_thread(servers.wait_for_failover, first)
        for one in kept:
            await until(lambda one=one: status(client, gate, cookie=one.cookie), 200)
        is_healed.set()

    async with asyncio.TaskGroup() as group:
        for work in (end(), begin(), fail_over()):
            group.create_task(work)
    assert len(ended) >= 10
    assert len(begun) >= 10
    assert {401} == {await status(client, gate, cookie=one.cookie) for one in ended}
    assert {200} == {await status(client, gate, cookie=one.cookie) for one in begun}
    # The new master has no replica that could confirm, until the old one is back as such.
    first.start()
    for number in range(12):
        again = await persistently(lambda n=number: sessions.create(Login(f"l{n}"), time.time()))
        assert await status(client, gate, cookie=again.cookie) == 200
