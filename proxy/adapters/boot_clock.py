"""The clock of everything that must not outlive a suspension of the machine."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

if hasattr(time, "CLOCK_BOOTTIME"):
    boot_time: Callable[[], float] = partial(time.clock_gettime, time.CLOCK_BOOTTIME)
    """Return seconds on a clock that never jumps, counts suspension, and all processes share."""

else:  # macOS, where the monotonic clock is the nearest

    def boot_time() -> float:
        """Return seconds on a clock that never jumps."""
        return time.monotonic()
