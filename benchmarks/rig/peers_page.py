"""The results of peers.py as Markdown."""

from __future__ import annotations

import statistics

from benchmarks.rig import memory_use, report
from benchmarks.rig.procs import CORES
from benchmarks.rig.rounds import COLD
from benchmarks.rig.scenarios import OURS, SIDES

DISTURBED = 0.05
"""What others may take of the core under test before the page tells it."""


def page(command, results, memory, kept, *, versions, left_out):
    """Return the whole page."""
    parts = [
        report.heading("Latchgate beside its peers", command),
        introduction(versions),
        *([told_left_out(left_out)] if left_out else []),
        "## What is promised\n",
        promises_table(kept),
    ]
    for result in results.values():
        parts += [f"## {result.scenario.title}\n", *notes(result), scenario_table(result)]
    if memory:
        parts += ["## Memory\n", MEMORY_NOTE, memory_table(memory)]
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
    return report.table(["", "promised", "measured", "kept"], rows)


def notes(result):
    """Return what has to be known about a scenario's numbers."""
    scenario, found = result.scenario, []
    if scenario.workers > 1 and len(CORES) <= scenario.workers:
        found.append(
            f"This machine has {len(CORES)} cores and one of them is the load's, so the {scenario.workers} workers of each share the other: the"
            " table shows what a second worker costs, not what it brings.\n"
        )
    if scenario.is_cold:
        found.append(
            f"Each round brings {COLD['token']:,} tokens or {COLD['session']:,} sessions, each once.\n"
        )
    if scenario.is_half:
        found.append("All get the same rate of requests: half of what Latchgate manages.\n")
    if result.samples:
        others = statistics.median(result.median(key, "others") for key in result.samples)
        if others > DISTURBED:
            found.append(f"Other work took {others:.0%} of a core from those under test.\n")
    for key, samples in result.samples.items():
        errors = [one.errors for one in samples if one.errors]
        if errors:
            found.append(f"Not every request of *{key}* was answered well: {errors}.\n")
    return found


MEMORY_NOTE = f"""\
{memory_use.COUNT:,} connections that have had one answer each, {memory_use.COUNT:,} WebSockets, and new credentials, each in a process of its
own. PSS of all its processes; what the kernel keeps is not counted. KiB for each.
"""


def memory_table(memory):
    rows = []
    for side in SIDES:
        if side.key in memory:
            use = memory[side.key]
            told = (use.connection, use.websocket, use.verdict)
            cells = ("-" if value is None else f"{value / 1024:.1f}" for value in told)
            rows.append([side.title, *cells])
    return report.table(["", "idle connection", "idle WebSocket", "remembered credential"], rows)


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
                told_ms(result.median(side.key, "p50_ms")),
                told_ms(result.median(side.key, "p99_ms")),
            ]
        )
    return report.table(head, rows)


def told_ms(value):
    """Return milliseconds; 0 is what is told where nobody measured it."""
    return f"{value:.2f}" if value else "-"


def told_ratio(ratios):
    """Return the median with the least and the largest."""
    if not ratios:
        return "-"
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
