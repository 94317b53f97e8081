"""The Dockerfile and the shell scripts, as their own linters see them."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPTS = [
    path
    for directory in (".ci", "config", "tests", "benchmarks")
    for path in sorted((ROOT / directory).rglob("*"))
    if path.is_file()
    and path.suffix in ("", ".sh")
    and re.match(rb"#!.*\bb?a?sh\b", path.read_bytes()[:80])
]


def linter(name):
    """Return the program that a development requirement installs beside Python."""
    program = Path(sys.executable).parent / name
    if not program.exists():
        pytest.skip(f"{name} has no wheel for this machine")
    return program


def test_hadolint_finds_nothing_in_the_dockerfile():
    """The image is built as the linter of Dockerfiles wants it, without an exception."""
    told = subprocess.run(
        [linter("hadolint"), ROOT / "Dockerfile"], capture_output=True, text=True, check=False
    )

    assert (0, "") == (told.returncode, told.stdout)
    assert "hadolint ignore" not in (ROOT / "Dockerfile").read_text()


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_shellcheck_finds_nothing_in_the_scripts(script):
    """Every script of the repository is free of what the shell's linter knows."""
    told = subprocess.run(
        [linter("shellcheck"), script], capture_output=True, text=True, check=False
    )

    assert (0, "") == (told.returncode, told.stdout)


def test_the_scripts_are_found():
    """The search for scripts finds those that CI consists of."""
    assert {"run", "others"} <= {path.name for path in SCRIPTS}


def test_the_dockerfile_names_no_architecture():
    """One file builds for amd64 and arm64: it pins no platform, fetches no binary, compiles nothing."""
    text = (ROOT / "Dockerfile").read_text()
    instructions = re.sub(r"(?m)^\s*#.*\n", "", text)

    assert not re.search(r"--platform|amd64|arm64|x86_64|aarch64|curl|wget|apt-get", instructions)
    assert "--only-binary :all:" in instructions
    for page in ("Dockerfile", "docs/deploy.md"):
        assert "docker buildx build --platform linux/amd64,linux/arm64" in (ROOT / page).read_text()
