"""Progress of a command that goes through the whole store: for a person who waits, and nobody else."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import AsyncIterator
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from proxy.adapters.store import Store
from proxy.services.session_reading import OnLook

PATIENCE_S: Final = 1.0
"""What takes no longer needs no bar."""


@contextlib.asynccontextmanager
async def looking_through(
    store: Store, what: str, *, patience_s: float = PATIENCE_S
) -> AsyncIterator[OnLook]:
    """Give what is told how many keys were looked at; a bar appears on a terminal after a second.

    It is drawn on standard error, so that the result on standard output stays what it is.
    """
    console = Console(file=sys.stderr)
    if not console.is_terminal:
        yield _nobody
        return
    total = (await store.probe()).keys
    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
    )
    task = progress.add_task(what, total=total)
    began_at = time.monotonic()

    def on_look(count: int) -> None:
        progress.advance(task, count)
        if not progress.live.is_started and time.monotonic() - began_at >= patience_s:
            progress.start()

    try:
        yield on_look
    finally:
        progress.stop()


def _nobody(count: int) -> None:
    """Take what nobody watches."""
    del count
