"""The verdict cache: what may be believed, and what is kept apart."""

from __future__ import annotations

import json
import tracemalloc

import pytest

from proxy.core.coherence import CoherenceCounters, Verdict, VerdictCache
from proxy.core.formats import native
from proxy.model import Absent, Identity, Rejected

WHO = Identity("local", "ada", "web")
UNKNOWN = Absent("session_unknown")
KEY = ("web", 1, b"digest")


@pytest.fixture
def counters():
    return CoherenceCounters()


@pytest.fixture
def cache(counters):
    """Give a small cache."""
    return VerdictCache(entries=100, size=10**6, counters=counters)


@pytest.fixture
def source(cache):
    """Give a source that is tracking since 0."""
    source = cache.source("store", max_staleness_s=2.0, grace_s=30.0)
    source.tracked(0.0)
    return source


@pytest.fixture
def scope(source):
    """Give a scope with a common key."""
    return source.scope([b"all"])


def test_r2_a_verdict_is_found_while_it_is_fresh(cache, scope, source, counters):
    """R2: stale is not gone; with a new proof it is found again."""
    verdict = Verdict(WHO)
    cache.keep(KEY, verdict, scope, store_keys=(b"s",))
    assert verdict is cache.find(KEY, 2.0)
    assert cache.find(KEY, 2.1) is None
    source.proven(1.0)
    assert verdict is cache.find(KEY, 3.0)
    assert (1, 1) == (counters.fills, counters.stale)


@pytest.mark.parametrize(
    "happens",
    [
        lambda source: source.invalidated([b"s"]),
        lambda source: source.invalidated([b"all"]),
        lambda source: source.invalidated(None),
        lambda source: (source.lost(), source.tracked(0.0)),
    ],
    ids=["own key", "common key", "flush", "loss and return"],
)
def test_a_change_ends_verdict_and_refusal(cache, scope, source, happens):
    """Whatever the store says has changed is not believed any more, an absence neither."""
    other = ("web", 1, b"other")
    cache.keep(KEY, Verdict(WHO), scope, store_keys=(b"s",))
    cache.keep(other, UNKNOWN, scope, store_keys=(b"s",))
    assert UNKNOWN is cache.find(other, 0.0)
    happens(source)
    assert cache.find(KEY, 0.0) is None
    assert cache.find(other, 0.0) is None


def test_a_life_that_ends_is_the_end(cache, scope, counters):
    """`until` is on the clock of freshness: no word of the store is waited for."""
    cache.keep(KEY, Verdict(WHO), scope, until=1.0)
    assert cache.find(KEY, 0.9)
    assert cache.find(KEY, 1.0) is None
    assert (0, 1) == (len(cache), counters.evicted_expired)


def test_every_verdict_that_leaves_is_counted_by_its_cause(counters):
    """One for each cause, and none under another's name."""
    cache = VerdictCache(entries=1, size=10**6, counters=counters)
    source = cache.source("store", max_staleness_s=2.0)
    source.tracked(0.0)
    scope = source.scope()

    def told():
        causes = ("room", "invalidated", "lost", "expired", "key")
        return [getattr(counters, f"evicted_{cause}") for cause in causes]

    cache.keep(KEY, Verdict(WHO), scope, store_keys=(b"s",))
    cache.keep(("web", 1, b"other"), Verdict(WHO), scope, store_keys=(b"t",))
    assert [1, 0, 0, 0, 0] == told()
    source.invalidated([b"t"])
    assert [1, 1, 0, 0, 0] == told()
    cache.keep(KEY, Verdict(WHO), scope)
    source.invalidated(None)
    cache.keep(("web", 1, b"other"), Verdict(WHO), scope, until=1.0)
    assert [1, 1, 1, 0, 0] == told()
    assert cache.find(("web", 1, b"other"), 1.0) is None
    assert [1, 1, 1, 1, 0] == told()
    cache.keep(KEY, Verdict(WHO), scope)
    cache.drop(KEY, "key")
    assert [1, 1, 1, 1, 1] == told()


