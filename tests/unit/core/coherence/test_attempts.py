"""R9: who guesses is slowed down, then refused."""

from __future__ import annotations

import pytest

from proxy.core.coherence import Attempts
from proxy.core.coherence.attempts import DELAY_S, network_of


def tries(attempts, count, address="192.0.2.1", mono=0.0, start=0):
    return [
        attempts.delay_of(address, b"%d" % number, mono) for number in range(start, start + count)
    ]


def test_r9_distinct_unknown_credentials_are_slowed_then_refused():
    """R9: up to the rate nothing happens, then the answer waits, then it is no."""
    attempts = Attempts(rate=3)
    assert [0.0] * 3 + [DELAY_S] * 3 + [None] * 2 == tries(attempts, 8)
    assert [0.0] == tries(attempts, 1, mono=1.0), "a second later it begins anew"


def test_r9_whoever_is_beyond_the_rate_is_told_apart():
    """R9: as long as the next attempt would be refused, and for that address alone."""
    attempts = Attempts(rate=1)
    assert [False, False, True] == [
        attempts.delay_of("a", b"%d" % number, 0.0) is None and attempts.is_beyond("a", 0.0)
        for number in range(3)
    ]
    assert not attempts.is_beyond("b", 0.0)
    assert not attempts.is_beyond("a", 1.0)


def test_r9_the_same_credential_counts_once():
    """R9: an old cookie on every picture of a page is one attempt."""
    attempts = Attempts(rate=1)
    assert [0.0] * 100 == [attempts.delay_of("192.0.2.1", b"old", 0.0) for _ in range(100)]


def test_r9_each_address_counts_for_itself():
    """R9: nobody is slowed down for another."""
    attempts = Attempts(rate=1)
    tries(attempts, 10)
    assert [0.0] == tries(attempts, 1, address="192.0.2.2")


def test_a_clock_that_goes_back_locks_nobody_out():
    """A window that began in the future is over."""
    attempts = Attempts(rate=1)
    tries(attempts, 10, mono=100.0)
    assert [0.0] == tries(attempts, 1, mono=1.0)


def test_it_is_bounded_in_addresses_and_digests():
    """Neither many addresses nor many credentials of one take more memory."""
    attempts = Attempts(rate=2, addresses=3)
    for number in range(10):
        tries(attempts, 100, address=f"192.0.2.{number}")
    assert 3 == len(attempts)
    assert 5 == max(len(window.digests) for window in attempts._windows.values())


def test_r9_windows_that_are_over_are_forgotten():
    """R9: a flood leaves nothing behind but what its last second took."""
    attempts = Attempts(rate=2)
    for number in range(1000):
        tries(attempts, 5, address=f"192.0.2.{number}", mono=number / 100)
    assert 100 == len(attempts)
    tries(attempts, 1, mono=100.0)
    assert (1, 1) == (len(attempts), attempts._digests)


def test_r9_digests_are_bounded_over_all_addresses():
    """R9: many addresses that each stay below the rate take no more memory together."""
    attempts = Attempts(rate=10, digests=25)
    for number in range(100):
        assert [0.0] * 10 == tries(attempts, 10, address=f"192.0.2.{number}")
        kept = sum(len(window.digests) for window in attempts._windows.values())
        assert kept == attempts._digests <= 25
    assert {8} == {
        len(digest)
        for address in ("a", "b")
        if attempts.delay_of(address, bytes(32), 0.0) is not None
        for digest in attempts._windows[address].digests
    }


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("1:2:3", "1:2:3"),
        (None, ""),
    ],
)
def test_an_ipv6_client_is_its_network(address, network):
    """A /64 is one client's; otherwise it had more addresses than anybody could count."""
    assert network == network_of(address)
