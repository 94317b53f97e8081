"""What Latchgate promises beside its peers, and whether a run shows it: pure text and numbers."""

from __future__ import annotations

import statistics
from dataclasses import dataclass

PARTS = {
    "api": "API-like",
    "api-logged": "API-like, logs on",
    "browser": "browser-like",
    "browser-logged": "browser-like, logs on",
    "cold": "every credential new",
}


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


def judge(results):
    """Return the promises that a run says something about; `results` by their scenarios' keys."""
    told = []
    for promise in PROMISES:
        result = results.get(promise.scenario)
        ratios = result.ratios(promise.peer, promise.ours) if result else []
        if not ratios:
            continue
        ratio = statistics.median(ratios)
        aim = f" (aim {promise.aim:g})" if promise.aim else ""
        words = f"{promise.ours} beside {promise.peer}, {PARTS[promise.scenario]}"
        told.append(Kept(words, f"{promise.least:g}{aim}", f"{ratio:.2f}", ratio >= promise.least))
    told += _latency(results.get("half"))
    return told


def _latency(result):
    if result is None or not {"token", "nginx"} <= set(result.samples):
        return []
    ratio = result.median("token", "p99_ms") / result.median("nginx", "p99_ms")
    return [Kept("p99 at half load, times nginx's", "1.5 at most", f"{ratio:.2f}", ratio <= 1.5)]
