from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from proxy.run import messages
from proxy.run.channel import ChannelError
from proxy.run.messages import Boot
from proxy.run.process import WorkerProcess
from tests.live.processes.conftest import is_running

pytestmark = pytest.mark.slow

TEXT = """
upstreams: {app: {servers: ["http://127.0.0.1:1"]}}
routes: [{match: {path: "/**"}, auth: none, upstream: app}]
log: {format: json, access: false}
"""

Start = Callable[..., Awaitable[WorkerProcess]]


@pytest.fixture
def listener() -> socket.socket:
    """Give a listening socket on a free port."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        yield sock


@pytest.fixture
async def start(listener, tmp_path) -> AsyncIterator[Start]:
    """Return a function that starts a worker on `listener`."""
    started: list[WorkerProcess] = []

    async def begin(text: str = TEXT) -> WorkerProcess:
        boot = Boot(
            worker=0,
            gate_id="gate",
            text=text,
            file="latchgate.yaml",
            base=str(tmp_path),
            sockets=[listener.fileno()],
            own_addresses=[],
        )
        started.append(await WorkerProcess.start(boot, [listener]))
        return started[-1]

    yield begin
    for process in started:
        await process.kill()


async def test_a_worker_serves_and_drains(start, listener):
    """It says that it is ready, answers on the inherited socket, and ends with 0 when told to."""
    worker = await start()
    assert messages.ready() == await worker.receive()
    reader, writer = await asyncio.open_connection(*listener.getsockname())
    writer.write(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    assert (await reader.read()).startswith(b"HTTP/1.1 502 ")
    writer.close()
    await worker.send(messages.drain(1.0))
    assert await worker.receive() is None
    assert 0 == await worker.ended()
    assert not is_running(worker.pid)


async def test_a_terminals_ctrl_c_does_not_reach_a_worker(start):
    """It has a session of its own, and ignores SIGINT from its first line on."""
    worker = await start()
    assert messages.ready() == await worker.receive()
    assert worker.pid == os.getsid(worker.pid)
    os.kill(worker.pid, signal.SIGINT)
    await worker.send(messages.drain(1.0))
    assert 0 == await worker.ended()


async def test_sigterm_drains_a_single_worker(start):
    """An operator may end one worker in peace; the supervisor replaces it."""
    worker = await start()
    assert messages.ready() == await worker.receive()
    os.kill(worker.pid, signal.SIGTERM)
    assert 0 == await worker.ended()


async def test_a_worker_that_cannot_start_says_why(start):
    """A configuration with mistakes is `failed` with their text, and a status that is not 0."""
    worker = await start(TEXT.replace("upstream: app", "upstream: appp"))
    message = await worker.receive()
    assert "failed" == message["kind"]
    assert message["reason"].startswith("latchgate.yaml:3:")
    assert await worker.receive() is None
    assert 1 == await worker.ended()


async def test_a_killed_worker_is_noticed(start):
    """Its channel ends, and its status names the signal."""
    worker = await start()
    assert messages.ready() == await worker.receive()
    os.kill(worker.pid, signal.SIGKILL)
    assert await worker.receive() is None
    assert -signal.SIGKILL == await worker.ended()
    with pytest.raises(ChannelError):
        await worker.send({"kind": "keys", "text": "x" * 8_000_000})
