"""A listening socket: whoever connects is taken in, a few at a time, until it is closed."""

from __future__ import annotations

import asyncio
import errno
import socket

import pytest

from proxy.edge import accepting
from proxy.edge.accepting import AT_ONCE, Listener


class Greeting(asyncio.Protocol):
    """Says hello and leaves; counts who came."""

    def __init__(self, came):
        self.came = came

    def connection_made(self, transport):
        self.came.append(transport)
        transport.write(b"hello")
        transport.close()


def listening(family=socket.AF_INET, address=("127.0.0.1", 0)):
    sock = socket.socket(family)
    sock.bind(address)
    sock.listen(128)
    sock.setblocking(False)
    return sock


@pytest.fixture(params=["tcp", "unix"])
def place(request, tmp_path):
    """Give a listening socket and how to connect to it."""
    if request.param == "unix":
        path = str(tmp_path / "s")
        return listening(socket.AF_UNIX, path), lambda: asyncio.open_unix_connection(path)
    sock = listening()
    port = sock.getsockname()[1]
    return sock, lambda: asyncio.open_connection("127.0.0.1", port)


async def test_everybody_is_taken_in(place):
    """Whoever waits is served, however many they are, and nobody once it is closed."""
    sock, connect = place
    came = []
    listener = Listener(sock, lambda: Greeting(came))
    listener.start()
    pairs = await asyncio.gather(*(connect() for _ in range(5 * AT_ONCE)))
    heard = [await reader.read() for reader, _ in pairs]
    listener.close()
    listener.close()
    for _, writer in pairs:
        writer.close()

    assert [b"hello"] * 5 * AT_ONCE == heard
    with pytest.raises(OSError):
        await connect()


async def test_few_are_taken_in_at_once():
    """One turn of the loop takes a handful of those who wait: requests come in between."""
    sock, came = listening(), []
    clients = [socket.create_connection(sock.getsockname()) for _ in range(3 * AT_ONCE)]
    listener = Listener(sock, lambda: Greeting(came))
    taken = []
    real = listener._accept

    def counted():
        before = len(accepted)
        real()
        taken.append(len(accepted) - before)

    accepted = []
    opened = listener._open

    async def noted(one):
        await opened(one)

    def open_noted(one):
        accepted.append(one)
        return noted(one)

    listener._open = open_noted
    listener._accept = counted
    listener.start()
    loop = asyncio.get_running_loop()
    for client in clients:
        client.setblocking(False)
    assert [b"hello"] * len(clients) == [await loop.sock_recv(client, 9) for client in clients]
    listener.close()
    for client in clients:
        client.close()

    assert max(taken) <= AT_ONCE


async def test_without_room_for_a_descriptor_it_waits_a_little(monkeypatch, caplog):
    """Nobody is lost: who waits meanwhile is taken in afterwards, and the log says why."""
    monkeypatch.setattr(accepting, "PAUSE_S", 0.05)
    sock, came = listening(), []

    class Full:
        """The socket of a process that has no descriptor left, the first time."""

        failures = 1

        def __getattr__(self, name):
            return getattr(sock, name)

        def accept(self):
            if self.failures:
                self.failures -= 1
                raise OSError(errno.EMFILE, "")
            return sock.accept()

    listener = Listener(Full(), lambda: Greeting(came))
    listener.start()
    reader, writer = await asyncio.open_connection(*sock.getsockname())
    async with asyncio.timeout(5):
        assert b"hello" == await reader.read()
    writer.close()
    listener.close()

    assert "EMFILE" in caplog.text


async def test_a_pause_ends_with_the_listener(monkeypatch):
    """What is closed while it waits for room accepts nobody afterwards."""
    monkeypatch.setattr(accepting, "PAUSE_S", 0.01)
    sock = listening()
    listener = Listener(sock, asyncio.Protocol)
    listener.start()
    listener._wait(OSError(errno.EMFILE, ""))
    listener.close()
    await asyncio.sleep(0.03)

    assert -1 == sock.fileno()
