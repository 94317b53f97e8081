"""Shows that a revocation is as fast behind Sentinels and in a Cluster, before and after a failover.

Run it with `python benchmarks/revocation_stores.py`; exit status 1 means that a promise is broken.
As in revocation.py a real gate stands in front of an application, under half the load that
saturates it; the store is a master with two replicas and three Sentinels, then a Cluster of three
masters and three replicas, with `durability: {replicas: all}`. What is measured at the start is measured
again when a master was cut off or killed, and when slots have moved; people sign in and out meanwhile.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.rig import lag, report
from benchmarks.rig.bound import break_off_after
from benchmarks.rig.credentials import CONFIG
from benchmarks.rig.load import Load
from benchmarks.rig.scale_out import DURABILITY, Cluster, PatientMaker, Sentinel, befall
from benchmarks.rig.servers import Gate, Upstream, workers

COMMAND = "python benchmarks/revocation_stores.py"
COUNT = 100
"""Revocations of each kind, each time."""
BOUND_S = 240
"""Of one kind of store: what takes longer hangs, and is broken off."""
FAULT_RATE = 400
"""Requests a second while something befalls the store."""
KINDS = {kind.name: kind for kind in (Sentinel, Cluster)}


class Rig:
    """The processes beside the store."""

    def __init__(self, servers, directory, staleness_s):
        self.staleness_s = staleness_s
        self.upstream = Upstream()
        self.maker = PatientMaker(servers, directory)
        background = lag.background(self.maker)
        text = CONFIG.format(
            store=servers.url,
            app=self.upstream.port,
            keys=self.maker.keys_file,
            workers=workers(),
            more=f"max_staleness: {staleness_s:g}s, {DURABILITY}",
            verdicts="",
        )
        self.gate = Gate(directory, text)
        self.load = Load(self.gate, background[0])
        self.load.background(background)

    def close(self):
        self.load.kill()
        self.gate.kill()
        self.upstream.kill()


def measure(kind, count, staleness_s, directory):
    """Return what is shown of one kind of store, as JSON."""
    topology = kind()
    rig = None
    try:
        topology.servers.start()
        rig = Rig(topology.servers, directory, staleness_s)
        saturating = rig.load.saturate(4 if count == COUNT else 1)
        print(f"{kind.name}: saturated at {saturating:.0f} requests/s", flush=True)
        found = {
            "workers": workers(),
            "rate": saturating / 2,
            "staleness_s": staleness_s,
            "lag": {"at the start": lags(rig, saturating / 2, count)},
            "befell": {},
        }
        for name, begin, end in topology.befalls():
            rig.load.pace(FAULT_RATE)
            found["befell"][name] = befall(name, rig, topology.servers, begin, end)
            print(name, found["befell"][name], flush=True)
            found["lag"][f"then: {name}"] = lags(rig, saturating / 2, count)
        return found
    finally:
        if rig is not None:
            rig.close()
        topology.servers.remove()


def lags(rig, rate, count):
    rig.load.settle()
    rig.load.pace(rate)
    found = {}
    for scheme in lag.SCHEMES:
        measured = lag.measure(rig.load, rig.maker, scheme, count, 0.15 * count)
        found[scheme] = measured.summary() | {"wanted": count, "is_kept": measured.is_kept}
        print(scheme, found[scheme], flush=True)
    return found


def broken(found):
    """Return in words which promises a kind of store does not keep."""
    words = [
        f"{when}: {scheme}: too slow"
        for when, schemes in found["lag"].items()
        for scheme, one in schemes.items()
        if not one["is_kept"]
    ]
    return words + [
        f"{name}: {what}" for name, one in found["befell"].items() for what in one["broken"]
    ]


def too_few(found):
    """Return in words where the machine was too busy for as many as were wanted."""
    return [
        f"{when}: {scheme}: {one['count']} of {one['wanted']} revocations were measured"
        for when, schemes in found["lag"].items()
        for scheme, one in schemes.items()
        if one["count"] < one["wanted"]
    ]


def section(name, found):
    """Return what is shown of one kind of store, as Markdown."""
    kind = KINDS[name]
    head = [
        "when", "revoked", "times", "median", "p99", "maximum", "median\\*", "p99\\*", "maximum\\*",
    ]  # fmt: skip
    rows = [
        [when, scheme, one["count"], *map(report.ms, one["since_answer"] + one["since_command"])]
        for when, schemes in found["lag"].items()
        for scheme, one in schemes.items()
    ]
    befell_head = [
        "what befell it", "requests", "good ones refused until", "revoked just before", "revoked during it",
        "revoked, when it is over", "logins confirmed, lost", "revocations confirmed, lost",
    ]  # fmt: skip
    befell = [
        [
            what,
            one["requests"],
            f"{one['closed_s']:.2f} s",
            f"{report.ms(one['before_s'])} ms",
            f"{report.ms(one['during_s'])} ms",
            one["after"],
            *(f"{many}, {lost}" for many, lost in zip(one["confirmed"], one["lost"], strict=True)),
        ]
        for what, one in found["befell"].items()
    ]
    return f"""
