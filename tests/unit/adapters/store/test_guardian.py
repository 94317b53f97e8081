"""The guardian as a program: what it reads, what it waits for, how it ends."""

from __future__ import annotations

import contextlib
import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from proxy.adapters.store import guardian

ECHO = '#!/bin/sh\nread line\necho "told: $line"\nexit 7\n'
STAYS = "#!/bin/sh\ncat >/dev/null\necho up\nexec sleep 60\n"


@pytest.fixture
def start(tmp_path):
    """Start guardians of a stand-in server; whatever is left at the end is killed."""
    processes = []

    def start(script: str, *rest: str) -> subprocess.Popen[bytes]:
        program = tmp_path / "server"
        program.write_text(script)
        program.chmod(0o700)
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", guardian.__file__, program, tmp_path / "lock", *rest],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


def test_the_configuration_goes_to_the_servers_standard_input(start):
    """The server reads exactly what was sent, and its exit status is the guardian's."""
    process = start(ECHO)
    process.stdin.write(b"7\nport 0\n")
    process.stdin.flush()
    assert b"told: port 0\n" == process.stdout.read()
    assert 7 == process.wait()


@pytest.mark.parametrize(
    "sent", [b"", b"7", b"7\nport", b"x\n", b"-1\n", b"99999999\nx", b"\n", b"9" * 40 + b"\n"]
)
def test_without_a_whole_configuration_nothing_is_started(start, sent):
    """A parent that dies while it speaks leaves no server behind."""
    process = start(ECHO)
    out, _ = process.communicate(sent)
    assert (b"", guardian.EXIT_GUARDIAN) == (out, process.returncode)


def test_the_end_of_standard_input_ends_the_server(start, tmp_path):
    """The server ends with its parent, and a runtime directory of its goes along."""
    runtime = tmp_path / "runtime"
    runtime.mkdir()
    (runtime / "s").write_text("")
    process = start(STAYS, str(runtime))
    process.stdin.write(b"1\n\n")
    process.stdin.flush()
    assert b"up\n" == process.stdout.readline()
    process.stdin.close()
    assert 128 + 15 == process.wait(10)
    assert not runtime.exists()


@pytest.mark.parametrize("number", [1, 2, 15])
def test_it_does_not_listen_to_signals_meant_for_the_gate(start, number):
    """SIGHUP, SIGINT and SIGTERM reach every process of a service; the gate drains first."""
    process = start(STAYS)
    process.stdin.write(b"1\n\n")
    process.stdin.flush()
    process.stdout.readline()
    os.kill(process.pid, number)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.1)
    process.stdin.close()
    assert 128 + 15 == process.wait(10)


def test_it_waits_for_an_old_server_and_leaves_when_its_parent_does(start, tmp_path):
    """Two servers never write one log: while an old one holds the lock none is started."""
    with (tmp_path / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        process = start(ECHO)
        process.stdin.write(b"7\nport 0\n")
        process.stdin.flush()
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.2)
        out, _ = process.communicate()
    assert (b"", guardian.EXIT_GUARDIAN) == (out, process.returncode)


def test_it_starts_when_the_old_server_is_gone(start, tmp_path):
    """As soon as the lock is free the new server starts."""
    with (tmp_path / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        process = start(ECHO)
        process.stdin.write(b"7\nport 0\n")
        process.stdin.flush()
    assert b"told: port 0\n" == process.stdout.read()
    assert 7 == process.wait()


def test_the_server_holds_the_lock_itself(start, tmp_path):
    """The lock stays while the server does, though its guardian is gone."""
    process = start(STAYS)
    process.stdin.write(b"1\n\n")
    process.stdin.flush()
    process.stdout.readline()
    lock = (tmp_path / "lock").stat()
    [server] = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    held = []
    for link in Path(f"/proc/{server}/fd").iterdir():
        # The shell becomes `sleep`, which opens and closes its libraries meanwhile.
        with contextlib.suppress(FileNotFoundError):
            held.append(link.stat().st_ino)
    assert lock.st_ino in held


def test_it_imports_nothing_of_ours():
    """It starts at once and stays small: the standard library is all it needs."""
    process = subprocess.run(
        [sys.executable, "-I", "-S", "-X", "importtime", guardian.__file__, "/none", "/none"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert guardian.EXIT_GUARDIAN == process.returncode
    assert not [line for line in process.stderr.splitlines() if "proxy" in line or "redis" in line]
