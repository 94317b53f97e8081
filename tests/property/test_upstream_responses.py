"""Whatever an upstream sends, however it is cut: one result, or an error, never a poisoned pool."""

from __future__ import annotations

import http.client
import io
import re

from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.adapters.upstreams.body import ChunkedBody
from proxy.errors import UpstreamError, UpstreamInvalid
from tests.wire import Wire

METHODS = st.sampled_from(["GET", "HEAD", "POST"])
NAMES = st.sampled_from([b"X-A", b"Set-Cookie", b"Vary", b"keep-alive", b"x.y_z"])
VALUES = st.sampled_from([b"", b"a", b"a=b; Path=/", b"\xff \t.", b"timeout=5", b"chunked"])
TEXT = st.binary(max_size=40)


@st.composite
def heads(draw, status, framing):
    """Make a head that says how its body is framed."""
    fields = draw(st.lists(st.tuples(NAMES, VALUES), max_size=4))
    lines = [b"%b: %b\r\n" % field for field in fields]
    if framing:
        lines.insert(draw(st.integers(0, len(lines))), framing + b"\r\n")
    return b"HTTP/1.1 %d Fine\r\n%b\r\n" % (status, b"".join(lines))


@st.composite
def chunked(draw):
    """Make a chunked body, with its content."""
    chunks = draw(st.lists(st.binary(min_size=1, max_size=30), max_size=4))
    parts = []
    for chunk in chunks:
        extension = draw(st.sampled_from([b"", b";a", b';a="b"']))
        size = draw(st.sampled_from([b"%x", b"%X", b"0%x"])) % len(chunk)
        parts.append(size + extension + b"\r\n" + chunk + b"\r\n")
    trailers = draw(st.sampled_from([b"", b"T: v\r\n", b"T: v\r\nU:\r\n"]))
    return b"".join(parts) + b"0\r\n" + trailers + b"\r\n", b"".join(chunks)


@st.composite
def responses(draw):
    """Make (method, bytes of a valid response that says where it ends, its content)."""
    method = draw(METHODS)
    status = draw(st.sampled_from([200, 204, 304, 404]))
    interim = b"".join(draw(st.lists(heads(103, b""), max_size=2)))
    is_bodyless = method == "HEAD" or status in (204, 304)
    if draw(st.booleans()) and status != 204:
        body, content = draw(chunked())
        head = draw(heads(status, b"Transfer-Encoding: chunked"))
    else:
        body = content = b"" if status == 204 else draw(TEXT)
        head = draw(heads(status, b"Content-Length: %d" % len(body) if status != 204 else b""))
    if is_bodyless:
        body = content = b""
    return method, interim + head + body, content


@st.composite
def cut(draw, raw):
    """Cut the bytes in pieces, anywhere."""
    places = sorted(draw(st.lists(st.integers(0, len(raw)), max_size=8)))
    return [raw[a:b] for a, b in zip([0, *places], [*places, len(raw)], strict=True)]


def play(method, pieces):
    """Let one response arrive; return the wire and its receiver."""
    wire = Wire()
    receiver = wire.ask(method)
    wire.feed(pieces)
    return wire, receiver


@given(responses(), st.data())
def test_a_valid_response_is_read_alike_however_it_is_cut(response, data):
    """Whole, in pieces and byte by byte: the same result, and a connection for the pool."""
    method, raw, content = response
    whole, expected = play(method, [raw])
    single, by_byte = play(method, [raw[at : at + 1] for at in range(len(raw))])
    wire, pieces = play(method, data.draw(cut(raw)))

    assert content == expected.body
    assert expected.trailers is not None
    assert expected.result == by_byte.result == pieces.result
    assert [1, 1, 1] == [len(each.pool.kept) for each in (whole, single, wire)]


@given(responses(), st.data())
def test_f2_f6_a_prefix_is_never_a_response(response, data):
    """A connection that ends early is an error, and never pooled."""
    method, raw, _ = response
    end = data.draw(st.integers(0, len(raw) - 1))
    wire, receiver = play(method, data.draw(cut(raw[:end])))
    wire.lose()

    assert receiver.trailers is None
    assert isinstance(receiver.error, UpstreamError)
    assert [] == wire.pool.kept
    assert 0 == wire.pool.busy


@given(responses(), st.binary(min_size=1, max_size=20))
def test_f2_a_byte_too_many_is_never_pooled(response, extra):
    """The response counts, the connection does not, whatever stands behind."""
    method, raw, content = response
    wire, receiver = play(method, [raw + extra])

    assert content == receiver.body
    assert receiver.trailers is not None
    assert [] == wire.pool.kept
    assert wire.transport.is_closed


@given(responses(), responses())
def test_f2_a_second_response_behind_the_first_is_never_given_to_anybody(first, second):
    """Response splitting at the upstream reaches one client only (field.md §3 #39)."""
    method, raw, content = first
    wire, receiver = play(method, [raw + second[1]])

    assert content == receiver.body
    assert [] == wire.pool.kept


@st.composite
def mutated(draw):
    """Make a valid response in which bytes were replaced, removed, inserted or doubled."""
    method, raw, _ = draw(responses())
    junk = st.sampled_from([b"\n", b"\r", b"\r\n", b" ", b"\0", b":", b"0", b"1", b"f", b"\xff"])
    for _ in range(draw(st.integers(1, 4))):
        begin = draw(st.integers(0, len(raw)))
        end = draw(st.integers(begin, min(len(raw), begin + 6)))
        raw = (
            raw[:begin]
            + draw(junk | st.just(raw[begin:end] * 2) | st.binary(max_size=3))
            + raw[end:]
        )
    return method, raw


@settings(max_examples=400)
@given(mutated(), st.data())
def test_a_mutation_is_a_response_or_an_error_and_nothing_else(mutation, data):
    """What is pooled was one whole response, by the word of another parser too."""
    method, raw = mutation
    wire, receiver = play(method, data.draw(cut(raw)))
    kept = list(wire.pool.kept)
    wire.lose()

    assert (receiver.trailers is None) == (receiver.error is not None)
    assert receiver.error is None or isinstance(receiver.error, UpstreamError)
    assert 0 == wire.pool.busy
    if kept and wire.pool.kept == kept:
        assert_whole(method, raw, receiver)


def assert_whole(method, raw, receiver):
    """Ask the standard library's parser about the final response."""
    final = re.sub(rb"(?s)\A(?:HTTP/1\.1 1[0-9][0-9].*?\r\n\r\n)*", b"", raw, count=1)

    class Socket:
        def makefile(self, _mode):
            return io.BytesIO(final)

    other = http.client.HTTPResponse(Socket(), method=method)
    other.begin()
    assert receiver.head.status == other.status
    if method == "HEAD" or other.status in (204, 304):  # chunked ones confuse http.client
        assert receiver.body == b""
    else:
        assert receiver.body == other.read()


@settings(max_examples=400)
@given(st.binary(max_size=60) | chunked().map(lambda both: both[0]), st.data())
def test_chunks_are_read_alike_however_they_are_cut(raw, data):
    """Any bytes at all: the same content, the same end, or refused both ways."""
    assert read_chunks([raw]) == read_chunks(data.draw(cut(raw)))


def read_chunks(pieces):
    """Return what a chunked body made of the pieces; content counts only when it is whole."""
    body = ChunkedBody()
    content = extra = b""
    try:
        for piece in pieces:
            if body.is_complete:
                extra += piece
            elif piece:
                content += body.feed(piece)
    except UpstreamInvalid:
        return None
    if not body.is_complete:
        return (content, None)
    return (content, body.extra + extra, body.trailers)
