"""Measures what one session, one look-up and one change cost the store: the inputs of docs/scale.md.

Run it with `python benchmarks/store_costs.py` (`--write` keeps the results). A Valkey of its own answers over TCP;
sessions are made by the gate's own code, people visit a real gate, and clients that track keys as
a worker does read what the server sends them. Nothing is promised here, so it ends with status 0.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import socket
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import hiredis

from benchmarks.rig import report
from benchmarks.rig.credentials import CONFIG, PREFIX, Maker
from benchmarks.rig.servers import Gate, Store, Upstream
from proxy.adapters.store import StoreAddress, open_store
from proxy.core.formats.native import cookie_digest
from proxy.services.sessions import Login, Sessions, Used

COMMAND = "python benchmarks/store_costs.py"
SESSIONS = 20_000
VISITS = 5_000
TRACKERS = 10
BATCH = 500
USES = 200
IDLE_S = 10.0
WORKERS = 4
AGENT = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"


class Meter:
    """What the server says it has spent since the last reading."""

    def __init__(self, store):
        self._client = store.client()
        self._last = self._now()

    def _now(self):
        cpu, stats = self._client.info("cpu"), self._client.info("stats")
        return {
            "cpu_s": cpu["used_cpu_user"] + cpu["used_cpu_sys"],
            "commands": stats["total_commands_processed"],
            "in": stats["total_net_input_bytes"],
            "out": stats["total_net_output_bytes"],
        }

    def spent(self):
        """Return what was spent since the last call; asking itself is in it, once."""
        now, last = self._now(), self._last
        self._last = now
        return {name: now[name] - last[name] for name in now}

    def memory(self):
        return self._client.info("memory")["used_memory"]


class Tracker:
    """A connection that reads keys and is told when they change, as each worker has one."""

    def __init__(self, port):
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._replies = hiredis.Reader()
        self.ask("HELLO", "3")
        self.ask("CLIENT", "TRACKING", "ON")
        self.received = 0

    def _read(self):
        data = self._socket.recv(1 << 20)
        self._replies.feed(data)
        return len(data)

    def ask(self, *words):
        self._socket.sendall(hiredis.pack_command(words))
        while (reply := self._replies.gets()) is False:
            self._read()
        return reply

    def read(self, keys):
        for start in range(0, len(keys), BATCH):
            self.ask("MGET", *keys[start : start + BATCH])

    def hear(self, count):
        """Take `count` notices; return the bytes of them all."""
        heard = size = 0
        while heard < count:
            size += self._read()
            while self._replies.gets() is not False:
                heard += 1
        return size

    def close(self):
        self._socket.close()


async def make(port, count):
    """Sign `count` people in and note a use of each, by the gate's own code; return their cookies."""
    store = open_store(StoreAddress(host="127.0.0.1", port=port), timeout_s=30)
    sessions = Sessions(store, prefix=PREFIX, idle_timeout_s=1800, lifetime_s=43_200)
    now, cookies = time.time(), []
    for number in range(count):
        login = Login(
            f"user-{number}", email=f"user-{number}@example.com", name="Ada Lovelace",
            roles=["customer", "reader"], amr=["pwd"], address="192.0.2.17", agent=AGENT,
        )  # fmt: skip
        made = await sessions.create(login, now)
        cookies.append(made)
    for start in range(0, count, BATCH):
        used = [Used(one.digest, now, had_seen=False) for one in cookies[start : start + BATCH]]
        await sessions.use_many(used)
    keys = [(sessions.session_key(one.digest), sessions.seen_key(one.digest)) for one in cookies]
    await store.close()
    return [one.cookie for one in cookies], keys


