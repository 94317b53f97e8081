"""`latchgate`: the commands, put together."""

from __future__ import annotations

import json
import os
from typing import Annotated

import typer

from proxy import __version__
from proxy.adapters.telemetry import LogFormat
from proxy.cli import report, session, token
from proxy.cli.check import check
from proxy.cli.demo import demo
from proxy.cli.health import health
from proxy.cli.opening import load_or_fail
from proxy.cli.options import DEFAULT_CONFIG, AsJson, ConfigFile
from proxy.config.schema import json_schema
from proxy.run import serve as serving
from proxy.run.privileges import root_problem

app = typer.Typer(
    name="latchgate",
    help="One gate, either key: a reverse proxy that opens a route to a session, a token, or either.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,  # they print local variables, and with them credentials
    rich_markup_mode=None,
)
app.add_typer(session.app, name="session")
app.add_typer(token.app, name="token")
app.command()(check)
app.command()(health)
app.command()(demo)


@app.command()
def serve(config: ConfigFile = DEFAULT_CONFIG, as_json: AsJson = False) -> None:
    """Run the gate until SIGTERM or Ctrl-C, which drain it; a second one hurries."""
    if (problem := root_problem(os.environ, os.geteuid())) is not None:
        report.fail(problem, report.EXIT_USAGE)
    log_format: LogFormat | None = "json" if as_json else None
    raise typer.Exit(serving.serve(load_or_fail(config), log_format=log_format))


@app.command()
def schema(as_json: AsJson = True) -> None:
    """Print the JSON Schema of the configuration file."""
    del as_json  # it is never anything else
    typer.echo(json.dumps(json_schema(), indent=2))


@app.callback(invoke_without_command=True)
def common(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """Take what stands before the command."""
    if version:
        report.say(f"latchgate {__version__}")
        raise typer.Exit


def main() -> None:
    """Run the command line."""
    app()
