"""Servers that play bytes, upstreams that ask them; every test runs on asyncio and on uvloop."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import ipaddress
import ssl

import pytest
import uvloop
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from proxy.adapters.upstreams import RequestHead, Upstream, UpstreamSettings
from tests.byte_server import ByteServer


def pytest_asyncio_loop_factories(config, item):
    """Run each test on both event loops."""
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.fixture
async def serve():
    """Start byte servers; each takes one script for each connection that it accepts."""
    async with contextlib.AsyncExitStack() as stack:

        async def start(*scripts, path=None, tls=None):
            server = ByteServer(scripts)
            await server.start(path=path, tls=tls)
            stack.push_async_callback(server.stop)
            return server

        yield start


@pytest.fixture
async def reach(serve):
    """Make an upstream of byte servers or addresses: `reach(server, …, response_s=0.1)`."""
    made = []

    def make(*servers, **settings):
        addresses = tuple(getattr(server, "address", server) for server in servers)
        upstream = Upstream(UpstreamSettings("shop", addresses, **settings))
        made.append(upstream)
        return upstream

    yield make
    for upstream in made:
        await upstream.close(0)


@pytest.fixture
def get():
    """Give a plain GET."""
    return RequestHead("GET", b"/", [(b"Host", b"shop")])


@pytest.fixture
def post():
    """Give a POST with five bytes of body."""
    return RequestHead("POST", b"/", [(b"Host", b"shop")], body=5)


@pytest.fixture(scope="session")
def certificate(tmp_path_factory):
    """Write a certificate for localhost and 127.0.0.1 that vouches for itself; return its files."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    begin = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(begin)
        .not_valid_after(begin + dt.timedelta(days=36500))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    directory = tmp_path_factory.mktemp("tls")
    certificate, secret = directory / "cert.pem", directory / "key.pem"
    certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    secret.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return certificate, secret


@pytest.fixture(scope="session")
def server_tls(certificate):
    """Give a server's TLS context."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    return context