def sessions_of(store, meter, told):
    """Measure what a person who is signed in takes in the store."""
    before = meter.memory()
    cookies, keys = asyncio.run(make(store.port, SESSIONS))
    told["session_all_bytes"] = (meter.memory() - before) / SESSIONS
    with store.client() as client:
        for name, pattern in (
            ("record", f"{PREFIX}session:*"),
            ("seen", f"{PREFIX}seen:*"),
            ("index", f"{PREFIX}sessions:*"),
        ):
            pipe = client.pipeline(transaction=False)
            for key in client.scan_iter(pattern, count=1000):
                pipe.memory_usage(key, samples=0)
            told[f"{name}_bytes"] = statistics.mean(pipe.execute())
    return cookies, keys


def uses(store, meter, cookies, told):
    """Measure what it takes to note uses: those that are written, and those that somebody has noted."""
    for name, later_s in (("use_known_cpu_us", 1.0), ("use_written_cpu_us", 400.0)):
        meter.spent()
        asyncio.run(note(store.port, cookies, time.time() + later_s))
        told[name] = meter.spent()["cpu_s"] / len(cookies) * 1e6


async def note(port, cookies, now):
    """Note a use of each session, as many in one write as a worker does."""
    store = open_store(StoreAddress(host="127.0.0.1", port=port), timeout_s=30)
    sessions = Sessions(store, prefix=PREFIX, idle_timeout_s=1800, lifetime_s=43_200)
    for start in range(0, len(cookies), USES):
        part = cookies[start : start + USES]
        await sessions.use_many([Used(cookie_digest(one), now, had_seen=True) for one in part])
    await store.close()


def tracking(store, meter, keys, told):
    """Measure what the server keeps of who read what, and what it takes to tell them."""
    every = [key for pair in keys for key in pair]
    idle = meter.memory()
    trackers = [Tracker(store.port) for _ in range(TRACKERS)]
    told["connection_bytes"] = (meter.memory() - idle) / TRACKERS
    readings = [meter.memory()]
    for tracker in trackers:
        tracker.read(every)
        readings.append(meter.memory())
    told["tracked_key_bytes"] = (readings[1] - readings[0]) / len(every)
    told["tracked_reader_bytes"] = (readings[-1] - readings[1]) / (TRACKERS - 1) / len(every)
    records = [record for record, _ in keys]
    with store.client() as client:
        meter.spent()
        for start in range(0, len(records), BATCH):
            client.delete(*records[start : start + BATCH])
        size = sum(tracker.hear(len(records)) for tracker in trackers)
        with_readers = meter.spent()["cpu_s"]
    told["notice_bytes"] = size / TRACKERS / len(records)
    told["notice_cpu_us"] = with_readers / TRACKERS / len(records) * 1e6
    for tracker in trackers:
        tracker.close()


def visit(port, cookies):
    """Ask once with each cookie, one after the other, on one connection."""
    with socket.create_connection(("127.0.0.1", port)) as sock:
        answers = sock.makefile("rb")
        for cookie in cookies:
            sock.sendall(
                f"GET /web HTTP/1.1\r\nHost: bench\r\nCookie: sid={cookie}\r\n\r\n".encode()
            )
            status = answers.readline()
            if b" 200 " not in status:
                raise RuntimeError(f"a session is not let in: {status!r}")
            length = 0
            while (line := answers.readline()) != b"\r\n":
                name, _, value = line.partition(b":")
                if name.lower() == b"content-length":
                    length = int(value)
            answers.read(length)


def look_ups(directory, store, meter, upstream, maker, cookies, told):
    """Measure what the store spends on a session that a worker has not met, and on one that it has."""
    gate = Gate(directory, _config(store, upstream, maker, 1))
    try:
        visit(gate.port, cookies[:10])
        meter.spent()
        visit(gate.port, cookies[10:VISITS])
        first = meter.spent()
        visit(gate.port, cookies[10:VISITS])
        again = meter.spent()
    finally:
        gate.kill()
    count = VISITS - 10
    told["look_up_cpu_us"] = (first["cpu_s"] - again["cpu_s"]) / count * 1e6
    told["look_up_commands"] = (first["commands"] - again["commands"]) / count
    told["look_up_in_bytes"] = (first["in"] - again["in"]) / count
    told["look_up_out_bytes"] = (first["out"] - again["out"]) / count
    told["hit_commands"] = again["commands"] / count


