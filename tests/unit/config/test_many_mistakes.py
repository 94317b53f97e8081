"""A configuration with many different mistakes: all in one run, each at its line and column."""

from __future__ import annotations

from pathlib import Path

import pytest

from proxy.errors import ConfigErrors
from proxy.run.loading import load

GOLDEN = Path(__file__).parents[2] / "golden"


@pytest.mark.parametrize("case", sorted(GOLDEN.glob("*_mistakes.yaml")), ids=lambda path: path.stem)
def test_all_mistakes_are_reported_at_once(case, tmp_path):
    """Above the dashes stands the file, below them what is wrong with it."""
    text, _, expected = case.read_text().partition("--------\n")
    path = tmp_path / "gate.yaml"
    path.write_text(text)
    with pytest.raises(ConfigErrors) as caught:
        load(path)

    told = [str(error).replace(str(path), "FILE") for error in caught.value.errors]
    assert expected.splitlines() == told
    assert len(told) >= 10


SAMPLES = sorted((GOLDEN.parent.parent / "config").glob("*.yaml"))


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.name)
def test_a_samples_first_line_names_the_schema(sample):
    """An editor completes it."""
    first = sample.read_text().splitlines()[0]

    assert first == "# yaml-language-server: $schema=latchgate.schema.json"
