"""Proxies that say for whom they connect: on real sockets, in every lane, before TLS too."""

from __future__ import annotations

import asyncio
import json
import socket
from ipaddress import ip_address

import pytest

from proxy.core.proxy_protocol import SIGNATURE
from proxy.edge.tls import server_context
from proxy.errors import ConfigErrors
from proxy.services.runtime import load
from tests.certificates import Authority, careless
from tests.trio import Client, trio

CONFIG = """
server:
  id: here
  proxy_protocol: {from: [127.0.0.1]}
  trusted_proxies: [10.0.0.0/8, 127.0.0.0/8]
  limits: {header_timeout: 300ms, connections_per_address: 2}
upstreams:
  app: {servers: ["@app@"]}
routes:
  - {match: {path: /**}, auth: none, upstream: app}
  - {match: {path: /twice}, auth: none, upstream: app, limits: {rate: 2/m, per: address}}
"""
GET = b"GET / HTTP/1.1\r\nHost: gate\r\nX-Forwarded-For: 203.0.113.9\r\n\r\n"
TWICE = b"GET /twice HTTP/1.1\r\nHost: gate\r\n\r\n"


def header(address="192.0.2.1", *, command=0x21, more=b""):
    """Return what a proxy says of a client."""
    raw = ip_address(address)
    rest = raw.packed * 2 + b"\x12\x67\x01\xbb" + more
    family = 0x11 if raw.version == 4 else 0x21
    return SIGNATURE + bytes((command, family)) + len(rest).to_bytes(2, "big") + rest


def saying(*packets, address=None, times=3, method=b"GET"):
    """Return a conversation that begins with packets, the last of which is asked again."""

    async def talk(gate):
        client = await gate.connect(address)
        await client.say(*packets)
        heard = [await client.hear(method)]
        while len(heard) < times and not heard[-1].endswith((b"<end>", b"<reset>")):
            await client.say(packets[-1])
            heard.append(await client.hear(method))
        await client.close()
        return heard

    return talk


def forwarded(gates):
    """Return what the application was told of whom."""
    return {
        line.partition(b": ")[2].decode()
        for gate in gates
        for raw in gate.mirror.received
        for line in raw.split(b"\r\n")
        if line.lower().startswith(b"x-forwarded-for")
    }


def logged(gates):
    """Return the clients of the log."""
    return {record.client for gate in gates for record in gate.records}


async def test_the_address_is_the_clients_in_every_lane(tmp_path):
    """In one piece with the request, in bytes, over IPv6, with TLVs: and nothing else is believed."""
    async with trio(tmp_path, CONFIG, {}) as gates:
        for said, client in (
            ((header() + GET,), "192.0.2.1"),
            ((*(bytes((byte,)) for byte in header()), GET), "192.0.2.1"),
            ((header("2001:db8::1"), GET), "2001:db8::1"),
            ((header(more=b"\x01\x00\x02h1" * 40), GET), "192.0.2.1"),
            ((header("::ffff:192.0.2.7"), GET), "192.0.2.7"),
        ):
            packets = said if len(said) > 1 else (said[0],)
            heard = await gates.same(saying(*packets, times=1 if len(said) == 1 else 3))
            assert all(one.startswith(b"HTTP/1.1 200 ") for one in heard)
            assert forwarded(gates) == logged(gates) == {client}


async def test_h5_trust_in_forwarding_headers_is_of_the_address_that_was_told(tmp_path):
    """A trusted client's X-Forwarded-For counts; the proxy's own trust is nobody else's (H5)."""
    async with trio(tmp_path, CONFIG, {}) as gates:
        await gates.same(saying(header("10.1.1.1"), GET))
        assert logged(gates) == {"203.0.113.9"}
        await gates.same(saying(header("192.0.2.1"), GET))
        assert logged(gates) == {"192.0.2.1"}


async def test_a_proxy_speaks_for_itself(tmp_path):
    """LOCAL, as its checks of health say it: the address is its own, whatever it carries."""
    async with trio(tmp_path, CONFIG, {}) as gates:
        await gates.same(saying(header("192.0.2.1", command=0x20), TWICE, times=1))
        assert logged(gates) == {"127.0.0.1"}


async def test_limits_count_the_client_and_not_the_proxy(tmp_path):
    """Rates and connections are of the address that was told."""
    async with trio(tmp_path, CONFIG, {}, modes=("off",)) as gates:
        heard = await gates.same(saying(header(), TWICE))
        assert [one[:12] for one in heard] == [b"HTTP/1.1 200"] * 2 + [b"HTTP/1.1 429"]
        heard = await gates.same(saying(header("192.0.2.2"), TWICE, times=1))
        assert heard[0].startswith(b"HTTP/1.1 200 ")
        gate = gates["off"]
        clients = [await gate.connect() for _ in range(3)]
        for client in clients[:2]:
            await client.say(header(), GET)
            assert (await client.hear(b"GET")).startswith(b"HTTP/1.1 200 ")
        await clients[2].say(header(), GET)
        assert (await clients[2].hear(b"GET")).endswith((b"<end>", b"<reset>"))
        other = await gate.connect()
        await other.say(header("192.0.2.9"), GET)
        assert (await other.hear(b"GET")).startswith(b"HTTP/1.1 200 ")
        for client in (*clients, other):
            await client.close()


