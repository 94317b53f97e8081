"""A store and a cache in front of a real Cluster: every key at its master, coherent wherever it goes."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest

from proxy.adapters.boot_clock import boot_time
from proxy.adapters.store import Script, address_of
from proxy.adapters.store.cluster_store import ClusterStore
from proxy.adapters.store.cluster_tracked import ClusterTracked, open_tracked
from proxy.adapters.store.opening import open_gate_store
from proxy.adapters.store.trial import try_store
from proxy.config.addresses import parse_store_url
from proxy.config.store_models import StoreConfig
from proxy.core.coherence import CoherenceCounters, Verdict, VerdictCache
from proxy.core.slots import slot_of
from proxy.errors import StoreUnavailable
from proxy.model import Absent, Identity
from tests.cluster_set import MASTERS, running

SETTINGS = StoreConfig(max_staleness=3.0, durability={"replicas": "all", "timeout": 0.2})
WRITE = Script("return redis.call('SET', KEYS[1], ARGV[1])")


@pytest.fixture(scope="module")
def servers():
    with running() as made:
        yield made


@pytest.fixture
def address(servers):
    return address_of(parse_store_url(servers.url, None))


@pytest.fixture
async def store(address, servers):
    for node in servers.masters:
        node.ask("FLUSHALL")
    made = open_gate_store(address, SETTINGS)
    yield made
    await made.close()


class Rig:
    """A cache and what reads for it, as a worker has them."""

    def __init__(self, address):
        self.cache = VerdictCache(entries=1000, size=2**20, counters=CoherenceCounters())
        self.source = self.cache.source("store", max_staleness_s=3.0)
        self.scope = self.source.scope()
        self.store = open_tracked(address, self.source, timeout_s=2.0)

    def ask(self, *names):
        """Ask for each name by a command of its own, and keep what they say together."""
        keys = tuple(name.encode() for name in names)

        def take(replies, _sent_at):
            values = [reply[0] for reply in replies]
            told = b"".join(value or b"-" for value in values).decode()
            finding = Verdict(Identity("o", told, "web")) if any(values) else Absent("none", "x")
            self.cache.keep(("web", 0, keys[0]), finding, self.scope, store_keys=keys)
            return told

        return self.store.ask([("MGET", key) for key in keys], take, keys=keys)

    def knows(self, name):
        return self.cache.find(("web", 0, name.encode()), boot_time()) is not None


@pytest.fixture
async def rig(address):
    made = Rig(address)
    yield made
    await made.store.close()


async def until(condition):
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - other processes bring it about
            await asyncio.sleep(0.005)


async def tracking(rig):
    rig.store.start()
    await until(lambda: rig.source.state == "tracking")


async def test_every_key_is_written_and_read_at_its_master(store, servers):
    """All that a store does, over keys of every master, with the word of the replicas."""
    assert isinstance(store, ClusterStore)
    names = [f"latchgate:k:{number}" for number in range(30)]
    for name in names:
        assert await store.put(name, name.encode(), ttl_s=60)
    assert {node.ask("DBSIZE") > 0 for node in servers.nodes} == {True}
    assert await store.fetch([*names, "latchgate:none"]) == [*(n.encode() for n in names), None]
    assert not await store.put(names[0], b"x", only="new")
    replies = await store.run_many(WRITE, [([name], [b"2"]) for name in names[:3]])
    assert replies == [b"OK"] * 3
    assert sorted([key async for key in store.scan("latchgate:k:")]) == sorted(names)
    assert await store.delete(*names[:4], "latchgate:none") == 4
    assert await store.fetch(names[:4]) == [None] * 4
    info = await store.probe()
    assert (info.mode, info.is_replica, info.maxmemory) == ("cluster", False, 0)
    assert await store.look("TYPE", names[5]) == b"string"
    with pytest.raises(StoreUnavailable, match="refused"):
        await store.run(Script("return redis.call('NONE')"), [names[5]])


@pytest.mark.parametrize("cursor", ["x", "0", "9-0", "0-x"])
async def test_what_is_no_cursor_is_refused(store, cursor):
    """A cursor names a master and a place there."""
    with pytest.raises(ValueError, match="no such place"):
        await store.scan_page("latchgate:", cursor, 10)


async def test_nothing_is_opened_once_the_store_is_closed(store):
    """Who asks late is refused: the connections that were made for it would stay for ever."""
    await store.put("latchgate:late", b"1")
    await store.close()
    for deed in (store.fetch(["latchgate:late"]), store.probe()):
        with pytest.raises(StoreUnavailable, match="was closed"):
            await deed


async def test_a_round_trip_to_a_cluster(store):
    """`check --connect` tries a Cluster as it tries a single server."""
    trial = await try_store(store, SETTINGS, "latchgate:", is_own=True)
    assert trial.problem is None
    assert trial.text.startswith("valkey ")
    assert "cluster master, 3 replicas" in trial.text
    assert "the replicas have what is written; tells what changes after" in trial.text


async def test_r5_a_look_up_of_several_nodes_fits_together(rig, store, servers):
    """R5: a change of any of its keys, at any node, before or behind its replies, is heard."""
    await tracking(rig)
    assert isinstance(rig.store, ClusterTracked)
    names = spread(servers)
    for name in names:
        await store.put(name, b"1")
    for name in names:
        assert await rig.ask(*names) == "111"
        assert rig.knows(names[0])
        await store.put(name, b"1")
        await until(lambda: not rig.knows(names[0]))
    first, second = (servers.master_of(name) for name in names[:2])
    counters = rig.source.counters
    lookups, invalidations = counters.lookups, counters.invalidations
    os.kill(second.pid, signal.SIGSTOP)
    try:
        flight = rig.ask(*names[:2])
        await until(lambda: counters.lookups > lookups)
        first.ask("SET", names[0], "2")
        await until(lambda: counters.invalidations > invalidations)
    finally:
        os.kill(second.pid, signal.SIGCONT)
    assert await flight == "21"
    assert counters.lookups_voided == 1
    notices = rig.source.counters.notices
    await rig.store.time_notice(
        b"latchgate:canary:x", lambda: store.put("latchgate:canary:x", b"1")
    )
    assert sum(notices.buckets) == 1


async def test_r2_a_key_that_was_not_there_is_asked_again_when_its_slot_has_moved(
    rig, store, servers
):
    """R2: the node that it has left does not tell of it, so nothing that hung on it is kept."""
    await tracking(rig)
    key = "latchgate:missing"
    slot = slot_of(key.encode())
    old = await asyncio.to_thread(servers.master_of, key)
    new = next(one for one in servers.masters if one is not old)
    assert await rig.ask(key) == "-"
    assert rig.knows(key)
    servers.begin_move(slot, old, new)
    await until(lambda: not rig.knows(key))  # it may be written at either node from now on
    await store.put(key, b"1")
    assert new.ask("CLUSTER", "COUNTKEYSINSLOT", slot) >= 1
    assert await rig.ask(key) == "1"
    await asyncio.to_thread(servers.move_keys, slot, old, new)
    servers.end_move(slot, new)
    await until(lambda: rig.source.state == "tracking")
    # Moved in one go, between two looks at the Cluster.
    assert await rig.ask(f"{{{key}}}:2") == "-"
    assert rig.knows(f"{{{key}}}:2")
    servers.move(slot, new, old)
    await until(lambda: not rig.knows(f"{{{key}}}:2"))
    await until(lambda: rig.source.state == "tracking")
    await store.put(key, b"2")
    assert await rig.ask(key) == "2"


async def test_r5_a_change_amid_the_detours_of_a_moving_slot_is_looked_up_again(
    rig, store, servers
):
    """R5: ways that a look-up was sent do not count as changes of its keys."""
    await tracking(rig)
    there, missing = b"latchgate:{torn}:1", b"latchgate:{torn}:2"
    await store.put(there.decode(), b"1")
    slot = slot_of(there)
    old = await asyncio.to_thread(servers.master_of, there.decode())
    new = next(one for one in servers.masters if one is not old)
    await asyncio.to_thread(servers.begin_move, slot, old, new)
    await asyncio.to_thread(servers.move_keys, slot, old, new)
    # Sent on by the old node, refused by the new one (one of its keys is at neither), sent on again.
    source = rig.source
    try:
        flight = rig.store.ask(
            [("MGET", there, missing)], lambda replies, _: replies[0], keys=(there, missing)
        )
        while not source._readings and not flight.done():  # noqa: ASYNC110 - each turn counts
            await asyncio.sleep(0)
        assert source._readings
        source.invalidated([there])
        assert await flight == [b"1", None]
    finally:
        await asyncio.to_thread(servers.end_move, slot, new)


async def test_what_waits_for_the_replicas_is_in_no_move_s_way(store, servers):
    """A change behind ASK makes no key that the old node still has, over which MIGRATE would break off."""
    key = "latchgate:{waiting}:1"
    slot = slot_of(key.encode())
    old = await asyncio.to_thread(servers.master_of, key)
    new = next(one for one in servers.masters if one is not old)
    await store.put(key, b"1")
    assert old.ask("PEXPIRE", "latchgate:barrier:{waiting}", 60_000) == 1
    servers.begin_move(slot, old, new)
    old.ask(
        *("MIGRATE", "127.0.0.1", new.port, "", 0, 5000),
        *("AUTH2", "admin", "admin-pw", "KEYS", key),
    )
    await store.put(key, b"2")
    servers.move_keys(slot, old, new)
    servers.end_move(slot, new)
    assert await store.fetch([key]) == [b"2"]
    assert new.ask("EXISTS", "latchgate:barrier:{waiting}") == 1


def spread(servers):
    """Return a name at each of the masters."""
    found = {}
    for number in range(200):
        name = f"latchgate:n{number}"
        found.setdefault(servers.master_of(name).port, name)
        if len(found) == MASTERS:
            return list(found.values())
    raise AssertionError("no names")
