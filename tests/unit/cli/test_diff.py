"""`latchgate diff` over two files, without a gate."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from proxy.cli import diff as module
from proxy.cli.app import app

FILE = """
server: {{listen: "127.0.0.1:{port}"}}
upstreams: {{app: {{servers: ["http://127.0.0.1:9"]}}}}
routes:
  - {{name: open, match: {{path: /open/**}}, auth: none, upstream: app}}
{more}
"""
MORE = "  - {name: more, match: {path: /more/**}, auth: none, upstream: app}"


@pytest.fixture
def run(tmp_path):
    """Return a function that compares two configurations."""

    def compared(old, new, *arguments):
        for name, text in (("old.yaml", old), ("new.yaml", new)):
            (tmp_path / name).write_text(text)
        command = [
            "diff",
            "-c",
            str(tmp_path / "new.yaml"),
            "--against",
            str(tmp_path / "old.yaml"),
        ]
        return CliRunner().invoke(app, [*command, *arguments])

    return compared


def test_it_tells_what_opens_and_what_a_reload_cannot_do(run):
    """In words and as JSON, and with a status that a pipeline understands."""
    old, new = FILE.format(port=1, more=""), FILE.format(port=2, more=MORE)
    shown = run(old, new)
    assert shown.exit_code == 0
    assert shown.stdout.splitlines()[:2] == [
        "opens 1 route",
        "  opens route more: what had no route is public now",
    ]
    told = json.loads(run(old, new, "--json").stdout)
    assert told["needs_restart"] == ["server.listen"]
    assert told["may_open"] is True
    assert run(old, new, "--refuse-opening").exit_code == 1
    assert run(new, old, "--refuse-opening").exit_code == 0
    assert module.diff.__doc__ is not None
