"""Whether a server that the file calls `http://` speaks TLS, tried on real sockets."""

from __future__ import annotations

import asyncio
import datetime as dt
import ssl

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from proxy.cli.connecting import connect_upstreams
from proxy.cli.upstream_trial import speaks_tls
from proxy.config.models import Config

TOLD = b"HTTP/1.1 400 Bad Request\r\n\r\nThe plain HTTP request was sent to HTTPS port"


@pytest.fixture(scope="session")
def certificate(tmp_path_factory):
    """Write a certificate and its key that nobody trusts; return the file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "nobody")])
    begin = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(begin)
        .not_valid_after(begin + dt.timedelta(days=36500))
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    file = tmp_path_factory.mktemp("tls") / "chain.pem"
    file.write_bytes(made.public_bytes(serialization.Encoding.PEM) + private)
    return file


@pytest.fixture
def of_server(certificate):
    """Give a server's TLS context."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


class Server:
    """A server on a free port, what it was sent, and how it is tried."""

    def __init__(self, answer, **options):
        self.received = bytearray()
        self._answer, self._options = answer, options

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, **self._options)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_):
        self._server.close()

    async def _serve(self, reader, writer):
        self.received += await reader.read(1000)
        if self._answer is None:
            await reader.read()  # until the client leaves
        else:
            writer.write(self._answer)
        writer.close()

    async def found(self, connect="5s", scheme="http", **tls):
        """Return whether it is good, and what is said of it."""
        server = f"{scheme}://127.0.0.1:{self.port}"
        app = {"servers": [server], "timeouts": {"connect": connect}, "tls": tls}
        settings = Config.model_validate({"upstreams": {"app": app}, "routes": []})
        (finding,) = await connect_upstreams(settings)
        return finding.is_good, finding.text


GOOD = (True, "accepts connections")
TLS = (False, "speaks TLS: write https://")


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.0 501 Unsupported\r\n\r\n",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"",
        b"hello",
    ],
)
async def test_whoever_is_no_tls_server_is_good(answer):
    """Whatever it makes of the request: that it is there is what was asked."""
    async with Server(answer) as server:
        assert await server.found() == GOOD
        assert bytes(server.received).startswith(b"OPTIONS * HTTP/1.1\r\nHost: 127.0.0.1:")


async def test_whoever_is_slow_to_answer_is_good():
    """Nothing is concluded from silence."""
    async with Server(None) as server:
        assert await server.found(connect="200ms") == GOOD


async def test_a_tls_server_is_told_from_others(of_server):
    """Its certificate is nobody's business here: the file's scheme is what is wrong."""
    async with Server(b"", ssl=of_server) as server:
        assert await server.found() == TLS
        assert b"" == bytes(server.received), "nothing is said over it"


async def test_a_tls_server_that_wants_a_certificate_is_one_too(of_server, certificate):
    """It is what the file says of it that is wrong, and not what we lack."""
    of_server.verify_mode = ssl.CERT_REQUIRED
    of_server.load_verify_locations(certificate)
    async with Server(b"", ssl=of_server) as server:
        assert await server.found() == TLS


async def test_a_tls_server_that_answers_plain_http_with_a_page_is_one_too(of_server):
    """As nginx does; one that refuses the handshake has said so in TLS."""

    async def both(reader, writer):
        if (await reader.read(1)) == b"O":
            writer.write(TOLD)
        else:
            writer.write(b"\x15\x03\x01\x00\x02\x02\x28")  # handshake_failure
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(both, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    reader, writer = await asyncio.open_connection("127.0.0.1", port)

    assert await speaks_tls("127.0.0.1", port, reader, writer)
    writer.close()
    server.close()


async def test_a_certificate_that_is_not_good_is_told_with_the_key_that_makes_it_so(
    of_server, certificate
):
    """Nobody looks for a way to check nothing: what is missing has a place in the configuration."""
    async with Server(b"", ssl=of_server) as server:
        untrusted = await server.found(scheme="https")
        misnamed = await server.found(scheme="https", ca=certificate)

    remedy = "self-signed certificate: `upstreams.app.tls.ca` names its authority, or itself"
    assert (False, remedy) == untrusted
    assert not misnamed[0]
    assert misnamed[1].endswith(": see `upstreams.app.tls.server_name`")
