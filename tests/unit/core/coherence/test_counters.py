"""What is counted can be read as plain numbers."""

from __future__ import annotations

from dataclasses import fields

from proxy.core.coherence import CoherenceCounters, SourceCounters, StreamCounters


def test_counters_are_plain_numbers_that_begin_at_nothing():
    """A collector reads fields, and need not know what they mean."""
    for counters in (CoherenceCounters(), SourceCounters(), StreamCounters()):
        values = [getattr(counters, each.name) for each in fields(counters)]
        assert all(value == 0 for value in values if not isinstance(value, dict))
