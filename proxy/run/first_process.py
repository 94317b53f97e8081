"""What a process owes to its container when it is the first one there (process 1).

The kernel gives process 1 two peculiarities. A signal that it has no handler for does nothing, so
that a `docker stop` during the start would be lost. And whatever loses its parent becomes its
child, which stays a zombie until somebody asks for its status. So no `--init` is needed.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from types import FrameType
from typing import Final

LOOK_S: Final = 5.0
"""How often the orphans are looked for."""
CONFIRM_S: Final = 1.0
"""How long an ended child must have waited to count as an orphan."""


def is_first() -> bool:
    """Tell whether this is process 1 of its container."""
    return os.getpid() == 1


def end_on_sigterm() -> None:
    """Make process 1 end on SIGTERM as every other process does, with status 143."""
    if is_first():
        signal.signal(signal.SIGTERM, _end)


def _end(number: int, _frame: FrameType | None) -> None:
    sys.exit(128 + number)


async def reap_orphans(look_s: float = LOOK_S, confirm_s: float = CONFIRM_S) -> None:
    """Take the status of every adopted child that has ended, for ever.

    The loop takes the status of its own children as soon as they end. One that is still waiting
    after the loop has had a turn is therefore nobody's.
    """
    suspect: int | None = None
    while True:
        await asyncio.sleep(look_s if suspect is None else confirm_s)
        ended = _ended_child()
        if ended is not None and ended == suspect:
            _reap(ended)
            ended = _ended_child()
        suspect = ended


def _reap(pid: int) -> None:
    os.waitpid(pid, os.WNOHANG)


def _ended_child() -> int | None:
    """Return a child whose status nobody has taken, leaving it as it is."""
    try:
        found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return None
    return None if found is None else found.si_pid
