from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path

import pytest

from proxy.core.formats.native import (
    CLOCK_SKEW_S,
    MAX_NAMES,
    MAX_RECORD_BYTES,
    NativeSession,
    cookie_digest,
    decode,
    encode,
    last_seen,
    native_origin,
    read,
    read_time,
)
from proxy.core.strict_json import MAX_DEPTH, MAX_VALUES
from proxy.model import Absent, Identity

NOW = 1_790_000_000.0
HOUR = 3600.0


def members(**changes):
    """Return the members of a good record, with changes; `...` takes a member out."""
    record = {
        "v": 1,
        "sub": "alice",
        "created_at": NOW - 60,
        "expires_at": NOW + HOUR,
        "auth_time": NOW - 60,
        "amr": ["pwd", "otp"],
        "ver": 3,
        "email": "alice@example.com",
        "name": "Alice",
        "roles": ["customer", "staff"],
        "scopes": ["orders:read"],
        "claims": {"tenant": "acme", "deep": {"er": [1]}},
        "address": "192.0.2.7",
        "agent": "Firefox",
    }
    record.update(changes)
    return {name: value for name, value in record.items() if value is not ...}


def written(**changes):
    """Return the record as another program would write it."""
    return json.dumps(members(**changes)).encode()


def opened(record, seen=None, *, now=NOW, idle=30 * 60.0, lifetime=12 * HOUR):
    """Decode with the settings of reference.md §1."""
    return decode(
        record,
        seen,
        now=now,
        idle_timeout=idle,
        lifetime=lifetime,
        scheme="web",
        origin="local",
    )


def test_a_record_names_its_user():
    """Everything that the record says about its user is in the identity."""
    claims = {
        "tenant": "acme",
        "deep": {"er": [1]},
        "iss": "local",
        "sub": "alice",
        "email": "alice@example.com",
        "name": "Alice",
        "roles": ["customer", "staff"],
        "scopes": ["orders:read"],
    }

    assert opened(written()) == Identity(
        origin="local",
        subject="alice",
        scheme="web",
        email="alice@example.com",
        name="Alice",
        roles=("customer", "staff"),
        scopes=("orders:read",),
        claims=claims,
        expires_at=NOW + HOUR,
        auth_time=NOW - 60,
        amr=("pwd", "otp"),
    )


def test_the_smallest_record_is_enough():
    """Any program may write one: v, sub and the two times make a session."""
    record = json.dumps({"v": 1, "sub": "bob", "created_at": NOW, "expires_at": NOW + 9}).encode()
    identity = opened(record)

    assert isinstance(identity, Identity)
    assert (identity.subject, identity.roles, identity.auth_time) == ("bob", (), None)


def test_a_claim_cannot_pass_for_a_member_of_the_record():
    """A claim called sub, roles or email does not replace what the record itself says."""
    forged = {"sub": "root", "iss": "x", "roles": ["admin"], "email": "r@x", "name": "Root"}
    identity = opened(written(claims=forged, email=..., name=None))

    assert isinstance(identity, Identity)
    assert identity.claims == {
        "iss": "local",
        "sub": "alice",
        "roles": ["customer", "staff"],
        "scopes": ["orders:read"],
    }


def test_members_of_later_versions_are_no_harm():
    """What this version does not know is passed over."""
    assert isinstance(opened(written(csrf="x", device={"id": 1})), Identity)


