"""Header lines of the strictest form: what matters is told from what is copied and from what is dropped."""

from __future__ import annotations

import pytest

from proxy.core.headers import HeaderRules
from proxy.edge.lines import MAX_BLOCK, Lines


def reader(*, fields=(), is_trusted=False):
    """Return one that reads for a gate whose schemes read `fields`."""
    return Lines(HeaderRules(()), frozenset(fields), is_trusted=is_trusted, max_block=MAX_BLOCK)


def block(*lines):
    """Return a block of these lines."""
    return b"\r\n" + b"\r\n".join((*lines, b"", b""))


def test_what_matters_is_told_from_the_rest():
    """The lines that matter come back with their places, and stand open in what is sent."""
    matter, parts, places, _ = reader().read(
        block(b"Host: a", b"Accept: */*", b"Cookie: a=1", b"X: 1")
    )

    assert (b"Host: a\r", b"Cookie: a=1\r") == matter
    assert [0, 2] == places
    assert [b"Accept: */*\r\n", b"X: 1\r\n"] == [parts[1], parts[3]]


def test_a_field_of_a_scheme_matters():
    """Whatever header a scheme reads a credential from, in any case."""
    assert (b"X-Key: 1\r",) == reader(fields=[b"x-key"]).read(block(b"X-Key: 1"))[0]
    assert () == reader().read(block(b"X-Key: 1"))[0]


def test_only_what_is_known_is_steady():
    """A block is steady when each of its lines was remembered; free values never are."""
    lines = reader()
    steady, free = block(b"Host: a", b"Accept: */*"), block(b"Host: a", b"X: 1")

    assert [False, True] == [lines.read(steady)[3] for _ in range(2)]
    assert [False, False] == [lines.read(free)[3] for _ in range(2)]
    lines.clear()
    assert not lines.read(steady)[3]


@pytest.mark.parametrize("name", [b"X-Forwarded-For", b"X-Forwarded-Proto", b"Forwarded"])
def test_a_trusted_proxys_word_is_for_the_parser(name):
    """What it tells of the client is read each time; of others it is dropped."""
    assert reader(is_trusted=True).read(block(name + b": 192.0.2.1")) is None
    assert [b""] == reader().read(block(name + b": 192.0.2.1"))[1]


def laden(*lines, method=b"POST", reading=None):
    """Return what is read of a block with these lines before a body of three bytes."""
    return (reading or reader()).read_laden(block(*lines), method, 3)


def test_s3_the_method_and_where_a_body_comes_from_matter():
    """Both stand in what it is known by, in their order, and a type goes on as it came."""
    lines = (b"Host: a", b"Sec-Fetch-Site: none", b"content-length: 3", b"content-type: a/b; c=d:e")
    matter, parts, places, is_steady = laden(*lines, method=b"PUT")

    assert (b"PUT", b"Host: a\r", b"Sec-Fetch-Site: none\r") == matter
    assert [0, 1] == places
    assert [b"content-type: a/b; c=d:e\r\n"] == parts[2:]
    assert not is_steady


@pytest.mark.parametrize(
    "line",
    [
        *(b"Content-Type:a/b", b"Content-Type:a: b", b"Content-Type : a", b"Content-Type:  a"),
        *(b"Content-Type: a ", b"Content-Type: ", b"Content-Type", b"Content_Type: a"),
        *(b"Content-Type: \xe9", b"Content-Type: a\tb", b"Content-Type: a\nX: b"),
        *(b"Content-Length: 3", b"Content_Length: 3", b"Content-Encoding: gzip", b"Expect: a"),
        *(b"Sec-Fetch-Site:none", b"Sec-Fetch-Site:a: b", b"Sec-Fetch-Site : none"),
        *(b"Transfer-Encoding: chunked", b"Upgrade: h2c", b"X:1", b" X: 1", b"X", b""),
    ],
)
def test_f1_before_a_body_only_the_strictest_lines_are_read(line):
    """What would be sent on otherwise than the parser understands it is for the parser."""
    assert laden(b"Host: a", b"Content-Length: 3") is not None
    assert laden(b"Host: a", b"Content-Length: 3", line) is None


@pytest.mark.parametrize(
    "line",
    [
        *(b"Content-Length: 03", b"Content-Length:3", b"Content-Length: 3 ", b"Content-Length: +3"),
        *(b"Content-Length: 4", b"Content-Length", b"Content-Length : 3", b"Content-Length: 3, 3"),
        *(b"Content-Length: 3: 3", b"X: Content-Length: 3", b"X: 1"),
    ],
)
def test_f1_a_length_has_one_form(line):
    """And it is that of the body that is there; a second one is for the parser, and so is none."""
    assert laden(b"Host: a", line) is None


@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"OPTIONS", b"post", b"", b"TRACE", b"X"])
def test_a_body_of_any_other_method_is_for_the_parser(method):
    """Only those are read that mostly have one."""
    assert laden(b"Host: a", b"Content-Length: 3", method=method) is None
