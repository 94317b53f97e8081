"""`latchgate serve`: the gate of a file, or of one application without a file."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from proxy.adapters.telemetry import LogFormat
from proxy.cli import report
from proxy.cli.opening import load_or_fail
from proxy.cli.options import DEFAULT_CONFIG, DEFAULT_LISTEN, AsJson, ConfigFile
from proxy.run import serve as serving
from proxy.run.privileges import root_problem


def serve(
    context: typer.Context,
    upstream: Annotated[
        str | None,
        typer.Option(
            metavar="SERVER",
            help="Without a file: guard this application, and print a session and a token to try it.",
        ),
    ] = None,
    listen: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help=f"With --upstream: where; default {DEFAULT_LISTEN}."),
    ] = None,
    print_config: Annotated[
        bool, typer.Option("--print-config", help="With --upstream: print what it would run.")
    ] = False,
    config: ConfigFile = DEFAULT_CONFIG,
    as_json: AsJson = False,
) -> None:
    """Run the gate until SIGTERM or Ctrl-C, which drain it; a second one hurries."""
    if (problem := root_problem(os.environ, os.geteuid())) is not None:
        report.fail(problem, report.EXIT_USAGE)
    if upstream is None:
        if listen is not None or print_config:
            name = "--print-config" if print_config else "--listen"
            report.fail(f"{name} goes with --upstream", report.EXIT_USAGE)
        log_format: LogFormat | None = "json" if as_json else None
        raise typer.Exit(serving.serve(load_or_fail(config), log_format=log_format))
    source = context.get_parameter_source("config")
    if source is not None and source.name == "COMMANDLINE":  # LATCHGATE_CONFIG may well be set
        report.fail("--upstream takes the place of a file: not with --config", report.EXIT_USAGE)
    # A gate of a file needs nothing of what writes one.
    from proxy.cli import trial  # noqa: PLC0415 - as above

    draft = trial.draft_of(upstream, listen or DEFAULT_LISTEN)
    if print_config:
        typer.echo(trial.text_of(draft), nl=False)
        return
    raise typer.Exit(trial.run(draft, as_json=as_json))
