from __future__ import annotations

import json
from pathlib import Path

import pytest

from proxy.core.formats.likeness import likeness_of

FIXTURES = Path(__file__).parents[3] / "contract" / "session_fixtures"


@pytest.mark.parametrize("path", sorted(FIXTURES.glob("*.json")), ids=lambda path: path.stem)
def test_every_recorded_cookie_looks_like_something(path):
    """A hint is there for whatever a framework really sends."""
    fixture = json.loads(path.read_text())
    assert likeness_of(fixture["cookie_header"].partition("=")[2].encode())


@pytest.mark.parametrize("value", [b"", b"x", b"\xff" * 32, b"a" * 5000, b"%%%", b"<script>"])
def test_what_looks_like_nothing_has_no_hint(value):
    """No guess is better than a wrong one."""
    assert [] == likeness_of(value)
