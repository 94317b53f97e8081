from __future__ import annotations

import pytest

from proxy.core.formats.refusal import BadSession
from proxy.core.formats.starsessions import read_session, session_id

BOUND = 1 << 20


def test_a_record_is_the_session_and_notes():
    """The store's own notes are no part of the session."""
    raw = b'{"user_id": "42", "__metadata__": {"lifetime": 0, "created": 1795423083.87}}'

    assert {"user_id": "42"} == read_session(raw, max_bytes=BOUND)


@pytest.mark.parametrize("raw", [b"", b"[]", b"\x80\x05N.", b'{"a": 1, "a": 2}'], ids=repr)
def test_anything_else_is_refused(raw):
    """Not JSON, or of two meanings (S12)."""
    with pytest.raises(BadSession):
        read_session(raw, max_bytes=BOUND)


def test_ids_are_what_the_library_makes():
    """It adopts any id that a client sends; the gate takes its own kind alone."""
    plain = "ba20edb0d275d65a03b32fed896dab94"
    assert plain == session_id(plain.encode())
    for value in ("", "chosen", plain[1:], plain + "0", plain.upper(), f'"{plain}"', plain + "\n"):
        assert session_id(value.encode()) is None
