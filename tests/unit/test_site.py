"""What the documentation's site adds to docs/: a reference from the models, and pages from elsewhere."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

from proxy.config.outline import outline

ROOT = Path(__file__).parents[2]
SPEC = importlib.util.spec_from_file_location("hooks", ROOT / "docs" / "site" / "hooks.py")
hooks = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(hooks)


@pytest.fixture(scope="module")
def rows():
    """Give the rows of the reference."""
    lines = [line for line in hooks.reference().splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def test_the_reference_has_every_key_of_the_models(rows):
    """In the order of the file, each once, with what it takes and what it is for."""
    assert [f"`{path}`" for path, _ in outline()] == [row[0] for row in rows]
    assert not [row[0] for row in rows if row[1] in ("", "any") or len(row[3]) < 5]


@pytest.mark.parametrize(
    "row",
    [
        ["`server.workers`", "`auto` or number", "`auto`"],
        ["`server.drain`", "duration", "`30s`"],
        ["`verdicts.bytes`", "size", "`64MiB`"],
        ["`schemes.*.keys.local`", "`true` or `false`", "`false`"],
        ["`routes[].upstream`", "text", "required"],
    ],
    ids=lambda row: row[0],
)
def test_values_and_defaults_are_words(rows, row):
    """As the file would have them, not as the program does."""
    assert row in [one[:3] for one in rows]


@pytest.mark.parametrize(
    ("target", "source", "here", "moved"),
    [
        ("../SECURITY.md", "docs/security.md", "security.md", "policy.md"),
        ("../../config/sidecar.yaml", "docs/guides/back-office.md", "guides/back-office.md", "../samples.md"),
        ("../benchmarks/results/peers.md", "docs/scale.md", "scale.md", "results/peers.md"),
        ("../../docs/scale.md", "benchmarks/results/store_costs.md", "results/store_costs.md", "../scale.md"),
        ("store.md", "docs/scale.md", "scale.md", "store.md"),
        ("nothing.md", "docs/scale.md", "scale.md", "nothing.md"),
    ],
)  # fmt: skip
def test_a_link_out_of_docs_leads_to_the_sites_page(target, source, here, moved):
    """What stands beside docs/ is a page of the site; what is nowhere stays, and fails the strict build."""
    assert moved == hooks.moved(target, source, here)


def test_the_samples_are_shown():
    """Every configuration, unit and manifest of config/ is on the page of samples."""
    text = hooks.samples()
    for path in (ROOT / "config").rglob("*.yaml"):
        assert f"## {path.relative_to(ROOT).as_posix()}\n" in text


def test_every_page_is_in_the_menu():
    """Those of docs/, and those that are made here: `make docs` would refuse a page that nobody finds."""
    nav = (ROOT / "mkdocs.yml").read_text().partition("\nnav:\n")[2]
    named = sorted(re.findall(r": (\S+\.md)$", nav, re.MULTILINE))
    pages = [path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")]

    assert named == sorted([*pages, *hooks.BESIDE.values(), hooks.SAMPLES, hooks.REFERENCE])


def test_the_build_is_strict_and_part_of_ci():
    """A link that leads nowhere, or a page in no menu, fails `make docs`, and so `.ci/run`."""
    assert "\nstrict: true\n" in (ROOT / "mkdocs.yml").read_text()
    assert (
        "\tNO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict\n" in (ROOT / "Makefile").read_text()
    )
    assert "\nmake docs\n" in (ROOT / ".ci" / "run").read_text()
