"""`latchgate demo`: every command that it prints does what it says, and nothing is left behind."""

from __future__ import annotations

import re
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from proxy.cli.demo import steps

PEOPLE = [{"cookie": "sid=x", "id": "y", "token": "z"}] * 2


def _free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _until_printed(process):
    """Read the demo's output up to its last line of help."""
    lines = []
    for line in process.stdout:
        lines.append(line)
        if line.startswith("Ctrl-C ends everything"):
            return "".join(lines)
    raise AssertionError("the demo ended:\n" + "".join(lines)[-3000:])


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("curl") is None, reason="the printed commands need curl")
def test_every_printed_command_does_what_it_says():
    """Run them in order, as somebody pastes them; then Ctrl-C."""
    port = _free_port()
    command = [sys.executable, "-m", "proxy", "demo", "--port", str(port)]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    try:
        printed = _until_printed(process)
        commands = re.findall(r"^# (.+)\n(.+)\n$", printed, re.MULTILINE)
        expected = {step.shows: step.answer for step in steps(Path("/x"), port, PEOPLE)}
        assert list(expected) == [title for title, _ in commands]
        directory = Path(
            re.search(r"^The configuration is (\S+)/latchgate.yaml", printed, re.MULTILINE)[1]
        )
        for title, line in commands:
            done = subprocess.run(
                ["bash", "-c", line],
                capture_output=True,
                text=True,
                errors="replace",
                timeout=30,
                check=False,
            )
            assert expected[title] in done.stdout, f"{title}: {done.stdout} {done.stderr}"
    finally:
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=15)

    assert process.returncode == 0, rest[-2000:]
    assert not directory.exists()
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
