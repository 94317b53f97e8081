"""The clock of everything that must not outlive a suspension of the machine."""

from __future__ import annotations

import time

if hasattr(time, "CLOCK_BOOTTIME"):

    def boot_time() -> float:
        """Return seconds on a clock that never jumps, counts suspension, and all processes share."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)

else:  # macOS, where the monotonic clock is the nearest

    def boot_time() -> float:
        """Return seconds on a clock that never jumps."""
        return time.monotonic()
