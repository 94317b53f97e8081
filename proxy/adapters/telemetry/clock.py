"""Times of log lines as text; the part that changes once a second is made once a second."""

from __future__ import annotations

import time
from collections.abc import Callable

_THOUSANDTHS = tuple(f".{number:03d}Z" for number in range(1000))


class Clock:
    """Turns epoch seconds into text: ISO 8601 in UTC for programs, the local hour for people."""

    def __init__(self, now: Callable[[], float]) -> None:
        self.now = now
        """Epoch seconds."""
        self._iso_second = -1
        self._iso_text = ""
        self._hours_second = -1
        self._hours_text = ""

    def iso(self, at: float) -> str:
        """Return `2026-11-24T10:00:00.123Z`."""
        second = int(at)
        if second != self._iso_second:
            self._iso_text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
            self._iso_second = second
        return f"{self._iso_text}{_THOUSANDTHS[int((at - second) * 1000)]}"

    def hours(self, at: float) -> str:
        """Return `10:00:00.123` in the local zone."""
        second = int(at)
        if second != self._hours_second:
            self._hours_text = time.strftime("%H:%M:%S", time.localtime(second))
            self._hours_second = second
        return f"{self._hours_text}.{int((at - second) * 1000):03d}"
