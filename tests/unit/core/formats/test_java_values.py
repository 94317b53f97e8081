from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.formats.java_values import BadJava, read

STREAM = b"\xac\xed\x00\x05"
# Written by a JDK 17: 1800 and 4102444740000.
INTEGER = (
    b"\xac\xed\x00\x05sr\x00\x11java.lang.Integer\x12\xe2\xa0\xa4\xf7\x81\x878\x02\x00\x01I\x00\x05"
    b"valuexr\x00\x10java.lang.Number\x86\xac\x95\x1d\x0b\x94\xe0\x8b\x02\x00\x00xp\x00\x00\x07\x08"
)
LONG = (
    b"\xac\xed\x00\x05sr\x00\x0ejava.lang.Long;\x8b\xe4\x90\xcc\x8f#\xdf\x02\x00\x01J\x00\x05value"
    b"xr\x00\x10java.lang.Number\x86\xac\x95\x1d\x0b\x94\xe0\x8b\x02\x00\x00xp\x00\x00\x03\xbb,"
    b"\xc2\xed\xa0"
)


def text(body):
    return STREAM + b"t" + len(body).to_bytes(2, "big") + body


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        (INTEGER, 1800),
        (INTEGER[:-4] + b"\xff\xff\xff\xff", -1),
        (LONG, 4102444740000),
        (text(b"alice"), "alice"),
        (text(b""), ""),
        (text("zoé".encode()), "zoé"),
        (text(b"a\xc0\x80b"), "a\0b"),
        (text(b"\xed\xa0\xbd\xed\xb8\x80"), "\N{GRINNING FACE}"),
        (STREAM + b"|" + (5).to_bytes(8, "big") + b"alice", "alice"),
        (STREAM + b"p", None),
        (b"", None),
    ],
    ids=str,
)
def test_what_a_session_has_is_read(raw, value):
    """Texts, whole numbers and nothing are what their bytes say."""
    assert value == read(raw)


@pytest.mark.parametrize(
    "raw",
    [
        STREAM,
        STREAM + b"t",
        text(b"alice") + b"x",
        text(b"alice")[:-1],
        text(b"\xff"),
        text(b"\xed\xa0\xbd"),
        STREAM + b"|" + b"\xff" * 8,
        INTEGER + b"\0",
        INTEGER[:-1],
        LONG.replace(b"java.lang.Long", b"evil.lang.Long"),
        STREAM + b"sr\x00\x11java.util.HashMap",
        b"alice",
        b"\x80\x05N.",
    ],
    ids=repr,
)
def test_anything_else_is_refused(raw):
    """No object of another class is looked into, and nothing follows a value (S12)."""
    with pytest.raises(BadJava):
        read(raw)


@given(st.binary(max_size=60), st.sampled_from([b"", STREAM, STREAM + b"t", INTEGER[:70]]))
def test_any_bytes_are_read_or_refused(tail, head):
    """Whatever the bytes, there is a value or a refusal and nothing else."""
    try:
        read(head + tail)
    except BadJava:
        return
