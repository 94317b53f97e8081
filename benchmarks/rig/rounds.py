"""Rounds: one after the other every side gets the same load, and what it costs is read from /proc."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field

from benchmarks.rig import people, traffic, wrk
from benchmarks.rig.procs import cores_for
from benchmarks.rig.stage import refuses

WARM_S = 5
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
        """Why a side could not be measured, by its key."""
        self._running = {}
        self._cold = {}
        self._round = 0

    def contender(self, side, scenario):
        """Return the running contender of a side."""
        key = (side.contender, scenario.workers, scenario.has_log)
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
        ready = [side for side in sides if self._warm(scenario, side)]
        pause_ms = self._pause_ms(ready, scenario) if scenario.is_half else 0
        for number in range(rounds):
            turn = number % max(1, len(ready))
            for side in ready[turn:] + ready[:turn]:
                sample = self._sample(scenario, side, number, seconds, pause_ms)
                result.samples.setdefault(side.key, []).append(sample)
            self.say(told_round(number, result))
        return result

    def _warm(self, scenario, side):
        """Send every request once; tell whether the side can be measured."""
        try:
            one = self.contender(side, scenario)
            good = self.stage.credentials(side.kind)[0]
            refuses(one.port, f"{side.kind}.test", side.kind, good)
        except RuntimeError as error:
            self.failed[side.key] = str(error)
            self.say(f"  {side.title} is left out: {error}")
            return False
        if scenario.is_cold:
            self._cold_file(side.sent, 0)
            return True
        count = len(self.stage.credentials(side.sent))
        self._load(one, self._file(scenario, side), scenario, WARM_S, count=count)
        return True

    def _sample(self, scenario, side, number, seconds, pause_ms):
        one = self.contender(side, scenario)
        if scenario.is_cold:
            file, more = self._cold_file(side.sent, number), {"count": COLD[side.sent]}
            seconds = COLD_S
        else:
            file, more = self._file(scenario, side), {"pause_ms": pause_ms}
        before = one.running.cpu_s()
        told = self._load(one, file, scenario, seconds, **more)
        used = one.running.cpu_s() - before
        return Sample(
            cpu_us=used / max(1, told.requests) * 1e6,
            rate=told.requests / told.seconds,
            busy=used / told.seconds,
            p50_ms=told.p50_ms,
            p99_ms=told.p99_ms,
            errors=told.errors,
        )

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


def told_round(number, result):
    """Return one round in a line: CPU for a request, and how many times ours."""
    parts = []
    for key, samples in result.samples.items():
        sample = samples[-1]
        errors = f" errors {sample.errors}" if sample.errors else ""
        ratios = [f"{result.ratios(key, ours)[-1]:.2f}" for ours in ("token", "session") if result.ratios(key, ours)]  # fmt: skip
        parts.append(f"{key} {sample.cpu_us:.1f} µs ({'/'.join(ratios)}){errors}")
    return f"  round {number + 1}: " + ", ".join(parts)
