"""The results of peers.py as Markdown."""

from __future__ import annotations

import statistics

from benchmarks.rig import report
from benchmarks.rig.scenarios import OURS, SIDES


def page(command, results, kept, *, versions, left_out):
    """Return the whole page."""
    parts = [
        report.heading("Latchgate beside its peers", command),
        introduction(versions),
        *([told_left_out(left_out)] if left_out else []),
        "## What is promised\n",
        promises_table(kept),
    ]
    for result in results.values():
        parts += [f"## {result.scenario.title}\n", scenario_table(result)]
    return "\n".join(parts)


def introduction(versions):
    told = ", ".join(f"{name} {version}" for name, version in versions.items() if version)
    return f"""\
The system under test has one core, or as many as workers; wrk, the application (an nginx that answers at once) and the store have
another. What counts is the CPU of all processes of the system under test, user and system, for a request; the store's is nobody's.
Medians over interleaved rounds; ratios are formed within a round: *times ours* is the peer's CPU divided by Latchgate's with a
token and with a session, so more than 1 is in Latchgate's favour, and in brackets stand the least and the largest of the rounds.
Each was shown to refuse what it should before it was measured. Configurations: `benchmarks/rig/peers/`. {told}.
"""


def told_left_out(left_out):
    lines = [f"- {name}: {reason}" for name, reason in left_out.items()]
    return "\n".join(["Left out on this machine:", "", *lines, ""])


def promises_table(kept):
    rows = [
        [one.words, one.promised, one.measured, "yes" if one.is_kept else "**no**"] for one in kept
    ]
    return report.table(["", "at least", "measured", "kept"], rows)


def scenario_table(result):
    head = [
        "",
        "CPU, µs",
        "times token",
        "times session",
        "requests/s",
        "busy",
        "p50, ms",
        "p99, ms",
    ]
    rows = []
    for side in SIDES:
        if side.key not in result.samples:
            continue
        ratios = [told_ratio(result.ratios(side.key, ours)) for ours in OURS]
        rows.append(
            [
                side.title,
                f"{result.median(side.key):.1f}",
                *ratios,
                f"{result.median(side.key, 'rate'):,.0f}",
                f"{result.median(side.key, 'busy'):.0%}",
                f"{result.median(side.key, 'p50_ms'):.2f}",
                f"{result.median(side.key, 'p99_ms'):.2f}",
            ]
        )
    return report.table(head, rows)


def told_ratio(ratios):
    """Return the median with the least and the largest."""
    if not ratios:
        return "-"
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
