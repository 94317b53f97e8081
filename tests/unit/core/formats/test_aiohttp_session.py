from __future__ import annotations

from math import inf

import pytest

from proxy.core.formats.aiohttp_session import read_session, session_id
from proxy.core.formats.refusal import BadSession

BOUND = 1 << 20
RECORD = b'{"created": 1795423080, "session": {"AIOHTTP_SECURITY": "alice"}}'


def test_a_record_has_the_session_inside():
    """Without max_age it lives as long as its key; with it, from `created` on."""
    members = {"created": 1795423080, "session": {"AIOHTTP_SECURITY": "alice"}}

    assert (members, inf) == read_session(RECORD, max_age=None, max_bytes=BOUND)
    assert (members, 1795423090) == read_session(RECORD, max_age=10, max_bytes=BOUND)


def test_what_a_logout_leaves_is_empty():
    """The key stays with an empty object."""
    assert ({}, inf) == read_session(b"{}", max_age=10, max_bytes=BOUND)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"[]",
        b"\x80\x05N.",
        b'{"session": {}}',
        b'{"created": "1", "session": {}}',
        b'{"created": true, "session": {}}',
        b'{"created": NaN, "session": {}}',
    ],
    ids=repr,
)
def test_anything_else_is_refused(raw):
    """Not JSON, or without the time that max_age counts from (S12)."""
    with pytest.raises(BadSession):
        read_session(raw, max_age=10, max_bytes=BOUND)


def test_ids_are_what_uuid4_writes():
    """32 hexadecimal digits and nothing else."""
    plain = "de191cc5009c408bb121c7f41730184e"
    assert plain == session_id(plain.encode())
    for value in ("", plain[1:], plain + "0", plain.upper(), f'"{plain}"', plain + "\n", "x" * 32):
        assert session_id(value.encode()) is None
