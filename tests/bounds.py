"""What a test of something hostile may take."""

from __future__ import annotations

import contextlib
import tracemalloc

LITTLE = 12 << 20
"""Bytes: LZMA alone has a dictionary of 8 MiB."""


@contextlib.contextmanager
def little_memory():
    """Fail where Python, and what allocates by it, takes more than a few times a session's bound."""
    tracemalloc.start()
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < LITTLE