def idle(directory, store, meter, upstream, maker, told):
    """Measure what gates send that have nothing to do: one worker, and several."""
    found = {}
    for workers in (1, WORKERS):
        gate = Gate(directory, _config(store, upstream, maker, workers))
        try:
            meter.spent()
            time.sleep(IDLE_S)
            found[workers] = meter.spent()
        finally:
            gate.kill()
    for name, unit in (("commands", 1), ("in", 1), ("out", 1), ("cpu_s", 1e6)):
        each = (found[WORKERS][name] - found[1][name]) / (WORKERS - 1) / IDLE_S * unit
        told[f"idle_{'cpu_us' if name == 'cpu_s' else name}"] = each


def _config(store, upstream, maker, workers):
    return CONFIG.format(
        store=store.url, app=upstream.port, keys=maker.keys_file, workers=workers,
        more="timeout: 2s", verdicts="bytes: 64MiB",
    )  # fmt: skip


WORDS = {
    "record_bytes": "a session's record, bytes (MEMORY USAGE)",
    "seen_bytes": "its last use, bytes (MEMORY USAGE)",
    "index_bytes": "the index of its person, bytes (MEMORY USAGE)",
    "session_all_bytes": "all three with all that Valkey needs around them, bytes",
    "tracked_key_bytes": "a key that one connection has read, bytes",
    "tracked_reader_bytes": "the same for each further connection, bytes",
    "connection_bytes": "an open connection, bytes",
    "notice_bytes": "a notice of a session that has ended, bytes to each connection that had read it",
    "notice_cpu_us": "the server's CPU for it, µs (its share of the deletion included)",
    "look_up_commands": "commands for a session that a worker meets for the first time",
    "look_up_cpu_us": "the server's CPU for them, µs",
    "look_up_in_bytes": "bytes to the server for them",
    "look_up_out_bytes": "bytes from the server for them",
    "use_written_cpu_us": "the server's CPU for a use of a session that is written, µs",
    "use_known_cpu_us": "the server's CPU for one that another worker has noted, µs",
    "hit_commands": "commands for a request whose session the worker knows (what an idle gate sends is in it)",
    "idle_commands": "commands a second of a worker that has nothing to do",
    "idle_cpu_us": "the server's CPU for them, µs a second",
    "idle_in": "bytes a second to the server for them",
    "idle_out": "bytes a second from the server for them",
}


def page(told):
    rows = [[words, f"{told[name]:,.2f}"] for name, words in WORDS.items()]
    return f"""{report.heading("What the store pays", COMMAND)}
{SESSIONS:,} people signed in by the gate's own code, {VISITS:,} of them visited a gate with one worker, {TRACKERS} connections tracked all
of them. A session has name, e-mail address, two roles, address and browser of its person. [docs/scale.md](../../docs/scale.md) computes with it.

{report.table(["", "measured"], rows)}"""


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--write", action="store_true", help="keep the results")
    options = parser.parse_args()
    told = {}
    with tempfile.TemporaryDirectory(prefix="lgb-") as directory:
        store, upstream = Store(directory), Upstream()
        maker = Maker(store.port, directory)
        try:
            meter = Meter(store)
            cookies, keys = sessions_of(store, meter, told)
            look_ups(directory, store, meter, upstream, maker, cookies, told)
            idle(directory, store, meter, upstream, maker, told)
            uses(store, meter, cookies, told)
            tracking(store, meter, keys, told)
        finally:
            maker.close()
            upstream.kill()
            store.kill()
    text = page(told)
    print(text)
    if options.write:
        report.write("store_costs.md", text)
        rounded = {name: round(told[name], 3) for name in WORDS}
        report.write("store_costs.json", json.dumps(rounded, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
