"""A directory for the time of one command."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from proxy.cli import report


@contextlib.contextmanager
def scratch_directory() -> Iterator[Path]:
    """Give a private directory that goes with the command; status 2 where none can be made."""
    try:
        made = tempfile.TemporaryDirectory(prefix="latchgate-", ignore_cleanup_errors=True)
    except OSError as error:
        report.fail(
            f"there is no temporary directory: {error.strerror or error}", report.EXIT_USAGE
        )
    with made as name:
        yield Path(name)
