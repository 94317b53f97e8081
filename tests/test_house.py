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
TEXTS = [path.read_text() for path in TESTS]

WHOLE_PACKAGES = {
    # One door, `load_config`: tests/unit/config and tests/golden go through it.
    "config",
}

THROUGH_OTHERS = {
    # Words only: every test uses them.
    "model.py",
    # Through the router: test_routing and the property tests.
    "core/overlaps.py",
    "core/patterns.py",
    "services/decision.py",
    "services/route.py",
    # Compiled, built and rendered by every live test that starts a gate from a file.
    "services/authenticate.py",
    "services/compile.py",
    "services/credentials.py",
    "services/deny_list.py",
    "services/gate.py",
    "services/keyrings.py",
    # Through every answer of test_decision.
    "services/letting.py",
    "services/login_providers.py",
    # By the tests of logins, from beginning to end: unit/services/test_oidc_login.py.
    "services/openid_provider.py",
    "services/own_opening.py",
    "services/routes.py",
    "services/runtime.py",
    "services/schemes/jwt.py",
    "services/schemes/port.py",
    "services/schemes/records.py",
    "services/schemes/session.py",
    # By the gates of live/processes/test_reload.py, which take other configurations.
    "run/backing.py",
    "run/opened.py",
    "run/reloading.py",
    "run/reloads.py",
    # By its name, as the supervisor does: live/processes/test_worker.py.
    "run/start_worker.py",
    "edge/connection.py",
    # Through every live test, in both lanes (tests/lanes.py).
    "edge/express.py",
    "edge/passing.py",
    "edge/receiving.py",
    "edge/traced.py",
    "edge/forward.py",
    "edge/incoming.py",
    "edge/manager.py",
    "edge/serving.py",
    # Through the requests that test_open_connections holds open.
    "edge/under_way.py",
}


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_every_module_has_its_test(module):
    """A module has a test file of its name, or a test imports it to test it."""
    if module.as_posix() in THROUGH_OTHERS or module.parts[0] in WHOLE_PACKAGES:
        pytest.skip("it is tested by the live tests that start a gate from a file")
    dotted = "proxy." + ".".join(module.with_suffix("").parts)
    parent, _, name = dotted.rpartition(".")
    importing = re.compile(
        rf"^\s*(from {re.escape(dotted)} import|import {re.escape(dotted)}\b"
        rf"|from {re.escape(parent)} import [^\n]*\b{name}\b)",
        re.MULTILINE,
    )
    named = any(path.name == f"test_{module.name}" for path in TESTS)

    assert named or any(importing.search(text) for text in TEXTS), f"nothing tests {module}"


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
