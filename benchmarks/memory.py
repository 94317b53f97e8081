"""Shows that a million sessions in the store cost a worker no more memory than its bound.

Run it with `python benchmarks/memory.py`; exit status 1 means that the promise is broken. A real Valkey is
filled by pipelined writes; then the people behind those sessions come one after the other to a
real gate with one worker, many more of them than its verdicts have room for. What counts is the
resident memory of the worker beyond what it took before the first of them came.
"""

from __future__ import annotations

import argparse
import json
import socket
import sys
import tempfile
import time
from hashlib import sha256
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from hiredis import pack_command

from benchmarks.rig import report
from benchmarks.rig.bound import break_off_after
from benchmarks.rig.credentials import CONFIG, LIFE_S, PREFIX, Maker
from benchmarks.rig.load import Load
from benchmarks.rig.servers import Gate, Store, Upstream

COMMAND = "python benchmarks/memory.py"
SESSIONS = 1_000_000
BATCH = 5_000
MIB = 2**20
BOUND_S = 400


def cookie(number):
    """Return the cookie of one session: for a benchmark it need not be random."""
    return f"{number:043d}"


def fill(store, count):
    """Write `count` sessions as any program may (docs/store.md)."""
    now = int(time.time())
    with socket.create_connection(("127.0.0.1", store.port)) as sock:
        answers = sock.makefile("rb")
        for start in range(0, count, BATCH):
            numbers = range(start, min(count, start + BATCH))
            sock.sendall(b"".join(_write(number, now) for number in numbers))
            for _ in numbers:
                if answers.readline() != b"+OK\r\n":
                    raise RuntimeError("the store does not take a session")


def _write(number, now):
    digest = sha256(cookie(number).encode()).hexdigest()
    record = {
        "v": 1, "sub": f"user-{number}", "created_at": now, "expires_at": now + LIFE_S,
        "auth_time": now, "amr": ["pwd"], "ver": 1, "email": f"user-{number}@example.com",
        "name": "Ada Lovelace", "roles": ["customer", "reader"], "scopes": ["orders:read"],
    }  # fmt: skip
    key = f"{PREFIX}session:{{{digest}}}"
    return pack_command(("SET", key, json.dumps(record, separators=(",", ":")), "EX", LIFE_S))


def request(number):
    return f"GET /web HTTP/1.1\r\nHost: bench\r\nCookie: sid={cookie(number)}\r\n\r\n".encode()


def visit(gate, load, numbers, seconds):
    """Let these people come, as many of them as manage in time; return steps of (people, bytes)."""
    load.background(map(request, numbers))
    ends_at = time.monotonic() + seconds
    people, steps = 0, []
    while people < len(numbers) and time.monotonic() < ends_at:
        people += load.run(2.0)
        steps.append((min(people, len(numbers)), gate.resident()))
        print(f"{people:9,} people  {steps[-1][1] / MIB:7.1f} MiB", flush=True)
    return steps


def measure(store, upstream, maker, directory, options):
    text = CONFIG.format(
        store=store.url,
        app=upstream.port,
        keys=maker.keys_file,
        workers=1,
        more="timeout: 2s",
        verdicts=f"bytes: {options.bound}MiB",
    )
    gate = Gate(directory, text)
    load = Load(gate, request(0))
    try:
        load.background([request(number) for number in range(100)])
        load.run(3.0)  # buffers, pools and code are there
        before = gate.resident()
        steps = visit(gate, load, range(100, options.sessions), options.seconds)
    finally:
        load.kill()
        gate.kill()
    return before, steps


def page(options, before, steps, held):
    people, after = steps[-1]
    highest = max(resident for _, resident in steps)
    half = next(resident for count, resident in steps if count >= people / 2)
    rows = [
        ["before the first of them", f"{before / MIB:.1f}"],
        [f"after {people // 2:,} people", f"{half / MIB:.1f}"],
        [f"after {people:,} people", f"{after / MIB:.1f}"],
        ["highest", f"{highest / MIB:.1f}"],
        ["**grown by at most**", f"**{(highest - before) / MIB:.1f}**"],
        ["`verdicts.bytes`", f"{options.bound}"],
    ]
    return f"""{report.heading("A worker's memory", COMMAND)}
{options.sessions:,} sessions stand in the store ({held / MIB:,.0f} MiB there). {people:,} of the people behind them came, each once, to
one worker whose verdicts may take {options.bound} MiB by its own estimate.

{report.table(["resident memory of the worker", "MiB"], rows)}"""


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--sessions", type=int, default=SESSIONS)
    parser.add_argument("--bound", type=int, default=32, help="verdicts.bytes in MiB")
    parser.add_argument("--seconds", type=float, default=120.0, help="how long people come at most")
    parser.add_argument("--write", action="store_true", help="keep the results")
    options = parser.parse_args()
    break_off_after(BOUND_S)
    with tempfile.TemporaryDirectory(prefix="lgb-") as directory:
        store, upstream = Store(directory), Upstream()
        try:
            fill(store, options.sessions)
            with store.client() as client:
                held = client.info("memory")["used_memory"]
            print(f"{options.sessions:,} sessions stand in the store", flush=True)
            maker = Maker(store.port, directory)
            before, steps = measure(store, upstream, maker, directory, options)
        finally:
            upstream.kill()
            store.kill()
    text = page(options, before, steps, held)
    print("\n" + text)
    if options.write:
        report.write("memory.md", text)
    is_kept = max(resident for _, resident in steps) - before <= options.bound * MIB
    print(f"the worker grew by no more than its bound: {is_kept}")
    return 0 if is_kept else 1


if __name__ == "__main__":
    sys.exit(main())
