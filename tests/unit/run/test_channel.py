from __future__ import annotations

import socket
from collections.abc import AsyncIterator

import pytest

from proxy.run import channel as module
from proxy.run.channel import Channel, ChannelError


@pytest.fixture
async def ends() -> AsyncIterator[tuple[Channel, socket.socket]]:
    """Give a channel and the raw other end."""
    ours, theirs = socket.socketpair()
    channel = await Channel.open(ours)
    theirs.settimeout(0)
    yield channel, theirs
    await channel.close()
    theirs.close()


async def test_messages_go_both_ways_in_order():
    """What one side sends the other receives, message by message."""
    left_socket, right_socket = socket.socketpair()
    left, right = await Channel.open(left_socket), await Channel.open(right_socket)
    await left.send({"kind": "boot", "text": "ä\n" * 100_000})
    await right.send({"kind": "ready"})
    await right.send({"kind": "keys_wanted"})
    assert {"kind": "boot", "text": "ä\n" * 100_000} == await right.receive()
    assert {"kind": "ready"} == await left.receive()
    assert {"kind": "keys_wanted"} == await left.receive()
    await left.close()
    assert await right.receive() is None
    await right.close()


async def test_the_end_of_the_other_process_is_the_end_of_the_stream(ends):
    """A line cut short is of a process that died while it wrote: no message, no error."""
    channel, raw = ends
    raw.send(b'{"kind": "rea')
    raw.close()
    assert await channel.receive() is None


@pytest.mark.parametrize(
    "line",
    [b"nonsense", b"[]", b"1", b"{}", b'{"kind": 1}', b"\xff", b"[" * 20_000],
)
async def test_what_is_no_message_is_an_error(ends, line):
    """Only JSON objects with a kind pass."""
    channel, raw = ends
    raw.sendall(line + b"\n")
    with pytest.raises(ChannelError):
        await channel.receive()


async def test_a_line_without_end_does_not_fill_the_memory(monkeypatch):
    """A message beyond the bound is an error on both sides."""
    monkeypatch.setattr(module, "MAX_MESSAGE_BYTES", 1000)
    ours, theirs = socket.socketpair()
    channel = await Channel.open(ours)
    theirs.sendall(b"x" * 5000)
    with pytest.raises(ChannelError, match="more than 1000 bytes"):
        await channel.receive()
    with pytest.raises(ChannelError, match="too large"):
        await channel.send({"kind": "boot", "text": "x" * 2000})
    await channel.close()
    theirs.close()


async def test_a_reader_that_stands_still_is_given_up(ends, monkeypatch):
    """A worker that does not read does not hold up the supervisor."""
    monkeypatch.setattr(module, "SEND_TIMEOUT_S", 0.05)
    channel, _ = ends
    with pytest.raises(ChannelError, match="TimeoutError"):
        await channel.send({"kind": "keys", "text": "x" * 8_000_000})


async def test_a_reader_that_is_gone_is_an_error(ends):
    """Sending to a dead process says so, and closes the channel."""
    channel, raw = ends
    raw.close()
    with pytest.raises(ChannelError):
        await channel.send({"kind": "keys", "text": "x" * 8_000_000})
    assert await channel.receive() is None
