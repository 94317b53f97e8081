from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from proxy.edge import health as module
from proxy.edge.health import HealthServer

Ask = Callable[[bytes], Awaitable[bytes]]


class Gate:
    """A health server whose gate can be made ready, and how to ask it."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.is_ready = True
        self.server: HealthServer | None = None

    async def probe(self) -> bool:
        """Tell whether the gate is ready."""
        return self.is_ready

    async def scrape(self, accept: str) -> tuple[str, bytes]:
        """Return metrics that tell what they were asked for."""
        return "text/x; charset=utf-8", b"asked for " + accept.encode()

    async def ask(self, raw: bytes, *, ends: bool = False) -> bytes:
        """Send bytes on a connection of their own and return everything that comes back."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(raw)
            if ends:
                writer.write_eof()
            async with asyncio.timeout(10):
                return await reader.read()
        except ConnectionResetError:
            return b""
        finally:
            writer.close()


@pytest.fixture
async def gate() -> AsyncIterator[Gate]:
    """Run a health server on a free port."""
    sock = socket.create_server(("127.0.0.1", 0))
    found = Gate(sock.getsockname()[1])
    found.server = server = HealthServer(found.probe, found.scrape)
    await server.start([sock])
    yield found
    await server.close()


def get(path: str, method: str = "GET") -> bytes:
    """Return a request."""
    return f"{method} {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode()


async def test_s11_liveness_and_readiness_are_told_without_data(gate):
    """S11: a status, a word, and not even a Server header or a date."""
    expected = (
        b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 3\r\n"
        b"Cache-Control: no-store\r\nConnection: close\r\n\r\nok\n"
    )
    assert expected == await gate.ask(get("/healthz"))
    assert expected == await gate.ask(get("/readyz"))


async def test_an_unready_gate_lives(gate):
    """/readyz is 503, /healthz is not: an orchestrator must not restart it for that."""
    gate.is_ready = False
    assert (await gate.ask(get("/readyz"))).startswith(b"HTTP/1.1 503 ")
    assert (await gate.ask(get("/healthz"))).startswith(b"HTTP/1.1 200 ")


async def test_head_has_no_body(gate):
    """RFC 9110 §9.3.2: the headers of GET, and nothing else."""
    answer = await gate.ask(get("/readyz", "HEAD"))
    assert b"Content-Length: 3\r\n" in answer
    assert answer.endswith(b"\r\n\r\n")


@pytest.mark.parametrize(
    "target",
    [
        "/",
        "/metrics/",
        "/metrics?x",
        "/healthz/",
        "/healthz?x",
        "//healthz",
        "/HEALTHZ",
        "/readyz%20",
        "*",
        "x",
    ],
)
async def test_s11_nothing_else_is_there(gate, target):
    """S11: every other target is 404, and the answer repeats nothing of the request."""
    answer = await gate.ask(get(target))
    assert answer.startswith(b"HTTP/1.1 404 ")
    assert answer.endswith(b"\r\n\r\nnot found\n")


async def test_metrics_come_as_the_client_accepts_them(gate):
    """The values of Accept, in whatever spelling and however many lines, and no other header."""
    answer = await gate.ask(get("/metrics"))
    assert b"\r\nContent-Type: text/x; charset=utf-8\r\nContent-Length: 10\r\n" in answer
    assert answer.endswith(b"\r\n\r\nasked for ")
    lines = b"GET /metrics HTTP/1.1\r\nACCEPT:a\r\nX-Accept: b\r\naccept: c;q=1\r\n\r\n"
    assert (await gate.ask(lines)).endswith(b"\r\n\r\nasked for a, c;q=1")
    answer = await gate.ask(get("/metrics", "HEAD"))
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert answer.endswith(b"\r\n\r\n")
    assert (await gate.ask(get("/metrics", "DELETE"))).startswith(b"HTTP/1.1 405 ")


async def test_other_methods_are_not_allowed(gate):
    """Nothing can be posted to it."""
    answer = await gate.ask(get("/readyz", "POST"))
    assert answer.startswith(b"HTTP/1.1 405 ")
    assert b"\r\nAllow: GET, HEAD\r\n" in answer


@pytest.mark.parametrize(
    "raw",
    [b"nonsense\r\n\r\n", b"GET /readyz\r\n\r\n", b"GET /readyz HTTP/2.0\r\n\r\n", b"\r\n\r\n"],
)
async def test_s11_what_is_no_request_is_not_echoed(gate, raw):
    """S11: a fixed 400, whatever came."""
    answer = await gate.ask(raw)
    assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert answer.endswith(b"\r\n\r\nbad request\n")


async def test_an_endless_head_ends_in_a_400(gate):
    """Eight KiB are more than a probe ever sends."""
    answer = await gate.ask(b"GET /readyz HTTP/1.1\r\nX: " + b"a" * 100_000)
    assert answer in (b"", await gate.ask(b"nonsense\r\n\r\n"))


async def test_a_client_that_says_nothing_is_let_go(gate, monkeypatch):
    """A connection without a request is closed in silence."""
    monkeypatch.setattr(module, "HEAD_TIMEOUT_S", 0.05)
    assert b"" == await gate.ask(b"")
    assert b"" == await gate.ask(b"", ends=True)


async def test_s11_whoever_says_nothing_silences_nobody(gate, monkeypatch):
    """S11: beyond the bound the oldest connection without a request makes room for the new one."""
    gate.server.most = 3
    monkeypatch.setattr(module, "HEAD_TIMEOUT_S", 600.0)
    silent = [await asyncio.open_connection("127.0.0.1", gate.port) for _ in range(5)]
    for _ in range(5):
        assert (await gate.ask(get("/healthz"))).startswith(b"HTTP/1.1 200 ")
    gone = [reader.read() for reader, _ in silent[:2]]
    ends = await asyncio.gather(*gone, return_exceptions=True)
    assert all(isinstance(end, ConnectionError) or end == b"" for end in ends)
    reader, writer = silent[-1]
    writer.write(get("/healthz"))
    assert (await reader.read()).startswith(b"HTTP/1.1 200 "), "a younger one is still there"
    for _, writer in silent:
        writer.close()


async def test_too_many_connections_do_not_cost_more_than_a_few(gate, monkeypatch):
    """Beyond the bound a connection is closed at once while all the others are being answered."""
    gate.server.most = 1
    asked, answered = asyncio.Event(), asyncio.Event()

    async def probe() -> bool:
        asked.set()
        await answered.wait()
        return True

    monkeypatch.setattr(gate.server, "_is_ready", probe)
    reader, writer = await asyncio.open_connection("127.0.0.1", gate.port)
    writer.write(get("/readyz"))
    await asked.wait()
    assert b"" == await gate.ask(get("/healthz"))
    answered.set()
    assert (await reader.read()).startswith(b"HTTP/1.1 200 ")
    writer.close()


async def test_it_answers_on_a_unix_socket(tmp_path, monkeypatch):
    """`health: {listen: unix:…}`."""
    monkeypatch.chdir(tmp_path)
    sock = socket.socket(socket.AF_UNIX)
    sock.bind("h")

    async def probe() -> bool:
        return True

    server = HealthServer(probe, Gate(0).scrape)
    await server.start([sock])
    reader, writer = await asyncio.open_unix_connection("h")
    writer.write(get("/readyz"))
    assert (await reader.read()).startswith(b"HTTP/1.1 200 ")
    writer.close()
    await server.close()
