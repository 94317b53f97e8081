"""`latchgate demo`: every command that it prints does what it says, and nothing is left behind."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from proxy.cli.demo_walk import steps

ROOT = Path(__file__).parents[2]
LAST_LINE = "Ctrl-C ends everything"

# What an installation makes of `latchgate`; the interpreter that runs the tests may have none.
PROGRAM = f"""#!{sys.executable} -P
from proxy.cli import main

main()
"""


# Makes the terminal on standard input this session's own, so that Ctrl-C means something there.
ON_A_TERMINAL = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
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
        expected = {step.shows: step.answer for step in steps(Path("/x"), port)}
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


class Terminal:
    """A command at a terminal of its own."""

    def __init__(self, command, **options):
        self.shown = ""
        self._master, slave = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-c", ON_A_TERMINAL, *command],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            **options,
        )
        os.close(slave)

    def read_until(self, words):
        """Read until `words` are shown."""
        while words not in self.shown:
            self.shown += os.read(self._master, 4096).decode()

    def press_ctrl_c(self):
        """Do what the key does."""
        os.write(self._master, b"\x03")

    def end(self):
        """Read the rest, which has an end on Linux (EIO) as elsewhere; return the exit status."""
        with contextlib.suppress(OSError):
            while part := os.read(self._master, 4096):
                self.shown += part.decode()
        os.close(self._master)
        return self.process.wait(timeout=60)


@pytest.mark.slow
def test_at_a_terminal_one_ctrl_c_ends_it_and_the_log_is_for_people(home):
    """The whole process group hears Ctrl-C, yet it counts once; no line of the log is JSON."""
    port = _free_port()
    directory, environment = home
    command = [str(directory / "bin" / "latchgate"), "demo", "--port", str(port)]
    terminal = Terminal(command, cwd=directory, env={**environment, "NO_COLOR": "1"})
    try:
        terminal.read_until(LAST_LINE)
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.sendall(b"GET /account HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            assert client.recv(16).startswith(b"HTTP/1.1 401")
        terminal.read_until("GET a/account")
        terminal.press_ctrl_c()
        status = terminal.end()
    finally:
        terminal.process.kill()

    assert 0 == status, terminal.shown
    before, _, after = terminal.shown.partition(LAST_LINE)
    # What the workers said when they became ready may come a moment later than the text.
    log = [line for line in after.splitlines()[1:] if line.strip() and "ready" not in line]
    assert len(log) == 3, terminal.shown
    assert re.fullmatch(r"[\d:.]+ 401 GET a/account challenge credential_missing .{,120}", log[0])
    assert log[1].endswith("SIGINT: draining, for at most 2 s")
    assert log[2].endswith("supervisor: ended")
    assert '{"time"' not in before
    assert "warning" not in before


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
