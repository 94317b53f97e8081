"""Every key of the configuration stands in the reference, and the shipped schema is current."""

from __future__ import annotations

import json
from pathlib import Path

from proxy.config.outline import outline
from proxy.config.schema import json_schema

ROOT = Path(__file__).parents[3]


def test_every_key_is_documented():
    """docs/configuration.md has a row for each."""
    page = (ROOT / "docs" / "configuration.md").read_text()
    # A section of the file is a heading, its keys are rows.
    missing = [
        path for path, _ in outline() if f"| `{path}` |" not in page and f"## {path}\n" not in page
    ]

    assert missing == []


def test_the_shipped_schema_is_current():
    """`latchgate schema > config/latchgate.schema.json` changes nothing."""
    shipped = json.loads((ROOT / "config" / "latchgate.schema.json").read_text())

    assert json_schema() == shipped
