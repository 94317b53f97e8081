"""`traceparent` and `tracestate`: what is a parent, and what is none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.trace_context import (
    MAX_STATE,
    context_headers,
    has_context,
    read_parent,
    read_state,
    without_context,
)

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


def parent_of(*values, states=()):
    """Return the parent of a request with these headers."""
    headers = [(b"TraceParent", value) for value in values]
    return read_parent([*headers, *((b"Tracestate", state) for state in states)])


@pytest.mark.parametrize(
    ("flags", "is_sampled"), [(b"00", False), (b"01", True), (b"03", True), (b"fe", False)]
)
def test_the_lowest_flag_says_whether_it_is_kept(flags, is_sampled):
    """Others are for later levels of the standard (§3.2.2.5)."""
    found = parent_of(f"00-{TRACE}-{SPAN}-".encode() + flags)

    assert found is not None
    assert (TRACE, SPAN, is_sampled) == (found.trace_id, found.span_id, found.is_sampled)
    assert found.is_verbatim


@pytest.mark.parametrize(
    "value",
    [
        b"",
        f"00-{TRACE}-{SPAN}".encode(),
        f"00-{TRACE}-{SPAN}-1".encode(),
        f"00-{TRACE}-{SPAN}-01-".encode(),
        f" 00-{TRACE}-{SPAN}-01".encode(),
        f"00-{TRACE}-{SPAN}-01\n".encode(),
        f"0-{TRACE}-{SPAN}-01".encode(),
        f"ff-{TRACE}-{SPAN}-01".encode(),
        f"00-{TRACE.upper()}-{SPAN}-01".encode(),
        f"00-{'0' * 32}-{SPAN}-01".encode(),
        f"00-{TRACE}-{'0' * 16}-01".encode(),
        f"00-{TRACE[:-1]}g-{SPAN}-01".encode(),
        f"01-{TRACE}-{SPAN}-01more".encode(),
    ],
)
def test_what_is_not_exactly_a_parent_is_none(value):
    """Who follows half of one joins strangers' traces."""
    assert parent_of(value) is None


def test_two_parents_are_none():
    """Which of them is meant nobody can say, also where they are the same."""
    value = f"00-{TRACE}-{SPAN}-01".encode()

    assert parent_of(value, value) is None
    assert parent_of() is None


def test_a_later_version_is_read_as_far_as_this_one_goes():
    """With what follows the flags or without; it is written anew (§3.2.4)."""
    for more in (b"", b"-00ff", b"-what-else"):
        found = parent_of(f"cc-{TRACE}-{SPAN}-01".encode() + more)
        assert found is not None
        assert not found.is_verbatim


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], ""),
        ([b"a=1"], "a=1"),
        ([b"a=1 , b=2\t", b",,tenant@sys=x y"], "a=1,b=2,tenant@sys=x y"),
        ([b"a=1,a=2"], ""),
        ([b"A=1"], ""),
        ([b"a"], ""),
        ([b"a=1,b=\xff"], ""),
        ([b"a=" + b"x" * 257], ""),
        ([b",".join(b"k%d=1" % n for n in range(33))], ""),
        ([b"a=1", b"b=" + b"x" * 250, b"c=" + b"x" * 250, b"d=" + b"x" * 250], "a=1,b="),
    ],
    ids=range(10),
)
def test_a_state_is_read_whole_or_not_at_all(values, expected):
    """Members of all headers in one line (§3.3.1); those beyond 512 characters are left out."""
    found = read_state(values)

    assert found.startswith(expected) if expected else not found
    assert len(found) <= MAX_STATE


def test_a_parent_counts_without_its_state():
    """What cannot be read is left out, and then the headers do not go on as they came."""
    value = f"00-{TRACE}-{SPAN}-01".encode()
    whole, broken, two = (
        parent_of(value, states=states) for states in ([b"a=1"], [b"a"], [b"a=1", b"b=2"])
    )

    assert ["a=1", "", "a=1,b=2"] == [found.state for found in (whole, broken, two)]
    assert [True, False, False] == [found.is_verbatim for found in (whole, broken, two)]


@given(st.lists(st.tuples(st.sampled_from([b"traceparent", b"Tracestate", b"x"]), st.binary())))
def test_no_header_makes_it_raise_and_what_is_read_can_be_written(headers):
    """Whatever came, a parent of it is one again when it is sent on."""
    found = read_parent(headers)
    told = without_context(headers)

    assert not has_context(told)
    if found is not None:
        again = read_parent(
            context_headers(found.trace_id, found.span_id, is_sampled=True, state=found.state)
        )
        assert again is not None
        assert (found.trace_id, found.state, True) == (
            again.trace_id,
            again.state,
            again.is_verbatim,
        )
