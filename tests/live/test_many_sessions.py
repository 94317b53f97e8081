"""A hundred thousand sessions: what lists and ends them never holds the server up."""

from __future__ import annotations

import hashlib
import json

import pytest

from proxy.adapters.store import StoreAddress, open_store
from proxy.core.session_search import Search
from proxy.services.session_pages import SessionPages
from proxy.services.sessions import Login, Sessions

NOW = 1_800_000_000.0
COUNT = 100_000
BOUND_US = 5_000
"""Of 99 in 100 commands of each kind: what keeps this machine busy is not ours to measure."""
ALLOWED = {"mget", "scan", "del", "set", "evalsha", "eval", "zadd", "zrem", "zrange", "zcount"}
ALLOWED |= {"pttl", "pexpire"}


def fill(client, count: int) -> None:
    """Write sessions as another program would: a thousand people, each with as many."""
    for start in range(0, count, 1000):
        records = {}
        for number in range(start, start + 1000):
            record = {"v": 1, "sub": f"user-{number % 1000}", "created_at": NOW - number % 600}
            record |= {
                "expires_at": NOW + 43_200,
                "agent": "Mozilla/5.0 (X11)",
                "address": "10.0.0.1",
            }
            digest = hashlib.sha256(b"%d" % number).hexdigest()
            records[f"latchgate:session:{{{digest}}}"] = json.dumps(record)
        client.mset(records)


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_no_command_of_ours_blocks_the_server(valkey):
    """Listing, searching, paging and ending among many sessions is many short commands."""
    store = open_store(StoreAddress(socket_path=str(valkey.socket_path)), timeout_s=5)
    sessions = Sessions(store, prefix="latchgate:", idle_timeout_s=1800, lifetime_s=43_200)
    pages = SessionPages(sessions)
    looked = 0

    def on_look(count: int) -> None:
        nonlocal looked
        looked += count

    with valkey.client() as client:
        fill(client, COUNT)
        client.config_resetstat()
        found = [item async for item in sessions.listed(NOW, Search("user-7"), on_look=on_look)]
        page = await pages.page(Search(agent="x11"), NOW, limit=500)
        for number in range(300):
            await sessions.create(Login("user-7"), NOW + number)
        indexed = await pages.page(Search("user-7"), NOW + 300, limit=500)
        ended = await sessions.revoke_subject("user-7"), await sessions.revoke_all()
        latency = client.info("latencystats")
        commands = client.info("commandstats")
    await store.close()
    p99 = {
        name.removeprefix("latency_percentiles_usec_"): it["p99"] for name, it in latency.items()
    }
    ours = {name: p99[name] for name in ALLOWED & p99.keys()}

    assert (100, 500, 300) == (len(found), len(page.sessions), len(indexed.sessions))
    assert (400, COUNT - 100) == ended
    assert COUNT * 0.9 < looked < COUNT * 1.1
    assert {name.removeprefix("cmdstat_") for name in commands} <= ALLOWED | {
        *("info", "config|resetstat", "client|setinfo", "hello")
    }
    assert {} == {name: at for name, at in ours.items() if at > BOUND_US}
