"""Puts sessions and tokens side by side: as the textbook has them, and through cached verdicts.

Run it with `python benchmarks/comparison.py`; exit status 1 means that a promise is broken. One worker with
a real Valkey and a cheap application behind it. "Textbook" is the same gate with room for one verdict,
so that it finds none: every session is looked up, every token verified. What is counted: commands of
the store (INFO commandstats) and the worker's CPU (user and system) for a request, requests a second
over kept-alive connections, and bytes in the store. The lag of revocations is that of the last
`python benchmarks/revocation.py --write`.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.rig import picture, report
from benchmarks.rig.credentials import CONFIG, Maker
from benchmarks.rig.load import Load
from benchmarks.rig.servers import Gate, Store, Upstream
from proxy.services.canary import EVERY_S

COMMAND = "python benchmarks/comparison.py"
PEOPLE = 500
STORED = 10_000
"""Sessions and revocations whose memory is counted."""
ROUNDS, ROUND_S = 5, 3.0
CONNECTIONS = 32
ROOM = 1.25
OVERHEAD = {"ping", "info", "config|resetstat", "client|tracking", "hello"}
"""Commands that no request caused."""


class Side:
    """A kind of credential at a gate: what its requests cost."""

    def __init__(self, name, gate, load, raws):
        self.name = name
        self.gate = gate
        self.load = load
        self.raws = raws
        self.cpu_us = []
        self.rates = []
        self.trips = []

    def warm(self):
        """Send every request once: what can be kept is kept, and the use of sessions is written."""
        self.load.background(self.raws)
        count = 0
        while count < len(self.raws):
            count += self.load.run(1.0)

    def measure(self, store, seconds):
        """Run one round."""
        with store.client() as client:
            client.config_resetstat()
            cpu_s = self.gate.cpu_s()
            count = self.load.run(seconds)
            self.cpu_us.append((self.gate.cpu_s() - cpu_s) / count * 1e6)
            self.rates.append(count / seconds)
            stats = client.info("commandstats")
        calls = {name.removeprefix("cmdstat_"): told["calls"] for name, told in stats.items()}
        asked = sum(told for name, told in calls.items() if name not in OVERHEAD)
        # Both supervisors look each second whether revocations were lost, and both workers time now
        # and then how late they hear of a change: that is nobody's request.
        others = 2 * seconds + 4 * seconds / EVERY_S
        self.trips.append(max(0.0, asked - others) / count)


def sides(directory, store, upstream, maker):
    """Start both gates and return the four sides, and what to close."""
    opened, found = [], []
    sessions = [made.raw for made in maker.many("session", PEOPLE)]
    tokens = [maker.token() for _ in range(PEOPLE)]
    free = [made.raw.replace(b"GET /api ", b"GET /free ") for made in tokens]
    layouts = (
        ("textbook", "entries: 1", {"session": sessions, "token": free}),
        ("Latchgate", "", {"session": sessions, "token": [made.raw for made in tokens]}),
    )
    for name, verdicts, kinds in layouts:
        text = CONFIG.format(
            store=store.url,
            app=upstream.port,
            keys=maker.keys_file,
            workers=1,
            more="max_staleness: 2s",
            verdicts=verdicts,
        )
        gate = Gate(directory, text)
        for kind, raws in kinds.items():
            load = Load(gate, raws[0], connections=CONNECTIONS)
            opened.append(load)
            found.append(Side(f"{name}, {kind}", gate, load, raws))
        opened.append(gate)
    return found, opened


def memory_of(store, maker):
    """Return the bytes of one session and of one revocation: by MEMORY USAGE, and by what all take."""
    with store.client() as client:

        def used():
            return client.info("memory")["used_memory"]

        before = used()
        made = [maker.session() for _ in range(STORED)]
        together = (used() - before) / STORED
        alone = statistics.mean(client.memory_usage(one.key) for one in made[:500])
        before = used()
        token = maker.token()
        for number in range(STORED // 10):
            token.jti = f"{number:032x}"
            maker.revoke(token)
        marker = (used() - before) / (STORED // 10)
    return {"alone": alone, "together": together, "revocation": marker}


def lag_of(kind):
    """Return p99 in ms of the last measurement, of the slowest way to revoke; `None` without one."""
    path = report.RESULTS / "revocation.json"
    if not path.exists():
        return None
    told = json.loads(path.read_text())
    return max(told[name]["since_answer"][1] for name in told if name.startswith(kind)) * 1000


def summary(found, memory):
    """Return the numbers of each side."""
    told = {}
    for side in found:
        kind = side.name.rpartition(" ")[2]
        is_cached = side.name.startswith("Latchgate")
        lag = lag_of(kind) if is_cached else None
        told[side.name] = {
            "trips": statistics.median(side.trips),
            "cpu_us": min(side.cpu_us),
            "rate": max(side.rates),
            "bytes": memory["together"] if kind == "session" else 0.0,
            "lag_ms": lag if is_cached else (0.0 if kind == "session" else None),
        }
    return told


def lag_in_words(lag_ms):
    """Return how long revoked credentials open; below what two decimals show it is not at all."""
    if lag_ms is None:
        return "at expiry"
    return "at once" if lag_ms < picture.LEAST_MS else f"within {lag_ms:.2f} ms"


def page(told, memory, command):
    """Return the results as Markdown."""
    names = list(told)

    def row(words, key, form):
        return [words, *(form(told[name][key]) for name in names)]

    rows = [
        row("store round trips for a request", "trips", "{:.3f}".format),
        row("CPU of the worker for a request, µs", "cpu_us", "{:.0f}".format),
        row("requests a second", "rate", "{:,.0f}".format),
        row("bytes in the store for each signed in", "bytes", "{:.0f}".format),
        row("revocation counts, p99", "lag_ms", lag_in_words),
    ]
    return f"""{report.heading("Sessions and tokens, side by side", command)}
