"""Whole files with mistakes, each with what is said about them: tests/golden/*.yaml."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from proxy.config.loader import parse_config
from proxy.errors import ConfigErrors
from proxy.run.loading import CHECKS

GOLDEN = Path(__file__).parents[2] / "golden"
ENVIRONMENT = {"SECRET": "hunter2-from-the-environment", "WORKERS": "2"}


def split(path):
    """Return the file above the line of dashes, and the lines below it."""
    text, expected = re.split(r"^-{8,}\n", path.read_text(), maxsplit=1, flags=re.MULTILINE)
    return text, expected.splitlines()


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.yaml")), ids=lambda path: path.stem)
def test_a_file_is_told_all_its_mistakes(path, tmp_path):
    """Above the dashes stands the file; below, every mistake or warning at its line and column."""
    text, expected = split(path)
    try:
        found = parse_config(
            text.encode(), file="FILE", base=tmp_path, checks=CHECKS, environment=ENVIRONMENT
        ).warnings
    except ConfigErrors as errors:
        found = errors.errors

    assert expected == [str(error) for error in found]
    assert "hunter2" not in "".join(map(str, found))


def test_a_file_with_many_different_mistakes_is_told_each_of_them():
    """More than ten mistakes of different kinds: structure, values, names, and what does not fit."""
    _, expected = split(GOLDEN / "many_mistakes.yaml")

    assert len(expected) >= 10
    assert len({line.split(" ", 2)[2] for line in expected}) >= 10
    assert len({line.split(":")[1] for line in expected}) >= 10
