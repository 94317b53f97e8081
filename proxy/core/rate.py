"""How often something may happen: the generic cell rate algorithm (ITU-T I.371), one number a key.

A key has a time at which all that was let through would have been spread evenly. Nothing is let
through that would move it farther ahead than one period. Pure: times are epoch seconds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

MAX_KEYS: Final = 100_000
"""Keys that are remembered. Who can be more clients than that within a period is as many anyway."""


@dataclass(frozen=True, slots=True)
class Rate:
    """So many in a period, all at once or spread."""

    count: int
    period_s: float

    @property
    def step_s(self) -> float:
        """The distance of two, spread evenly."""
        return self.period_s / self.count

    def wait_s(self, tat: float | None, now: float) -> float:
        """Return 0 where one more may pass, else the seconds until then; `tat` is the key's time.

        A time that no clock which is right can have written does not count.
        """
        if tat is None or tat - now > 2 * self.period_s:
            return 0.0
        return max(0.0, tat - now - self.period_s + self.step_s)

    def passed(self, tat: float | None, now: float) -> float:
        """Return the key's time after one more has passed."""
        if tat is None or tat - now > 2 * self.period_s:
            tat = now
        return max(tat, now) + self.step_s


class RateTable:
    """Counts one rate for many keys, in one worker."""

    __slots__ = ("_rate", "_times")

    def __init__(self, rate: Rate) -> None:
        self._rate = rate
        self._times: dict[str, float] = {}

    def __len__(self) -> int:
        return len(self._times)

    def take(self, key: str, now: float) -> float:
        """Let one more pass and return 0, or return the seconds to wait."""
        times = self._times
        tat = times.get(key)
        wait_s = self._rate.wait_s(tat, now)
        if wait_s:
            return wait_s
        if tat is None and len(times) >= MAX_KEYS:
            self._forget(now)
        times.pop(key, None)  # the last is the freshest
        times[key] = self._rate.passed(tat, now)
        return 0.0

    def _forget(self, now: float) -> None:
        over = [key for key, tat in self._times.items() if tat <= now]
        for key in over or list(self._times)[: MAX_KEYS // 100]:
            del self._times[key]


def rate_headers(rate: Rate, wait_s: float) -> tuple[tuple[bytes, bytes], ...]:
    """Return what a refusal says (draft-ietf-httpapi-ratelimit-headers; RFC 9110 §10.2.3)."""
    seconds = max(1, math.ceil(wait_s))
    return (
        (b"RateLimit-Policy", b'"requests";q=%d;w=%d' % (rate.count, math.ceil(rate.period_s))),
        (b"RateLimit", b'"requests";r=0;t=%d' % seconds),
        (b"Retry-After", b"%d" % seconds),
    )
