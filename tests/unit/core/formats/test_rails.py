from __future__ import annotations

import hashlib

import pytest

from proxy.core.formats.rails import private_id, read_session
from proxy.core.formats.refusal import BadSession

BOUND = 1 << 20
PUBLIC = "90f4274ce0a981ed9c26f57cf430c1c4"
PRIVATE = "2::1becaa86d3ba2a101fc5fe84ce5c99ae0204e780e5f13f2efaa208d49a3c809b"


def test_the_key_has_the_hash_of_the_cookie():
    """As redis-session-store 0.11.6 was recorded to name it; Rack's ids are twice as long."""
    assert PRIVATE == private_id(PUBLIC.encode(), 32)
    assert PRIVATE == private_id(b"%39" + PUBLIC[1:].encode(), 32)
    long = PUBLIC * 2
    assert "2::" + hashlib.sha256(long.encode()).hexdigest() == private_id(long.encode(), 64)


@pytest.mark.parametrize("length", [32, 64])
def test_a_private_id_is_no_cookie(length):
    """What logs and the store's keys show opens nothing, nor does a key of before 2020."""
    shapes = ("", PRIVATE, PRIVATE[3:] + "0", PRIVATE.replace(":", "%3A"), "1::" + PUBLIC, "2::")
    for value in (*shapes, PUBLIC[1:], PUBLIC.upper(), f'"{PUBLIC}"', PUBLIC[:-1] + "\n"):
        assert private_id(value.encode(), length) is None


def test_json_is_read():
    """Devise keeps who signed in as a list in a list."""
    raw = b'{"warden.user.user.key":[[42],"$2a$12$abc"],"user_id":42}'

    assert [[42], "$2a$12$abc"] == read_session(raw, max_bytes=BOUND)["warden.user.user.key"]


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"\x04\x08{\x06i\x06i\x07", "Marshal.*:json"),
        (b"\x00\x11\x01", "Marshal"),
        (b"null", "object"),
        (b"[1]", "object"),
        (b"", "JSON"),
    ],
    ids=repr,
)
def test_anything_else_is_refused(raw, reason):
    """Ruby's Marshal is named, and so is what to set instead (S12)."""
    with pytest.raises(BadSession, match=reason):
        read_session(raw, max_bytes=BOUND)