def test_r9_unknown_credentials_evict_no_verdict(cache, scope):
    """R9: a flood of random cookies stays in the small memory, which is bounded."""
    cache.keep(KEY, Verdict(WHO), scope, store_keys=(b"s",))
    for number in range(1000):
        cache.keep(("web", 1, b"%d" % number), UNKNOWN, scope, store_keys=(b"%d" % number,))
    assert cache.find(KEY, 0.0)
    assert (1, 100) == (len(cache), cache.refusals)


def test_a_credential_is_one_or_the_other(cache, scope):
    """What becomes known stops being unknown, and the other way round."""
    cache.keep(KEY, UNKNOWN, scope)
    cache.keep(KEY, Verdict(WHO), scope)
    assert (1, 0) == (len(cache), cache.refusals)
    revoked = Verdict(WHO, refused=Rejected("token_revoked"))
    cache.keep(KEY, revoked, scope)
    assert (0, 1) == (len(cache), cache.refusals)
    assert revoked is cache.find(KEY, 0.0)


def test_r10_without_tracking_nothing_is_kept(cache, scope, source):
    """R10: nobody would tell of a change; after a loss too."""
    source.untracked()
    cache.keep(KEY, Verdict(WHO), scope)
    source.tracked(0.0)
    source.lost()
    cache.keep(KEY, Verdict(WHO), scope)
    assert 0 == len(cache)


def test_r8_in_an_outage_the_last_word_may_serve(cache, scope, source):
    """R8: while the connection is lost, up to the grace, and never what was invalidated."""
    other = ("web", 1, b"other")
    cache.keep(KEY, Verdict(WHO), scope, store_keys=(b"s",))
    cache.keep(other, Verdict(WHO, record_digest=b"d"), scope, store_keys=(b"t",))
    source.invalidated([b"t"])
    source.lost()
    assert cache.find(KEY, 0.0) is None
    assert cache.find_in_outage(KEY, 30.0)
    assert cache.find_in_outage(KEY, 30.1) is None
    assert cache.find_in_outage(other, 1.0) is None
    source.tracked(1.0)
    assert cache.find_in_outage(KEY, 1.0) is None


def test_an_invalidated_foreign_verdict_waits_for_equal_bytes(cache, scope, source):
    """It is not found, but kept aside; a native one is not."""
    verdict = Verdict(WHO, record_digest=b"d")
    cache.keep(KEY, verdict, scope, store_keys=(b"s",))
    source.invalidated([b"s"])
    assert cache.find(KEY, 0.0) is None
    assert verdict is cache.aside(KEY)
    cache.keep(KEY, Verdict(WHO), scope, store_keys=(b"s",))
    assert cache.aside(KEY) is None


def test_r1_a_key_has_scheme_and_generation(cache, scope):
    """R1: the same credential is another one under another scheme or configuration."""
    cache.keep(KEY, Verdict(WHO), scope)
    assert cache.find(("api", 1, b"digest"), 0.0) is None
    assert cache.find(("web", 2, b"digest"), 0.0) is None


@pytest.mark.slow
def test_the_memory_that_it_takes_is_within_its_bound(counters):
    """Sessions without end leave a worker no larger than `verdicts.bytes` says."""
    bound = 8 * 2**20
    cache = VerdictCache(entries=10**6, size=bound, counters=counters)
    source = cache.source("store", max_staleness_s=2.0)
    source.tracked(0.0)
    scope = source.scope()
    tracemalloc.start()
    try:
        for number in range(12_000):
            record = json.dumps(
                {
                    "v": 1,
                    "sub": f"user-{number}",
                    "created_at": 1,
                    "expires_at": 9_000_000_000,
                    "email": f"user-{number}@example.com",
                    "roles": ["customer", f"role-{number}"],
                }
            ).encode()
            told = native.facts(record, None, lifetime=None, scheme="web", origin="local")
            name = b"%064d" % number
            cache.keep(
                ("web", 1, name[:32] + b"%d" % number),
                Verdict(told.identity, not_after=told.ends_at, seen_at=told.seen_at),
                scope,
                store_keys=(b"latchgate:session:{" + name + b"}",),
                size=6 * len(record),
            )
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert 20_000 > len(cache)
    assert bound // 3 < taken < bound
