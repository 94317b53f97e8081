"""docs/security.md says what is tested, and SECURITY.md what to do when that was not enough."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "security.md").read_text()
ALL_RULES = {
    f"{letter}{number}"
    for letter, count in {"P": 6, "H": 8, "F": 7, "K": 6, "R": 10, "S": 15}.items()
    for number in range(1, count + 1)
}
ALL_ADVISORIES = set(range(1, 43))
"""The numbers of the collection that docs/security.md goes through."""

NAMED = re.findall(r"`([\w/]+\.py)::(test_\w+)`", PAGE)


def rows(*columns, between=("# Security", "\\Z")):
    """Return the table rows of a part of the page whose cells fit the patterns."""
    begin, end = between
    part = re.search(rf"(?ms)^{begin}$(.*?)(?=^{end})", PAGE)
    assert part is not None
    cells = r" \| ".join(columns)
    return re.findall(rf"(?m)^\| {cells} \|$", part[1])


BUILT = dict(
    rows(r"([PHFKRS]\d+)", "[^|]+", r"([^|]*)", "[^|]+", between=("# Security", "## Not yet"))
)
LATER = dict(rows(r"([PHFKRS]\d+)", r"([^|]+)", between=("## Not yet", "## Advisories")))
TRIED = dict(rows(r"(\d+)", "[^|]+", "[^|]+", r"([^|]*)", between=("## Advisories", "Not yet, ")))
UNTRIED = dict(
    rows(r"(\d+)", "[^|]+", "[^|]+", r"([^|]*)", between=(r"Not yet, [^\n]*", "## Fuzzing"))
)


def names_in(path):
    """Return the names of the tests in a file."""
    return {
        node.name
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name.startswith("test_")
    }


@pytest.mark.parametrize("path", sorted({path for path, _ in NAMED}))
def test_every_test_that_is_named_exists(path):
    """A promise is shown by what runs, not by what once ran."""
    named = {name for file, name in NAMED if file == path}

    assert set() == named - names_in(ROOT / "tests" / path)


def test_every_rule_is_built_or_not_yet():
    """No rule is forgotten, and none is both."""
    assert ALL_RULES == BUILT.keys() | LATER.keys()
    assert set() == BUILT.keys() & LATER.keys()


@pytest.mark.parametrize("rule", sorted(BUILT))
def test_a_built_rule_has_tests_that_carry_its_number(rule):
    """Whoever reads a failing test finds the promise, and the other way round."""
    named = re.findall(r"::(test_\w+)`", BUILT[rule])

    assert any(re.match(rf"test_(?:[a-z]\d+_)*{rule.lower()}_", name) for name in named), rule


def test_a_rule_that_is_not_built_has_no_tests():
    """When its tests come the page has to be told."""
    names = {name for path in (ROOT / "tests").rglob("test_*.py") for name in names_in(path)}
    early = {rule for rule in LATER for name in names if re.match(rf"test_{rule.lower()}_", name)}

    assert set() == early


def test_every_advisory_is_tried_or_waits_for_its_part():
    """What broke others breaks here first, in a test."""
    assert {str(number) for number in ALL_ADVISORIES} == TRIED.keys() | UNTRIED.keys()
    assert set() == TRIED.keys() & UNTRIED.keys()


@pytest.mark.parametrize("number", sorted(TRIED, key=int))
def test_an_advisory_that_is_tried_has_a_test(number):
    """At least one, by its name."""
    assert re.findall(r"`[\w/]+\.py::test_\w+`", TRIED[number]), number


def test_every_advisory_behind_a_rule_is_in_the_list():
    """The column `after` of the rules points to rows that are there and tried."""
    behind = set(re.findall(r"#(\d+)", PAGE.partition("## Not yet")[0]))

    assert set() == behind - TRIED.keys()


def test_reports_have_a_way_and_no_invented_address():
    """SECURITY.md names the repository's private reporting, and links to the table."""
    text = (ROOT / "SECURITY.md").read_text()

    assert "private vulnerability reporting" in text
    assert "docs/security.md" in text
    assert "@" not in text