## {name}

{kind.__doc__} {found["told"]}

{found["workers"]} workers, `max_staleness` {found["staleness_s"]:g} s; measured at {found["rate"]:,.0f} requests/s, half of what saturates the machine.

{report.table(head, rows)}
{report.table(befell_head, befell)}"""


def page(kinds):
    """Return all results as Markdown."""
    sections = "".join(section(name, kinds[name]) for name in KINDS if name in kinds)
    return f"""# Revocation behind Sentinels and in a Cluster, measured

The tables are those of [revocation](revocation.md): milliseconds from the store's answer to the sending of the last request
that any worker let through, and (\\*) from the sending of the command, which with `durability: {{replicas: all}}` is answered when
the replicas have it. Promised: p99 under {lag.LIMIT_S * 1000:g} ms, at the start and after everything that befell the store.

In the second tables: until when a good credential was refused (503), from the moment that it began; how long what was revoked in that moment, and
meanwhile, was still let through; and of the people who signed in and out all the while, how many were told that it is done, and
for how many of them it was not so afterwards. Promised: nothing revoked is let through after `max_staleness` or when it is over,
nothing confirmed is lost.
{sections}"""


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", choices=KINDS, help="one kind of store")
    parser.add_argument("--quick", action="store_true", help="20 revocations")
    parser.add_argument("--write", action="store_true", help="keep the results")
    options = parser.parse_args()
    count, staleness_s = (20, 1.0) if options.quick else (COUNT, 2.0)
    command = COMMAND + " --quick" * options.quick
    kinds = {}
    for name in [options.only] if options.only else KINDS:
        break_off_after(BOUND_S)
        with tempfile.TemporaryDirectory(prefix="lgb-") as directory:
            kinds[name] = measure(KINDS[name], count, staleness_s, directory)
        kinds[name]["told"] = report.told(command)
    print("\n" + page(kinds))
    if options.write:
        kept = report.RESULTS / "revocation_stores.json"
        whole = (json.loads(kept.read_text()) if kept.exists() else {}) | kinds
        report.write("revocation_stores.md", page(whole))
        report.write("revocation_stores.json", json.dumps(whole, indent=1) + "\n")
    wrong = [f"{name}: {what}" for name, found in kinds.items() for what in broken(found)]
    few = [f"{name}: {what}" for name, found in kinds.items() for what in too_few(found)]
    for what in wrong:
        print(f"BROKEN: {what}")
    for what in few:
        print(f"TOO FEW, the machine is busy: {what}")
    print(f"every promise is kept{', as far as was measured' if few else ''}: {not wrong}")
    return 1 if wrong or (few and not options.quick) else 0


if __name__ == "__main__":
    sys.exit(main())
