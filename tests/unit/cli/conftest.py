"""The command line, run in this process, on a configuration in a directory of its own."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from proxy.cli.app import app


class CommandLine:
    """Runs `latchgate …` with `-c` on this test's configuration."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.file = directory / "latchgate.yaml"

    def write(self, text: str) -> None:
        """Write the configuration."""
        self.file.write_text(text)

    def run(self, *arguments: str, stdin: bytes | None = None) -> Result:
        """Run a command; what it prints and its status are in the result."""
        return CliRunner().invoke(app, [*arguments, "-c", str(self.file)], input=stdin)

    def json(self, *arguments: str, status: int = 0, stdin: bytes | None = None) -> Any:
        """Run a command with `--json` and return what it prints."""
        result = self.run(*arguments, "--json", stdin=stdin)
        assert status == result.exit_code, result.output
        return json.loads(result.stdout)


@pytest.fixture
def latchgate(tmp_path) -> CommandLine:
    """Give the command line."""
    return CommandLine(tmp_path)


Configure = Callable[..., None]


@pytest.fixture
def gate(latchgate, valkey) -> CommandLine:
    """Give the command line on a configuration with sessions, local tokens and a real store."""
    key = latchgate.directory / "key"
    key.write_text("00" * 32)
    latchgate.write(f"""
store: {{url: "{valkey.url}"}}
secrets: {{key: {{file: key}}}}
tokens: {{issuer: https://shop.example.com, audience: shop}}
upstreams: {{app: {{servers: ["http://127.0.0.1:1"]}}}}
schemes:
  web: {{type: session, format: native}}
  api: {{type: jwt, keys: {{local: true}}}}
routes: [{{match: {{path: "/**"}}, auth: [api, web], upstream: app}}]
""")
    return latchgate
