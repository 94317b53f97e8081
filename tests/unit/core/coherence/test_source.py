"""What a connection lets be believed: states, freshness, look-ups of several replies."""

from __future__ import annotations

import pytest

from proxy.core.coherence import Source

STALENESS_S = 2.0


@pytest.fixture
def source():
    """Give a source that is tracking since 100."""
    source = Source("store", max_staleness_s=STALENESS_S, grace_s=30.0)
    source.tracked(100.0)
    return source


def test_r2_freshness_counts_from_the_sending_of_the_last_answered_heartbeat(source):
    """R2: compared at use; a late or older answer proves nothing newer."""
    assert source.is_fresh(102.0)
    assert not source.is_fresh(102.01)
    source.proven(103.0)
    source.proven(101.0)
    assert source.is_fresh(105.0)
    assert not source.is_fresh(105.01)


def test_a_loss_suspends_and_tracking_again_drops(source):
    """Between loss and return nothing is fresh; afterwards everything read before is dead."""
    scope = source.scope()
    before = scope.generation
    source.lost()
    source.proven(101.0)
    assert not source.is_fresh(101.0)
    assert before == scope.generation
    source.tracked(101.0)
    assert source.is_fresh(101.0)
    assert before < scope.generation


def test_r8_the_grace_counts_from_the_last_proof(source):
    """R8: an outage is bridged since the store was last known to be there, with `serve_cached`."""
    source.proven(110.0)
    source.lost()
    assert source.is_in_grace(140.0)
    assert not source.is_in_grace(140.1)
    denying = Source("store", max_staleness_s=STALENESS_S)
    denying.tracked(100.0)
    denying.lost()
    assert not denying.is_in_grace(100.0)


def test_r10_without_tracking_nothing_is_fresh(source):
    """R10: connected, but not told of changes; and a connection that ends is no loss of verdicts."""
    source.untracked()
    source.proven(101.0)
    assert not source.is_fresh(101.0)
    assert not source.is_in_grace(101.0)
    source.lost()
    assert ("waiting", 0) == (source.state, source.counters.losses)


def test_common_keys_cost_one_step(source):
    """A key on which every verdict of a scheme depends ends all of them, and those of no other."""
    mine, other = source.scope([b"all", b"epoch"]), source.scope([b"x"])
    generations = (mine.generation, other.generation)
    source.invalidated([b"all"])
    assert (generations[0] + 1, generations[1]) == (mine.generation, other.generation)


def test_a_flush_drops_everything(source):
    """FLUSHALL arrives as an invalidation without keys."""
    scope = source.scope()
    before = scope.generation
    source.invalidated(None)
    assert before < scope.generation
    assert (1, 0) == (source.counters.flushes, source.counters.invalidations)


@pytest.mark.parametrize(
    "happens",
    [
        lambda source: source.invalidated([b"b"]),
        lambda source: source.invalidated(None),
        lambda source: source.lost(),
        lambda source: source.tracked(101.0),
        lambda source: source.untracked(),
    ],
    ids=["key", "flush", "loss", "return", "untracked"],
)
def test_r5_a_look_up_is_void_if_something_happens_between_its_replies(source, happens):
    """R5: an invalidation of any of its keys, a flush or a loss."""
    reading, other = source.begin([b"a", b"b"]), source.begin([b"a"])
    happens(source)
    assert not source.end(reading)
    assert source.end(other) is (source.counters.invalidations == 1)


def test_r5_what_is_over_is_forgotten(source):
    """A look-up that ended is not watched over any more, and a new one begins clean."""
    reading = source.begin([b"a"])
    assert source.end(reading)
    source.invalidated([b"a"])
    assert not reading.is_void
    assert source.end(source.begin([b"a"]))
    assert not source._readings_by_key
