"""`latchgate top` on a gate with two workers."""

from __future__ import annotations

import asyncio
import os
import pty
import sys

import pytest

from tests.live.processes.conftest import ROOT, eventually

pytestmark = pytest.mark.slow


async def test_the_counts_of_all_workers_are_one_picture(serve, public, shell):
    """A pipe and a program get one picture of both workers; a terminal is redrawn until Ctrl-C."""
    gate = await serve(public)
    await gate.ready()
    for _ in range(10):
        assert (200, b"hello") == await gate.get()
    await gate.requests(10)
    found = await shell.json("top", "--interval", "0.1")

    assert (2, True) == (found["gate"]["workers_ready"], found["gate"]["ready"])
    assert [("/**", "forward", 10)] == [
        (row["route"], row["decision"], row["total"]) for row in found["requests"]
    ]
    assert 2 == found["upstreams"][0]["used"]
    assert 0 == await _watched(gate, shell)


async def _watched(gate, shell) -> int:
    """Watch on a terminal until a request was seen that came meanwhile; return the status."""
    ours, theirs = pty.openpty()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "proxy", "top", "--interval", "0.1"),
        *("-c", str(shell.directory / "latchgate.yaml")),
        cwd=ROOT,
        env={**shell.environment, "TERM": "xterm", "COLUMNS": "160", "LINES": "40"},
        stdin=theirs, stdout=theirs, start_new_session=True,
    )  # fmt: skip
    os.close(theirs)
    os.set_blocking(ours, False)
    shown = bytearray()

    def is_shown(words: bytes) -> bool:
        try:
            shown.extend(os.read(ours, 65536))
        except OSError:
            return words in shown
        return words in shown

    try:
        await eventually(lambda: is_shown(b" 10 "))
        await gate.get()
        await eventually(lambda: is_shown(b" 11 "))
        process.send_signal(2)
        async with asyncio.timeout(20):
            while process.returncode is None:
                is_shown(b"")
                await asyncio.sleep(0.02)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        os.close(ours)
    return process.returncode
