"""A gate in this process, on real sockets, with real applications and a real store."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from proxy.edge import manager as edge
from proxy.edge.lane import Express
from proxy.edge.server import GateServer
from proxy.model import AccessRecord
from proxy.services.runtime import Runtime, load
from tests.lanes import Primed, PrimedTraced, is_whole, kept_alive
from tests.reader import Reader


@dataclass
class RunningGate:
    """A gate that listens on `port`, and what it logged."""

    port: int
    runtime: Runtime
    server: GateServer = field(init=False)
    records: list[AccessRecord] = field(default_factory=list)
    logged: asyncio.Queue[AccessRecord] = field(default_factory=asyncio.Queue)
    lane: str | None = None

    def log(self, record: AccessRecord) -> None:
        self.records.append(record)
        self.logged.put_nowait(record)

    async def next_record(self) -> AccessRecord:
        """Return the next log line that nobody has waited for yet."""
        async with asyncio.timeout(10):
            return await self.logged.get()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def reload(self, path: Path, text: str) -> None:
        """Serve another configuration on the connections that are open."""
        await self.replace(await self.prepare(path, text))

    async def prepare(self, path: Path, text: str) -> Runtime:
        path.write_text(text)
        return await Runtime.start(load(path), before=self.runtime, watches_revocations=True)

    async def replace(self, after: Runtime) -> None:
        before, self.runtime = self.runtime, after
        pending = self.server.adopt(after)
        await pending.ended()
        await before.close(None, after=after)

    async def close(self) -> None:
        await self.runtime.close()

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port)

    async def exchange(self, raw: bytes, *, wait: float = 10) -> bytes:
        """Send `raw` on a connection of its own and return all that comes until its end.

        Under test for the express lane a single request keeps its connection, and its answer is
        read to its end: one that asks for the end of the connection takes no lane.
        """
        in_lane = kept_alive(raw) if self.lane in ("cold", "warm") else None
        reader, writer = await self.connect()
        try:
            writer.write(in_lane or raw)
            async with asyncio.timeout(wait):
                if in_lane is None:
                    return await reader.read()
                method, received = raw.partition(b" ")[0], b""
                while not is_whole(received, method) and (data := await reader.read(65536)):
                    received += data
                return received
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()


def bind() -> socket.socket:
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(("127.0.0.1", 0))
    sock.listen(128)
    return sock


StartGate = Callable[..., Any]


@pytest.fixture
async def start_gate(
    tmp_path: Path, lane: Express | None, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[StartGate]:
    """Return a function that starts a gate from the text of a configuration.

    Its requests take the way that `lane` says (tests/conftest.py).
    """
    if lane == "warm":
        monkeypatch.setattr(edge, "ExpressConnection", Primed)
        monkeypatch.setattr(edge, "TracedConnection", PrimedTraced)
    async with contextlib.AsyncExitStack() as stack:

        async def start(text: str, **options: Any) -> RunningGate:
            path = tmp_path / f"gate-{len(list(tmp_path.iterdir()))}.yaml"
            path.write_text(text)
            loaded = load(path)
            options.setdefault("watches_revocations", True)
            make_tracer = options.pop("make_tracer", None)
            runtime = await Runtime.start(loaded, **options)
            sock = bind()
            gate = RunningGate(sock.getsockname()[1], runtime)
            stack.push_async_callback(gate.close)
            gate.server = GateServer(
                runtime, access_log=gate.log, express=lane, make_tracer=make_tracer
            )
            gate.lane = lane
            await gate.server.start([sock])
            stack.push_async_callback(gate.server.drain, 1.0)
            return gate

        yield start


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Any]:
    """Give a reader of the documentation, in an empty directory."""
    person = Reader(tmp_path)
    yield person
    person.close()
