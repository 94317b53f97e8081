"""Puts Latchgate beside its peers: what a request costs each of them, in interleaved rounds.

Run it with `python benchmarks/peers.py`; exit status 1 means that a promise is broken. The system under
test has a core of its own; load, application and store have another. `--only` takes keys of sides and
of scenarios with commas between them: `--only token,nginx,envoy,api`.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.rig import contenders, peers_page, peers_picture, procs, promises, provide, report
from benchmarks.rig.bound import break_off_after
from benchmarks.rig.rounds import Rounds
from benchmarks.rig.scenarios import MEMORY, SCENARIOS, SIDES
from benchmarks.rig.stage import Stage

COMMAND = "python benchmarks/peers.py"
BOUND_S = 1_800


def choose(only):
    """Return the sides and the scenarios that are asked for, and whether memory is.

    `SystemExit` for an unknown one.
    """
    wanted = [word for word in only.split(",") if word]
    known = {one.key for one in (*SIDES, *SCENARIOS)} | {MEMORY}
    if unknown := set(wanted) - known:
        raise SystemExit(
            f"unknown: {', '.join(sorted(unknown))}; known: {', '.join(sorted(known))}"
        )
    sides = [side for side in SIDES if side.key in wanted]
    scenarios = [one for one in SCENARIOS if one.key in wanted]
    if not scenarios and MEMORY not in wanted:
        return sides or list(SIDES), list(SCENARIOS), True
    return sides or list(SIDES), scenarios, MEMORY in wanted


def here(sides):
    """Return the sides that this machine can run, and why the others cannot."""
    reasons = {side.title: side.contender.missing() for side in sides}
    left_out = {name: f"there is no {reason}" for name, reason in reasons.items() if reason}
    return [side for side in sides if side.title not in left_out], left_out


def length(scenario, *, is_quick):
    """Return how many rounds, and how many seconds each takes for a side."""
    return (max(1, scenario.quick_rounds), 1) if is_quick else (scenario.rounds, scenario.seconds)


@contextlib.contextmanager
def around():
    """Set the stage, and keep this process where the load is."""
    own, rest = procs.cores_for(1)
    procs.allow_many_files()
    os.sched_setaffinity(0, rest)
    print(f"under test: cores {own}; load, application and store: cores {rest}", flush=True)
    with tempfile.TemporaryDirectory(prefix="lgb-") as directory:
        stage = Stage(directory, rest)
        rounds = Rounds(stage, directory)
        try:
            yield rounds
        finally:
            rounds.kill()
            stage.kill()


def run(rounds, sides, scenarios, *, is_quick):
    """Measure; return the results by their scenarios' keys."""
    results = {}
    for scenario in scenarios:
        print(f"{scenario.key}: {scenario.title}", flush=True)
        number, seconds = length(scenario, is_quick=is_quick)
        chosen = scenario.sides(sides)
        results[scenario.key] = rounds.measure(scenario, chosen, rounds=number, seconds=seconds)
    return results


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="few short rounds")
    parser.add_argument("--only", default="", help="sides and scenarios, with commas between them")
    parser.add_argument("--write", action="store_true", help="keep the results and the picture")
    parser.add_argument("--install", action="store_true", help="install the peers that are missing")
    options = parser.parse_args()
    if options.only and options.write:
        parser.error("what is kept is a whole run: --write goes without --only")
    if options.install:
        provide.provide()
    break_off_after(BOUND_S)
    for name in ("wrk", "nginx"):
        if not contenders.tool(name):
            raise SystemExit(f"nothing is measured: there is no {name} (apt-get install {name})")
    sides, scenarios, has_memory = choose(options.only)
    sides, left_out = here(sides)
    for name, reason in left_out.items():
        print(f"{name} is left out: {reason}")
    if options.quick and scenarios == list(SCENARIOS):
        scenarios = [one for one in SCENARIOS if one.quick_rounds]
    began_at = time.monotonic()
    with around() as rounds:
        results = run(rounds, sides, scenarios, is_quick=options.quick)
        memory = rounds.memory(sides) if has_memory else {}
    print(f"it took {time.monotonic() - began_at:.0f} s")
    return tell(options, sides, results, memory, left_out | rounds.failed)


def tell(options, sides, results, memory, left_out):
    """Print the page, keep it where that is asked for, and return the exit status."""
    kept = promises.judge(results, memory)
    text = peers_page.page(
        " ".join([COMMAND, *sys.argv[1:]]),
        results,
        memory,
        kept,
        versions={side.contender.name: side.contender.version() for side in sides},
        left_out=left_out,
    )
    print("\n" + text)
    if options.write:
        report.write("peers.md", text)
        peers_picture.draw(results)
    every = all(one.is_kept for one in kept)
    print(f"every promise is kept: {every}")
    return 0 if every else 1


if __name__ == "__main__":
    sys.exit(main())
