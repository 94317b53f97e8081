"""Process 1: what it owes, shown in process namespaces of the tests' own where they can be made.

Elsewhere adoption is shown by a subreaper (prctl(2)), which adopts as process 1 does.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from proxy.run.first_process import is_first

ROOT = Path(__file__).parents[3]
NAMESPACE = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child")

ADOPTING = """
import asyncio, ctypes, os, subprocess, sys
from proxy.run import loop
from proxy.run.first_process import reap_orphans

ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER

def adopt():
    # The shell ends at once; what it started ends without a parent, and becomes ours.
    subprocess.run(["sh", "-c", "sleep 0.1 &"], check=True, stdout=subprocess.PIPE)

def children():
    return open(f"/proc/self/task/{os.getpid()}/children").read().split()

async def main():
    for _ in range(3):
        adopt()
    assert len(children()) == 3, children()
    reaping = asyncio.get_running_loop().create_task(reap_orphans(0.05, 0.05))
    own = await asyncio.create_subprocess_exec(sys.executable, "-c", "raise SystemExit(7)")
    late = asyncio.create_subprocess_exec("sh", "-c", "exit 8")
    statuses = [await own.wait(), await (await late).wait()]
    async with asyncio.timeout(30):
        while children():
            await asyncio.sleep(0.02)
    assert not reaping.done()
    reaping.cancel()
    print(statuses)

{run}
"""


def can_make_namespaces() -> bool:
    """Tell whether this user may make a process namespace here."""
    if shutil.which("unshare") is None:
        return False
    return subprocess.run([*NAMESPACE, "true"], capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize("run", ["loop.run(main())", "asyncio.run(main())"])
def test_orphans_are_reaped_and_own_children_keep_their_status(run):
    """Adopted zombies go; the status of a child of the loop's own always reaches who waits for it."""
    done = subprocess.run(
        [sys.executable, "-c", ADOPTING.replace("{run}", run)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert (0, "[7, 8]\n") == (done.returncode, done.stdout), done.stderr


def test_the_tests_are_not_process_1():
    """Handlers and reaping are for containers alone."""
    assert not is_first()


@pytest.mark.skipif(not can_make_namespaces(), reason="no process namespaces here (unshare)")
async def test_process_1_ends_on_a_signal_before_it_serves():
    """SIGTERM during the start: status 143, where the kernel would have dropped the signal."""
    program = (
        "import os, signal, sys, time\n"
        "from proxy.run.first_process import end_on_sigterm, is_first\n"
        "assert is_first()\n"
        "end_on_sigterm()\n"
        "print('started', flush=True)\n"
        "time.sleep(60)\n"
    )
    process = await asyncio.create_subprocess_exec(
        *(*NAMESPACE, sys.executable, "-c", program), cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    async with asyncio.timeout(30):
        assert await process.stdout.readline() == b"started\n"
        (inner,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        os.kill(int(inner), signal.SIGTERM)
        assert 143 == await process.wait()
