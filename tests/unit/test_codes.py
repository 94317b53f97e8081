"""The table of codes, and its page in docs/."""

from __future__ import annotations

import re
from pathlib import Path

from proxy.codes import CODES

PAGE = Path(__file__).parent.parent.parent / "docs" / "codes.md"


def rows():
    """Return the table's rows: status, code, title, cause, remedy."""
    lines = [line for line in PAGE.read_text().splitlines() if re.match(r"\| \d{3} \|", line)]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def test_the_page_says_what_the_code_says():
    """docs/codes.md has every code once, in the code's order, with its status and title."""
    assert [[str(info.status), f"`{code}`", info.title] for code, info in CODES.items()] == [
        row[:3] for row in rows()
    ]


def test_every_code_has_cause_and_remedy():
    """For whoever runs the gate: a sentence each, and no more cells than the table has."""
    assert all(len(row) == 5 and row[3].endswith(".") and row[4].endswith(".") for row in rows())


def test_every_word_for_people_is_a_fixed_sentence():
    """Nothing of a request can be put into one, and none is missing."""
    told = [text for info in CODES.values() for text in (info.title, info.meaning, info.remedy)]

    assert all(text.endswith(".") and "{" not in text for text in told)


def test_every_code_that_the_program_uses_stands_in_the_table():
    """A refusal with an unknown code would be an error of the gate."""
    source = Path(__file__).parent.parent.parent / "proxy"
    made = re.compile(
        r"(?:HeadError|Refusal|BadTarget|Absent|Rejected|deny)\(\s*\"([a-z_]+)\"|^    code = \"([a-z_]+)\"",
        re.MULTILINE,
    )
    used = {
        code
        for path in source.rglob("*.py")
        for found in made.finditer(path.read_text())
        for code in found.groups()
        if code
    }

    assert len(used) > 20
    assert used <= set(CODES)
