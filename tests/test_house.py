"""The rules of the house that a machine can check: names, reasons, sentences."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "proxy"
MODULES = sorted(
    path.relative_to(PACKAGE)
    for path in PACKAGE.rglob("*.py")
    if path.name not in ("__init__.py", "__main__.py")
)
TESTS = sorted((ROOT / "tests").rglob("test_*.py"))

WITHOUT_OWN_TEST = {
    # Words only: used by every test there is.
    "adapters/upstreams/port.py",
    "model.py",
    "services/decision.py",
    "services/route.py",
    "services/schemes/port.py",
}


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_every_module_has_its_test(module):
    """A module `proxy/x/y.py` is tested by `tests/unit/x/test_y.py`, or by a live test named so."""
    if module.as_posix() in WITHOUT_OWN_TEST:
        pytest.skip("it has words only, which every other test uses")
    own = ROOT / "tests" / "unit" / module.parent / f"test_{module.name}"
    live = [path for path in TESTS if path.name == f"test_{module.name}"]

    assert own.exists() or live, f"no tests/unit/{module.parent}/test_{module.name}"


@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_test_says_what_it_shows(path):
    """A test begins with a sentence that states the behaviour."""
    tree = ast.parse(path.read_text())
    silent = [
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name.startswith("test_")
        and not ast.get_docstring(node)
    ]

    assert silent == []


def test_every_exception_to_a_check_has_its_reason():
    """`noqa`, `type: ignore` and `pragma` name a code, and say why on the same line."""
    exceptional = re.compile(r"#\s*(noqa|type: ignore|pragma: no cover)(?P<rest>.*)$")
    reasoned = re.compile(r"^(: ?[A-Z]+\d+(, ?[A-Z]+\d+)*|\[[a-z-]+(, ?[a-z-]+)*\]|)\s*[-#].{8,}")
    silent = []
    for path in [*PACKAGE.rglob("*.py"), *(ROOT / "upstream_example").rglob("*.py")]:
        for number, line in enumerate(path.read_text().splitlines(), start=1):
            found = exceptional.search(line)
            if found and not reasoned.match(found["rest"]):
                silent.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()}")

    assert silent == []


def test_no_file_is_too_long():
    """A file has at most 500 lines: past that it has more than one subject."""
    long = {
        path.relative_to(ROOT).as_posix(): count
        for path in PACKAGE.rglob("*.py")
        if (count := len(path.read_text().splitlines())) > 500
    }

    assert long == {}