@pytest.mark.parametrize(
    "changes",
    [
        {"v": ...},
        {"v": 2},
        {"v": "1"},
        {"v": True},
        {"v": 1.0},
        {"sub": ...},
        {"sub": None},
        {"sub": ""},
        {"sub": "  \t"},
        {"sub": True},
        {"sub": 1.5},
        {"sub": ["alice"]},
        {"sub": {"id": "alice"}},
        {"created_at": ...},
        {"created_at": None},
        {"created_at": "1790000000"},
        {"created_at": True},
        {"expires_at": ...},
        {"expires_at": [NOW]},
        {"auth_time": "now"},
        {"amr": "pwd"},
        {"amr": [1]},
        {"ver": "3"},
        {"ver": None},
        {"ver": 1.5},
        {"email": 1},
        {"name": ["Alice"]},
        {"roles": "admin"},
        {"roles": {"admin": True}},
        {"roles": ["a", ""]},
        {"roles": ["a", None]},
        {"roles": [["admin"]]},
        {"roles": ["r"] * (MAX_NAMES + 1)},
        {"scopes": "a b"},
        {"claims": []},
        {"claims": "x"},
        {"claims": False},
        {"address": 1},
        {"agent": {}},
    ],
    ids=repr,
)
def test_a_record_that_does_not_fit_is_absent(changes):
    """A member of the wrong kind makes the record no session: never a guess, never an error."""
    outcome = opened(written(**changes))

    assert isinstance(outcome, Absent)
    assert outcome.code == "session_unknown"
    assert outcome.detail.startswith("record does not fit: ")


