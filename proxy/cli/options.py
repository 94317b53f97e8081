"""What every command takes alike."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

ConfigFile = Annotated[
    str,
    typer.Option(
        "--config",
        "-c",
        metavar="FILE",
        envvar="LATCHGATE_CONFIG",
        help="The configuration; - is standard input.",
    ),
]
DEFAULT_CONFIG = "latchgate.yaml"
DEFAULT_LISTEN = "127.0.0.1:8080"
"""Where a gate listens that was asked to guard one application."""

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]

Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", help="Print the credential only, for $(…) in a shell.")
]

Subject = Annotated[str, typer.Option("--subject", metavar="S", help="Who it is.")]
Roles = Annotated[list[str] | None, typer.Option("--role", metavar="R", help="Repeatable.")]
Scopes = Annotated[list[str] | None, typer.Option("--scope", metavar="X", help="Repeatable.")]
Email = Annotated[str | None, typer.Option("--email", metavar="E")]
FullName = Annotated[str | None, typer.Option("--name", metavar="N", help="The name to show.")]
Claims = Annotated[
    list[str] | None,
    typer.Option(
        "--claim",
        metavar="K=V",
        help="Repeatable. V is JSON where it is JSON (1, true, [..]), otherwise a text.",
    ),
]
SchemeName = Annotated[
    str | None,
    typer.Option("--scheme", metavar="NAME", help="Which scheme; default the only one."),
]


ForeignScheme = Annotated[
    str | None,
    typer.Option(
        "--scheme", metavar="NAME", help="Of an application, if it is one that names them."
    ),
]


def config_path(text: str) -> Path | Literal["-"]:
    """Return what `load` takes."""
    return "-" if text == "-" else Path(text)
