"""The look-ups that one request waits for, for the spans of a request that is traced.

Who looks up asks whether somebody wants to know; nearly always nobody does.
"""

from __future__ import annotations

import time
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final

MOST: Final = 32
"""Look-ups of one request that are noted."""


@dataclass(frozen=True, slots=True)
class LookUp:
    """One of them. Times are nanoseconds of `time.perf_counter_ns`."""

    store: str
    """As metrics call it."""
    began_ns: int
    ended_ns: int
    is_failed: bool


class LookUps:
    """What one request has waited for, while it is served."""

    __slots__ = ("_is_open", "found")

    def __init__(self) -> None:
        self.found: list[LookUp] = []
        self._is_open = True

    def note(self, store: str, began_ns: int, *, is_failed: bool) -> None:
        """Note one that is over now."""
        if self._is_open and len(self.found) < MOST:
            ended_ns = time.perf_counter_ns()
            self.found.append(LookUp(store, began_ns, ended_ns, is_failed))

    def close(self) -> None:
        """Note no more: what the request has begun may go on without it."""
        self._is_open = False


watching: Final[ContextVar[LookUps | None]] = ContextVar("watching", default=None)
"""Who wants to know in this task; `None`: nobody."""
