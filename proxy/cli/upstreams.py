"""`latchgate upstreams`: how the servers fare, as the running gate's health listener tells it."""

from __future__ import annotations

import re
from typing import Final

from proxy.cli import report
from proxy.cli.health import ask, listener, no_answer
from proxy.cli.options import DEFAULT_CONFIG, AsJson, ConfigFile

MOST: Final = 64 * 2**20
"""Bytes of metrics that are read."""

_SAMPLE: Final = re.compile(
    r"latchgate_upstream_server_(used|busy|connections|waiting|ejections_total|retries_total)"
    r'\{server="([^"]*)",upstream="([^"]*)"\} ([0-9.eE+]+)'
)
_WORKERS: Final = re.compile(r"^latchgate_workers_ready ([0-9.]+)", re.MULTILINE)

Row = dict[str, str | int]


def upstreams(config: ConfigFile = DEFAULT_CONFIG, as_json: AsJson = False) -> None:
    """Show how the servers of each upstream fare; status 1 where a worker sends one nothing."""
    found = listener(config)
    if found is None:
        report.fail("the configuration says `health: none`", report.EXIT_USAGE)
    try:
        status, body = ask(found.listen, "/metrics", most=MOST)
    except OSError as error:
        report.fail(no_answer(found.listen, error))
    if status != b"200":
        report.fail(f"{found.listen}: it does not tell")
    rows, workers = read_rows(body.decode("utf-8", "replace"))
    if not rows:
        report.fail(f"{found.listen}: it does not tell of any server")
    if as_json:
        report.say_json({"workers": workers, "servers": rows})
    else:
        for row in rows:
            report.say(_line(row, workers))
    if any(int(row["used"]) < workers for row in rows):
        raise SystemExit(1)


def read_rows(text: str) -> tuple[list[Row], int]:
    """Return a row for each server, and how many workers there are, from the text of the metrics."""
    rows: dict[tuple[str, str], Row] = {}
    for word, server, upstream, number in _SAMPLE.findall(text):
        row = rows.setdefault((upstream, server), {"upstream": upstream, "server": server})
        row[word.removesuffix("_total")] = int(float(number))
    found = _WORKERS.search(text)
    return list(rows.values()), int(float(found[1])) if found else 1


def _line(row: Row, workers: int) -> str:
    used = int(row["used"])
    state = "up" if used >= workers else "down"
    if 0 < used < workers:
        state = f"up in {used} of {workers} workers"
    return (
        f"{row['upstream']}  {row['server']}  {state}: {row['busy']} busy,"
        f" {row['connections']} connections, {row['waiting']} waiting,"
        f" ejected {row['ejections']} times, {row['retries']} second attempts"
    )
