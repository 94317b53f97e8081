"""Bodies end where they say, not a byte earlier or later."""

from __future__ import annotations

import pytest

from proxy.adapters.upstreams.body import (
    MAX_SIZE_LINE,
    MAX_TRAILERS,
    ChunkedBody,
    ClosedBody,
    FixedBody,
    body_of,
)
from proxy.adapters.upstreams.response import read_head
from proxy.errors import UpstreamInvalid

CHUNKED = b"3\r\nabc\r\n0A;x=y\r\n0123456789\r\n0\r\nT: v \r\nU:\r\n\r\n"


def drain(body, pieces):
    """Feed all pieces, and return the content."""
    return b"".join(body.feed(piece) for piece in pieces)


def test_a_fixed_body_ends_at_its_length():
    """What stands behind the length is kept apart."""
    body = FixedBody(5)

    assert b"abcde" == drain(body, [b"ab", b"cdeHTTP"])
    assert body.is_complete
    assert b"HTTP" == body.extra


def test_an_empty_body_is_complete_and_takes_nothing():
    """A first byte behind a length of 0 is extra."""
    body = FixedBody(0)

    assert body.is_complete
    assert b"" == body.feed(b"x")
    assert b"x" == body.extra


def test_a_body_that_ends_by_close_is_never_complete_by_itself():
    """Only the connection can tell its end."""
    body = ClosedBody()

    assert b"abc" == drain(body, [b"ab", b"c"])
    assert not body.is_complete


def test_chunks_are_unframed_and_trailers_kept():
    """Extensions are dropped, trailers come in order."""
    body = ChunkedBody()

    assert b"abc0123456789" == body.feed(CHUNKED)
    assert body.is_complete
    assert [(b"T", b"v"), (b"U", b"")] == body.trailers
    assert b"" == body.extra


@pytest.mark.parametrize("extra", [b"\r\n", b"HTTP/1.1 200", b"0\r\n\r\n", b"x"])
def test_f2_what_stands_behind_the_last_chunk_is_extra(extra):
    """Also an empty line, which httptools passes over silently."""
    body = ChunkedBody()
    body.feed(CHUNKED + extra)

    assert extra == body.extra


@pytest.mark.parametrize("size", range(1, len(CHUNKED)))
def test_chunks_may_be_cut_anywhere(size):
    """The result does not depend on how the bytes arrive."""
    body = ChunkedBody()
    pieces = [CHUNKED[at : at + size] for at in range(0, len(CHUNKED), size)]

    assert b"abc0123456789" == drain(body, pieces)
    assert body.is_complete
    assert [(b"T", b"v"), (b"U", b"")] == body.trailers


@pytest.mark.parametrize("end", range(len(CHUNKED)))
def test_f6_a_prefix_is_never_complete(end):
    """However much has come, the end has not before its last byte."""
    body = ChunkedBody()
    body.feed(CHUNKED[:end])

    assert not body.is_complete


REFUSED = {
    "bare LF after a size": b"2\nab\r\n0\r\n\r\n",
    "bare LF after the data": b"2\r\nab\n0\r\n\r\n",
    "bare CR after a size": b"2\rab\r\n0\r\n\r\n",
    "no CR LF after the data": b"2\r\nab0\r\n\r\n",
    "data longer than its size": b"2\r\nabc\r\n0\r\n\r\n",
    "bare LF after the last size": b"2\r\nab\r\n0\n\n",
    "bare LF in an extension": b"2;a\nb\r\nab\r\n0\r\n\r\n",
    "bare CR in an extension": b"2;a\rb\r\nab\r\n0\r\n\r\n",
    "control character in an extension": b"2;a\x01\r\nab\r\n0\r\n\r\n",
    "size of 16 digits": b"1000000000000000\r\nab",
    "size that overflows 64 bits": b"10000000000000002\r\nab\r\n0\r\n\r\n",
    "size of many zeros": b"0" * 20 + b"2\r\nab\r\n0\r\n\r\n",
    "space before a size": b" 2\r\nab\r\n0\r\n\r\n",
    "space behind a size": b"2 \r\nab\r\n0\r\n\r\n",
    "hexadecimal prefix": b"0x2\r\nab\r\n0\r\n\r\n",
    "negative size": b"-2\r\nab\r\n0\r\n\r\n",
    "signed size": b"+2\r\nab\r\n0\r\n\r\n",
    "underscore in a size": b"1_0\r\n0123456789abcdef\r\n0\r\n\r\n",
    "no size": b"\r\nab\r\n0\r\n\r\n",
    "extension without size": b";a\r\nab\r\n0\r\n\r\n",
    "size line too long": b"2;" + b"x" * MAX_SIZE_LINE + b"\r\nab",
    "size line too long, unfinished": b"2;" + b"x" * MAX_SIZE_LINE,
    "bare LF in a trailer": b"0\r\nA: b\n\r\n",
    "bare LF behind a trailer": b"0\r\nA: b\nB: c\r\n\r\n",
    "folded trailer": b"0\r\nA: b\r\n c\r\n\r\n",
    "space before a trailer's colon": b"0\r\nA : b\r\n\r\n",
    "trailer without colon": b"0\r\nA\r\n\r\n",
    "NUL in a trailer": b"0\r\nA: \0\r\n\r\n",
    "trailers too large": b"0\r\nA: " + b"x" * MAX_TRAILERS + b"\r\n\r\n",
    "trailers too large, unfinished": b"0\r\nA: " + b"x" * MAX_TRAILERS,
}


@pytest.mark.parametrize("raw", REFUSED.values(), ids=REFUSED.keys())
def test_f1_ambiguous_chunks_are_refused(raw):
    """Two parsers could disagree about where such a body ends (field.md §3 #39)."""
    with pytest.raises(UpstreamInvalid):
        ChunkedBody().feed(raw)


@pytest.mark.parametrize("raw", REFUSED.values(), ids=REFUSED.keys())
def test_f1_ambiguous_chunks_are_refused_byte_by_byte(raw):
    """Slow arrival opens no way around the checks."""
    body = ChunkedBody()

    with pytest.raises(UpstreamInvalid):
        drain(body, [raw[at : at + 1] for at in range(len(raw))])


@pytest.mark.parametrize(
    ("head", "is_head", "expected"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n", True, FixedBody),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", True, FixedBody),
        (b"HTTP/1.1 204 No\r\nTransfer-Encoding: chunked\r\n\r\n", False, FixedBody),
        (b"HTTP/1.1 304 NM\r\nContent-Length: 3\r\n\r\n", False, FixedBody),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", False, ChunkedBody),
        (b"HTTP/1.1 200 OK\r\n\r\n", False, ClosedBody),
    ],
)
def test_f2_framing_follows_method_and_status(head, is_head, expected):
    """HEAD, 204 and 304 have no body whatever their fields say."""
    body = body_of(read_head(head), is_head=is_head)

    assert type(body) is expected
    assert body.is_complete == (expected is FixedBody)
