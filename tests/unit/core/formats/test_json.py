from __future__ import annotations

import json

import pytest

from proxy.core.formats.json import MAX_ID_LENGTH, session_format, session_id
from proxy.core.formats.port import MAX_RECORD_BYTES, open_record
from proxy.core.mapping import compile_mapping
from proxy.model import Absent, Identity


def reader(subject="user.id", **fields):
    """Return a compiled mapping; fields that are left out are not mapped."""
    named = dict.fromkeys(("email", "name", "roles", "scopes")) | fields
    return compile_mapping(subject=subject, **named)


def opened(record, mapping=None):
    """Decode as the scheme `legacy` of reference.md §1."""
    raw = record if isinstance(record, bytes | None) else json.dumps(record).encode()
    form = session_format("sess:")
    return open_record(form, raw, "abc", mapping or reader(), scheme="legacy")[0]


def test_a_record_names_its_user():
    """The mapping's paths say where; the scheme's name is the origin (K6)."""
    record = {
        "user": {"id": 42, "mail": "a@example.com", "called": "Alice", "groups": ["a", "b"]},
        "scope": "read write",
        "cart": [1, 2],
    }
    mapping = reader(email="user.mail", name="user.called", roles="user.groups", scopes="scope")

    assert opened(record, mapping) == Identity(
        origin="legacy",
        subject="42",
        scheme="legacy",
        email="a@example.com",
        name="Alice",
        roles=("a", "b"),
        scopes=("read", "write"),
        claims=record,
    )


@pytest.mark.parametrize(
    ("record", "path", "subject"),
    [
        # The shapes that aiohttp-session, starsessions and a hand-made FastAPI backend write.
        (
            b'{"created": 1795423080, "session": {"AIOHTTP_SECURITY": "alice"}}',
            "session.AIOHTTP_SECURITY",
            "alice",
        ),
        (
            b'{"user_id": "42", "name": "zo\\u00e9", "__metadata__": {"created": 1795423083.87}}',
            "user_id",
            "42",
        ),
        (b'{"username": "alice"}', "username", "alice"),
    ],
)
def test_recorded_shapes_are_read(record, path, subject):
    """Sessions of frameworks that keep plain JSON need a path and nothing else."""
    identity = opened(record, reader(path))

    assert isinstance(identity, Identity)
    assert subject == identity.subject


@pytest.mark.parametrize(
    "record",
    [
        {},
        {"user": None},
        {"user": {}},
        {"user": "alice"},
        {"user": []},
        {"user": {"id": None}},
        {"user": {"id": ""}},
        {"user": {"id": "  "}},
        {"user": {"id": True}},
        {"user": {"id": False}},
        {"user": {"id": 4.2}},
        {"user": {"id": ["alice"]}},
        {"user": {"id": {"$ne": None}}},
    ],
    ids=repr,
)
def test_s12_a_session_that_names_nobody_is_anonymous(record):
    """S12: applications keep sessions after a logout; existing is not being somebody."""
    assert opened(record) == Absent("session_unknown", "the record names nobody")


@pytest.mark.parametrize(
    ("record", "detail"),
    [
        (None, "no such session"),
        (b"", "record cannot be read: not JSON"),
        (b"42", "record cannot be read: not a JSON object"),
        (b'"alice"', "record cannot be read: not a JSON object"),
        (b'[{"user": {"id": 1}}]', "record cannot be read: not a JSON object"),
        (b"\x80\x04\x95\x10\x00", "record cannot be read: not UTF-8"),
        (b"cos\nsystem\n(S'true'\ntR.", "record cannot be read: not JSON"),
        (b'a:1:{s:4:"user";s:5:"alice";}', "record cannot be read: not JSON"),
        (b'{"user": {"id": 1, "id": 2}}', "record cannot be read: a member occurs twice"),
        (b'{"user": {"id": 1}, "n": NaN}', "record cannot be read: a number that is not finite"),
        (
            b'{"user": {"id": 999999999999999999999}}',
            "record cannot be read: an integer of more than 64 bits",
        ),
        (b'{"user": {"id": "\\udfff"}}', "record cannot be read: a lone surrogate"),
        (
            b'{"user": {"id": 1}, "x": ' + b"[" * 9999,
            "record cannot be read: nested deeper than 64",
        ),
        (
            b'{"x": [' + b"{}," * 60_000 + b"{}]}",
            "record cannot be read: more than 50000 values",
        ),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_s12_bytes_that_are_no_session_are_absent(record, detail):
    """S12: bounded in depth and count, and never executed."""
    assert Absent("session_unknown", detail) == opened(record)


def test_s12_size_is_bounded():
    """S12: 10 MB are no session, nor is anything above the bound."""
    big = json.dumps({"user": {"id": 1}, "pad": "x" * MAX_RECORD_BYTES}).encode()
    huge = b'{"user": {"id": 1}, "pad": "' + b"x" * 10_000_000 + b'"}'

    too_big = Absent("session_unknown", f"record of more than {MAX_RECORD_BYTES} bytes")
    assert too_big == opened(big) == opened(huge)


def test_s12_no_word_of_the_record_reaches_the_log():
    """S12: details say what is wrong and never what stands there."""
    outcome = opened(b'{"password": "hunter2", "user": oops}')

    assert isinstance(outcome, Absent)
    assert "hunter2" not in outcome.detail


@pytest.mark.parametrize(
    "value",
    [
        b"de191cc5009c408bb121c7f41730184e",
        b"01234567-89ab-cdef-0123-456789abcdef",
        b"Mwb0dBP61KPrdeGepm4NkJCdjKN8C8bm_-",
        b"a.b~c",
        b"x" * MAX_ID_LENGTH,
    ],
)
def test_a_cookie_names_a_key(value):
    """The key is the prefix and the cookie's value."""
    assert value.decode() == session_id(value, has_prefix=True)


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"x" * (MAX_ID_LENGTH + 1),
        b"user:42",
        b"a/b",
        b"a b",
        b"a*",
        b"a?",
        b"a[b]",
        b"{revoked}",
        b'"quoted"',
        b"a%41",
        b"a\r\nDEL x",
        b"a\n",
        b"a\x00",
        b"\xc3\xa9",
        b"\xff",
    ],
)
def test_s12_no_other_key_can_be_named(value):
    """S12: charset and length are checked before the store is asked."""
    assert session_id(value, has_prefix=True) is None


def test_s12_without_a_prefix_only_an_id_names_a_key():
    """S12: where every key of the database is in reach, a short name is none of a session."""
    assert session_id(b"user42", has_prefix=False) is None
    assert session_id(b"0123456789abcdef", has_prefix=False) == "0123456789abcdef"
