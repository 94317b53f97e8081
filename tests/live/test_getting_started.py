"""docs/getting-started.md: every command is run, in order, and shows what the page says."""

from __future__ import annotations

import re
import shutil

import pytest

from proxy.codes import CODES
from tests.reader import NOT_RUN, ROOT, blocks

PAGE = (ROOT / "docs" / "getting-started.md").read_text()


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.skipif(shutil.which("curl") is None, reason="the page's commands need curl")
def test_every_command_of_the_page_does_what_it_says(reader):
    """As a new user does it: in order, in one directory, with what the page shows as the outcome."""
    assert reader.follow(PAGE) >= 8


def test_only_the_installation_is_not_run():
    """Whoever adds a command adds its proof."""
    found = blocks(PAGE)
    skipped = [block.text for block in found if block.note.startswith(NOT_RUN)]
    assert ["python3 -m venv venv\nvenv/bin/pip install .\n"] == skipped
    assert {"sh", "text", "ctrl-c"} == {block.kind for block in found}


def test_the_codes_of_the_page_exist():
    """The table of refusals names codes that the gate knows."""
    table = PAGE.partition("## When it says no")[2]
    named = {code for row in re.findall(r"^\| (`.+?) \|", table, re.MULTILINE)
             for code in re.findall(r"`(\w+)`", row)}  # fmt: skip
    assert len(named) >= 8
    assert named <= set(CODES)
