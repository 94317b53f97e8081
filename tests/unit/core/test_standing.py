"""When a server is left alone, and how many second attempts there may be."""

from __future__ import annotations

from math import inf

from proxy.core.standing import LEAST_RETRIES, WINDOW_S, Ejection, RetryBudget, Standing


def _failing(times: int, ejection: Ejection | None = None) -> Standing:
    standing = Standing(ejection or Ejection(failures=3, rest_s=1.0, longest_s=4.0))
    for _ in range(times):
        standing.failed(0.0)
    return standing


def test_failures_in_a_row_eject_and_an_answer_between_them_forgives():
    """Two of three and one answer count for nothing."""
    standing = _failing(2)
    standing.answered()

    assert [False, False, True] == [standing.failed(0.0) for _ in range(3)]
    assert (True, 1) == (standing.is_out, standing.ejections)


def test_one_request_tries_after_a_rest_and_rests_double():
    """The second one to ask waits for another rest, and none is longer than the longest."""
    standing = _failing(3)

    assert 0.5 == standing.admit(0.5)
    assert (0.0, 1.0) == (standing.admit(1.0), standing.admit(1.0))
    rests = []
    for now in (1.0, 10.0, 20.0):
        standing.failed(now)
        rests.append(standing.until - now)
    assert [2.0, 4.0, 4.0] == rests


def test_an_answer_ends_an_ejection():
    """Whatever comes from it: it lives, and the next rest is short again."""
    standing = _failing(4)
    standing.answered()

    assert (0.0, True) == (standing.admit(0.0), standing.is_good)
    for _ in range(3):
        standing.failed(5.0)
    assert 6.0 == standing.until


def test_without_ejection_nothing_is_left_alone():
    """`eject: none` means that every request is tried."""
    standing = Standing(None)
    for _ in range(100):
        assert not standing.failed(0.0)

    assert 0.0 == standing.admit(0.0)


def test_what_checks_say_no_answer_takes_back():
    """A server whose check fails may well answer other requests, wrongly."""
    standing = Standing(Ejection())

    assert [False, True, False] == [standing.check_failed(2) for _ in range(3)]
    standing.answered()
    standing.failed(0.0)
    assert inf == standing.until
    assert standing.admit(1e9) > 0
    assert (True, False) == (standing.check_passed(), standing.check_passed())
    assert standing.is_good


def test_f3_second_attempts_are_a_share_of_the_requests():
    """A few are always possible; beyond them one for five requests, in this window and the last."""
    budget = RetryBudget(0.2)

    assert LEAST_RETRIES == sum(budget.spend(100.0, 50) for _ in range(100))
    assert 10 == sum(budget.spend(100.0, 100) for _ in range(100))
    second = 100.0 + WINDOW_S
    assert LEAST_RETRIES + 10 == sum(budget.spend(second, 100) for _ in range(100))
    assert LEAST_RETRIES == sum(budget.spend(second + 5 * WINDOW_S, 100) for _ in range(100))
