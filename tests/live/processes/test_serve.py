from __future__ import annotations

import asyncio
import signal
import sys

import pytest

from tests.live.processes.conftest import ROOT

pytestmark = pytest.mark.slow


async def test_a_configuration_with_mistakes_is_status_2_and_starts_nothing(serve, public):
    """Every mistake is a line of its own, with its place; no port is bound for it."""
    text = public.replace("auth: none", "auth: nobody").replace("listen:", "lisen:", 1)
    gate = await serve(text)
    assert 2 == await gate.exit()
    shown = "".join(gate.raw)
    file = gate.directory / "latchgate.yaml"
    assert f"{file}:2:10: server.lisen: " in shown
    assert f"{file}:6:39: routes[0].auth: " in shown
    assert shown.endswith("latchgate: 2 mistakes\n")
    assert not (gate.directory / "h").exists()


async def test_a_store_that_another_gate_runs_is_status_3(serve, public, directory):
    """The embedded store belongs to one gate; the second says whose it is and ends."""
    text = public.replace("auth: none", "auth: web").replace(
        "upstreams:",
        'store: {url: "embedded:store"}\n'
        "schemes: {web: {type: session, format: native}}\nupstreams:",
    )
    first = await serve(text)
    await first.ready()
    second = await serve(text.replace("unix:h", "unix:h2"))
    await second.said(f"is in use by process {first.process.pid} (gate); waiting up to 10 s")
    assert 3 == await second.exit()
    assert f"is in use by process {first.process.pid} (gate)" in second.messages()[-1]
    assert not any("traceback" in line for line in second.lines)
    first.send(signal.SIGTERM)
    assert 0 == await first.exit()


BESIDE = """
import contextlib, sys
from pathlib import Path
from proxy.run.loading import load
from proxy.run.serve import serve

@contextlib.asynccontextmanager
async def beside(addresses):
    print("entered", len(addresses), flush=True)
    if sys.argv[2] == "fails":
        raise RuntimeError("no")
    yield
    print("left", flush=True)

if __name__ == "__main__":
    sys.exit(serve(load(Path(sys.argv[1])), beside=beside))
"""


@pytest.mark.parametrize(("how", "printed", "status"), [("works", "left\n", 0), ("fails", "", 70)])
async def test_what_goes_on_beside_the_gate_begins_and_ends_with_it(
    public, directory, how, printed, status
):
    """It is entered when all workers serve and left after they ended; its failure ends the gate."""
    (directory / "latchgate.yaml").write_text(public)
    (directory / "beside.py").write_text(BESIDE)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(directory / "beside.py"), str(directory / "latchgate.yaml"), how),
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(60):
            assert b"entered 1\n" == await process.stdout.readline()
            if how == "works":
                process.send_signal(signal.SIGTERM)
            rest, log = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert (status, printed) == (process.returncode, rest.decode())
    assert log.index(b"all workers are ready") > 0
    assert not (directory / "h").exists()
