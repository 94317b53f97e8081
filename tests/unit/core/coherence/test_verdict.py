"""A verdict's own end."""

from __future__ import annotations

import math

from proxy.core.coherence.verdict import Verdict
from proxy.model import Identity

WHO = Identity("local", "ada", "web")


def test_a_verdict_ends_at_its_time_or_idle():
    """Whichever comes first; a token is never idle."""
    assert math.inf == Verdict(WHO).ends_at
    assert 100.0 == Verdict(WHO, not_after=100.0).ends_at
    assert 60.0 == Verdict(WHO, not_after=100.0, seen_at=50.0, idle_s=10.0).ends_at
    assert 100.0 == Verdict(WHO, not_after=100.0, seen_at=99.0, idle_s=10.0).ends_at
