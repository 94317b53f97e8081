"""`latchgate`: the commands, put together."""

from __future__ import annotations

from typing import Annotated, Any, Final

import typer
from typer.core import TyperGroup

from proxy import __version__
from proxy.cli.lazy import LazyCommands, Place

SECTIONS: Final = {
    "The gate": {
        "serve": Place("serve", "Run the gate until SIGTERM or Ctrl-C.", "serve"),
        "reload": Place("reload", "Let the running gate take its file as it is now.", "reload"),
        "health": Place("health", "Ask the running gate whether it is ready.", "health"),
        "upstreams": Place("upstreams", "Show how the servers of each upstream fare.", "upstreams"),
        "top": Place("top", "Watch what the running gate does.", "top"),
        "demo": Place("demo", "Run two guarded applications, and print commands to try.", "demo"),
    },
    "Its configuration": {
        "init": Place("init", "Write a commented configuration for one application.", "init"),
        "check": Place("check", "Check the configuration and run its tests.", "check"),
        "diff": Place("diff", "Show what the file opens and closes before it is loaded.", "diff"),
        "routes": Place("routes", "Show the policy of every route, public ones first.", "routes"),
        "explain": Place("explain", "Show what becomes of a request, and why.", "explain"),
        "report": Place(
            "reported", "Sum up what report mode let through, and what may be enforced.", "report"
        ),
        "inspect-session": Place(
            "inspect_session",
            "Show what is made of an application's cookie, and why.",
            "inspect_session",
        ),
        "emit": Place("emit", "Print another proxy's part, so that it asks this gate.", "emit"),
        "schema": Place("schema", "Print the JSON Schema of the configuration file.", "schema"),
    },
    "Who may in": {
        "user": Place("user_otp", "Add, change, disable and list who may sign in."),
        "session": Place("session", "Make, list, show and end sessions."),
        "token": Place("token", "Mint, inspect and revoke access tokens."),
        "keys": Place("keys", "List and rotate the gate's own signing keys."),
        "audit": Place("audit", "Show who signed in, and what became of credentials.", "audit"),
    },
}
"""The commands as `--help` lists them, and where they are."""
PLACES: Final = {name: place for places in SECTIONS.values() for name, place in places.items()}


class _Sections(TyperGroup):
    """The commands by what they are about, imported when they are called."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.commands: Any = LazyCommands(PLACES)

    def list_commands(self, ctx: Any) -> list[str]:
        del ctx
        return list(self.commands)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        del ctx
        for title, places in SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl([(name, place.line) for name, place in places.items()])


app = typer.Typer(
    name="latchgate",
    cls=_Sections,
    help="One gate, either key: a reverse proxy that opens a route to a session, a token, or either.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,  # they print local variables, and with them credentials
    rich_markup_mode=None,
)


@app.callback(invoke_without_command=True)
def common(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """Take what stands before the command."""
    if version:
        typer.echo(f"latchgate {__version__}")
        raise typer.Exit


def main() -> None:
    """Run the command line."""
    app()
