from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.freshness import Freshness
from proxy.core.session_factors import (
    AMR,
    NoFactorRecord,
    SessionFactor,
    decode,
    digest_of,
    encode,
    is_token,
    new_token,
    person_of,
)
from proxy.model import Identity

FACTOR = SessionFactor("ada", 1000.5, 900.25, digest_of(b"t"))
GOOD = json.loads(encode(FACTOR))


def test_a_record_says_what_was_put_in():
    """Times come back to the bit: that of the app is compared with the app's own."""
    assert FACTOR == decode(encode(FACTOR))


@pytest.mark.parametrize(
    "change",
    [
        {"v": 2},
        {"v": None},
        {"sub": 1},
        {"sub": None},
        {"at": "soon"},
        {"at": None},
        {"since": []},
        {"holder": 5},
        {"holder": "é"},
    ],
    ids=str,
)
def test_what_is_no_factor_is_refused(change):
    """No record of another kind counts, and none without a member."""
    with pytest.raises(NoFactorRecord):
        decode(json.dumps(GOOD | change).encode())
    (name,) = change
    with pytest.raises(NoFactorRecord):
        decode(json.dumps({key: value for key, value in GOOD.items() if key != name}).encode())


@given(st.binary(max_size=200))
def test_no_bytes_are_more_than_refused(raw):
    """Whatever was sealed, the end is a factor or a clean refusal."""
    with contextlib.suppress(NoFactorRecord):
        decode(raw)


def test_a_factor_is_held_by_one_cookie():
    """S1: of 256 random bits; nothing else is even looked up."""
    token = new_token().encode()
    held = SessionFactor("ada", 0.0, 0.0, digest_of(token))
    assert is_token(token)
    assert held.is_held_by(token)
    assert not held.is_held_by(new_token().encode())
    assert not held.is_held_by(b"")
    assert [False] * 4 == [is_token(one) for one in (b"", token + b"x", token[1:], b"=" * 43)]


@given(st.text("ab\n"), st.text("ab\n"))
def test_k6_no_two_people_are_known_by_one_name(one, other):
    """K6: neither of two schemes, nor of one."""
    assert person_of("a", one) != person_of("b", other)
    assert (person_of("a", one) == person_of("a", other)) == (one == other)


def test_s7_what_is_proved_beside_a_session_are_two_factors():
    """S7: the application let them in, and the gate took a code."""
    identity = Identity("shop", "ada", "shop", auth_time=100.0, amr=AMR)
    assert Freshness(mfa_within=10.0).check(identity, 105.0) is None
    assert Freshness(mfa_within=10.0).check(identity, 110.0) is not None
