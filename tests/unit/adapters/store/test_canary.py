"""How long the word of a change takes, timed over a real server with a clock that the test moves."""

from __future__ import annotations

import asyncio

import pytest

from proxy.adapters.boot_clock import boot_time
from proxy.adapters.store import StoreAddress
from proxy.adapters.store.tracked_store import TrackedStore
from proxy.core.coherence import VerdictCache

KEY = b"latchgate:canary:1"


class Rig:
    """A tracked store, and another client that writes."""

    def __init__(self, address, admin):
        self.passed_s = 0.0
        cache = VerdictCache(entries=10, size=10**6)
        self.source = cache.source("store", max_staleness_s=600.0)
        self.store = TrackedStore(
            address, self.source, timeout_s=300.0, clock=lambda: boot_time() + self.passed_s
        )
        self.admin = admin

    @property
    def counted(self):
        return self.source.counters.notices

    async def connect(self):
        self.store.start()
        while self.source.state != "tracking":  # noqa: ASYNC110 - another process brings it about
            await asyncio.sleep(0.005)

    async def time(self, *, change=None, passes_s=0.0):
        """Time one change, on whose way `passes_s` seconds pass."""

        async def write():
            (change or (lambda: self.admin.set(KEY, "1")))()
            self.passed_s += passes_s

        async with asyncio.timeout(30):
            await self.store.time_notice(KEY, write)


@pytest.fixture
async def rig(valkey):
    with valkey.client() as admin:
        rig = Rig(StoreAddress(socket_path=str(valkey.socket_path)), admin)
        yield rig
        await rig.store.close()


async def test_the_way_from_a_write_to_the_word_of_it_is_counted(rig):
    """Each time anew; it is no look-up, and no verdict's invalidation."""
    await rig.connect()
    await rig.time(passes_s=0.2)
    await rig.time(passes_s=100.0)
    assert [*[0] * 9, 1, 0, 1] == rig.counted.buckets
    assert 100.2 <= rig.counted.total_s < 130
    counters = rig.source.counters
    assert (0, 0) == (counters.lookups, counters.invalidations)


async def test_other_keys_are_passed_on(rig):
    """Whoever waits for a word of one key hears all others as before."""
    await rig.connect()
    await rig.store.ask((("MGET", b"a"),), lambda replies, _at: replies)

    def change():
        rig.admin.set("a", "1")
        rig.admin.set(KEY, "1")

    await rig.time(change=change)
    assert (1, 1) == (rig.source.counters.invalidations, sum(rig.counted.buckets))


@pytest.mark.parametrize(
    "change",
    [
        lambda admin: admin.flushall(),
        lambda admin: admin.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"),
    ],
    ids=["flush", "loss"],
)
async def test_a_word_that_will_not_come_is_not_waited_for(rig, change):
    """After a flush the server knows of no reader, after a loss there is none; the next one counts."""
    await rig.connect()
    await rig.time(change=lambda: change(rig.admin))
    assert 0 == sum(rig.counted.buckets)
    await rig.connect()
    await rig.time()
    assert 1 == sum(rig.counted.buckets)


async def test_a_word_from_before_the_write_is_not_counted(rig):
    """The server forgets keys when its table is full, and says so."""
    await rig.connect()
    await rig.time(passes_s=-1.0)
    assert 0 == sum(rig.counted.buckets)


async def test_where_nobody_tells_nothing_is_written(rig):
    """Without a connection, or one that is not tracked, there is nothing to time."""
    await rig.time()
    await rig.connect()
    rig.source.untracked()
    await rig.time()
    assert rig.admin.get(KEY) is None