One worker, {CONNECTIONS} kept-alive connections, {PEOPLE} people; tokens are RS256. *Textbook* is the same gate with room for a
single verdict, and its tokens have `revocation: none`. CPU and rate are the best of {ROUNDS} interleaved rounds: whatever else
the machine does only ever adds time, and the load runs on the same cores.

{report.table(["", *names], rows)}
A session's record takes {memory["alone"]:.0f} bytes by itself (MEMORY USAGE), {memory["together"]:.0f} with all that Valkey needs around it; a revoked
token takes {memory["revocation"]:.0f} until it would have expired. Revocation is from [revocation.md](revocation.md), the slowest way of each
kind. *At once*: no request was let through that was sent after the store's answer; a textbook session is looked up on every request.

![The same as a picture](../../docs/pictures/comparison.svg)
"""


def is_kept(told):
    """Tell whether the promises hold: no round trip on a hit, and neither kind dear beside the other.

    CPU is compared with some room: rounds of a shared machine differ by that much.
    """
    session, token = told["Latchgate, session"], told["Latchgate, token"]
    old_session, old_token = told["textbook, session"], told["textbook, token"]
    return all(
        (
            max(session["trips"], token["trips"]) < 0.01,
            old_session["trips"] > 0.9,
            session["cpu_us"] < ROOM * old_session["cpu_us"],
            token["cpu_us"] < ROOM * old_token["cpu_us"],
            session["cpu_us"] < ROOM * token["cpu_us"] * 1.2,
        )
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="two short rounds")
    parser.add_argument("--write", action="store_true", help="keep the results and the picture")
    options = parser.parse_args()
    rounds, seconds = (2, 1.0) if options.quick else (ROUNDS, ROUND_S)
    with tempfile.TemporaryDirectory(prefix="lgb-") as directory:
        store, upstream = Store(directory), Upstream()
        maker = Maker(store.port, directory)
        opened = [upstream, store]
        try:
            found, started = sides(directory, store, upstream, maker)
            opened = started + opened
            for side in found:
                side.warm()
            for _ in range(rounds):
                for side in found:
                    side.measure(store, seconds)
            memory = memory_of(store, maker)
        finally:
            for one in opened:
                one.kill()
    told = summary(found, memory)
    text = page(told, memory, COMMAND + " --quick" * options.quick)
    print(text)
    if options.write:
        report.write("comparison.md", text)
        picture.draw(told)
    kept = is_kept(told)
    print(f"every promise is kept: {kept}")
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
