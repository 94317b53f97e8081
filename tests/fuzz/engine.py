"""Mutations of seeds, an alarm for each input, and an account: fuzzing without a library.

Blind where atheris is guided by coverage, but many times faster, and there for every Python. The
same seed of the random numbers gives the same inputs. What never belongs here: a target.
"""

from __future__ import annotations

import random
import signal
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import FrameType

OneInput = Callable[[bytes], None]

HANG_S = 2.0
"""CPU seconds of this process that one input may cost: a busy machine is no finding."""

MAX_BYTES = 4096
"""Of an input; what is about size has a test of its own."""

BYTES = [bytes((value,)) for value in range(256)]


class Hang(KeyboardInterrupt):
    """An input cost more than `HANG_S`. Of this kind, since asyncio lets no other one through."""


@dataclass
class Account:
    """What came of a run."""

    inputs: int = 0
    seconds: float = 0.0
    slowest_s: float = 0.0
    crashes: dict[str, bytes] = field(default_factory=dict)
    """The shortest input for each place where something went wrong."""


class Mutator:
    """Makes inputs of seeds: bytes replaced, cut, doubled, words put in, two seeds joined."""

    def __init__(self, seeds: Sequence[bytes], words: Sequence[bytes], seed: int) -> None:
        self._random = random.Random(seed)
        self._seeds = list(seeds) or [b""]
        self._words = [*words, *BYTES]
        self._moves = (self._put, self._put, self._cut, self._double, self._flip, self._join)

    def make(self) -> bytes:
        """Return the next input."""
        draw = self._random.random
        data = self._seeds[int(draw() * len(self._seeds))]
        for _ in range(1 + int(draw() * draw() * 8)):
            data = self._moves[int(draw() * len(self._moves))](data)
        return data[:MAX_BYTES]

    def _place(self, data: bytes) -> int:
        return int(self._random.random() * (len(data) + 1))

    def _length(self) -> int:
        return 1 << int(self._random.random() * 6)

    def _put(self, data: bytes) -> bytes:
        at = self._place(data)
        word = self._words[int(self._random.random() * len(self._words))]
        return data[:at] + word + data[at + int(self._random.random() * 3) :]

    def _cut(self, data: bytes) -> bytes:
        at = self._place(data)
        return data[:at] + data[at + self._length() :]

    def _double(self, data: bytes) -> bytes:
        at = self._place(data)
        piece = data[at : at + self._length()]
        to = self._place(data)
        return data[:to] + piece * (1 + int(self._random.random() * 3)) + data[to:]

    def _flip(self, data: bytes) -> bytes:
        if not data:
            return data
        at = int(self._random.random() * len(data))
        return data[:at] + BYTES[data[at] ^ (1 << int(self._random.random() * 8))] + data[at + 1 :]

    def _join(self, data: bytes) -> bytes:
        other = self._seeds[int(self._random.random() * len(self._seeds))]
        return data[: self._place(data)] + other[self._place(other) :]


def with_alarm(one_input: OneInput) -> OneInput:
    """Return `one_input`, raising `Hang` when an input costs too much."""

    def ring(_number: int, _frame: FrameType | None) -> None:
        raise Hang(f"more than {HANG_S:g} s of CPU time")

    def guarded(data: bytes) -> None:
        before = signal.signal(signal.SIGVTALRM, ring)
        signal.setitimer(signal.ITIMER_VIRTUAL, HANG_S)
        try:
            one_input(data)
        finally:
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)
            signal.signal(signal.SIGVTALRM, before)

    return guarded


def run(
    one_input: OneInput,
    seeds: Sequence[bytes],
    *,
    words: Sequence[bytes] = (),
    inputs: int | None = None,
    seconds: float | None = None,
    seed: int = 0,
) -> Account:
    """Feed the seeds, then mutations of them, until `inputs` or `seconds` are reached.

    What goes wrong is noted, and the run goes on: one place of failure is one crash.
    """
    account = Account()
    mutator = Mutator(seeds, words, seed)
    guarded = with_alarm(one_input)
    began = time.monotonic()
    waiting = list(reversed(seeds))
    while inputs is None or account.inputs < inputs:
        data = waiting.pop() if waiting else mutator.make()
        cpu = time.process_time()
        try:
            guarded(data)
        except (Exception, Hang) as error:  # noqa: BLE001 - whatever it is, it is the finding
            _note(account, data, error)
        account.slowest_s = max(account.slowest_s, time.process_time() - cpu)
        account.inputs += 1
        if seconds is not None and time.monotonic() - began >= seconds:
            break
    account.seconds = time.monotonic() - began
    return account


def _note(account: Account, data: bytes, error: Exception | Hang) -> None:
    frames = traceback.extract_tb(error.__traceback__)
    frame = frames[-2] if isinstance(error, Hang) else frames[-1]  # the alarm is not the place
    place = f"{type(error).__name__} at {frame.filename}:{frame.lineno}"
    if place not in account.crashes or len(data) < len(account.crashes[place]):
        account.crashes[place] = data
