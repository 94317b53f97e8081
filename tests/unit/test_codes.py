"""The table of codes, and its page in docs/."""

from __future__ import annotations

import re
from pathlib import Path

from proxy.codes import CODES

PAGE = Path(__file__).parent.parent.parent / "docs" / "codes.md"


def test_the_page_has_every_code_with_its_status():
    """docs/codes.md and the code say the same."""
    rows = re.findall(r"^\| (\d{3}) \| `(\w+)` \| (.+) \| (.+) \|$", PAGE.read_text(), re.MULTILINE)

    assert {code: str(info.status) for code, info in CODES.items()} == {
        code: status for status, code, *_ in rows
    }


def test_no_title_depends_on_a_request():
    """A title is one fixed sentence."""
    assert all(info.title.endswith(".") and "{" not in info.title for info in CODES.values())
