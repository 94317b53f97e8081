from __future__ import annotations

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.formats.flask import id_pattern, session_format, session_id, signed_session_id

ID = b"DOaYsznveTfF8rCk4AghjRH0s9tzydjm55e1Eh_uvEk"
SIGNED = ID + b".MRFSv-W4amforxIfbbsenmI9W3k"
SECRET = b"flask-secret-key"
PATTERN = id_pattern(43)


@pytest.mark.parametrize("value", [b"", ID[:-1], ID + b"a", ID[:-1] + b":", ID[:-1] + b"+", SIGNED])
def test_s12_only_an_id_is_one(value):
    """S12: the cookie is not signed by default, so nothing else may become a part of a key."""
    assert session_id(value, PATTERN) is None


def test_a_uuid_is_an_id_of_old_versions():
    """0.5 made UUIDs, of 36 letters."""
    uuid = b"3f688511-86da-4040-b368-51adaca67fcf"
    assert session_id(uuid, id_pattern(36)) == uuid.decode()


def test_every_secret_verifies():
    """While one secret replaces another both are good."""
    assert signed_session_id(SIGNED, (b"new", SECRET), PATTERN) == ID.decode()
    for value in (ID, ID + b".", SIGNED[:-1] + b"l", SIGNED + b"=", SIGNED[1:]):
        assert signed_session_id(value, (b"new", SECRET), PATTERN) is None
    assert signed_session_id(SIGNED, (b"new",), PATTERN) is None


@given(st.binary(max_size=120))
def test_s12_any_cookie_is_an_id_or_none(value):
    """S12: no exception, and no id that was not signed."""
    assert signed_session_id(value, (SECRET,), PATTERN) is None


def test_the_format_is_put_together():
    """With a signer the bare id is nobody's, without one the signed value is."""
    raw = msgpack.packb({"_user_id": "42"})
    signed = session_format("session:", "msgpack", length=43, secrets=(SECRET,))
    bare = session_format("session:", "msgpack", length=43, secrets=None)
    assert (ID.decode(), None) == (signed.locate(SIGNED), signed.locate(ID))
    assert (ID.decode(), None) == (bare.locate(ID), bare.locate(SIGNED))
    assert bare.read(raw, "").members == {"_user_id": "42"}
