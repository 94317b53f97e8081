"""Rounds: one after the other every side gets the same load, and what it costs is read from /proc."""

from __future__ import annotations

import contextlib
import statistics
import subprocess
from dataclasses import dataclass, field

from benchmarks.rig import memory_use, people, sockets, traffic, wrk
from benchmarks.rig.procs import cores_for, used_s
from benchmarks.rig.scenarios import OURS
from benchmarks.rig.stage import refuses

WARM_S = 10
SIGHTS = 4
"""How many times each side is sent every request before it is measured: what it learns, it has learned then."""
COLD_S = 20
COLD = {"token": 3_000, "session": 8_000}
"""How many new credentials a side gets in one round."""
NUMBERS = 100_000_000
"""Each round's numbers begin so far behind the last one's: no request comes twice."""


@dataclass(frozen=True)
class Sample:
    """One side in one round."""

    cpu_us: float
    """User and system time of its processes for each request."""
    rate: float
    busy: float
    """Its part of one core."""
    others: float
    """What other work of the machine, and who lends it, took on its cores meanwhile."""
    p50_ms: float
    p99_ms: float
    errors: dict[str, int]


@dataclass
class Result:
    """A scenario's samples by the keys of its sides; one of each side for every round."""

    scenario: object
    samples: dict[str, list[Sample]] = field(default_factory=dict)

    def median(self, key, what="cpu_us"):
        return statistics.median(getattr(one, what) for one in self.samples[key])

    def ratios(self, key, ours):
        """Return how much more CPU a side took than one of ours, for each round."""
        if key not in self.samples or ours not in self.samples:
            return []
        pairs = zip(self.samples[key], self.samples[ours], strict=False)
        return [theirs.cpu_us / own.cpu_us for theirs, own in pairs]