async def test_a_network_of_ipv6_is_one_address(tmp_path):
    """Whoever has one address of a /64 has all of them: `connections_per_address` counts these as one."""
    async with trio(tmp_path, CONFIG, {}, modes=("off",)) as gates:
        clients = []
        for told in ("2001:db8::1", "2001:db8::ffff:2", "2001:db8::3", "2001:db8:0:1::1"):
            clients.append(await gates["off"].connect())
            await clients[-1].say(header(told), GET)
        heard = [await client.hear(b"GET") for client in clients]
        for client in clients:
            await client.close()

        assert [True, True, False, True] == [one.startswith(b"HTTP/1.1 200 ") for one in heard]
    assert not gates["off"].server._manager._networks


@pytest.mark.parametrize(
    "said",
    [
        GET,
        b"PROXY TCP4 192.0.2.1 192.0.2.9 4711 443\r\n" + GET,
        b"\r\n" + header() + GET,
        SIGNATURE + b"\x21\x11\xff\xff" + b"x" * 100,
        SIGNATURE + b"\x21\x00\x00\x00" + GET,
        header()[:20],
        b"",
    ],
)
async def test_whoever_does_not_begin_with_a_header_is_refused(tmp_path, said):
    """No header, version 1, one of no known client or length, or a part of one: no answer at all."""
    async with trio(tmp_path, CONFIG, {}, modes=("off", "warm")) as gates:
        [heard] = await gates.same(saying(said, times=1))

        assert heard in (b"<end>", b"<reset>")
        assert forwarded(gates) == set()


async def test_h5_a_stranger_is_refused_whatever_they_say(tmp_path):
    """Who is not in `from` may not even connect: a header of theirs is nobody's word."""
    async with trio(tmp_path, CONFIG, {}, modes=("off", "warm")) as gates:
        for said in (header() + GET, GET):
            [heard] = await gates.same(saying(said, address="127.0.0.2", times=1))
            assert heard in (b"<end>", b"<reset>")
            assert forwarded(gates) == set()


async def test_a_second_header_is_no_header(tmp_path):
    """A client behind the proxy cannot say it is somebody else: what follows is its request."""
    async with trio(tmp_path, CONFIG, {}, modes=("off", "cold", "warm")) as gates:
        [heard] = await gates.same(saying(header() + header("10.1.1.1") + GET, times=1))

        assert heard.startswith(b"HTTP/1.1 400 ")
        assert logged(gates) == {"192.0.2.1"}


async def test_the_header_comes_before_tls(tmp_path):
    """What is told is told in the clear by the proxy, and the client's handshake follows."""
    context = server_context(*Authority(tmp_path).issue("gate", "gate"))

    async def listen(server):
        sock = socket.socket()
        sock.bind(("127.0.0.1", 0))
        sock.listen(16)
        await server.start([sock], context)
        return {"tls": sock.getsockname()[1]}

    async def talk(gate):
        sock = socket.create_connection(("127.0.0.1", gate.more["tls"]))
        sock.sendall(header())
        sock.setblocking(False)
        reader, writer = await asyncio.open_connection(
            sock=sock, ssl=careless(), server_hostname=""
        )
        heard = []
        for _ in range(3):
            writer.write(GET)
            heard.append(await reader.readuntil(b"ok"))
        await Client(reader, writer).close()
        return heard

    async with trio(tmp_path, CONFIG, {}, listen=listen) as gates:
        for heard in await gates.same(talk):
            assert heard.startswith(b"HTTP/1.1 200 ")
        assert logged(gates) == {"192.0.2.1"}
        [told] = {
            line
            for gate in gates
            for raw in gate.mirror.received
            for line in raw.split(b"\r\n")
            if line.startswith(b"X-Forwarded-Proto")
        }
        assert told == b"X-Forwarded-Proto: https"


@pytest.mark.parametrize(
    ("trusted", "said", "client"),
    [("127.0.0.1", GET, None), ("unix", header() + GET, "192.0.2.1")],
    ids=["not said", "said"],
)
async def test_a_unix_socket_is_as_trusted_as_it_says(tmp_path, trusted, said, client):
    """Without `unix` in `from` it has no header; with it, the address told is the client's."""

    async def listen(server):
        sock = socket.socket(socket.AF_UNIX)
        sock.bind(str(tmp_path / "u"))
        sock.listen(16)
        await server.start([sock])

    async def talk(gate):
        asking = await gate.connect(path=str(tmp_path / "u"))
        await asking.say(said)
        heard = await asking.hear(b"GET")
        await asking.close()
        return [heard]

    text = CONFIG.replace("from: [127.0.0.1]", f"from: [{trusted}]")
    async with trio(tmp_path, text, {}, listen=listen, modes=("off",)) as gates:
        [heard] = await gates.same(talk)
        assert heard.startswith(b"HTTP/1.1 200 ")
        assert logged(gates) == {client}


def test_nobody_in_particular_may_not_speak_for_others(tmp_path):
    """A network of everybody is a mistake, and nobody at all is one too."""
    path = tmp_path / "gate.yaml"
    text = CONFIG.replace("@app@", json.dumps("http://127.0.0.1:9").strip('"'))
    for said, message in (("[0.0.0.0/0]", "anybody could say"), ("[]", "from")):
        path.write_text(text.replace("[127.0.0.1]", said))
        with pytest.raises(ConfigErrors, match=message):
            load(path)
