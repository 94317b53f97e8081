"""TLS on the listener: HTTPS for clients, and certificates of clients where they are asked for."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import ipaddress
import ssl

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from proxy.edge.server import GateServer
from proxy.edge.tls import server_context
from proxy.services.runtime import Runtime, load
from tests.byte_server import REQUEST, ByteServer
from tests.live.conftest import bind

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CONFIG = """
upstreams: {{app: {{servers: ["{server}"]}}}}
routes:
  - {{match: {{path: /**}}, auth: none, upstream: app}}
  - match: {{path: /callback, methods: [POST]}}
    auth: none
    cross_site: ["https://id.example"]
    upstream: app
"""


class Authority:
    """A certificate authority of one test."""

    def __init__(self, directory):
        self.directory = directory
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.cert = self._sign("authority", self.key, self.key, is_authority=True)
        self.file = directory / "ca.pem"
        self.file.write_bytes(self.cert.public_bytes(serialization.Encoding.PEM))

    def _sign(self, name, key, signer, *, is_authority=False):
        now = dt.datetime(2026, 1, 1)  # noqa: DTZ001 - x509 takes naive UTC
        issuer = "authority"
        return (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now)
            .not_valid_after(now + dt.timedelta(days=36500))
            .add_extension(
                x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
                critical=False,
            )
            .add_extension(x509.BasicConstraints(is_authority, None), critical=True)
            .sign(signer, hashes.SHA256())
        )

    def issue(self, name):
        """Return the files of a new certificate and its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        cert_file, key_file = self.directory / f"{name}.pem", self.directory / f"{name}.key"
        cert = self._sign(name, key, self.key)
        cert_file.write_bytes(cert.public_bytes(serialization.Encoding.PEM))
        key_file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return cert_file, key_file


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path)


@pytest.fixture
async def start(tmp_path, authority):
    """Return a function that starts a gate with TLS and says where it listens."""
    server = ByteServer([[REQUEST, OK], [REQUEST, OK]])
    await server.start()
    path = tmp_path / "gate.yaml"
    path.write_text(CONFIG.format(server=server.address))
    runtime = await Runtime.start(load(path))
    gate = GateServer(runtime)

    async def run(client_ca=None):
        sock = bind()
        cert, key = authority.issue("gate")
        await gate.start([sock], server_context(cert, key, client_ca))
        return sock.getsockname()[1], server

    yield run
    await gate.drain(1)
    await runtime.close()
    await server.stop()


async def get(port, context, line="GET /", *headers):
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    try:
        lines = [f"{line} HTTP/1.1", "Host: gate", "Connection: close", *headers]
        writer.write("\r\n".join(lines).encode() + b"\r\n\r\n")
        return await reader.read()
    finally:
        writer.close()


async def test_a_client_is_served_over_tls(start, authority):
    """The application is told that the client used https."""
    port, server = await start()
    context = ssl.create_default_context(cafile=authority.file)

    assert (await get(port, context)).endswith(b"ok")
    assert b"X-Forwarded-Proto: https\r\n" in server.seen[0].received


async def test_client_ca_refuses_a_client_without_a_certificate(start, authority):
    """reference.md §1, tls: a client certificate is required and checked."""
    port, server = await start(authority.file)
    bare = ssl.create_default_context(cafile=authority.file)
    answer = b""
    with contextlib.suppress(ssl.SSLError, ConnectionError):
        answer = await get(port, bare)

    assert answer == b""
    assert server.seen == []
    known = ssl.create_default_context(cafile=authority.file)
    known.load_cert_chain(*authority.issue("client"))
    assert (await get(port, known)).endswith(b"ok")


@pytest.mark.parametrize(
    ("has_certificate", "line", "origin", "passes"),
    [
        (True, "POST /", "https://evil.example", False),
        (True, "POST /", "https://gate", True),
        (True, "GET /", "https://evil.example", True),
        (True, "POST /callback", "https://id.example", True),
        (True, "POST /callback", "https://evil.example", False),
        (False, "POST /", "https://evil.example", True),
    ],
)
async def test_s3_a_certificate_opens_what_is_public_behind_it(
    start, authority, has_certificate, line, origin, passes
):
    """S3: with `client_ca` a public route is open to holders only, whom no other site may borrow."""
    port, server = await start(authority.file if has_certificate else None)
    context = ssl.create_default_context(cafile=authority.file)
    if has_certificate:
        context.load_cert_chain(*authority.issue("client"))
    raw = await get(port, context, line, f"Origin: {origin}", "Content-Length: 0")

    assert raw.endswith(b"ok") == passes
    assert (b"cross_site" in raw) is (not passes)
    assert len(server.seen) == passes


async def test_old_tls_is_refused(start, authority):
    """TLS 1.2 is the least."""
    port, _ = await start()
    context = ssl.create_default_context(cafile=authority.file)

    assert server_context(*authority.issue("x")).minimum_version == ssl.TLSVersion.TLSv1_2
    assert (await get(port, context)).endswith(b"ok")
