"""A whole gate as process 1, as in a container without `--init`."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from tests.live.processes.conftest import (
    ROOT,
    GateProcess,
    descendants,
    eventually,
    gone,
    kill,
)
from tests.unit.run.test_first_process import NAMESPACE, can_make_namespaces

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not can_make_namespaces(), reason="no process namespaces here (unshare)"),
]


@pytest.fixture
async def first(directory):
    """Return a function that runs a gate as process 1 of a namespace of its own."""
    gates = []

    async def start(text):
        file = directory / "latchgate.yaml"
        file.write_text(text)
        process = await asyncio.create_subprocess_exec(
            *(*NAMESPACE, sys.executable, "-m", "proxy", "serve", "-c", str(file)),
            cwd=ROOT,
            stderr=asyncio.subprocess.PIPE,
        )
        gates.append(GateProcess(process, directory))
        return gates[-1]

    yield start
    for gate in gates:
        left = descendants(gate.process.pid)
        await gate.stop()
        await gone(left)


def children(pid):
    return list(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))


async def test_a_gate_as_process_1_reaps_and_drains(first, public):
    """A server whose guardian was killed leaves no zombie; SIGTERM drains with status 0."""
    text = public.replace("auth: none", "auth: web").replace(
        "upstreams:",
        'store: {url: "embedded:store"}\n'
        "schemes: {web: {type: session, format: native}}\nupstreams:",
    )
    gate = await first(text)
    await gate.ready()
    (supervisor,) = children(gate.process.pid)
    assert (401, 200) == ((await gate.get())[0], (await gate.health("/readyz"))[0])

    (guardian,) = [pid for pid in children(supervisor) if children(pid)]
    (server,) = children(guardian)
    kill(guardian)
    await gate.said("the embedded store runs again")
    await eventually(lambda: server not in children(supervisor))  # adopted, ended, reaped
    assert not Path(f"/proc/{server}").exists()

    os.kill(supervisor, signal.SIGTERM)
    assert 0 == await gate.exit()
