from __future__ import annotations

import json
import pickle

import msgpack
import pytest

from proxy.core.formats.refusal import BadSession
from proxy.core.formats.serializations import read_members
from tests.bounds import little_memory

BOUND = 1 << 20
VALUE = {"user": "zoë", "n": [1, None, True, 2.5], "deep": {"a": {"b": 7}}}
WRITTEN = {
    "json": json.dumps(VALUE).encode(),
    "msgpack": msgpack.packb(VALUE),
    "pickle": pickle.dumps(VALUE),
}


@pytest.mark.parametrize("serializer", WRITTEN)
def test_members_are_read(serializer):
    """Each way of writing a session says the same."""
    assert read_members(WRITTEN[serializer], serializer, max_bytes=BOUND) == VALUE


@pytest.mark.parametrize("written", WRITTEN)
@pytest.mark.parametrize("serializer", WRITTEN)
def test_another_serializer_is_named(serializer, written):
    """A wrong setting is told with the right one; nothing is tried that was not configured."""
    if written != serializer:
        with pytest.raises(BadSession, match=f"it looks like `serializer: {written}`"):
            read_members(WRITTEN[written], serializer, max_bytes=BOUND)


@pytest.mark.parametrize(
    "raw",
    [
        b"\xdf\xff\xff\xff\xff",
        b"\xdd\xff\xff\xff\xff",
        b"\xc6\xff\xff\xff\xff",
        b"\xdb\xff\xff\xff\xff",
        b"\xc9\xff\xff\xff\xff\x05",
        b"\x91" * 5000,
        b"\x81\xa1a" * 2000 + b"\xc0",
        b"\x82\xa1a\x01\xa1a\x02",
        b"\x81\xc0\x01",
        b"\x81\xa1\xff\x01",
        b"\x80\x80",
        b"\xc1",
        b"",
    ],
    ids=lambda raw: repr(raw[:12]),
)
def test_s12_hostile_messagepack_is_refused(raw):
    """S12: lengths that are not there, depth, a name twice, something behind it."""
    with little_memory(), pytest.raises(BadSession):
        read_members(raw, "msgpack", max_bytes=BOUND)


def test_extensions_of_messagepack_say_nothing():
    """A time stamp or an application's own type is nothing, and makes no object."""
    raw = msgpack.packb({"at": msgpack.Timestamp(7), "x": msgpack.ExtType(7, b"x"), "u": 1})
    assert read_members(raw, "msgpack", max_bytes=BOUND)["u"] == 1


def test_s12_size_is_bounded():
    """S12: before anything of it is read."""
    with pytest.raises(BadSession, match="more than 10 bytes"):
        read_members(WRITTEN["json"], "json", max_bytes=10)


MANY = b"\x81\xa1a\xdc\x00\x14" + (b"\xdd\x00\x00\xc0\x00" + b"\x80" * 0xC000) * 20
"""A byte of MessagePack for each of a million empty maps."""


def test_s12_what_messagepack_makes_is_counted_while_it_is_made():
    """S12: not afterwards, when a million maps have taken a hundred times their bytes."""
    with little_memory(), pytest.raises(BadSession, match="more than 50000 values"):
        read_members(MANY, "msgpack", max_bytes=BOUND)


def test_s12_a_pickle_that_repeats_a_text_is_refused():
    """S12: each time takes two bytes there, and as long as the text has letters in every header."""
    text = ("é" * 400_000).encode()
    begin = b"\x80\x04}(X\x01\x00\x00\x00r](X" + len(text).to_bytes(4, "little") + text + b"\x94"
    raw = begin + b"h\x00" * 15_000 + b"eu."
    assert len(raw) < BOUND
    with pytest.raises(BadSession, match="repeated too often"):
        read_members(raw, "pickle", max_bytes=BOUND)
