"""The edge of a whole gate, on the event loop that it has in production: all of it at once."""

from __future__ import annotations

import asyncio
import signal
import socket

import pytest
from cryptography import x509
from cryptography.x509 import DNSName, UniformResourceIdentifier

from tests.certificates import Authority, careless
from tests.unit.core.test_proxy_protocol import header

pytestmark = pytest.mark.slow

CONFIG = """
server:
  listen: "127.0.0.1:0"
  workers: 1
  proxy_protocol: {{from: [127.0.0.1]}}
  hsts: {{max_age: 1d}}
  tls:
    cert: gate.pem
    key: gate.key
    certificates: [{{cert: shop.pem, key: shop.key}}]
    client_ca: ca.ca.pem
    client_certificate: optional
redirect: {{listen: "127.0.0.1:0", hosts: [shop.test]}}
health: none
upstreams: {{app: {{servers: ["http://127.0.0.1:{port}"]}}}}
schemes: {{machine: {{type: mtls, subject: uri}}}}
routes:
  - {{match: {{path: "/**"}}, auth: machine, upstream: app}}
"""


async def say(port, raw, **options):
    """Come through a proxy that says for whom; return whose certificate is shown, and the answers."""
    sock = socket.create_connection(("127.0.0.1", port))
    sock.sendall(header())
    sock.setblocking(False)
    reader, writer = await asyncio.open_connection(sock=sock, **options)
    shown = None
    if "ssl" in options:
        der = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        shown = x509.load_der_x509_certificate(der).subject.rfc4514_string()
    for one in raw:
        writer.write(one)
    async with asyncio.timeout(20):
        heard = await reader.read()
    writer.close()
    return shown, heard


def get(*lines):
    """Return a request."""
    return b"\r\n".join((b"GET /a HTTP/1.1", b"Host: shop.test", *lines, b"", b""))


async def test_a_gate_at_the_edge(serve, application, directory):
    """PROXY header, certificate by name, the client's own as a key, HSTS; and from http to https."""
    authority = Authority(directory, "ca")
    authority.issue("gate", "gate", DNSName("gate.test"))
    authority.issue("shop", "shop", DNSName("shop.test"))
    ann = careless(authority.issue("ann", "", UniformResourceIdentifier("spiffe://test/ann")))
    gate = await serve(CONFIG.format(port=application.port))
    await gate.ready()

    three = (get(), get(), get(b"Connection: close"))
    shown, heard = await say(gate.port, three, ssl=ann, server_hostname="shop.test")
    assert shown == "CN=shop"
    assert heard.count(b"HTTP/1.1 200 ") == 3
    assert heard.count(b"\r\nStrict-Transport-Security: max-age=86400\r\n") == 3
    shown, heard = await say(
        gate.port, (get(b"Connection: close"),), ssl=careless(), server_hostname="other.test"
    )
    assert shown == "CN=gate"
    assert heard.startswith(b"HTTP/1.1 401 ")

    said = await gate.said("redirects to https on ")
    led = int(said.rpartition(":")[2])
    _, heard = await say(led, (get(b"Connection: close"),))
    assert b"\r\nLocation: https://shop.test/a\r\n" in heard

    lines = await gate.requests(5)
    assert [line["client"] for line in lines] == ["192.0.2.1"] * 5
    assert [line.get("subject") for line in lines[:3]] == ["spiffe://test/ann"] * 3
    gate.send(signal.SIGTERM)
    assert await gate.exit() == 0
