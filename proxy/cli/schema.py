"""`latchgate schema`: the JSON Schema of the configuration file, for editors."""

from __future__ import annotations

import json

import typer

from proxy.cli.options import AsJson
from proxy.config.schema import json_schema


def schema(as_json: AsJson = True) -> None:
    """Print the JSON Schema of the configuration file."""
    del as_json  # it is never anything else
    typer.echo(json.dumps(json_schema(), indent=2))
