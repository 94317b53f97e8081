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
