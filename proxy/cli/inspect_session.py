"""`latchgate inspect-session`: what a scheme makes of an application's cookie, step by step."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator
from typing import Annotated, Final

import typer
from rich.table import Table
from rich.text import Text

from proxy.adapters.store import RedisStore, address_of, open_store
from proxy.adapters.telemetry.text import escape
from proxy.cli import report
from proxy.cli.explain_view import make_console
from proxy.cli.opening import load_or_fail, open_store_of
from proxy.cli.options import DEFAULT_CONFIG, AsJson, ConfigFile, SchemeName
from proxy.config.models import Config, SessionSchemeConfig
from proxy.services.compile import compile_reader
from proxy.services.inspection import Inspection, Step
from proxy.services.schemes.foreign_formats import format_of

_STYLES: Final = {"good": "green", "bad": "red", "note": ""}

Cookie = Annotated[
    str,
    typer.Argument(
        metavar="COOKIE",
        help="- (standard input) or @file: a Cookie header as a browser sends it, or the value alone.",
    ),
]


def inspect_session(
    cookie: Cookie = "-",
    scheme: SchemeName = None,
    config: ConfigFile = DEFAULT_CONFIG,
    as_json: AsJson = False,
) -> None:
    """Show what a scheme makes of an application's cookie; 0 if it is accepted, else 1.

    Of secrets only digests are shown, of the session the names of what is in it. Nothing is written.
    """
    settings = load_or_fail(config, runs_tests=False).config
    name, chosen = _choose(settings, scheme)
    given = report.read_credential(cookie)
    steps = report.complete(_inspect(settings, name, chosen, given))
    if as_json:
        report.say_json(
            {
                "accepted": steps[-1].outcome == "good",
                "steps": [
                    {"label": step.label, "text": step.text, "outcome": step.outcome}
                    for step in steps
                ],
            }
        )
    else:
        _show(steps)
    if steps[-1].outcome != "good":
        raise typer.Exit(report.EXIT_REFUSED)


def _choose(settings: Config, wanted: str | None) -> tuple[str, SessionSchemeConfig]:
    """Return the scheme of that name, or the only one that reads an application's sessions."""
    foreign = {
        name: scheme
        for name, scheme in settings.schemes.items()
        if isinstance(scheme, SessionSchemeConfig) and scheme.format != "native"
    }
    if wanted is not None and wanted in foreign:
        return wanted, foreign[wanted]
    names = ", ".join(foreign) or "none"
    if wanted is not None:
        report.fail(
            f"no scheme {wanted} reads an application's sessions: {names}", report.EXIT_USAGE
        )
    if len(foreign) != 1:
        message = f"say which scheme with --scheme; those of applications: {names}"
        report.fail(message, report.EXIT_USAGE)
    return next(iter(foreign.items()))


async def _inspect(
    settings: Config, name: str, scheme: SessionSchemeConfig, given: bytes
) -> list[Step]:
    assert scheme.identity is not None  # noqa: S101 - the configuration was checked
    reader = compile_reader(scheme.identity)
    async with _store_of(settings, scheme) as store:
        inspection = Inspection(name, scheme, format_of(scheme), reader, store.look)
        return [step async for step in inspection.steps(given, time.time())]


@contextlib.asynccontextmanager
async def _store_of(settings: Config, scheme: SessionSchemeConfig) -> AsyncIterator[RedisStore]:
    if scheme.store is None:
        async with open_store_of(settings) as own:
            yield own
        return
    store = open_store(
        address_of(scheme.store),
        timeout_s=settings.store.timeout,
        max_staleness_s=settings.store.max_staleness,
    )
    try:
        yield store
    finally:
        await store.close()


def _show(steps: list[Step]) -> None:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    last = ""
    for step in steps:
        label = "" if step.label == last else step.label
        table.add_row(label, Text(escape(step.text), style=_STYLES[step.outcome]))
        last = step.label
    make_console().print(table)
