"""Numbers by metric and labels, as workers send them and the supervisor adds them up.

All are integers, times in nanoseconds: sums of integers do not depend on their order, so that a
total never goes down by a rounding error, which Prometheus would take for a restart.
"""

from __future__ import annotations

from typing import Any, Final

from proxy.run.channel import ChannelError

Sample = tuple[str, tuple[str, ...]]
"""A metric's name, and the values of its labels in the table's order."""

Tally = dict[Sample, list[int]]
"""A number has a list of one; a summary count and sum; a histogram its buckets, then the sum."""

NANOSECONDS: Final = 1_000_000_000


def nanoseconds(seconds: float) -> int:
    """Return a time as a tally has it."""
    return round(seconds * NANOSECONDS)


def put(tally: Tally, name: str, *labels: str, values: list[int]) -> None:
    """Add `values` to what the tally has of a metric, number by number."""
    before = tally.get((name, labels))
    if before is not None:
        values = [a + b for a, b in zip(before, values, strict=True)]
    tally[name, labels] = values


def add(tally: Tally, other: Tally, *, highest: frozenset[str] = frozenset()) -> None:
    """Add `other` to `tally`; of the metrics in `highest` the highest number counts."""
    for (name, labels), values in other.items():
        before = tally.get((name, labels))
        if before is not None and name in highest:
            tally[name, labels] = list(map(max, before, values))
        else:
            put(tally, name, *labels, values=values)


def to_json(tally: Tally) -> list[Any]:
    """Return what `from_json` reads."""
    return [[name, labels, values] for (name, labels), values in tally.items()]


def from_json(rows: list[Any]) -> Tally:
    """Read a tally off a message. Raises `ChannelError` for what is none."""
    try:
        return {
            (str(name), tuple(map(str, labels))): [int(value) for value in values]
            for name, labels, values in rows
        }
    except (TypeError, ValueError):
        raise ChannelError("counts that are none") from None
