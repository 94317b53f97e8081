"""To which slot a key belongs."""

from __future__ import annotations

import pytest

from proxy.core.slots import slot_of, tag_of


@pytest.mark.parametrize(
    ("key", "slot"),
    [(b"123456789", 12739), (b"foo", 12182), (b"{foo}bar", 12182), (b"a{foo}{bar}", 12182)],
)
def test_a_slot_is_that_of_the_specification(key, slot):
    """CRC-16/XMODEM of the hash tag, as CLUSTER KEYSLOT says it."""
    assert slot_of(key) == slot


@pytest.mark.parametrize(
    ("key", "tag"),
    [(b"a", b"a"), (b"a{}b", b"a{}b"), (b"a{b", b"a{b"), (b"a}{b}", b"b"), (b"{{b}}", b"{b")],
)
def test_a_tag_stands_in_the_first_braces(key, tag):
    """Nothing in them, or no end of them, is no tag."""
    assert tag_of(key) == tag
