"""Whole gates: `latchgate serve` as its users run it, with real workers and real signals."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import json
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from proxy.adapters.tasks import spawn

ROOT = Path(__file__).parents[3]
WAIT_S = 30.0
NO_AUTHORITIES = {"SSL_CERT_FILE": os.devnull}
"""The system's certificate authorities are read at each start of a process, which takes it a tenth of a
second. Nobody here is spoken to whom they would vouch for."""


class GateProcess:
    """A running `latchgate serve`, its log lines, and its port."""

    def __init__(self, process: asyncio.subprocess.Process, directory: Path) -> None:
        self.process = process
        self.directory = directory
        self.lines: list[dict[str, Any]] = []
        self.raw: list[str] = []
        self._news = asyncio.Condition()
        self._reading = spawn(self._read(), name="log of the gate")

    async def _read(self) -> None:
        assert self.process.stderr is not None
        async for line in self.process.stderr:
            async with self._news:
                text = line.decode()
                self.raw.append(text)
                with contextlib.suppress(ValueError):
                    self.lines.append(json.loads(text))
                self._news.notify_all()
        async with self._news:
            self._news.notify_all()

    def messages(self) -> list[str]:
        """Return the log messages so far."""
        return [line.get("message", "") for line in self.lines]

    async def said(self, words: str, *, times: int = 1) -> str:
        """Wait until `times` log messages contain `words`; return the last of them."""
        async with asyncio.timeout(WAIT_S), self._news:
            while True:
                found = [message for message in self.messages() if words in message]
                if len(found) >= times:
                    return found[times - 1]
                if self._reading.done():
                    raise AssertionError(f"{words!r} never came: {''.join(self.raw)}")
                await self._news.wait()

    async def ready(self) -> None:
        """Wait until every worker serves."""
        await self.said("all workers are ready")

    @property
    def port(self) -> int:
        """The public port that the log names."""
        (message,) = [m for m in self.messages() if m.startswith("listening on http")]
        return int(message.rpartition(":")[2])

    def workers(self) -> list[int]:
        """Return the process ids of the workers that became ready, oldest first."""
        return [
            int(message.rpartition("process ")[2].rstrip(")"))
            for message in self.messages()
            if "is ready (process" in message
        ]

    async def requests(self, count: int) -> list[dict[str, Any]]:
        """Wait until `count` requests were logged; return their lines."""
        async with asyncio.timeout(WAIT_S), self._news:
            while len(found := [line for line in self.lines if line["event"] == "request"]) < count:
                await self._news.wait()
        return found

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the supervisor."""
        self.process.send_signal(number)

    async def exit(self) -> int:
        """Wait for the supervisor's end and return its status."""
        async with asyncio.timeout(WAIT_S):
            status = await self.process.wait()
            await self._reading
        return status

    async def stop(self) -> None:
        """End whatever is left."""
        if self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self.process.kill()
        await self.process.wait()
        self._reading.cancel()
        await asyncio.wait([self._reading])

    async def get(self, path: str = "/", **headers: str) -> tuple[int, bytes]:
        """Send one GET on a connection of its own; return status and body."""
        return await fetch(await asyncio.open_connection("127.0.0.1", self.port), path, **headers)

    async def health(self, path: str) -> tuple[int, bytes]:
        """Ask the health listener."""
        streams = await asyncio.open_unix_connection(self.directory / "h")
        return await fetch(streams, path)


async def fetch(
    streams: tuple[asyncio.StreamReader, asyncio.StreamWriter], path: str, **headers: str
) -> tuple[int, bytes]:
    """Send one GET, read to the end of the connection; return status and body."""
    reader, writer = streams
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    try:
        writer.write(f"GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{lines}\r\n".encode())
        async with asyncio.timeout(WAIT_S):
            answer = await reader.read()
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split(b" ")[1]), body


def kill(pid: int) -> None:
    """Kill one process at once, as the kernel's out-of-memory killer would."""
    os.kill(pid, signal.SIGKILL)


async def is_closed(port: int) -> bool:
    """Tell whether nobody listens on `port` any more."""
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return True
    writer.close()
    return False


async def eventually(condition: Callable[[], Any]) -> None:
    """Wait for what nobody tells a stranger: `condition` may also return an awaitable."""
    async with asyncio.timeout(WAIT_S):
        while True:
            found = condition()
            if (await found) if inspect.isawaitable(found) else found:
                return
            await asyncio.sleep(0.02)


