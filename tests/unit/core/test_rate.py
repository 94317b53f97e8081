"""How often something may happen."""

from __future__ import annotations

import pytest

from proxy.core import rate as module
from proxy.core.rate import Rate, RateTable, rate_headers

TEN = Rate(10, 1.0)


def test_a_whole_period_may_come_at_once_and_then_evenly():
    """Ten at once, then one for each tenth of a second, and never more than twenty in a period."""
    table = RateTable(TEN)
    taken = [table.take("a", 100.0) for _ in range(12)]

    assert [0.0] * 10 == taken[:10]
    assert pytest.approx(0.1) == taken[10]
    assert 0.0 == table.take("a", 100.1001)
    assert table.take("a", 100.1001) > 0
    assert 10 == sum(not table.take("a", 200.0) for _ in range(50))


def test_keys_are_counted_apart():
    """One who asks too often takes nothing from another."""
    table = RateTable(Rate(1, 60.0))

    assert [0.0, 60.0, 0.0] == [table.take(key, 0.0) for key in "aab"]


def test_what_is_remembered_is_bounded(monkeypatch):
    """What is over goes first; else the oldest, and never whoever asks most."""
    monkeypatch.setattr(module, "MAX_KEYS", 100)
    table = RateTable(Rate(1, 10.0))
    for number in range(150):
        table.take(str(number), number * 0.001)
    assert 100 == len(table)
    table.take("late", 100.0)
    assert 1 == len(table)


def test_a_time_of_a_wrong_clock_does_not_count():
    """Nobody is shut out for hours because a gate's clock once was ahead."""
    assert 0.0 == TEN.wait_s(5000.0, 100.0)
    assert pytest.approx(100.1) == TEN.passed(5000.0, 100.0)


def test_a_refusal_says_what_is_allowed_and_when():
    """The policy, what is left of it, and when to come again, in whole seconds."""
    assert rate_headers(Rate(100, 60.0), 2.3) == (
        (b"RateLimit-Policy", b'"requests";q=100;w=60'),
        (b"RateLimit", b'"requests";r=0;t=3'),
        (b"Retry-After", b"3"),
    )
