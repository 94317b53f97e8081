"""How much of something bounded each source may fill within a minute.

Pure: the clock comes in. What never belongs here: what is filled, and what becomes of the rest.
"""

from __future__ import annotations

import collections
import math
from typing import Final

PERIOD_S: Final = 60.0


class Shares:
    """Counts in windows of one minute, and forgets each with the next.

    Constructor: `each` is the share of one source, `together` that of all, which also bounds how many
    sources are remembered.
    """

    def __init__(self, *, each: int, together: int) -> None:
        self._each = each
        self._together = together
        self._window = -math.inf
        self._taken: collections.Counter[str] = collections.Counter()
        self._count = 0

    def take(self, source: str, now: float) -> bool:
        """Take one of `source`'s share at `now` (seconds); False: it is used up, or that of all is."""
        window = now // PERIOD_S
        if window != self._window:
            self._window, self._count = window, 0
            self._taken.clear()
        if self._count >= self._together or self._taken[source] >= self._each:
            return False
        self._taken[source] += 1
        self._count += 1
        return True
