from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.formats.plain import members_of
from proxy.core.formats.refusal import BadSession

BOUND = 1 << 20
ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.dates(),
    lambda inner: (
        st.lists(inner) | st.tuples(inner) | st.dictionaries(st.text() | st.integers(), inner)
    ),
    max_leaves=20,
)


@given(st.dictionaries(st.text(), ANY))
def test_members_are_json_or_refused(value):
    """Whatever was serialized: what comes out can be written as JSON."""
    with contextlib.suppress(BadSession):
        json.dumps(members_of(value, max_bytes=BOUND), allow_nan=False).encode()


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ([], "not a mapping"),
        (None, "not a mapping"),
        ({"a": 1 << 65}, "64 bits"),
        ({"a": float("nan")}, "not finite"),
        ({"a": "\ud800"}, "lone surrogate"),
        ({"\ud800": 1}, "lone surrogate"),
        ({(1, 2): 1}, "no text"),
        ({True: 1}, "no text"),
        ({1: "a", "1": "b"}, "occurs twice"),
        ({"a": [0] * 60_000}, "more than"),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_s12_what_is_not_plain_is_refused(value, why):
    """S12: one meaning, and bounded."""
    with pytest.raises(BadSession, match=why):
        members_of(value, max_bytes=BOUND)


def test_s12_what_refers_to_itself_is_refused():
    """S12: by the bounds of depth and count, a thousand times to one part too."""
    loop = {}
    loop["a"] = loop
    shared = []
    for _ in range(40):
        shared = [shared, shared]
    for value in (loop, {"a": shared}):
        with pytest.raises(BadSession):
            members_of(value, max_bytes=BOUND)


def test_what_says_nothing_is_nothing():
    """Bytes and the like name nobody; numbers as names become text, as JSON has them."""
    assert {"a": None, "7": [1, 2]} == members_of({"a": b"x", 7: (1, 2)}, max_bytes=BOUND)


def test_s12_a_text_is_paid_for_as_often_as_it_occurs():
    """S12: a pickle can name one long text twenty thousand times in two bytes each."""
    text = "é" * 1000
    assert {"a": [text] * 9} == members_of({"a": [text] * 9}, max_bytes=9_001)
    with pytest.raises(BadSession, match="repeated too often"):
        members_of({"a": [text] * 10}, max_bytes=9_001)
    with pytest.raises(BadSession, match="repeated too often"):
        members_of({str(number) * 500: number for number in range(10)}, max_bytes=4_999)