def is_running(pid: int) -> bool:
    """Tell whether a process is there and not a zombie."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return text.rpartition(")")[2].split()[0] != "Z"


async def gone(pids: list[int]) -> None:
    """Wait until none of the processes is there any more."""
    await eventually(lambda: not any(map(is_running, pids)))


def descendants(pid: int) -> list[int]:
    """Return the ids of all children, and theirs, of a process."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for child in map(int, task.read_text().split()):
                found += [child, *descendants(child)]
    return found


Serve = Callable[..., Awaitable[GateProcess]]


@pytest.fixture
def directory() -> Any:
    """Give a directory with a path that is short enough for sockets."""
    path = Path(tempfile.mkdtemp(prefix="lgp-"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
async def serve(directory: Path) -> AsyncIterator[Serve]:
    """Return a function that runs `latchgate serve` on a configuration's text.

    `through` is a command that runs the rest of its line.
    """
    gates: list[GateProcess] = []

    async def start(text: str, *arguments: str, through: Sequence[str] = ()) -> GateProcess:
        file = directory / "latchgate.yaml"
        file.write_text(text)
        process = await asyncio.create_subprocess_exec(
            *(*through, sys.executable, "-m", "proxy", "serve", "-c", str(file), *arguments),
            cwd=ROOT,
            env={
                **os.environ,
                **NO_AUTHORITIES,
                "XDG_RUNTIME_DIR": str(directory),
                "TMPDIR": str(directory),
            },
            stderr=asyncio.subprocess.PIPE,
        )
        gates.append(GateProcess(process, directory))
        return gates[-1]

    yield start
    for gate in gates:
        left = descendants(gate.process.pid)
        await gate.stop()
        await gone(left)


class Shell:
    """A shell of the gate's user, which knows nothing of the gate's environment."""

    def __init__(self, directory) -> None:
        self.directory = directory
        self.environment = {**os.environ, **NO_AUTHORITIES, "XDG_RUNTIME_DIR": str(directory)}

    async def run(
        self, *arguments: str, stdin: str = "", through: Sequence[str] = (), **environment: str
    ) -> tuple[int, str, str]:
        """Run `latchgate …`, `through` another command; return status, output and complaints."""
        process = await asyncio.create_subprocess_exec(
            *(*through, sys.executable, "-m", "proxy", *arguments),
            *("-c", str(self.directory / "latchgate.yaml")),
            cwd=ROOT,
            env={**self.environment, **environment},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(60):
            out, error = await process.communicate(stdin.encode())
        assert process.returncode is not None
        return process.returncode, out.decode(), error.decode()

    async def json(self, *arguments: str, stdin: str = "", status: int = 0) -> Any:
        """Run a command with `--json`; return what it prints."""
        found, out, error = await self.run(*arguments, "--json", stdin=stdin)
        assert status == found, out + error
        return json.loads(out)


@pytest.fixture
def shell(directory: Path) -> Shell:
    """Give a shell of the gate's user."""
    return Shell(directory)


class Application:
    """An upstream that answers when it is allowed to."""

    def __init__(self) -> None:
        self.port = 0
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.asked = asyncio.Event()
        self.heads: list[bytes] = []
        self.writers: list[asyncio.StreamWriter] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer requests without bodies, one after the other."""
        self.writers.append(writer)
        with contextlib.suppress(asyncio.IncompleteReadError, OSError):
            while head := await reader.readuntil(b"\r\n\r\n"):
                self.heads.append(head)
                self.asked.set()
                await self.may_answer.wait()
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
                await writer.drain()
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


@pytest.fixture
async def application() -> AsyncIterator[Application]:
    """Run an upstream in this process."""
    app = Application()
    server = await asyncio.start_server(app.serve, "127.0.0.1", 0)
    app.port = server.sockets[0].getsockname()[1]
    yield app
    app.may_answer.set()
    server.close()
    for writer in app.writers:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


@pytest.fixture
def public(application: Application) -> str:
    """Give a configuration with a public route, two workers and no store."""
    return f"""
server: {{listen: "127.0.0.1:0", workers: 2, drain: 20s}}
health: {{listen: "unix:h"}}
log: {{format: json}}
upstreams: {{app: {{servers: ["http://127.0.0.1:{application.port}"]}}}}
routes: [{{match: {{path: "/**"}}, auth: none, upstream: app}}]
"""
