"""Which requests may take the lane: those that end with what has come."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.edge.fitting import ends_with
from proxy.edge.incoming import SHORT_BODY

HEAD = b"POST / HTTP/1.1\r\nHost: a\r\n\r\n"


def message(length=None, *, chunked=False):
    """Return what a parser says of a head, as far as it is asked."""
    headers = {} if length is None else {"Content-Length": length}
    return SimpleNamespace(headers=headers, chunked=chunked)


@given(body=st.binary(max_size=40), length=st.integers(0, 60))
def test_a_packet_ends_with_its_body_exactly(body, length):
    """Neither one byte short of what its head says nor one beyond."""
    assert (length == len(body) > 0) == ends_with(HEAD + body, message(str(length)))


@pytest.mark.parametrize(
    "length", [None, "", "+3", "3 ", "3,3", "-3", "0x3", "0000000003", "3" * 40]
)
def test_a_length_that_is_no_short_number_is_for_the_loop(length):
    """The parser has refused most of them; whatever it lets through is not read here."""
    assert not ends_with(HEAD + b"abc", message(length))


def test_a_chunked_body_is_for_the_loop():
    """Where it ends, the parser says later."""
    assert not ends_with(HEAD + b"abc", message("3", chunked=True))


def test_a_long_body_is_for_the_loop():
    """It would be copied as a whole."""
    assert ends_with(HEAD + b"x" * SHORT_BODY, message(str(SHORT_BODY)))
    assert not ends_with(HEAD + b"x" * (SHORT_BODY + 1), message(str(SHORT_BODY + 1)))
