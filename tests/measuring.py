"""Which tests coverage measures: one case of each, for the others go the same ways.

Measuring makes a test take two or three times as long, and most of ten thousand cases differ in what
they say and not in which lines say it. Every case runs; what is not measured is only not counted.
"""

from __future__ import annotations

import collections
import contextlib
from collections.abc import Iterable, Iterator
from typing import Final

import coverage
import pytest

MEASURED_CASES: Final = 1
"""Of one test in one lane."""
IS_LEFT_OUT: Final = pytest.StashKey[bool]()
"""Of a test: it is not measured."""


def leave_out(items: Iterable[pytest.Item]) -> None:
    """Choose those of `items`, as collected, that are not measured.

    A property tries what its unit's own tests try, a hundred times; what is slow does something often.
    """
    seen: collections.Counter[tuple[str, str]] = collections.Counter()
    for item in items:
        callspec = getattr(item, "callspec", None)
        lane = callspec.params.get("lane", "") if callspec is not None else ""
        test = (item.nodeid.partition("[")[0], str(lane))
        seen[test] += 1
        is_property = getattr(getattr(item, "obj", None), "is_hypothesis_test", False)
        is_slow = item.get_closest_marker("slow") is not None
        item.stash[IS_LEFT_OUT] = is_property or is_slow or seen[test] > MEASURED_CASES


@contextlib.contextmanager
def measuring(item: pytest.Item) -> Iterator[None]:
    """Run a test, fixtures included, measured or not."""
    stopped = []
    if item.stash.get(IS_LEFT_OUT, False):
        # A worker of pytest-xdist has two, one below the other, which would go on.
        while (one := coverage.Coverage.current()) is not None:
            one.stop()
            stopped.append(one)
    try:
        yield
    finally:
        for one in reversed(stopped):
            one.start()