class Rounds:
    """Starts contenders when they are needed, and measures them."""

    def __init__(self, stage, directory, *, say=print):
        self.stage = stage
        self.directory = directory
        self.say = say
        self.failed = {}
        """Why a side could not be measured, by its title and the scenario's key."""
        self._running = {}
        self._cold = {}
        self._round = 0

    def contender(self, side, scenario):
        """Return the running contender of a side."""
        key = (side.contender, side.kind, scenario.workers, scenario.has_log)
        if key not in self._running:
            own, _ = cores_for(scenario.workers)
            self._running[key] = side.contender(
                self.directory,
                self.stage.places,
                cores=own,
                workers=scenario.workers,
                has_log=scenario.has_log,
            )
        return self._running[key]

    def measure(self, scenario, sides, *, rounds, seconds):
        """Run all rounds of a scenario."""
        result = Result(scenario)
        ready = [side for side in sides if self._manages(scenario, side, self._warm)]
        pause_ms = self._pause_ms(ready, scenario) if scenario.is_half and ready else 0
        for number in range(rounds):
            turn = number % max(1, len(ready))
            for side in ready[turn:] + ready[:turn]:
                measured = self._manages(
                    scenario, side, self._sample, number, seconds, pause_ms, result
                )
                if not measured:  # half a side would be compared with other rounds
                    ready.remove(side)
                    result.samples.pop(side.key, None)
            self.say(told_round(number, result))
        self.kill()  # what one scenario has taught is of no use to the next one
        return result

    def memory(self, sides):
        """Return what idle connections and remembered credentials cost, by the keys of the sides."""
        found = {}
        for side in sides:
            if side.kind != "either":
                try:
                    found[side.key] = memory_use.measure(self.stage, self.directory, side)
                except (RuntimeError, OSError, subprocess.SubprocessError) as error:
                    self.failed[f"{side.title} (memory)"] = str(error)
                else:
                    self.say(f"memory: {side.title} {found[side.key]}")
        return found

    def _manages(self, scenario, side, work, *arguments):
        """Do this with a side; tell whether it went well, and remember why not."""
        try:
            work(scenario, side, *arguments)
        except (RuntimeError, OSError, subprocess.SubprocessError) as error:
            self.failed[f"{side.title} ({scenario.key})"] = str(error).strip()
            self.say(f"  {side.title} is left out: {error}")
            return False
        return True

    def _warm(self, scenario, side):
        """Show that it lets in whom it should and nobody else, and send every request once."""
        one = self.contender(side, scenario)
        good = self.stage.credentials(side.kind)[0]
        refuses(one.port, f"{side.kind}.test", side.kind, good)
        if not scenario.is_cold and scenario.place != "echo":
            count = len(self.stage.credentials(side.sent))
            self._load(one, self._file(scenario, side), scenario, WARM_S, count=SIGHTS * count)

    def _sample(self, scenario, side, number, seconds, pause_ms, result):
        one = self.contender(side, scenario)
        with self._ready_load(scenario, side, one, number, seconds, pause_ms) as load:
            own, _ = cores_for(scenario.workers)
            before, all_before = one.running.cpu_s(), used_s(own)
            told = load()
            used, all_used = one.running.cpu_s() - before, used_s(own) - all_before
        if scenario.has_log and one.log.stat().st_size < told.requests:
            raise RuntimeError("it writes no access log")
        sample = Sample(
            cpu_us=used / max(1, told.requests) * 1e6,
            rate=told.requests / told.seconds,
            busy=used / told.seconds,
            others=max(0.0, all_used - used) / told.seconds,
            p50_ms=told.p50_ms,
            p99_ms=told.p99_ms,
            errors=told.errors,
        )
        result.samples.setdefault(side.key, []).append(sample)

    @contextlib.contextmanager
    def _ready_load(self, scenario, side, one, number, seconds, pause_ms):
        """Prepare what a sample needs, and give what makes the load."""
        if scenario.place == "echo":
            host, credentials = f"{side.kind}.test", self.stage.credentials(side.sent)
            socks = sockets.open_websockets(one.port, host, credentials, scenario.connections)
            try:
                yield lambda: sockets.echo(socks, seconds)
            finally:
                sockets.close(socks)
        elif scenario.is_cold:
            file, count = self._cold_file(side.sent, number), COLD[side.sent]
            yield lambda: self._load(one, file, scenario, COLD_S, count=count)
        else:
            file = self._file(scenario, side)
            yield lambda: self._load(one, file, scenario, seconds, pause_ms=pause_ms)

    def _load(self, one, file, scenario, seconds, **more):
        _, cores = cores_for(scenario.workers)
        self._round += 1
        return wrk.run(
            one.port,
            file,
            cores=cores,
            connections=scenario.connections,
            seconds=seconds,
            first=0 if scenario.is_cold else self._round * NUMBERS,
            **more,
        )

    def _file(self, scenario, side):
        return self.stage.requests(scenario.place, side.sent, scenario.headers)

    def _cold_file(self, kind, number):
        """Return a file of requests whose credentials nobody has seen; all sides get the same."""
        if (kind, number) not in self._cold:
            count = COLD[kind]
            if kind == "token":
                made = people.tokens(self.stage.private_key, count)
            else:
                first = 1_000_000 + number * count
                made = people.sessions(self.stage.store.port, count, first=first)
            requests = traffic.pool("small", f"{kind}.test", made)
            self._cold[kind, number] = self.stage.file(f"cold-{kind}-{number}", requests)
        return self._cold[kind, number]

    def _pause_ms(self, sides, scenario):
        """Return how long each connection waits before a request, for half of what Latchgate manages."""
        own = [side for side in sides if side.key == "token"] or sides[:1]
        one = self.contender(own[0], scenario)
        told = self._load(one, self._file(scenario, own[0]), scenario, 2)
        return max(1, round(scenario.connections / (told.requests / told.seconds / 2) * 1000))

    def kill(self):
        for one in self._running.values():
            one.kill()
        self._running.clear()


def told_round(number, result):
    """Return one round in a line: CPU for a request, and how many times that of each of ours."""
    parts = []
    for key, samples in result.samples.items():
        sample = samples[-1]
        errors = f" errors {sample.errors}" if sample.errors else ""
        ratios = [result.ratios(key, ours) for ours in OURS]
        told = "/".join(f"{rounds[-1]:.2f}" for rounds in ratios if rounds)
        parts.append(f"{key} {sample.cpu_us:.1f} µs ({told}){errors}")
    return f"  round {number + 1}: " + ", ".join(parts)
