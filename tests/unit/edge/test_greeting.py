"""What connections begin with where proxies tell whom they connect for."""

from __future__ import annotations

import asyncio
import socket
from ipaddress import ip_network

import pytest

from proxy.adapters.tasks import spawn
from proxy.config.models import ServerConfig
from proxy.edge.accepting import Listener
from proxy.edge.greeting import Greeting, NotGreetedError
from tests.unit.core.test_proxy_protocol import header

HERE = ip_network("127.0.0.1/32")


@pytest.fixture
async def ends():
    """Return both ends of a connection over TCP, not blocking."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        client = socket.create_connection(listening.getsockname())
        sock, _ = listening.accept()
    sock.setblocking(False)
    with client, sock:
        yield client, sock


async def test_not_a_byte_more_is_read_than_the_header_has(ends):
    """What follows is for whoever reads next: a TLS handshake, or a request."""
    client, sock = ends
    client.sendall(header() + b"GET")

    assert await Greeting([HERE], 5.0).read(sock) == ("192.0.2.1", 4711)
    assert sock.recv(9) == b"GET"


async def test_a_header_that_does_not_come_is_not_waited_for(ends):
    """Nor one that ends, nor that of a stranger."""
    client, sock = ends
    with pytest.raises(NotGreetedError, match="too long"):
        await Greeting([HERE], 0.05).read(sock)
    with pytest.raises(NotGreetedError, match="is not in"):
        await Greeting([ip_network("10.0.0.0/8")], 5.0).read(sock)
    client.close()
    with pytest.raises(NotGreetedError, match="ends"):
        await Greeting([HERE], 5.0).read(sock)


def test_absent_it_asks_for_nothing():
    """Without the section the kernel says who connects; two that believe the same are equal."""
    assert Greeting.from_config(ServerConfig()) is None
    assert Greeting([HERE], 1.0) == Greeting([HERE], 2.0)
    assert Greeting([HERE], 1.0) != Greeting([HERE, "unix"], 1.0)


async def test_who_was_believed_is_not_once_that_has_changed(ends):
    """A header that was begun under another configuration makes no connection under this one."""
    client, sock = ends
    made = []
    listener = Listener(sock, lambda *told: made.append(told) or asyncio.Protocol())
    listener.greeting = lambda: Greeting([HERE], 5.0)
    opening = spawn(listener._open(sock), name="connection")
    await asyncio.sleep(0)
    listener.greeting = lambda: Greeting(["unix"], 5.0)
    client.sendall(header())
    await opening

    assert made == []
    assert client.recv(9) == b""
