from __future__ import annotations

import asyncio
import sys

import pytest

from tests.live.processes.conftest import ROOT, gone

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="prctl(2) is Linux's"),
]

CHILD = """
import time
from proxy.run.parent import die_with_parent
die_with_parent()
print("armed", flush=True)
time.sleep(60)
"""
PARENT = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", sys.argv[1]], stdout=subprocess.PIPE)
child.stdout.readline()
print(child.pid, flush=True)
child.wait()
"""


async def test_kill_9_of_the_parent_ends_the_child():
    """The kernel does it, without any channel between the two."""
    parent = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", PARENT, CHILD), stdout=asyncio.subprocess.PIPE, cwd=ROOT
    )
    assert parent.stdout is not None
    child = int(await parent.stdout.readline())
    parent.kill()
    await parent.communicate()
    await gone([child])
