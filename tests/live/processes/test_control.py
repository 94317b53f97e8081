"""What a running gate tells of itself, and what is left of that when it ends."""

from __future__ import annotations

import signal

import pytest

from proxy.run.running import find_running
from tests.live.processes.conftest import kill

pytestmark = pytest.mark.slow

UNABLE_TO_WRITE = ("sh", "-c", 'ulimit -f 0; exec "$@"', "sh")
"""Runs a command that cannot put a byte into a file, as on a read-only root."""


@pytest.fixture(autouse=True)
def runtime(directory, monkeypatch):
    """Look where the test's gates have their sockets."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(directory))


@pytest.fixture
def public(public):
    """Give a gate with one worker: the first process is what is asked here."""
    return public.replace("workers: 2", "workers: 1")


async def test_a_running_gate_tells_what_it_runs_and_leaves_nothing(serve, public, directory):
    """From its start until SIGTERM; then socket and directory are gone."""
    gate = await serve(public)
    await gate.ready()
    file = directory / "latchgate.yaml"
    running = await find_running(str(file))

    assert running is not None
    assert (gate.process.pid, public.encode()) == (running.pid, running.text)
    gate.send(signal.SIGTERM)
    assert 0 == await gate.exit()
    assert await find_running(str(file)) is None
    assert not (directory / "latchgate").exists()


async def test_a_killed_gates_socket_is_taken_over(serve, public, directory):
    """What it left behind keeps nobody, and two gates of one file end in either order."""
    first = await serve(public)
    await first.ready()
    kill(first.process.pid)
    await first.exit()
    file = str(directory / "latchgate.yaml")
    assert await find_running(file) is None
    second = await serve(public.replace("unix:h", "unix:h2"))
    await second.ready()
    third = await serve(public.replace("unix:h", "unix:h3"))
    await third.ready()
    second.send(signal.SIGTERM)
    assert 0 == await second.exit()
    running = await find_running(file)

    assert running is not None
    assert third.process.pid == running.pid


async def test_a_gate_without_a_place_for_its_socket_runs_all_the_same(serve, public, directory):
    """One log line, and requests are served."""
    (directory / "latchgate").write_text("in the way")
    gate = await serve(public)
    await gate.ready()

    assert 200 == (await gate.get())[0]


async def test_a_gate_that_can_write_no_file_runs_all_the_same(serve, public, directory, shell):
    """A read-only root without /tmp is no obstacle, to the gate or to what explains it."""
    (directory / "latchgate").write_text("in the way")
    gate = await serve(public, through=UNABLE_TO_WRITE)
    await gate.ready()

    assert 200 == (await gate.get())[0]
    for command in (("explain", "GET", "/"), ("routes",)):
        status, out, error = await shell.run(*command, through=UNABLE_TO_WRITE)
        assert (0, True) == (status, "latchgate.yaml (the file; " in out + error)


@pytest.mark.parametrize("edited", ["routes: [", 'health: {listen: "unix:other"}'])
async def test_a_running_gate_is_healthy_whatever_its_file_says_by_now(
    serve, public, directory, shell, edited
):
    """The listener that it has is asked, and the change is told."""
    gate = await serve(public)
    await gate.ready()
    file = directory / "latchgate.yaml"
    assert (0, "ready\n", "") == await shell.run("health")
    file.write_text(edited)

    warning = f"warning: {file} has changed since the gate read it\n"
    assert (0, "ready\n", warning) == await shell.run("health")
