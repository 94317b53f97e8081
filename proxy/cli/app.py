"""`latchgate`: the commands, put together."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from proxy import __version__
from proxy.cli import report, session, token, user
from proxy.cli.audit import audit
from proxy.cli.check import check
from proxy.cli.demo import demo
from proxy.cli.explain import explain
from proxy.cli.health import health
from proxy.cli.init import init
from proxy.cli.options import AsJson
from proxy.cli.routes import routes
from proxy.cli.serve import serve
from proxy.config.schema import json_schema

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
app.add_typer(user.app, name="user")
app.command()(serve)
app.command()(init)
app.command()(check)
app.command()(explain)
app.command()(routes)
app.command()(health)
app.command()(audit)
app.command()(demo)


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
