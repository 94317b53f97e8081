"""docs/operations.md and the pages of commands: what they name is there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import typer
from typer.core import TyperGroup

from proxy.cli.app import app
from proxy.codes import CODES
from proxy.config.foreign_formats import FORMATS
from tests.reader import blocks

ROOT = Path(__file__).parents[2]
PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text() for path in (ROOT / "docs").rglob("*.md")
}
PAGE = PAGES["docs/operations.md"]
FAILURES = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in re.search(r"<!-- failures -->\n((?:\|.*\n)+)", PAGE)[1].splitlines()[2:]
]
COMMANDS = [
    pytest.param(line, id=f"{name}: {line}"[:90])
    for name, page in sorted(PAGES.items())
    for block in blocks(page)
    if block.kind == "sh"
    for line in block.text.replace("\\\n", " ").splitlines()
    if re.search(r"(^|/)latchgate\b(?!\.)", line) and re.match(r"\S*latchgate \w", line)
]


@pytest.mark.parametrize("row", FAILURES, ids=lambda row: row[0].strip("*").split("*")[0])
def test_a_failure_has_codes_that_exist_and_tests_that_show_it(row):
    """Each status stands beside the code that has it, and each test that is named is there."""
    answered = [(int(status), code) for status, code in re.findall(r"\b([45]\d\d) `(\w+)`", row[1])]
    for status, code in answered:
        assert status == CODES[code].status
    named = re.findall(r"`([\w/]+\.py)::(\w+)`", row[4])
    assert named
    for file, test in named:
        assert re.search(rf"def {test}\b", (ROOT / "tests" / file).read_text()), test


def test_the_failures_that_operators_fear_are_there():
    """Store, application, keys, clock, disk and worker: each has a row."""
    words = " ".join(row[0] for row in FAILURES).lower()

    for word in (
        "store away",
        "store slow",
        "application away",
        "key file",
        "clock",
        "disk",
        "worker",
    ):
        assert word in words


@pytest.mark.parametrize("line", COMMANDS)
def test_a_command_of_a_page_exists_with_its_options(line):
    """Whether or not a page is walked, `latchgate` knows what it is told to type."""
    words = shlex.split(re.sub(r"[<>|;&…].*", "", line), comments=True)[1:]
    command = typer.main.get_command(app)
    while isinstance(command, TyperGroup) and words and not words[0].startswith("-"):
        assert words[0] in command.commands, line
        command = command.commands[words.pop(0)]
    known = {name for option in command.params for name in (*option.opts, *option.secondary_opts)}
    used = {word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)}

    assert used <= known | {"--help", "--version"}


def test_every_kind_of_application_has_its_configuration():
    """docs/applications.md has a whole file for each format of sessions that are read, loaded by test_docs."""
    shown = re.findall(r"^    format: (\S+)$", PAGES["docs/applications.md"], re.MULTILINE)

    assert set(FORMATS) == set(shown)


def test_the_threat_model_names_rules_that_exist():
    """Whatever keeps somebody off is a promise of docs/security.md, with its tests."""
    promised = set(re.findall(r"^\| ([A-Z]\d+) \|", PAGES["docs/security.md"], re.MULTILINE))
    named = set(re.findall(r"\b([PHFKRS]\d+)\b", PAGES["docs/threat-model.md"]))

    assert named
    assert named <= promised
