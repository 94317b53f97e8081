"""Timing notices of the gate's own store, as a worker does it."""

from __future__ import annotations

import asyncio

import pytest

from proxy.adapters.store import StoreAddress, open_store
from proxy.adapters.tasks import spawn
from proxy.config.models import Config
from proxy.services.canary import LIFE_S, time_notices
from proxy.services.coherence import Coherence
from proxy.services.runtime import Runtime, load

SIGNED = """
server: {{public_url: "https://gate.test"}}
store: {{url: "{store}"}}
secrets: {{key: "{key}"}}
upstreams: {{app: {{servers: ["http://127.0.0.1:1"]}}}}
schemes:
  api:
    type: jwt
    issuer: "https://id.test"
    audience: [app]
    algorithms: [HS256]
    keys: {{secret: "{key}"}}
    revocation: none
    max_lifetime: 10m
routes: [{{match: {{path: /}}, auth: api, upstream: app, identity: {{assertion: true}}}}]
"""
SESSIONS = """
store: {{url: "{store}"}}
upstreams: {{app: {{servers: ["http://127.0.0.1:1"]}}}}
schemes: {{web: {{type: session, format: native, cookie: sid}}}}
routes: [{{match: {{path: /}}, auth: web, upstream: app}}]
"""


async def test_a_worker_writes_one_key_of_its_own_that_goes_away(valkey):
    """One read and one write for each; the key has the prefix, a random name, and a life."""
    address = StoreAddress(socket_path=str(valkey.socket_path))
    store = open_store(address, timeout_s=30)
    coherence = Coherence(Config())
    tracked = coherence.track("store", address)
    tracked.start()
    timing = spawn(time_notices(tracked, store, "latchgate:", every_s=0.01), name="notices")
    counters = tracked.source.counters
    async with asyncio.timeout(60):
        while sum(counters.notices.buckets) < 5:  # noqa: ASYNC110 - the server brings it about
            await asyncio.sleep(0.005)
    timing.cancel()
    await asyncio.wait([timing])
    with valkey.client() as admin:
        (key,) = admin.keys("*")
        assert key.startswith(b"latchgate:canary:")
        assert 0 < admin.pttl(key) <= LIFE_S * 1000
    assert (0, 0) == (counters.lookups, counters.lookups_failed)
    assert (0, 0) == (coherence.counters.misses, coherence.counters.hits)
    await coherence.close()
    await store.close()


async def test_a_store_that_is_out_ends_no_timing(mortal_valkey):
    """Nothing is counted meanwhile, and it goes on when the store is back."""
    address = StoreAddress(socket_path=str(mortal_valkey.socket_path))
    store = open_store(address, timeout_s=5)
    coherence = Coherence(Config())
    tracked = coherence.track("store", address)
    tracked.start()
    timing = spawn(time_notices(tracked, store, "latchgate:", every_s=0.01), name="notices")
    buckets = tracked.source.counters.notices.buckets
    async with asyncio.timeout(60):
        while not sum(buckets):  # noqa: ASYNC110 - the server brings it about
            await asyncio.sleep(0.005)
        mortal_valkey.kill()
        while tracked.source.state != "lost":  # noqa: ASYNC110 - the kernel brings it about
            await asyncio.sleep(0.005)
        counted = sum(buckets)
        mortal_valkey.start()
        while sum(buckets) == counted:  # noqa: ASYNC110 - the server brings it about
            await asyncio.sleep(0.005)
    assert not timing.done()
    timing.cancel()
    await asyncio.wait([timing])
    await coherence.close()
    await store.close()


@pytest.mark.parametrize(("text", "timed"), [(SIGNED, 0), (SESSIONS, 1)], ids=["keys", "sessions"])
async def test_only_a_store_that_verdicts_depend_on_is_timed(tmp_path, valkey, text, timed):
    """Where it holds nothing but the gate's keys there is nobody whom a change could reach late."""
    path = tmp_path / "gate.yaml"
    path.write_text(text.format(store=valkey.url, key="k" * 43))
    runtime = await Runtime.start(load(path))
    runtime.time_notices()
    names = [task.get_name() for task in asyncio.all_tasks()]
    assert timed == names.count("notices of the store")
    await runtime.close()
    assert "notices of the store" not in [task.get_name() for task in asyncio.all_tasks()]
