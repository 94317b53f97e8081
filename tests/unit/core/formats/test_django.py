from __future__ import annotations

import pickle

import pytest

from proxy.core.formats.django import read_session, session_format, session_id

ID = b"9c4ahwh736e5obw3ouz81vettncmcun7"


@pytest.mark.parametrize(
    "value",
    [b"", ID[:-1], ID + b"a", ID.upper(), ID[:-1] + b":", ID[:-1] + b"\n", b'"' + ID + b'"'],
)
def test_s12_only_what_django_makes_is_an_id(value):
    """S12: the cookie is not signed, so nothing else may become a part of a key."""
    assert session_id(value) is None


def test_a_session_is_read():
    """The id is the end of the key; the cache says how it was written."""
    form = session_format(":1:django.contrib.sessions.cache", "pickle", "none")
    assert form.locate(ID) == ID.decode()
    raw = pickle.dumps({"_auth_user_id": "42"})
    assert form.read(raw, "").members == {"_auth_user_id": "42"}
    assert read_session(b'{"a": 1}', "json", "zlib", max_bytes=100) == {"a": 1}
