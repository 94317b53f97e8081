"""What two scrapes say together."""

from __future__ import annotations

import pytest

from proxy.cli.picture import Picture, Scrape

LAG = "latchgate_store_invalidation_lag_seconds"


def scrape(at_s, **decisions):
    """Return a scrape with so many forwarded requests of each route."""
    lines = [
        f'latchgate_decisions_total{{route="{route}",scheme="",decision="forward",code=""}} {number}'
        for route, number in decisions.items()
    ]
    return Scrape.of(at_s, "# TYPE latchgate_decisions_total counter\n" + "\n".join(lines) + "\n")


def test_a_rate_is_what_was_added_by_the_time_that_passed():
    """A route that is new in the second scrape counts from 0; the most frequent comes first."""
    found = Picture(scrape(10, a=100, b=5), scrape(12, a=110, b=25, c=4)).to_json()

    assert [("b", 10, 25), ("a", 5, 110), ("c", 2, 4)] == [
        (row["route"], row["per_second"], row["total"]) for row in found["requests"]
    ]
    assert 17 == found["gate"]["per_second"]


def test_a_gate_that_began_anew_has_no_negative_rate():
    """A total that is lower than before is what the new one counted."""
    picture = Picture(scrape(10, a=100), scrape(20, a=30))

    assert 3 == picture.rate("latchgate_decisions_total")


def buckets(*numbers):
    """Return the lag's histogram, cumulative, below 1, 2 and 4 s."""
    bounds = ("1.0", "2.0", "4.0", "+Inf")
    lines = [
        f'{LAG}_bucket{{store="store",le="{bound}"}} {number}'
        for bound, number in zip(bounds, numbers, strict=True)
    ]
    return Scrape.of(0, f"# TYPE {LAG} histogram\n" + "\n".join(lines) + "\n")


@pytest.mark.parametrize(
    ("before", "now", "share", "expected"),
    [
        ((0, 0, 0, 0), (0, 10, 10, 10), 0.5, 1.5),
        ((9, 9, 9, 9), (9, 9, 19, 19), 0.5, 3.0),
        ((9, 9, 9, 9), (9, 9, 9, 9), 1.0, 1.0),
        ((0, 0, 0, 0), (0, 0, 0, 5), 0.99, 4.0),
        ((0, 0, 0, 0), (0, 0, 0, 0), 0.99, None),
    ],
    ids=["interpolated", "new_ones_alone", "all_where_none_is_new", "beyond_the_last", "none"],
)
def test_a_quantile_is_interpolated_within_its_bucket(before, now, share, expected):
    """As Prometheus does it; what is longer than the last bound is said to be that long."""
    assert expected == Picture(buckets(*before), buckets(*now)).quantile(LAG, share)


@pytest.mark.parametrize("text", ["nonsense nonsense", 'x{a="1" 1', "{", 'x{a="1"} y'])
def test_what_is_no_text_of_metrics_is_a_value_error(text):
    """Whatever listens there instead of a gate cannot end the command with a traceback."""
    with pytest.raises(ValueError, match="no metrics"):
        Scrape.of(0, text)


def test_a_number_that_is_none_is_left_out():
    """NaN and infinity would come through every sum."""
    assert 1 == Scrape.of(0, 'x{a="1"} NaN\nx{a="2"} +Inf\nx{a="3"} 1\n').sum("x")
