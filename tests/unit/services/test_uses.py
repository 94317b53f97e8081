"""Uses of sessions are written together, behind what used them, and are no part of any answer."""

from __future__ import annotations

import asyncio
import math

import pytest

from proxy.adapters.store import StoreAddress, open_store
from proxy.config.models import Config
from proxy.core.coherence import Verdict
from proxy.model import Identity
from proxy.services.coherence import Coherence
from proxy.services.sessions import Login, Sessions
from proxy.services.uses import BATCH, Uses

NOW = 1_800_000_000.0


class Bench:
    """Sessions in a real store, and the uses of them."""

    def __init__(self, store):
        self.sessions = Sessions(store, prefix="p:", idle_timeout_s=1000.0, lifetime_s=40_000.0)
        self.coherence = Coherence(Config())
        self.ledger = self.coherence.ledger("web", None)
        self.uses = Uses(self.sessions, self.ledger)

    async def session(self, subject="ann", idle_s=1000.0):
        """Make a session that nobody has used, and its verdict, which is kept."""
        made = await self.sessions.create(Login(subject), NOW)
        verdict = Verdict(
            Identity("local", subject, "web"),
            not_before=NOW - 300,
            not_after=NOW + 40_000,
            seen_at=NOW,
            idle_s=idle_s,
        )
        key = self.ledger.key(made.cookie.encode())
        self.coherence.cache.keep(key, verdict, self.ledger._scope)
        return made, key, verdict

    async def written(self):
        """Wait until no use is being written any more."""
        while tasks := {t for t in asyncio.all_tasks() if t.get_name() == "session in use"}:
            await asyncio.wait(tasks)


@pytest.fixture
async def bench(valkey):
    store = open_store(StoreAddress(socket_path=str(valkey.socket_path)), timeout_s=5)
    yield Bench(store)
    await store.close()


async def test_uses_that_fall_due_together_are_written_together(bench, valkey):
    """Hundreds of them cost a handful of writes, and each is told when it was."""
    made = [await bench.session() for _ in range(BATCH + 1)]
    for number, (_, key, verdict) in enumerate(made):
        bench.uses.add(verdict, key, NOW + number)
    await bench.written()
    with valkey.client() as admin:
        seen = [float(admin.get(bench.sessions.seen_key(one.digest))) for one, _, _ in made]

    assert [NOW + number for number in range(BATCH + 1)] == seen
    assert seen == [verdict.seen_at for _, _, verdict in made]
    assert all(verdict.has_seen for _, _, verdict in made)


async def test_a_session_that_is_gone_is_known_no_more(bench):
    """The store's word that there is none drops the verdict, and no key says that it was used."""
    gone, key, verdict = await bench.session()
    _, other, others = await bench.session("bob")
    await bench.sessions.revoke(gone.digest)
    bench.uses.add(verdict, key, NOW + 1)
    bench.uses.add(others, other, NOW + 1)
    await bench.written()

    assert not bench.ledger.has(key)
    assert bench.ledger.has(other)
    assert others.has_seen


async def test_a_session_of_another_program_is_found_once_it_is_used(bench, valkey):
    """What no index has is in it behind the first use (docs/store.md)."""
    made, key, verdict = await bench.session()
    with valkey.client() as admin:
        admin.delete(bench.sessions._index.key("ann"))
    bench.uses.add(verdict, key, NOW + 1)
    await bench.written()

    assert [made.digest] == [one.digest async for _, one in bench.sessions.of_subject("ann", NOW)]


async def test_what_cannot_be_written_stops_nothing(mortal_valkey):
    """An outage loses the uses of its time, and nobody their session."""
    store = open_store(StoreAddress(socket_path=str(mortal_valkey.socket_path)), timeout_s=5)
    them = Bench(store)
    _, key, verdict = await them.session()
    mortal_valkey.kill()
    them.uses.add(verdict, key, NOW + 1)
    await them.written()

    assert not verdict.has_seen
    assert them.ledger.has(key)

    await store.close()


async def test_what_is_being_written_at_the_end_is_waited_for(bench, valkey):
    """A reload, or an orderly end, loses no use: the store is closed behind the verdicts."""
    made, key, verdict = await bench.session()
    bench.uses.add(verdict, key, NOW + 1)
    await bench.coherence.close()
    with valkey.client() as admin:
        seen = float(admin.get(bench.sessions.seen_key(made.digest)))

    assert NOW + 1 == seen == verdict.seen_at


async def test_a_remembered_session_is_used_though_its_last_use_has_run_out(bench):
    """It does not end by being idle (reference.md §4)."""
    _, key, verdict = await bench.session(idle_s=math.inf)
    verdict.has_seen = True
    bench.uses.add(verdict, key, NOW + 5000)
    await bench.written()

    assert NOW + 5000 == verdict.seen_at
