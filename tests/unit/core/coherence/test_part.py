"""Several connections make one source, as good as the worst of them."""

from __future__ import annotations

import pytest

from proxy.core.coherence import CoherenceCounters, Part, VerdictCache, Whole
from proxy.core.coherence.verdict import Verdict
from proxy.model import Identity

KEY = ("web", 0, b"k")


class Rig:
    def __init__(self):
        self.cache = VerdictCache(entries=10, size=10_000, counters=CoherenceCounters())
        self.source = self.cache.source("store", max_staleness_s=1.0)
        self.scope = self.source.scope()
        self.whole = Whole(self.source)
        self.first, self.second = (Part(self.source, self.whole.changed) for _ in range(2))

    def know(self, *, steady_at=0.0, is_other=False):
        self.whole.consist_of([self.first, self.second], steady_at, is_other=is_other)

    def keep(self):
        verdict = Verdict(Identity("o", "ada", "web"))
        self.cache.keep(KEY, verdict, self.scope, store_keys=(b"s",))

    def has(self, mono):
        return self.cache.find(KEY, mono) is not None


@pytest.fixture
def rig():
    made = Rig()
    made.know(is_other=True)
    return made


@pytest.fixture
def kept(rig):
    rig.first.tracked(0.0)
    rig.second.tracked(0.0)
    rig.keep()
    return rig


def test_nothing_is_kept_before_every_part_tells(rig):
    """A verdict may hang on keys of any of them."""
    rig.first.tracked(0.0)
    assert rig.source.state == "waiting"
    rig.second.tracked(0.0)
    assert rig.source.state == "tracking"
    rig.first.lost()
    counters = rig.source.counters
    assert (counters.connections, counters.losses, counters.untracked) == (2, 1, 0)


def test_r2_the_oldest_proof_counts(kept):
    """R2: of the parts, and of who knows where the slots are."""
    kept.know(steady_at=0.9)
    kept.first.proven(0.8)
    assert kept.source.proven_at == 0.0
    kept.second.proven(0.5)
    assert kept.source.proven_at == 0.5
    kept.second.proven(2.0)
    kept.first.proven(2.0)
    assert kept.source.proven_at == 0.9


def test_a_change_that_any_part_tells_is_heard(kept):
    """Of a key, and of everything."""
    kept.second.invalidated([b"s"])
    assert not kept.has(0.1)
    kept.keep()
    assert kept.has(0.1)
    kept.first.invalidated(None)
    assert not kept.has(0.1)


@pytest.mark.parametrize("event", ["lost", "untracked"])
def test_a_part_that_does_not_tell_any_more_suspends_all(kept, event):
    """And what was kept before is dropped when it tells again."""
    getattr(kept.second, event)()
    assert not kept.has(0.1)
    reading = kept.source.begin([b"s"])
    kept.first.proven(0.1)
    assert kept.source.end(reading)  # the others' look-ups go on
    kept.second.tracked(0.2)
    assert kept.source.state == "tracking"
    assert not kept.has(0.2)


def test_r5_a_look_up_on_its_way_is_void_when_a_part_is_lost(kept):
    """R5: one of its replies may be out of date by the time of the last."""
    reading = kept.source.begin([b"s"])
    kept.first.lost()
    assert not kept.source.end(reading)


def test_r2_what_has_moved_drops_all_that_was_kept(kept):
    """R2: a node does not tell of a key that was not there and is written where its slot went."""
    kept.know(steady_at=0.1, is_other=True)
    assert kept.source.state == "tracking"
    assert not kept.has(0.1)
    kept.keep()
    kept.know(steady_at=0.1)
    assert kept.has(0.1)


def test_r2_nothing_is_kept_while_slots_are_moving(kept):
    """R2: a heartbeat proves nothing then; behind it everything is new."""
    kept.know(steady_at=None)
    kept.first.proven(0.1)
    assert kept.source.state == "untracked"
    assert not kept.has(0.1)
    kept.keep()
    kept.know(steady_at=0.2)
    assert kept.source.state == "tracking"
    assert not kept.has(0.2)
