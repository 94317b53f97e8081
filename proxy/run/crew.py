"""Which workers run, which are to be started again, and when: no process, no clock, no I/O.

The supervisor tells what happens, with `now` in seconds of any monotonic clock, and does what it
is told. A worker that dies after a good while is replaced at once; one that dies soon waits longer
each time, so that a fault that kills every worker costs little; and when no worker has ever become
ready the gate gives up, because then a person must look.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Final


class State(Enum):
    """Of one worker's place."""

    STARTING = "starting"
    READY = "ready"
    WAITING = "waiting"
    """Ended, and to be started again."""
    ENDED = "ended"
    """Ended for good: the gate is shutting down."""


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    """How long a place stays empty after its worker died. All in seconds."""

    first_s: float = 0.25
    """After the second death in a row; the first is replaced at once."""
    factor: float = 2.0
    longest_s: float = 10.0
    stable_s: float = 30.0
    """A worker that was ready for so long did not die of its start: the count begins anew."""
    attempts: int = 3
    """Deaths before the first readiness of any worker after which the gate gives up."""

    def delay_s(self, deaths: int) -> float:
        """Return how long to wait after `deaths` deaths in a row (at least one)."""
        if deaths <= 1:
            return 0.0
        exponent = min(deaths - 2, 32)
        return min(self.longest_s, self.first_s * self.factor**exponent)


DEFAULT_POLICY: Final = RestartPolicy()


@dataclass(frozen=True, slots=True)
class Restart:
    """Start the worker again, `delay_s` from now."""

    delay_s: float


@dataclass(frozen=True, slots=True)
class GiveUp:
    """No worker gets ready: end the gate with an error."""


@dataclass(slots=True)
class _Place:
    state: State = State.WAITING
    ready_at: float | None = None
    deaths: int = 0


@dataclass(slots=True)
class Crew:
    """The workers of one gate, by number from 0."""

    size: int
    policy: RestartPolicy = DEFAULT_POLICY
    is_draining: bool = False
    restarts: int = 0
    """Workers that ended and were to be started again, since the gate began."""
    _places: list[_Place] = field(default_factory=list)
    _has_been_ready: bool = False

    def __post_init__(self) -> None:
        self._places = [_Place() for _ in range(self.size)]

    @property
    def is_ready(self) -> bool:
        """True when every worker serves, and none is to stop."""
        return not self.is_draining and self.ready == self.size

    @property
    def ready(self) -> int:
        """How many workers serve."""
        return sum(place.state is State.READY for place in self._places)

    @property
    def is_starting(self) -> bool:
        """True when a worker's process is there and does not serve yet."""
        return any(place.state is State.STARTING for place in self._places)

    @property
    def is_over(self) -> bool:
        """True when the gate is draining and the last worker has ended."""
        return self.is_draining and all(place.state is State.ENDED for place in self._places)

    def state_of(self, worker: int) -> State:
        """Return the state of a worker's place."""
        return self._places[worker].state

    def started(self, worker: int) -> None:
        """Note that the worker's process was started."""
        place = self._places[worker]
        place.state, place.ready_at = State.STARTING, None

    def became_ready(self, worker: int, now: float) -> None:
        """Note that the worker says that it serves."""
        place = self._places[worker]
        if place.state is State.STARTING:
            place.state, place.ready_at = State.READY, now
            self._has_been_ready = True

    def died(self, worker: int, now: float) -> Restart | GiveUp | None:
        """Note that the worker's process ended; `None` when it was meant to."""
        place = self._places[worker]
        ready_at, place.ready_at = place.ready_at, None
        if self.is_draining:
            place.state = State.ENDED
            return None
        if ready_at is not None and now - ready_at >= self.policy.stable_s:
            place.deaths = 0
        place.deaths += 1
        place.state = State.WAITING
        if not self._has_been_ready and place.deaths >= self.policy.attempts:
            return GiveUp()
        self.restarts += 1
        return Restart(self.policy.delay_s(place.deaths))

    def drain(self) -> None:
        """Note that the gate shuts down: nobody is started any more."""
        self.is_draining = True
        for place in self._places:
            if place.state is State.WAITING:
                place.state = State.ENDED
