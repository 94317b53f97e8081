from __future__ import annotations

from pathlib import Path

from proxy.cli.options import config_path


def test_a_dash_is_standard_input_and_everything_else_a_path():
    """`-` and nothing else."""
    assert "-" == config_path("-")
    assert Path("a/-") == config_path("a/-")
