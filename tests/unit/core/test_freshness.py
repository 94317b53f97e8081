from __future__ import annotations

import math

import pytest

from proxy.core.freshness import (
    CLOCK_SKEW_S,
    Freshness,
    amr_of,
    amr_with_code,
    auth_time_of,
    challenge,
    is_mfa,
)
from proxy.model import Identity

NOW = 1_800_000_000.0


def somebody(age_s=None, *amr):
    """Return somebody whose last factor is so many seconds old."""
    at = None if age_s is None else NOW - age_s
    return Identity("local", "ada", "web", auth_time=at, amr=amr)


def code_of(freshness, identity, now=NOW):
    """Return the code of the refusal, or `None`."""
    refusal = freshness.check(identity, now)
    return refusal and refusal.code


@pytest.mark.parametrize(
    ("amr", "expected"),
    [
        ((), False),
        (("pwd",), False),
        (("pwd", "pin", "kba"), False),
        (("otp",), False),
        (("otp", "hwk"), False),
        (("Pwd", "OTP"), False),
        (("pwd otp",), False),
        (("mfa",), True),
        (("pwd", "otp"), True),
        (("pin", "fpt"), True),
        (("face", "hwk"), True),
    ],
)
def test_two_factors_are_of_two_kinds(amr, expected):
    """What one knows, has and is; two of a kind are one factor (RFC 8176)."""
    assert expected is is_mfa(amr)


def test_s7_a_code_after_a_password_is_two_factors():
    """S7: `amr` says what was proved; a password again says a password."""
    assert amr_with_code() == ("pwd", "otp", "mfa")
    assert amr_with_code(("pwd", "otp", "mfa")) == ("pwd", "otp", "mfa")
    assert amr_with_code(("face",)) == ("face", "otp", "mfa")
    assert amr_with_code(("federated",)) == ("federated", "otp", "mfa")


@pytest.mark.parametrize("before", [(), ("otp",), ("sms",), ("hwk", "tel"), ("geo",)], ids=str)
def test_s7_a_code_after_nothing_else_is_one_factor(before):
    """S7: an operator's word, or another thing that one has, is not made two factors by a code."""
    assert tuple(dict.fromkeys((*before, "otp"))) == amr_with_code(before)
    assert not is_mfa(amr_with_code(before))


@pytest.mark.parametrize(
    ("identity", "mfa", "login"),
    [
        (somebody(0, "pwd", "otp"), None, None),
        (somebody(899.9, "mfa"), None, None),
        (somebody(900, "mfa"), "step_up_required", "step_up_required"),
        (somebody(10, "pwd"), "step_up_required", None),
        (somebody(-CLOCK_SKEW_S, "mfa"), None, None),
        (somebody(-CLOCK_SKEW_S - 1, "mfa"), "step_up_required", "step_up_required"),
        (somebody(10), "step_up_required", None),
        (somebody(None, "mfa"), "step_up_required", "step_up_required"),
        (somebody(None), "step_up_required", "step_up_required"),
        (somebody(math.nan, "mfa"), "step_up_required", "step_up_required"),
        (somebody(-math.inf, "mfa"), "step_up_required", "step_up_required"),
    ],
)
def test_s7_what_says_nothing_satisfies_nothing(identity, mfa, login):
    """S7: without `auth_time`, or without two factors, or with a time that cannot be, it is refused."""
    assert mfa == code_of(Freshness(mfa_within=900.0), identity)
    assert login == code_of(Freshness(login_within=900.0), identity)


def test_both_have_to_hold():
    """The stricter of the two is what a newer proof has to satisfy."""
    both = Freshness(mfa_within=900.0, login_within=300.0)

    assert code_of(both, somebody(299, "mfa")) is None
    assert "login_within" in both.check(somebody(301, "mfa"), NOW).detail
    assert "two factors" in both.check(somebody(1, "pwd"), NOW).detail
    assert both.max_age_s == 300.0
    assert both.ends_at(somebody(0)) == NOW + 300.0


def test_nothing_asked_is_nothing():
    """It is false, so that a route without it costs nothing."""
    assert not Freshness()
    assert Freshness().ends_at(somebody(0)) == math.inf
    assert Freshness(mfa_within=1.0)
    assert Freshness(login_within=1.0)


@pytest.mark.parametrize(
    ("claims", "expected"),
    [
        ({"auth_time": 5, "amr": ["pwd"]}, (5.0, ("pwd",))),
        ({"auth_time": 5.5, "amr": []}, (5.5, ())),
        ({}, (None, ())),
        ({"auth_time": "5", "amr": "mfa"}, (None, ())),
        ({"auth_time": True, "amr": ["mfa", 1]}, (None, ())),
        ({"auth_time": None, "amr": {"mfa": 1}}, (None, ())),
        ({"auth_time": [5], "amr": ["mfa"] * 65}, (None, ())),
    ],
)
def test_s7_claims_of_another_kind_say_nothing(claims, expected):
    """S7: a time is a number, and methods are a list of texts; nothing is guessed."""
    assert expected == (auth_time_of(claims), amr_of(claims))


def test_the_challenge_is_that_of_the_rfc():
    """RFC 9470 §3: the error's name, and how old a login may be."""
    expected = b'Bearer realm="api", error="insufficient_user_authentication", max_age="900"'

    assert challenge(b"api", 900.0) == (b"WWW-Authenticate", expected)
