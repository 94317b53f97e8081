from __future__ import annotations

import contextlib
import copyreg
import datetime as dt
import decimal
import os
import pickle
import struct
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.formats.pickle_values import MAX_OPCODES, read
from proxy.core.formats.refusal import BadSession

PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(1 << 62), 1 << 62)
    | st.floats(allow_nan=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(), inner, max_size=5),
    max_leaves=20,
)


class Evil:
    """What a pickle of an attacker calls."""

    def __reduce__(self):
        return (os.mkdir, ("/proc/nothing-is-made-here",))


@given(st.dictionaries(st.text(), PLAIN), st.sampled_from([2, 3, 4, 5]))
def test_plain_values_are_read_as_they_were_written(value, protocol):
    """Whatever a framework's plain session holds, in each protocol that frameworks use."""
    assert value == read(pickle.dumps(value, protocol=protocol))


@given(st.binary(max_size=400) | st.binary(max_size=400).map(lambda tail: b"\x80\x04" + tail))
def test_s12_any_bytes_are_a_value_or_refused(raw):
    """S12: no exception but the refusal."""
    with contextlib.suppress(BadSession):
        read(raw)


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
@pytest.mark.parametrize(
    "value",
    [
        Evil(),
        dt.date(2026, 1, 1),
        decimal.Decimal(1),
        os.mkdir,
        {"a": [Evil()]},
        {1, Evil()},
    ],
    ids=["reduce", "datetime", "decimal", "function", "nested", "set"],
)
def test_s12_objects_are_refused_and_nothing_is_called(value, protocol):
    """S12: the first opcode that would look a class up ends it."""
    with pytest.raises(BadSession, match=r"object|opcode|damaged"):
        read(pickle.dumps(value, protocol=protocol))


def test_s12_an_extension_is_refused():
    """S12: EXT1 calls what a registry's cache holds, whatever `find_class` says."""
    copyreg._extension_cache[240] = os.getpid  # as an attacked process may have it
    try:
        for raw in (
            b"\x80\x04\x82\xf0)R.",
            b"\x80\x04\x83\xf0\x00)R.",
            b"\x80\x04\x84\xf0\0\0\0)R.",
        ):
            with pytest.raises(BadSession, match="opcode EXT"):
                read(raw)
    finally:
        del copyreg._extension_cache[240]


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b".",
        b"\x80\x04",
        b"\x80\x04N",
        b"\x80\x04NN.",
        b"\x80\x04(.",
        b"\x80\x04}(\x8c\x01au.",
        b"\x80\x04]a.",
        b"\x80\x04Nh\x05.",
        b"\x80\x04Nr\xff\xff\xff\x7f.",
        b"\x80\x04\x8e" + struct.pack("<Q", 1 << 40) + b".",
        b"\x80\x04\x8d" + struct.pack("<Q", 1 << 40) + b".",
        b"\x80\x04X\xff\xff\xff\x7f.",
        b"\x80\x04\x8b\xff\xff\xff\x7f.",
        b"\x80\x04}]}s.",
        b"\x80\x04N.N",
        b"(lp0\n.",
        b"P1\n.",
        b"\x80\x04NQ.",
        b"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\xff.",
        b"\x80\xff.",
        b"\x80\x04\x94.",
        b"\x80\x04(\x94.",
    ],
    ids=repr,
)
def test_s12_a_damaged_or_hostile_pickle_is_refused(raw):
    """S12: and takes no more memory than it has bytes, whatever lengths it tells."""
    tracemalloc.start()
    try:
        with pytest.raises(BadSession):
            read(raw)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2_000_000


def test_s12_opcodes_are_counted():
    """S12: a pickle that takes long to read is refused while it is short."""
    with pytest.raises(BadSession, match=f"more than {MAX_OPCODES} opcodes"):
        read(b"\x80\x04" + b"]" * (MAX_OPCODES + 1) + b".")
