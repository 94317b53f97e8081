"""What Latchgate promises beside its peers, and whether a run shows it."""

from __future__ import annotations

import statistics
from dataclasses import dataclass

from benchmarks.rig.procs import CORES

PARTS = {
    "api": "API-like",
    "api-logged": "API-like, logs on",
    "browser": "browser-like",
    "browser-logged": "browser-like, logs on",
    "cold": "every credential new",
}


P99_TIMES = 1.5
WEBSOCKET_KIB = 20
WORKERS_TIMES = 1.8
AVAILABLE = len(CORES)


@dataclass(frozen=True)
class Promise:
    """A peer's CPU for a request, divided by ours, is at least this."""

    scenario: str
    ours: str
    peer: str
    least: float
    aim: float | None = None


def _both(scenario, *promise):
    return [Promise(scenario, *promise), Promise(f"{scenario}-logged", *promise)]


PROMISES = (
    *_both("api", "token", "nginx", 0.75, 0.9),
    *_both("api", "token", "envoy", 2.0, 2.5),
    *_both("api", "token", "haproxy", 1.7, 2.3),
    *_both("api", "token", "naive", 10.0, 14.0),
    *_both("api", "session", "lua", 1.4, 1.8),
    *_both("browser", "token", "envoy", 1.5),
    *_both("browser", "token", "haproxy", 1.0),
    *_both("browser", "session", "lua", 1.0),
    Promise("cold", "session", "lua", 1.0),
)


@dataclass(frozen=True)
class Kept:
    """A promise with what was measured."""

    words: str
    promised: str
    measured: str
    is_kept: bool


def judge(results, memory, *, cores=AVAILABLE):
    """Return the promises that a run says something about.

    `results` by their scenarios' keys, `memory` by the sides'. What a second worker brings is seen
    only where it has a core beside the load's.
    """
    told = []
    for promise in PROMISES:
        result = results.get(promise.scenario)
        ratios = result.ratios(promise.peer, promise.ours) if result else []
        if ratios:
            told.append(_ratio(promise, statistics.median(ratios)))
    told += _latency(results.get("half"))
    told += _websockets(memory)
    if cores > 2:
        told += _workers(results.get("api"), results.get("workers"))
    return told


def _ratio(promise, ratio):
    words = f"{promise.ours} beside {promise.peer}, {PARTS[promise.scenario]}"
    aim = f" (aim {promise.aim:g})" if promise.aim else ""
    promised = f"at least {promise.least:g}{aim}"
    return Kept(words, promised, f"{ratio:.2f}", ratio >= promise.least)


def _latency(result):
    """Tell how long the slowest answers take beside nginx's, at the same rate."""
    told = []
    for ours in ("token", "session"):
        if result is not None and {ours, "nginx"} <= set(result.samples):
            ratio = result.median(ours, "p99_ms") / result.median("nginx", "p99_ms")
            words = f"{ours} beside nginx, p99 of latency at half load"
            told.append(Kept(words, f"at most {P99_TIMES:g}", f"{ratio:.2f}", ratio <= P99_TIMES))
    return told


def _workers(one, two):
    told = []
    for ours in ("token", "session"):
        if one is not None and two is not None and ours in one.samples and ours in two.samples:
            ratio = two.median(ours, "rate") / one.median(ours, "rate")
            words = f"{ours}, requests a second of two workers beside one"
            promised = f"at least {WORKERS_TIMES:g}"
            told.append(Kept(words, promised, f"{ratio:.2f}", ratio >= WORKERS_TIMES))
    return told


def _websockets(memory):
    told = []
    for ours in ("token", "session"):
        if ours in memory and memory[ours].websocket is not None:
            kib = memory[ours].websocket / 1024
            words = f"{ours}, memory of an idle WebSocket"
            promised = f"at most {WEBSOCKET_KIB} KiB"
            told.append(Kept(words, promised, f"{kib:.1f} KiB", kib <= WEBSOCKET_KIB))
    return told
