"""The network in memory tells what a real one would, and sees what a real one would hide."""

from __future__ import annotations

import asyncio

import pytest

from tests.fuzz.memory_network import Backend, MemoryLoop, MemoryTransport, Stuck


@pytest.fixture
def loop():
    made = MemoryLoop()
    yield made
    made.close()


def test_waiting_costs_nothing(loop):
    """A day passes at once."""
    before = loop.time()
    loop.run_until_complete(asyncio.sleep(86_400))

    assert loop.time() - before >= 86_400


def test_who_waits_for_nothing_is_stuck(loop):
    """What would hang for ever is told."""

    async def wait():
        await loop.create_future()

    with pytest.raises(Stuck):
        loop.run_until_complete(wait())
    for task in asyncio.all_tasks(loop):
        task.cancel()
    loop.run_until_complete(asyncio.sleep(0))


@pytest.mark.parametrize(
    "sent",
    [
        b"GET /\r\n\r\n",
        b"GET / HTTP/1.1\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nX : a\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\nok\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\nokgarbage\r\n\r\n",
    ],
)
def test_a_backend_takes_nothing_that_is_no_request(loop, sent):
    """The oracle of the target `heads` is stricter than any server."""
    backend = Backend(loop)
    with pytest.raises(AssertionError):
        backend.receive(sent)


def test_a_backend_answers_whole_requests(loop):
    """Piece by piece, one after the other."""
    received = []

    class Protocol(asyncio.Protocol):
        def data_received(self, data):
            received.append(data)

    backend = Backend(loop)
    backend.transport = MemoryTransport(loop, Protocol(), backend.receive)
    raw = b"GET /a HTTP/1.1\r\nHost: a\r\n\r\nPOST /b HTTP/1.1\r\nContent-Length: 2\r\n\r\nok"
    backend.receive(raw[:-1])
    loop.run_until_complete(asyncio.sleep(0))
    assert 1 == len(received)
    assert backend.has_rest

    backend.receive(raw[-1:])
    loop.run_until_complete(asyncio.sleep(0))
    assert 2 == len(received)
    assert [b"/a", b"/b"] == [target for _, target, _ in backend.requests]
