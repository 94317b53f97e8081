"""What is counted can be read as plain numbers."""

from __future__ import annotations

from dataclasses import fields

import pytest

from proxy.core.coherence import CoherenceCounters, SourceCounters, StreamCounters
from proxy.core.coherence.counters import Notices


def test_counters_are_plain_numbers_that_begin_at_nothing():
    """A collector reads fields, and need not know what they mean."""
    for counters in (CoherenceCounters(), SourceCounters(), StreamCounters()):
        values = [getattr(counters, each.name) for each in fields(counters)]
        assert all(value == 0 for value in values if not isinstance(value, dict | Notices))


@pytest.mark.parametrize(("took_s", "bucket"), [(0.0001, 0), (0.0002, 1), (2.0, 10), (2.1, 11)])
def test_a_notice_is_counted_in_its_bucket(took_s, bucket):
    """A bound is the last that belongs to its bucket; what is longer than all has one of its own."""
    notices = Notices()
    notices.count(took_s)
    assert [int(place == bucket) for place in range(12)] == notices.buckets
    assert took_s == notices.total_s