@pytest.mark.parametrize(
    ("record", "detail"),
    [
        (None, "no such session"),
        (b"", "record cannot be read: not JSON"),
        (b"alice", "record cannot be read: not JSON"),
        (b"[]", "record cannot be read: not a JSON object"),
        (b"\x80\x04\x95", "record cannot be read: not UTF-8"),
        (b'{"v": 1, "v": 1}', "record cannot be read: a member occurs twice"),
        (b'{"sub": "\\ud800"}', "record cannot be read: a lone surrogate"),
        (b'{"expires_at": 1e999}', "record cannot be read: a number that is not finite"),
        (b'{"expires_at": Infinity}', "record cannot be read: a number that is not finite"),
        (
            b'{"claims": ' + b"[" * 100 + b"]" * 100 + b"}",
            "record cannot be read: nested deeper than 64",
        ),
        (b" " * (MAX_RECORD_BYTES + 1), "record cannot be read: 65537 bytes, more than 65536"),
        (b"x" * 10_000_000, "record cannot be read: 10000000 bytes, more than 65536"),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_bytes_that_are_no_record_are_absent(record, detail):
    """Whatever stands in the store, the answer is Absent with a reason for the log."""
    assert Absent("session_unknown", detail) == opened(record)


@pytest.mark.parametrize(
    ("changes", "now", "is_open"),
    [
        ({"expires_at": NOW}, NOW - 0.001, True),
        ({"expires_at": NOW}, NOW, False),
        ({"expires_at": NOW + 99 * HOUR, "created_at": NOW - 12 * HOUR}, NOW, False),
        ({"expires_at": NOW - HOUR * 99}, NOW, False),
        ({"expires_at": -1}, NOW, False),
    ],
)
def test_the_absolute_end_is_the_earlier_one(changes, now, is_open):
    """The record's own end counts, and never a later one than `lifetime` after its beginning."""
    outcome = opened(written(**changes), b"%f" % now, now=now, idle=None)

    assert is_open == isinstance(outcome, Identity)
    if not is_open:
        assert outcome == Absent("session_expired", "its lifetime is over")


def test_the_identity_ends_with_the_lifetime():
    """A verdict must not outlive the configured lifetime, whatever the record says."""
    identity = opened(written(expires_at=NOW + 99 * HOUR))
    unbounded = opened(written(expires_at=NOW + 99 * HOUR), lifetime=None)

    assert isinstance(identity, Identity)
    assert identity.expires_at == NOW - 60 + 12 * HOUR
    assert isinstance(unbounded, Identity)
    assert unbounded.expires_at == NOW + 99 * HOUR


@pytest.mark.parametrize(
    ("created_at", "seen", "is_open"),
    [
        (NOW - 1799, None, True),
        (NOW - 1800, None, False),
        (NOW - 7200, b"%f" % (NOW - 1799), True),
        (NOW - 7200, b"%d" % (NOW - 1800), False),
        (NOW - 7200, b"", False),
        (NOW - 7200, b"yesterday", False),
        (NOW - 7200, b"inf", False),
        (NOW - 7200, b"nan", False),
        (NOW - 7200, b"9" * 40, False),
        (NOW - 60, b"0", True),
    ],
)
def test_a_session_ends_when_it_is_idle(created_at, seen, is_open):
    """Use is what `seen` says; without a time there, the session's beginning counts."""
    outcome = opened(written(created_at=created_at), seen)

    assert is_open == isinstance(outcome, Identity)
    if not is_open:
        assert outcome == Absent("session_expired", "it was idle for too long")


def test_without_idle_timeout_only_the_end_counts():
    """`idle_timeout: none` keeps an unused session until its absolute end."""
    assert isinstance(opened(written(created_at=NOW - HOUR), idle=None), Identity)


def test_clocks_of_hosts_may_differ_a_little():
    """A session of another host's future is odd; one of a few minutes ahead is a clock."""
    ahead = NOW + CLOCK_SKEW_S

    assert isinstance(opened(written(created_at=ahead)), Identity)
    assert opened(written(created_at=ahead + 1)) == Absent(
        "session_unknown", "created in the future"
    )


def test_a_numeric_subject_is_its_text():
    """As in tokens (K2), 42 and "42" are one user."""
    identity = opened(written(sub=42))

    assert isinstance(identity, Identity)
    assert identity.subject == "42"


def test_a_session_is_written_and_read_back():
    """`encode` and `read` are each other's inverse."""
    full = read(written())
    assert isinstance(full, NativeSession)
    bare = NativeSession(subject="Zoë", created_at=1, expires_at=2)

    assert full == read(encode(full))
    assert bare == read(encode(bare))
    assert json.loads(encode(bare)) == {
        "v": 1,
        "sub": "Zoë",
        "created_at": 1,
        "expires_at": 2,
        "amr": [],
        "ver": 1,
    }


@pytest.mark.parametrize(
    "changes",
    [
        {"subject": ""},
        {"subject": "\ud800"},
        {"expires_at": float("inf")},
        {"expires_at": float("nan")},
        {"claims": {"x": object()}},
        {"claims": {"x": "a" * MAX_RECORD_BYTES}},
        {"roles": ("",)},
    ],
    ids=["nobody", "surrogate", "infinity", "nan", "object", "too large", "empty role"],
)
def test_what_could_not_be_read_back_is_not_written(changes):
    """A mistake of the caller is a ValueError, and not a session that never opens."""
    session = {"subject": "alice", "created_at": 1.0, "expires_at": 2.0} | changes

    with pytest.raises(ValueError):
        encode(NativeSession(**session))


def test_the_stored_name_is_the_digest_of_the_cookie():
    """Only the SHA-256 of a cookie's value is in the store (S10)."""
    assert cookie_digest(b"abc") == sha256(b"abc").hexdigest()
    assert cookie_digest("abc") == cookie_digest(b"abc")
    assert len(cookie_digest("\ud800")) == 64


def test_k6_native_sessions_are_of_the_token_issuer():
    """K6: the origin is `tokens.issuer`, else `local`."""
    assert native_origin("https://shop.example") == "https://shop.example"
    assert native_origin(None) == "local"


def test_times_are_read_from_text():
    """The value of `seen` is epoch seconds; everything else is no time."""
    session = NativeSession(subject="a", created_at=100, expires_at=200)

    assert read_time(b"1790000000.25") == 1790000000.25
    assert [None] * 4 == [read_time(raw) for raw in (None, b"", b"x", b"-inf")]
    assert last_seen(session, b"150.5") == 150.5
    assert last_seen(session, b"50") == 100
    assert last_seen(session, None) == 100


def test_the_page_says_how_large_a_record_may_be():
    """Other programs write records by docs/store.md, so its bounds are those of the code."""
    page = (Path(__file__).parents[4] / "docs" / "store.md").read_text()

    assert f"of at most {MAX_RECORD_BYTES // 1024} KiB, not nested deeper than {MAX_DEPTH}" in page
    assert f"at most {MAX_VALUES:,} values" in page
    assert f"lists of at most {MAX_NAMES} texts" in page
    assert isinstance(opened(written(ver=None)), Absent)
    assert isinstance(opened(written(auth_time=None, roles=None, claims=None)), Identity)
