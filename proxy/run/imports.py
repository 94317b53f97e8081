"""A start without looking for garbage where there is none.

What is imported stays for good. Python's collector looks through all of it again and again while
it grows, which took a seventh of the time until a command or a worker does something.
"""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def importing() -> Iterator[None]:
    """Import in the block: afterwards the collector runs as before, and passes by what is there."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_enabled:
            gc.enable()
