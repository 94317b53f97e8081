from __future__ import annotations

import base64
import hashlib
import hmac
import json
from urllib.parse import quote

import pytest

from proxy.core.formats.better_auth import is_revoked, read_session, token
from proxy.core.formats.refusal import BadSession

TOKEN = "6QH1jdV2PDgU3SUK3DDn7GCpgva90Ju7"
NEW, OLD = b"new secret", b"old secret"
BOUND = 1 << 20


def signed(text=TOKEN, secret=NEW):
    digest = hmac.new(secret, text.encode(), hashlib.sha256).digest()
    return f"{text}.{base64.b64encode(digest).decode()}"


def record(user=(), **session):
    return json.dumps(
        {
            "session": {
                "userId": "u1",
                "token": TOKEN,
                "createdAt": "2026-11-23T08:55:30.775Z",
                "expiresAt": "2026-11-30T08:55:30.775Z",
            }
            | session,
            "user": {"id": "u1", "email": "alice@example.com"} | dict(user),
        }
    ).encode()


def test_a_signed_token_is_taken():
    """Percent-encoded or not, by the newest secret or an older one."""
    for secret in (NEW, OLD):
        cookie = signed(secret=secret)
        assert TOKEN == token(cookie.encode(), (NEW, OLD))
        assert TOKEN == token(quote(cookie, safe="").encode(), (NEW, OLD))


def test_anything_else_is_not():
    """Tampered, unsigned, a twin in base64, unpadded, another token's shape."""
    cookie = signed()
    twin = cookie[:-2] + chr(ord(cookie[-2]) + 1) + "="
    for value in (
        "",
        TOKEN,
        TOKEN + ".",
        cookie[:-1],
        twin,
        "x" + cookie[1:],
        cookie + "=",
        cookie + "\n",
        signed(secret=b"other"),
        signed("revoked-sessions-before-u1"),
        signed(TOKEN[:-1]),
    ):
        assert token(value.encode(), (NEW, OLD)) is None
        assert token(quote(value, safe="").encode(), (NEW, OLD)) is None


def test_a_record_says_whose_it_is():
    """User, and the times between which the session lives."""
    session = read_session(record(), TOKEN, max_bytes=BOUND)

    assert ("u1", 1795424130.775, 1796028930.775) == (
        session.user_id,
        session.created_at,
        session.ends_at,
    )
    assert "alice@example.com" == session.members["user"]["email"]
    numbered = read_session(record({"id": 7}, userId="7"), TOKEN, max_bytes=BOUND)
    assert "7" == numbered.user_id


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"null",
        b"{}",
        b'{"session": [], "user": {}}',
        record(token="x" * 32),
        record({"id": "u2"}),
        record({"id": None}, userId=None),
        record({"id": True}, userId=True),
        record({"id": ""}, userId=""),
        record({"id": "a:b"}, userId="a:b"),
        record({"id": "a" * 200}, userId="a" * 200),
        record(expiresAt=None),
        record(expiresAt=1796028930775),
        record(expiresAt="2026-11-30T08:55:30.775"),
        record(expiresAt="2026-13-30T08:55:30.775Z"),
        record(createdAt="yesterday"),
        b"\x80\x05N.",
    ],
    ids=lambda raw: hashlib.sha256(raw).hexdigest()[:8],
)
def test_what_does_not_fit_is_refused(raw):
    """Another token's record, a user that is not the session's, no dates (S12)."""
    with pytest.raises(BadSession):
        read_session(raw, TOKEN, max_bytes=BOUND)


def test_a_mark_ends_what_is_older():
    """A session of the same millisecond, too; a mark that cannot be read ends all."""
    session = read_session(record(), TOKEN, max_bytes=BOUND)

    assert not is_revoked(session, None)
    assert not is_revoked(session, b"1795424130774")
    assert is_revoked(session, b"1795424130775")
    assert is_revoked(session, b"1795424130875")
    for mark in (b"", b"null", b"-1", b"1e3", b"9" * 40):
        assert is_revoked(session, mark)
