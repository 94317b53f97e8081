"""`latchgate demo`: every command that it prints does what it says, and nothing is left behind."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from proxy.cli.demo import steps

ROOT = Path(__file__).parents[2]
PEOPLE = [{"cookie": "sid=x", "id": "y", "token": "z"}] * 2
LAST_LINE = "Ctrl-C ends everything"

# What an installation makes of `latchgate`; the interpreter that runs the tests may have none.
PROGRAM = f"""#!{sys.executable} -P
from proxy.cli import main

main()
"""


# In the working directory: whoever imports it ends at once.
TRAPS = ("pydantic.py", "redis.py", "proxy.py", "upstream_example.py")


def _set_traps(directory):
    """Put modules into a directory that are not the ones we import."""
    for name in TRAPS:
        (directory / name).write_text("raise SystemExit('imported from the working directory')\n")


def _free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def home(tmp_path):
    """Give a directory with the program in `bin`, and the environment that finds the package."""
    program = tmp_path / "bin" / "latchgate"
    program.parent.mkdir()
    program.write_text(PROGRAM)
    program.chmod(0o755)
    return tmp_path, {**os.environ, "PYTHONPATH": str(ROOT)}


def _until_printed(process):
    """Read the demo's output up to its last line of help."""
    lines = []
    for line in process.stdout:
        lines.append(line)
        if line.startswith(LAST_LINE):
            return "".join(lines)
    raise AssertionError("the demo ended:\n" + "".join(lines)[-3000:])


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("curl") is None, reason="the printed commands need curl")
def test_every_printed_command_does_what_it_says(home, tmp_path_factory):
    """Run them in order and elsewhere, as somebody with two terminals does; then Ctrl-C.

    Neither directory is trusted: no process imports what lies there.
    """
    port = _free_port()
    directory, environment = home
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    _set_traps(directory)
    _set_traps(elsewhere)
    process = subprocess.Popen(
        ["bin/latchgate", "demo", "--port", str(port)],
        cwd=directory,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        printed = _until_printed(process)
        commands = re.findall(r"^# (.+)\n(.+)\n$", printed, re.MULTILINE)
        expected = {step.shows: step.answer for step in steps(Path("/x"), port, PEOPLE)}
        assert list(expected) == [title for title, _ in commands]
        state = Path(
            re.search(r"^The configuration is (\S+)/latchgate.yaml", printed, re.MULTILINE)[1]
        )
        for title, line in commands:
            done = subprocess.run(
                ["bash", "-c", line],
                cwd=elsewhere,
                env=environment,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=30,
                check=False,
            )
            assert expected[title] in done.stdout, f"{title}: {done.stdout} {done.stderr}"
            assert "session revoke" not in line or done.returncode == 0, f"{title}: {done.stderr}"
    finally:
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=60)

    assert process.returncode == 0, rest[-2000:]
    assert not state.exists()
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0


def test_a_taken_port_is_a_clear_message():
    """Nothing is started, and the message says what to do."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = subprocess.run(
            [sys.executable, "-m", "proxy", "demo", "--port", str(port)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    assert done.returncode == 1
    assert f"port {port} cannot be used" in done.stderr
    assert f"PORT={port + 1}" in done.stderr
