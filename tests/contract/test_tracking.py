"""The tracked connection against every kind of store: embedded, TCP, TLS and a unix socket."""

from __future__ import annotations

import asyncio

from proxy.adapters.store.tracked_store import TrackedStore
from proxy.core.coherence import Source


def take(replies, _sent_at):
    return list(replies)


async def test_every_kind_of_store_tells_what_changes(backend):
    """A key that is written by another connection is told of; a restart is a loss, and heals."""
    source = Source("store", max_staleness_s=2.0)
    tracked = TrackedStore(backend.address, source, timeout_s=20)
    try:
        await backend.store.put("latchgate:k", b"1")
        assert [[b"1"]] == await tracked.ask((("MGET", b"latchgate:k"),), take)
        assert "tracking" == source.state
        await backend.store.put("latchgate:k", b"2")
        async with asyncio.timeout(60):
            while not source.counters.invalidations:  # noqa: ASYNC110 - the server brings it about
                await asyncio.sleep(0.005)
            await backend.crash_and_restart()
            while source.counters.connections < 2:  # noqa: ASYNC110 - the server brings it about
                await asyncio.sleep(0.005)
        assert 1 == source.counters.losses
    finally:
        await tracked.close()
