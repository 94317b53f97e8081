"""Shows what a million sessions cost: whoever lists and ends them, and the server meanwhile.

Run it with `python benchmarks/many_sessions.py [COUNT]`; exit status 1 means that a command of ours
held the server up: that of one kind 99 in 100 took longer than the bound. A Valkey of its own answers on
a unix socket, and measures its commands itself.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from proxy.adapters.store import StoreAddress, open_store
from proxy.core.session_search import EVERY, Search
from proxy.services.session_pages import SessionPages
from proxy.services.sessions import Login, Sessions
from tests.conftest import Valkey

BOUND_US = 5_000
NOW = 1_800_000_000.0
PEOPLE = 5_000
AGENT = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"


def fill(client, count):
    """Write sessions as another program would: none of them is in an index."""
    for start in range(0, count, 1000):
        records = {}
        for number in range(start, start + 1000):
            record = {
                "v": 1,
                "sub": f"user-{number % PEOPLE}",
                "created_at": NOW - number % 600,
                "expires_at": NOW + 43_200,
                "auth_time": NOW,
                "amr": ["pwd"],
                "ver": 1,
                "roles": ["customer"],
                "address": "10.0.0.1",
                "agent": AGENT,
            }
            digest = hashlib.sha256(b"%d" % number).hexdigest()
            records[f"latchgate:session:{{{digest}}}"] = json.dumps(record)
        client.mset(records)


async def timed(what, work):
    began_at = time.perf_counter()
    found = await work
    print(f"{what:<48} {time.perf_counter() - began_at:9.3f} s   {found}")


async def count(items):
    return sum([1 async for _ in items])


async def page(pages, search):
    found = await pages.page(search, NOW + 20, limit=100)
    return f"{len(found.sessions)} sessions{', and more' if found.next else ''}"


async def measure(store):
    sessions = Sessions(store, prefix="latchgate:", idle_timeout_s=1800, lifetime_s=43_200)
    pages = SessionPages(sessions)
    await timed("all, listed", count(sessions.listed(NOW)))
    await timed(
        "one person's, looked for in the whole store", count(sessions.listed(NOW, Search("user-7")))
    )
    await timed("a page of 100", page(pages, EVERY))
    await timed("a page that finds nothing", page(pages, Search(agent="nothing")))
    for number in range(20):
        await sessions.create(Login("user-7"), NOW + number)
    await timed("a page of one person's, from the index", page(pages, Search("user-7")))
    await timed("one person's, ended", sessions.revoke_subject("user-7"))
    await timed("all, ended", sessions.revoke_all())


async def main(total):
    server = Valkey()
    server.start()
    try:
        with server.client() as client:
            fill(client, total)
            client.config_resetstat()
            store = open_store(StoreAddress(socket_path=str(server.socket_path)), timeout_s=5)
            await measure(store)
            await store.close()
            latency = client.info("latencystats")
    finally:
        server.remove()
    worst = 0.0
    for name, found in sorted(latency.items()):
        command = name.removeprefix("latency_percentiles_usec_")
        print(f"{command:<48} p50 {found['p50']:7.0f} µs, p99 {found['p99']:7.0f} µs")
        worst = max(worst, found["p99"])
    return 0 if worst <= BOUND_US else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)))
