"""`latchgate`: the commands, put together."""

from __future__ import annotations

import json
from typing import Annotated, Any, Final

import typer
from typer.core import TyperGroup

from proxy import __version__
from proxy.cli import keys, report, session, token, user_otp
from proxy.cli.audit import audit
from proxy.cli.check import check
from proxy.cli.demo import demo
from proxy.cli.emit import emit
from proxy.cli.explain import explain
from proxy.cli.health import health
from proxy.cli.init import init
from proxy.cli.inspect_session import inspect_session
from proxy.cli.options import AsJson
from proxy.cli.routes import routes
from proxy.cli.serve import serve
from proxy.config.schema import json_schema

SECTIONS: Final = {
    "The gate": ("serve", "health", "demo"),
    "Its configuration": (
        "init",
        "check",
        "routes",
        "explain",
        "inspect-session",
        "emit",
        "schema",
    ),
    "Who may in": ("user", "session", "token", "keys", "audit"),
}
"""The commands as `--help` lists them."""
_MARGIN: Final = 6
"""Columns beside a command's name and its line."""


class _Sections(TyperGroup):
    """The commands by what they are about; what no section names stands last."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        named = {name for names in SECTIONS.values() for name in names}
        rest = tuple(name for name in self.list_commands(ctx) if name not in named)
        limit = formatter.width - _MARGIN - max(map(len, self.commands))
        for title, names in {**SECTIONS, "More": rest}.items():
            lines = [(name, self.commands[name].get_short_help_str(limit)) for name in names]
            if lines:
                with formatter.section(title):
                    formatter.write_dl(lines)


app = typer.Typer(
    name="latchgate",
    cls=_Sections,
    help="One gate, either key: a reverse proxy that opens a route to a session, a token, or either.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,  # they print local variables, and with them credentials
    rich_markup_mode=None,
)
app.add_typer(user_otp.app, name="user")
app.add_typer(session.app, name="session")
app.add_typer(token.app, name="token")
app.add_typer(keys.app, name="keys")
app.command(short_help="Run the gate until SIGTERM or Ctrl-C.")(serve)
app.command(short_help="Ask the running gate whether it is ready.")(health)
app.command(short_help="Run two guarded applications, and print commands to try.")(demo)
app.command(short_help="Write a commented configuration for one application.")(init)
app.command(short_help="Check the configuration and run its tests.")(check)
app.command(short_help="Show the policy of every route, public ones first.")(routes)
app.command(short_help="Show what becomes of a request, and why.")(explain)
app.command(short_help="Show what is made of an application's cookie, and why.")(inspect_session)
app.command(short_help="Print another proxy's part, so that it asks this gate.")(emit)
app.command(short_help="Show who signed in, and what became of credentials.")(audit)


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
