"""Whether a server behind the gate gets requests: what it did lately, and what checks of it say.

It is left alone ("ejected") after a number of failures in a row, for twice as long each time it
fails again; then one request finds out whether it is back. A check that fails takes it out until
a check succeeds. Pure: times are seconds of one monotonic clock, given by the caller.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import Final

WINDOW_S: Final = 10.0
LEAST_RETRIES: Final = 10
"""Second attempts that each window allows, however few requests there are."""


@dataclass(frozen=True, slots=True)
class Ejection:
    """When a server is left alone, and for how long. Times are seconds."""

    failures: int = 5
    """In a row, without one answer in between."""
    rest_s: float = 0.5
    """The first time; twice as long each time after."""
    longest_s: float = 10.0


class Standing:
    """One server's standing in one worker."""

    __slots__ = ("_checks_failed", "_ejection", "_failures", "_times", "ejections", "until")

    def __init__(self, ejection: Ejection | None) -> None:
        """Begin in good standing; `ejection` is `None` where failures have no consequence."""
        self._ejection = ejection
        self._failures = 0
        self._times = 0
        self._checks_failed = 0
        self.until = 0.0
        """The server gets nothing until then; `inf`: until a check succeeds. 0: it gets requests."""
        self.ejections = 0
        """How often it was ejected or checked out, ever."""

    @property
    def is_good(self) -> bool:
        """True where nothing speaks against the server."""
        return not self.until and not self._failures

    @property
    def is_out(self) -> bool:
        """True from an ejection or a failed check until the server has proven itself."""
        return bool(self.until)

    def failed(self, now: float) -> bool:
        """Note that a request found no answer; True where the server is left alone from now on."""
        ejection = self._ejection
        self._failures += 1
        if ejection is None or self.until == inf:
            return False
        if not self.until and self._failures < ejection.failures:
            return False
        is_new = not self.until
        self._times += 1
        self.ejections += 1
        self.until = now + self._rest_s(ejection)
        return is_new

    def answered(self) -> None:
        """Note that the server answered: all is forgiven, but for what checks say."""
        self._failures = self._times = 0
        if self.until != inf:
            self.until = 0.0

    def admit(self, now: float) -> float:
        """Return 0 where a request may go there now, else the seconds until that is worth a try.

        After a rest the first one to ask is let through, and the next after another rest.
        """
        if not self.until:
            return 0.0
        if self.until == inf or self._ejection is None:
            return self._ejection.rest_s if self._ejection else 1.0
        if now < self.until:
            return self.until - now
        self.until = now + self._rest_s(self._ejection)
        return 0.0

    def check_failed(self, most: int) -> bool:
        """Note a failed check; True where it is the `most`th in a row: the server is out."""
        self._checks_failed += 1
        if self._checks_failed < most or self.until == inf:
            return False
        self.until = inf
        self.ejections += 1
        return True

    def check_passed(self) -> bool:
        """Note a check that succeeded; True where the server is back because of it."""
        self._checks_failed = 0
        if self.until != inf:
            return False
        self.until = 0.0
        self._failures = self._times = 0
        return True

    def _rest_s(self, ejection: Ejection) -> float:
        return min(ejection.rest_s * 2.0 ** min(max(self._times - 1, 0), 30), ejection.longest_s)


class RetryBudget:
    """How many second attempts there may be (security.md, F3): a share of the requests.

    Where everything fails, second attempts would double the load on what is failing already.
    """

    __slots__ = ("_before", "_begun", "_share", "_since", "_spent")

    def __init__(self, share: float) -> None:
        """`share`: of the requests of this window and the last one."""
        self._share = share
        self._since = -inf
        self._before = self._begun = 0
        self._spent = 0

    def spend(self, now: float, begun: int) -> bool:
        """Tell whether one more attempt may be made, and count it; `begun`: requests ever begun."""
        if now - self._since >= WINDOW_S:
            is_next = now - self._since < 2 * WINDOW_S
            self._before = self._begun if is_next else begun
            self._begun = begun
            self._since, self._spent = now, 0
        if self._spent >= LEAST_RETRIES + self._share * (begun - self._before):
            return False
        self._spent += 1
        return True
