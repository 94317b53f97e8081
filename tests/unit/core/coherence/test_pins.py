"""Pinned verdicts: outside the bounds, and whoever pinned one is told when it is gone."""

from __future__ import annotations

import math

import pytest

from proxy.core.coherence import VerdictCache
from proxy.core.coherence.pins import Pins
from proxy.core.coherence.verdict import Verdict
from proxy.model import Absent, Identity, Rejected

WHO = Identity("local", "ada", "web")
KEY, OTHER = ("web", 1, b"one"), ("web", 1, b"other")


@pytest.fixture
def cache():
    """Give a cache with room for two."""
    return VerdictCache(entries=2, size=10**6)


@pytest.fixture
def source(cache):
    source = cache.source("store", max_staleness_s=2.0, grace_s=30.0)
    source.tracked(0.0)
    return source


@pytest.fixture
def scope(source):
    return source.scope([b"all"])


@pytest.fixture
def told():
    return []


def test_r7_a_pinned_verdict_outlives_its_eviction(cache, scope, told):
    """However many others come: it is found, and it is not counted among them."""
    verdict = Verdict(WHO)
    cache.keep(KEY, verdict, scope, store_keys=(b"s",))
    pin = cache.pin(KEY, told.append)
    for number in range(10):
        cache.keep(("web", 1, bytes([number])), Verdict(WHO), scope)
    assert (verdict, verdict, 2) == (pin.verdict, cache.find(KEY, 0.0), len(cache))
    cache.unpin(pin)
    assert (None, None) == (pin.verdict, cache.find(KEY, 0.0))
    assert [] == told


@pytest.mark.parametrize("is_evicted", [False, True])
@pytest.mark.parametrize(
    "happens",
    [
        lambda source: source.invalidated([b"s"]),
        lambda source: source.invalidated([b"all"]),
        lambda source: source.invalidated(None),
        lambda source: (source.lost(), source.tracked(1.0)),
        lambda source: source.untracked(),
    ],
    ids=["key", "common", "flush", "loss", "untracked"],
)
def test_r7_who_pinned_is_told(cache, source, scope, told, happens, is_evicted):
    """By whichever way a verdict goes; once, and while it is still there to answer for itself."""
    cache.keep(KEY, Verdict(WHO), scope, store_keys=(b"s",))
    vouched = []
    pins = [cache.pin(KEY, told.append) for _ in range(2)]
    pins.append(cache.pin(KEY, lambda pin: vouched.append(pin.vouched_until(is_bridged=False))))
    if is_evicted:
        for number in range(10):
            cache.keep(("web", 1, bytes([number])), Verdict(WHO), scope)
    happens(source)
    assert {*pins[:2]} == {*told}
    assert (2, [2.0]) == (len(told), vouched)
    assert [None] * 3 == [pin.verdict for pin in pins]
    source.invalidated([b"s"])
    assert 2 == len(told)


def test_what_is_filled_in_reaches_the_pins(cache, source, scope, told):
    """A new look-up of the credential makes it known again, and it is told of again."""
    pin = cache.pin(KEY, told.append)
    assert (None, None) == (pin.verdict, pin.source)
    verdict = Verdict(WHO)
    cache.keep(KEY, verdict, scope, store_keys=(b"s",), until=7.0)
    assert (verdict, source, 7.0) == (pin.verdict, pin.source, pin.until)
    cache.keep(KEY, verdict, scope, store_keys=(b"t",))
    source.invalidated([b"s"])
    assert [] == told
    source.invalidated([b"t"])
    assert [pin] == told


@pytest.mark.parametrize(
    "finding", [Absent("session_unknown"), Verdict(WHO, refused=Rejected("token_revoked", ""))]
)
def test_what_opens_nothing_is_no_verdict(cache, scope, told, finding):
    """It is pinned, so that it is told of when it changes, but nobody relies on it."""
    cache.keep(KEY, finding, scope, store_keys=(b"s",))
    pin = cache.pin(KEY, told.append)
    assert pin.verdict is None


def test_a_verdict_that_a_request_found_over_is_told(cache, scope, told):
    """`drop`: its time, or its key, was over."""
    cache.keep(KEY, Verdict(WHO), scope)
    pin = cache.pin(KEY, told.append)
    cache.drop(KEY, "key")
    cache.drop(KEY, "key")
    assert ([pin], None) == (told, pin.verdict)


def test_a_pin_that_was_taken_away_is_not_told(cache, source, scope, told):
    """Taken away twice is taken away."""
    cache.keep(KEY, Verdict(WHO), scope, store_keys=(b"s",))
    pin, stays = cache.pin(KEY, told.append), cache.pin(KEY, told.append)
    cache.unpin(pin)
    cache.unpin(pin)
    source.invalidated([b"s"])
    assert [stays] == told


def test_without_a_store_it_is_vouched_for_for_ever(told):
    """`revocation: none`: only its own time counts."""
    pins = Pins()
    assert math.inf == pins.add(KEY, told.append, None).vouched_until(is_bridged=False)
    assert 1 == len(pins)


def test_r8_an_outage_is_bridged_where_it_may_be(cache, source, scope, told):
    """R8: since the last proof; without `is_bridged` for `max_staleness`."""
    cache.keep(KEY, Verdict(WHO), scope)
    pin = cache.pin(KEY, told.append)
    source.proven(5.0)
    assert (7.0, 35.0) == (pin.vouched_until(is_bridged=False), pin.vouched_until(is_bridged=True))
