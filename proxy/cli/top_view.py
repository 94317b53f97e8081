"""How `latchgate top` looks: the figures of a picture as tables.

What was read from the gate is foreign: every cell is escaped, and none is markup.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from proxy.adapters.telemetry.text import escape

NOTHING = "-"


def draw(figures: Mapping[str, Any], *, rows: int | None = None, note: str = "") -> Group:
    """Return the picture; of the requests at most `rows` rows, and `note` below it all."""
    parts: list[RenderableType] = [*_gate(figures), Text()]
    if figures["stores"]:
        parts += [_stores(figures["stores"]), Text()]
    requests = figures["requests"]
    shown = requests if rows is None else requests[: max(rows, 1)]
    parts.append(_requests(shown))
    if len(shown) < len(requests):
        parts.append(Text(f"… and {len(requests) - len(shown)} more", style="dim"))
    parts += [Text(), _upstreams(figures["upstreams"])]
    if note:
        parts += [Text(), Text(escape(note), style="bold red")]
    return Group(*parts)


def lines_around(figures: Mapping[str, Any]) -> int:
    """Return how many lines a picture has beside the rows of its requests."""
    stores = len(figures["stores"])
    return 3 + 1 + (stores + 2 if stores else 0) + 2 + 1 + len(figures["upstreams"]) + 1 + 2


def _gate(figures: Mapping[str, Any]) -> list[Text]:
    gate, verdicts = figures["gate"], figures["verdicts"]
    state = Text("ready", "bold green") if gate["ready"] else Text("not ready", "bold red")
    first = Text(f"latchgate {escape(gate['version'])}  ").append_text(state)
    first.append(f"  {gate['workers_ready']} of {gate['workers_wanted']} workers")
    if gate["workers_silent"]:
        first.append(f", {gate['workers_silent']} silent", "bold red")
    if gate["worker_restarts"]:
        first.append(f", {gate['worker_restarts']} restarts", "yellow")
    if not gate["last_reload_taken"]:
        first.append("  the last reload was not taken", "bold red")
    first.append(f"  {gate['client_connections']} connections, {gate['tunnels']} tunnels")
    second = Text(
        f"requests {gate['per_second']:,.1f}/s  p50 {time_of(gate['p50_s'])}"
        f"  p99 {time_of(gate['p99_s'])}  in {size_of(gate['received_bytes_per_second'])}/s"
        f"  out {size_of(gate['sent_bytes_per_second'])}/s"
    )
    share = verdicts["hit_share"]
    hits = NOTHING if share is None else f"{share:.1%}"
    third = Text(
        f"verdicts {hits} from the cache ({verdicts['hits_per_second']:,.1f}/s, looked up"
        f" {verdicts['misses_per_second']:,.1f}/s)  {verdicts['entries']:,} kept,"
        f" {size_of(verdicts['bytes'])}"
    )
    return [first, second, third]


def _stores(stores: Sequence[Mapping[str, Any]]) -> Table:
    table = _table(
        "STORE", "STATE", "TOLD WHAT CHANGES", ">REVOCATION LAG P50", ">P99", ">PROOF AGE",
        ">LOOK-UPS/S", ">FAILED/S",
    )  # fmt: skip
    for store in stores:
        told = ", ".join(
            f"{number} {state}" for state, number in store["workers"].items() if number
        )
        is_good = store["up"] and not store["workers"]["lost"]
        _add(
            table,
            store["store"],
            "up" if store["up"] else "down",
            told or NOTHING,
            *(time_of(store[key]) for key in ("lag_p50_s", "lag_p99_s", "proof_age_s")),
            f"{store['lookups_per_second']:,.1f}",
            f"{store['failed_per_second']:,.1f}",
            style="" if is_good else "bold red",
        )
    return table


def _requests(rows: Sequence[Mapping[str, Any]]) -> Table:
    table = _table("ROUTE", "DECISION", "CODE", ">REQUESTS/S", ">ALL", ">P99 OF THE ROUTE")
    for row in rows:
        _add(
            table,
            row["route"] or NOTHING,
            row["decision"],
            row["code"] or NOTHING,
            f"{row['per_second']:,.1f}",
            f"{row['total']:,}",
            time_of(row["route_p99_s"]),
            style={"unavailable": "bold red", "error": "bold red"}.get(row["decision"], ""),
        )
    return table


def _upstreams(rows: Sequence[Mapping[str, Any]]) -> Table:
    table = _table(
        "UPSTREAM", "SERVER", "STATE", ">BUSY", ">CONNECTIONS", ">WAITING", ">EJECTED",
        ">ANSWERS/S", ">ERRORS/S", ">P99",
    )  # fmt: skip
    for row in rows:
        used, workers = row["used"], row["workers"]
        state = "up" if used >= workers else f"up in {used} of {workers}" if used else "down"
        _add(
            table,
            row["upstream"],
            row["server"],
            state,
            *(f"{row[word]:,}" for word in ("busy", "connections", "waiting", "ejections")),
            f"{row['upstream_per_second']:,.1f}",
            f"{row['upstream_errors_per_second']:,.1f}",
            time_of(row["upstream_p99_s"]),
            style="" if used >= workers else "bold red",
        )
    return table


def time_of(seconds: float | None) -> str:
    """Return a time in the unit that suits it."""
    if seconds is None:
        return NOTHING
    if seconds < 0.001:
        return f"{seconds * 1e6:.0f} µs"
    return f"{seconds * 1e3:.1f} ms" if seconds < 1 else f"{seconds:.1f} s"


def size_of(number: float) -> str:
    """Return a number of bytes in the unit that suits it."""
    for unit in ("B", "KiB", "MiB"):
        if number < 1024:
            return f"{number:.0f} {unit}"
        number /= 1024
    return f"{number:.1f} GiB"


def _table(*columns: str) -> Table:
    """Return a table; the columns whose titles begin with `>` are of numbers."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    for title in columns:
        table.add_column(title.lstrip(">"), justify="right" if title[0] == ">" else "left")
    return table


def _add(table: Table, *cells: str, style: str) -> None:
    table.add_row(*(Text(escape(cell), overflow="ellipsis") for cell in cells), style=style)
