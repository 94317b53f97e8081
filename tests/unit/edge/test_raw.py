"""Raw bytes of a tunnel: in order, bounded, and ended once."""

from __future__ import annotations

import asyncio

from proxy.edge.raw import READ_CHUNK, RawBytes


async def test_what_was_fed_comes_in_order():
    """A reader gets everything that waits at once, and then the end, again and again."""
    raw = RawBytes(asyncio.get_running_loop())
    raw.feed(b"a")
    raw.feed(b"b")
    raw.end()

    assert await raw.read() == b"ab"
    assert await raw.read() == b""
    assert await raw.read() == b""


async def test_a_reader_waits_for_the_next_bytes():
    """Without bytes and without an end a reader waits."""
    loop = asyncio.get_running_loop()
    raw = RawBytes(loop)
    loop.call_soon(raw.feed, b"x")

    assert await raw.read() == b"x"


async def test_it_is_full_above_its_bound_until_it_is_read():
    """The socket is paused by this, so that memory stays bounded."""
    raw = RawBytes(asyncio.get_running_loop())
    raw.feed(b"x" * READ_CHUNK)
    assert raw.is_full
    await raw.read()

    assert not raw.is_full
