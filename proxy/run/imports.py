"""A start without looking for garbage or plugins where there are none.

What is imported stays for good. Python's collector looks through all of it again and again while
it grows, which took a seventh of the time until a command or a worker does something. And pydantic looks through every package that is installed for
plugins of its own, a tenth of that time, to run code of whoever has one.
"""

from __future__ import annotations

import contextlib
import gc
import os
from collections.abc import Iterator


@contextlib.contextmanager
def importing() -> Iterator[None]:
    """Import in the block: afterwards the collector runs as before, and passes by what is there."""
    os.environ["PYDANTIC_DISABLE_PLUGINS"] = "__all__"  # what checks a configuration is ours alone
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_enabled:
            gc.enable()
