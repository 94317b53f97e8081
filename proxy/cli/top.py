"""`latchgate top`: what the running gate does, as it does it."""

from __future__ import annotations

import time
from typing import Annotated, Final

import typer
from rich.live import Live

from proxy.cli import report
from proxy.cli.explain_view import make_console
from proxy.cli.health import ask, listener, no_answer
from proxy.cli.options import DEFAULT_CONFIG, AsJson, ConfigFile
from proxy.cli.picture import Picture, Scrape
from proxy.cli.top_view import draw, lines_around
from proxy.config.addresses import Address

MOST: Final = 64 * 2**20
"""Bytes of metrics that are read."""

Interval = Annotated[
    float,
    typer.Option(
        "--interval", metavar="SECONDS", min=0.1, max=3600.0, help="From one look to the next."
    ),
]
Once = Annotated[bool, typer.Option("--once", help="Print one picture, and end.")]


def top(
    interval: Interval = 2.0,
    once: Once = False,
    config: ConfigFile = DEFAULT_CONFIG,
    as_json: AsJson = False,
) -> None:
    """Show what the running gate does: requests, verdicts, stores, upstreams; Ctrl-C ends it.

    Rates are of the time between two looks: `--once` looks twice, an interval apart. It is meant
    where standard output is no terminal, and with `--json`.
    """
    found = listener(config)
    if found is None:
        report.fail("the configuration says `health: none`", report.EXIT_USAGE)
    console = make_console()
    if once or as_json or not console.is_terminal:
        picture = _first(found.listen, interval)
        if as_json:
            report.say_json(picture.to_json())
        else:
            console.print(draw(picture.to_json()))
        return
    try:
        _watch(found.listen, interval)
    except KeyboardInterrupt:
        return


def look(address: Address) -> Scrape:
    """Return what the gate has counted. Raises `OSError` without an answer, `ValueError` for a bad one."""
    status, body = ask(address, "/metrics", most=MOST)
    if status != b"200":
        raise ValueError("it does not tell")
    return Scrape.of(time.monotonic(), body.decode("utf-8", "replace"))


def _first(address: Address, interval_s: float) -> Picture:
    try:
        before = look(address)
        time.sleep(interval_s)
        return Picture(before, look(address))
    except (OSError, ValueError) as error:
        report.fail(_reason(address, error))


def _watch(address: Address, interval_s: float) -> None:
    """Draw again and again; a gate that does not answer is waited for, with the last picture."""
    picture = _first(address, min(interval_s, 0.5))
    console = make_console()
    with Live(console=console, screen=True, auto_refresh=False) as live:
        note = ""
        while True:
            figures = picture.to_json()
            rows = console.height - lines_around(figures)
            live.update(draw(figures, rows=rows, note=note), refresh=True)
            time.sleep(interval_s)
            try:
                picture, note = Picture(picture.now, look(address)), ""
            except (OSError, ValueError) as error:
                note = _reason(address, error)


def _reason(address: Address, error: OSError | ValueError) -> str:
    if isinstance(error, OSError):
        return no_answer(address, error)
    return f"{address}: {error}"
