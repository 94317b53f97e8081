"""Login state of a browser: five places, ten minutes, one secret."""

from __future__ import annotations

import dataclasses
import re

import pytest

from proxy.core import login_state
from proxy.core.login_state import Attempt, choose_slot, slot_of, surplus

NOW = 1_800_000_000.5
ATTEMPT = Attempt(3, "corp", "s" * 43, NOW, "https://a.example/_auth/callback/corp", "/orders?a=1")


def attempts(*ages):
    """Return attempts of these ages in the first places."""
    return {
        slot: dataclasses.replace(ATTEMPT, slot=slot, begun_at=NOW - age)
        for slot, age in enumerate(ages)
    }


def test_it_is_read_as_it_was_written():
    """Place apart, which is in the cookie's name, all of it is in the record."""
    assert ATTEMPT == Attempt.decode(ATTEMPT.encode(), 3)


@pytest.mark.parametrize("raw", [b"", b"{}", b"[1]", b'{"v":2}', b'{"v":1,"p":1}', b"\xff" * 50])
def test_what_is_no_record_is_refused(raw):
    """It was sealed by a gate, but perhaps by another version of it."""
    with pytest.raises(ValueError):
        Attempt.decode(raw, 0)


def test_state_nonce_and_verifier_tell_nothing_of_each_other():
    """The provider and everybody in between see the first two, and must not know the third."""
    values = {ATTEMPT.state.partition(".")[2], ATTEMPT.nonce, ATTEMPT.verifier, ATTEMPT.secret}

    assert 4 == len(values)
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{43}", value) for value in values)
    assert ATTEMPT.secret not in repr(ATTEMPT)


def test_a_state_leads_to_its_place_and_answers_its_attempt_only():
    """The place is in the state; the rest of it is compared as a whole."""
    other = dataclasses.replace(ATTEMPT, secret="t" * 43)

    assert 3 == slot_of(ATTEMPT.state)
    assert ATTEMPT.is_answered_by(ATTEMPT.state)
    assert not ATTEMPT.is_answered_by(other.state)
    assert not ATTEMPT.is_answered_by("\ud800")


@pytest.mark.parametrize(
    "state", ["", "5." + "a" * 43, "0." + "a" * 42, "0" + "a" * 43, "0.é" * 22]
)
def test_what_is_no_state_of_ours_leads_nowhere(state):
    """Nothing is looked up for it."""
    assert slot_of(state) is None


def test_it_lives_ten_minutes():
    """A clock of another host may be a little ahead."""
    ages = [-61, -60, 0, 599, 600]

    assert [False, True, True, True, False] == [ATTEMPT.is_alive(NOW + age) for age in ages]


def test_a_new_attempt_takes_a_free_place_else_the_oldest():
    """At most five at once, however many are begun."""
    assert {3, 4} == {choose_slot(attempts(5, 9, 7), chance) for chance in range(20)}
    assert 1 == choose_slot(attempts(5, 9, 7, 1, 2), 12)
    assert set(range(5)) == {choose_slot({}, chance) for chance in range(200)}


def test_long_targets_do_not_fill_the_head():
    """The oldest give way when all of them together are too many bytes; the new one never does."""
    sizes = dict.fromkeys(range(5), 2000)

    assert [1, 2] == surplus(attempts(5, 9, 7, 1, 2), sizes, 3)
    assert [] == surplus(attempts(5, 9, 7), {0: 500, 1: 500, 2: 500, 3: 500}, 3)
    assert [2, 0] == surplus(attempts(5, 9, 7, 1, 2), sizes, 1)


def test_the_cookie_is_the_hosts_own():
    """`__Host-`: no sub-domain can plant one. On loopback http it has no prefix (S5)."""
    _, secure = login_state.set_cookie(0, "v", is_secure=True)
    _, plain = login_state.set_cookie(4, "v", is_secure=False)
    _, gone = login_state.expire_cookie(0, is_secure=True)

    assert (
        b"__Host-latchgate-login-0=v; Path=/; Max-Age=600; HttpOnly; SameSite=Lax; Secure" == secure
    )
    assert b"latchgate-login-4=v; Path=/; Max-Age=600; HttpOnly; SameSite=Lax" == plain
    assert b"__Host-latchgate-login-0=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax; Secure" == gone
    assert 10 == len(set(login_state.cookie_names()))
