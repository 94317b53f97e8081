"""Whether a connection that a credential opened may stay open (security.md, R7).

One watch for all connections that hang on the same credentials in the same way. It says when they
have to be decided again and when they have to end; who decides, and who ends them, is elsewhere.
`mono` is seconds on the clock that counts suspension, `now` is epoch seconds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, Literal

from proxy.core.coherence.pins import Pin
from proxy.model import Refusal

Step = Literal["nothing", "check", "ask", "end"]
"""`check`: ask again whatever needs no store. `ask`: decide again. `end`: nobody vouches any more."""

CHECK_S: Final = 5.0
"""How often a verdict that nobody has taken back is compared with the keys that verify tokens (K3)."""
POLLS: Final = 2
"""Look-ups in `max_staleness` where the store does not tell what changes (R10)."""
RETRIES: Final = 8
"""Attempts in `max_staleness` after one that the store did not answer."""
SKEW_S: Final = 1.0
"""By how much the store may be ahead of us in finding that a session has reached its end."""

_EXPIRED: Final = frozenset(
    {"session_expired", "token_expired", "certificate_expired", "step_up_required"}
)


class Watch:
    """What is known of the credentials, and until when that lets their connections stay open."""

    __slots__ = (
        "_ask_at", "_check_s", "_checked_at", "_deadline", "_end_at", "_fresh_until", "_good_at",
        "_is_bridged", "_is_over", "_is_vouched",
        "_max_staleness_s", "_pins", "_until", "ends_at",
    )  # fmt: skip

    def __init__(
        self,
        *,
        max_staleness_s: float,
        is_bridged: bool,
        mono: float,
        now: float,
        check_s: float = CHECK_S,
    ) -> None:
        """Begin with credentials that were good a moment ago, at `mono` and `now`."""
        self._max_staleness_s = max_staleness_s
        self._check_s = check_s
        self._is_bridged = is_bridged
        self._pins: tuple[Pin, ...] = ()
        self._deadline = mono + max_staleness_s
        self._ask_at = mono
        self._checked_at = mono
        self._good_at = now
        self._is_over = False
        self._is_vouched = False
        """True while the store would say if the answer changed."""
        self.ends_at = math.inf
        """When the credentials are over unless they are used (epoch seconds), as last known."""
        self._end_at = math.inf
        """When they are over in any case (epoch seconds)."""
        self._until = math.inf
        """The same, of credentials whose life the store counts (`mono`)."""
        self._fresh_until = math.inf
        """When the route wants a newer proof of who they are (epoch seconds)."""

    @property
    def pins(self) -> tuple[Pin, ...]:
        """The pins of every credential."""
        return self._pins

    @property
    def is_bridged(self) -> bool:
        """True where an outage may be bridged, if the configuration says so (R8)."""
        return self._is_bridged

    @property
    def is_known(self) -> bool:
        """True while there is a verdict of every credential that nobody has taken back."""
        return all(pin.verdict is not None for pin in self._pins)

    def hold(self, pins: Sequence[Pin]) -> None:
        """Take the pins. What is known now may be younger than the decision: it is asked for."""
        self._pins = tuple(pins)
        if self.is_known:
            self._note_ends()
            soonest = self._soonest(is_bridged=self._is_bridged)
            if soonest < math.inf:  # where no store bounds it, the first bound stays
                self._deadline = soonest

    # What happens

    def changed(self, *, is_outage: bool) -> None:
        """Note that a verdict is about to be dropped; `is_outage`: after a loss, not by a change.

        What was vouched for until now may be relied on for as long as it was.
        """
        if self._is_vouched:
            self._is_vouched = False
            self._deadline = self._soonest(is_bridged=self._is_bridged and is_outage)

    def doubted(self, mono: float) -> None:
        """Note that a verdict may have become void for another reason than the store's.

        It is bounded also where a verdict that hangs on no store has just been dropped.
        """
        if self._is_vouched or self._deadline == math.inf:
            self._is_vouched = False
            self._deadline = mono + self._max_staleness_s

    def confirmed(
        self, mono: float, now: float, end_at: float | None, fresh_until: float = math.inf
    ) -> None:
        """Note that the credentials, asked at `mono`, were good; `end_at` as their identity says.

        `fresh_until`: when what they prove is too old for the route, in epoch seconds.
        """
        self._fresh_until = fresh_until
        if not self._is_over:
            self._good_at = now
        if end_at is not None:
            self._end_at = self.ends_at = end_at
        self._answered(mono)

    def unanswered(self, mono: float) -> None:
        """Note that nobody could say whether the credentials are good."""
        self._ask_at = mono + self._max_staleness_s / RETRIES

    def outlived(self, mono: float) -> bool:
        """Note that the credentials' time is over and the connections stay; False: they had before.

        From here on they are judged as of the last time at which they were good.
        """
        was_over, self._is_over = self._is_over, True
        if was_over:
            self._answered(mono)
        else:
            self._ask_at = mono
        return not was_over

    def _answered(self, mono: float) -> None:
        self._checked_at = mono
        self._is_vouched = self.is_known
        if self._is_vouched:
            self._ask_at = math.inf
            self._note_ends()
        else:
            self._deadline = mono + self._max_staleness_s
            self._ask_at = mono + self._max_staleness_s / POLLS

    # What is to be done

    def look(self, mono: float, now: float) -> Step:
        """Say what is to be done at `mono`."""
        if self._is_vouched:
            self._note_ends()
            self._deadline = self._soonest(is_bridged=self._is_bridged)
        if mono > self._deadline:
            return "end"
        if mono >= self._ask_at or self.is_past(mono, now):
            return "ask"
        if mono - self._checked_at >= self._check_s:
            self._checked_at = mono
            return "check"
        return "nothing"

    def due_at(self, mono: float, now: float, *, is_asked: bool = False) -> float:
        """Return when `look` has to say something at the latest, as far as is known (`mono`).

        Checks wait for the next look. `is_asked`: True while the answer is waited for.
        """
        if is_asked:
            return self._deadline
        due = min(self._deadline, self._ask_at)
        if not self._is_over:
            due = min(due, self._until, mono + min(self.ends_at, self._fresh_until) - now)
        return due

    def judged_at(self, now: float) -> float:
        """Return the time as of which the credentials are judged (epoch seconds)."""
        return self._good_at if self._is_over else now

    def is_past(self, mono: float, now: float) -> bool:
        """Tell whether the clock alone says that the credentials are over."""
        if self._is_over:
            return False
        return now >= min(self.ends_at, self._fresh_until) or mono >= self._until

    def is_expiry(self, refusal: Refusal, mono: float, now: float) -> bool:
        """Tell whether a refusal says that their time is over, and not that they were taken back.

        A session that has reached its end is gone from the store, like one that was ended.
        """
        if refusal.code in _EXPIRED:
            return True
        return refusal.code == "session_unknown" and self.is_gone(mono, now)

    def is_gone(self, mono: float, now: float) -> bool:
        """Tell whether they have reached the end that no use puts off: nothing is left to revoke."""
        return now >= self._end_at - SKEW_S or mono >= self._until - SKEW_S

    def _soonest(self, *, is_bridged: bool) -> float:
        return min(pin.vouched_until(is_bridged=is_bridged) for pin in self._pins)

    def _note_ends(self) -> None:
        self.ends_at = self._end_at = self._until = math.inf
        for pin in self._pins:
            verdict = pin.verdict
            if verdict is not None:
                self.ends_at = min(self.ends_at, verdict.ends_at)
                self._end_at = min(self._end_at, verdict.not_after)
                self._until = min(self._until, pin.until)
