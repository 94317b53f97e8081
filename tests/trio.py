"""Gates of one configuration, one for each way that a request can take, and what they did.

Each stands before a `Mirror` of its own, and is asked the same. What differs for other reasons (ids,
dates, ports, signatures) is made equal; all else is compared byte for byte. What never belongs
here: what is right.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import re
import socket
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from proxy.edge.server import GateServer
from proxy.model import AccessRecord
from proxy.services.runtime import Runtime, load
from tests.lanes import COMPARED, forget_people, is_whole

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
PATIENCE_S = 4.0
ROUNDS = 3
"""The first teaches an eager memo, the second is put together from lines, the third is a known block."""
LOOKED_UP = ("hits", "refusal_hits", "misses", "served_stale")
"""What is counted of verdicts."""
PROBE = b"GET /probe HTTP/1.1\r\nHost: gate\r\n\r\n"

Step = bytes | float | str
"""Bytes to send, seconds to wait, or `close` and `reset`."""

_ID = re.compile(rb"\b[0-9a-f]{32}\b")
_DATE = re.compile(rb"(?i)(\r\ndate: )[^\r]*")
_PORT = re.compile(rb"127\.0\.0\.1:\d+")
_JWT = re.compile(rb"eyJ[\w-]+\.([\w-]+)\.[\w-]+")
_AGO = re.compile(r"\b\d+ s ago\b")
_RETRY = re.compile(rb"(?i)(\r\nretry-after: )\d+")


def pieces(data: bytes) -> list[Step]:
    """Return an answer that comes byte by byte."""
    return [data[at : at + 1] for at in range(len(data))]


class Mirror:
    """An application that says what its table says, and keeps every byte that it was sent."""

    def __init__(self, answers: Mapping[bytes, Sequence[Step]]) -> None:
        """Take the answers by path; any other path is answered with `OK`."""
        self.answers = answers
        self.received: list[bytes] = []
        self.connections = 0
        self.port = 0
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Listen."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Be gone."""
        if self._server is not None:
            self._server.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self.connections += 1
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                while await self._serve(reader, writer):
                    pass
        finally:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = await reader.readuntil(b"\r\n\r\n")
        body = b""
        if found := re.search(rb"(?i)\r\ncontent-length: (\d+)", head):
            body = await reader.readexactly(int(found[1]))
        elif b"\r\ntransfer-encoding: chunked" in head.lower():
            body = await reader.readuntil(b"0\r\n\r\n")
        self.received.append(head + body)
        path = re.split(rb"[ ?]", head, maxsplit=2)[1]
        for step in self.answers.get(path, (OK,)):
            if isinstance(step, bytes):
                writer.write(step)
                await writer.drain()
                await asyncio.sleep(0)
                await asyncio.sleep(0)
            elif isinstance(step, float):
                await asyncio.sleep(step)
            else:
                if step == "close":
                    writer.close()
                    await writer.wait_closed()
                return False
        return True


@dataclass
class One:
    """A gate that takes one way, its application, and what it said of what it did."""

    mode: str
    mirror: Mirror
    runtime: Runtime
    server: GateServer
    port: int
    records: list[AccessRecord] = field(default_factory=list)
    more: Mapping[str, Any] = field(default_factory=dict)

    async def connect(self, address: str | None = None, **options: Any) -> Client:
        """Open a connection; `address`: from there."""
        if "path" in options:
            return Client(*await asyncio.open_unix_connection(**options))
        options |= {"local_addr": (address, 0)} if address else {}
        port = options.pop("port", self.port)
        return Client(*await asyncio.open_connection("127.0.0.1", port, **options))

    def forget(self) -> None:
        """Empty the memo."""
        if self.server.lane is not None:
            for memo in self.server.lane._memos.values():
                memo.clear()


class Client:
    """A connection to a gate."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def say(self, *packets: bytes) -> None:
        """Send packets, one by one."""
        with contextlib.suppress(ConnectionError):
            for packet in packets:
                self.writer.write(packet)
                await self.writer.drain()
                for _ in range(3 if len(packets) > 1 else 0):
                    await asyncio.sleep(0)

    async def hear(self, *methods: bytes) -> bytes:
        """Return the answers to `methods`; what ends before them ends with `<end>`."""
        raw = b""
        try:
            async with asyncio.timeout(PATIENCE_S):
                while not is_whole(raw, *methods):
                    data = await self.reader.read(65536)
                    if not data:
                        return raw + b"<end>"
                    raw += data
        except ConnectionError:
            return raw + b"<reset>"
        except TimeoutError:
            return raw + b"<nothing>"
        return raw

    async def close(self) -> None:
        """Leave."""
        self.writer.close()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()


def is_over(raw: bytes) -> bool:
    """Tell whether nothing more can be asked on the connection that said so."""
    ends = raw.endswith((b"<end>", b"<reset>", b"<nothing>"))
    return ends or b"\r\nconnection: close" in raw.lower()


def talk_of(*requests: Sequence[bytes], rounds: int = ROUNDS) -> Callable[[One], Any]:
    """Return a conversation that says requests, each in its packets, one by one and several times.

    On one connection, as long as it lasts; in the end it looks what is left of that.
    """

    async def talk(gate: One) -> list[bytes]:
        heard, client = [], await gate.connect()
        for packets in [*requests] * rounds + [(PROBE,)]:
            method = packets[0].lstrip(b"\r\n").partition(b" ")[0]
            await client.say(*packets)
            heard.append(await client.hear(method))
            if is_over(heard[-1]):
                await client.close()
                client = await gate.connect()
            if heard[-1].endswith(b"<nothing>"):
                break
        await client.close()
        return heard

    return talk


def equal(raw: bytes) -> bytes:
    """Return bytes without what differs between gates for reasons of its own."""
    raw = _JWT.sub(_claims, _ID.sub(b"<id>", raw))
    raw = _RETRY.sub(rb"\1<s>", _DATE.sub(rb"\1<date>", raw))
    return _PORT.sub(b"127.0.0.1:<port>", raw)


def _claims(found: re.Match[bytes]) -> bytes:
    text = found[1] + b"=" * (-len(found[1]) % 4)
    told = json.loads(base64.urlsafe_b64decode(text))
    kept = {name: value for name, value in told.items() if name not in ("iat", "exp", "nbf", "jti")}
    return b"<token %b>" % json.dumps(kept, sort_keys=True).encode()


def account(record: AccessRecord) -> AccessRecord:
    """Return a log record without what differs between gates for reasons of its own."""
    server = None if record.server is None else "<server>"
    upstream_s = None if record.upstream_s is None else 0.0
    request_id = "<id>" if len(record.request_id) == 32 else record.request_id
    detail = record.detail and _AGO.sub("<s> ago", record.detail)
    return replace(
        record, request_id=request_id, started_at=0.0, duration_s=0.0, upstream_s=upstream_s,
        server=server, detail=detail,
    )  # fmt: skip


class Trio:
    """The gates."""

    def __init__(self, gates: Sequence[One]) -> None:
        self.gates = {gate.mode: gate for gate in gates}

    def __iter__(self) -> Any:
        return iter(self.gates.values())

    def __getitem__(self, mode: str) -> One:
        return self.gates[mode]

    async def same(self, talk: Callable[[One], Any], about: str = "") -> Any:
        """Have the same talk with each, and compare what was said, sent on, logged and counted.

        The talk closes its connections.
        Returns what the client heard of the ordinary way.
        """
        talks = (self._talk(talk, gate) for gate in self)
        told = dict(zip(self.gates, await asyncio.gather(*talks), strict=True))
        for mode in [mode for mode in self.gates if mode != "off"]:
            for what, ordinary, other in zip(
                ("heard", "sent on", "connected", "logged", "counted"),
                told["off"],
                told[mode],
                strict=True,
            ):
                wanted = ordinary
                if mode == "new" and what == "counted":
                    wanted = {name: ordinary[name] for name in ordinary if name not in LOOKED_UP}
                assert other == wanted, (
                    f"{about}: {what} otherwise with the lane {mode}: {difference(wanted, other)}"
                )
        return told["off"][0]

    async def _talk(self, talk: Callable[[One], Any], gate: One) -> tuple[Any, ...]:
        gate.mirror.received.clear()
        gate.records.clear()
        before, connections = counted(gate), gate.mirror.connections
        heard = await talk(gate)
        async with asyncio.timeout(PATIENCE_S):
            while gate.server.connections:  # noqa: ASYNC110 - until its last line is written
                await asyncio.sleep(0)
        heard = [equal(raw) for raw in ([heard] if isinstance(heard, bytes) else heard)]
        sent = [equal(raw) for raw in gate.mirror.received]
        after = counted(gate)
        grown = {name: after[name] - before.get(name, 0) for name in sorted(after)}
        logged = [account(record) for record in gate.records]
        connected = [gate.mirror.connections - connections]
        return (
            heard,
            sent,
            connected,
            logged,
            {name: count for name, count in grown.items() if count},
        )


def difference(ordinary: Any, other: Any) -> str:
    """Return where two accounts part."""
    if isinstance(ordinary, dict):
        names = sorted({*ordinary, *other})
        parted = {
            n: (ordinary.get(n), other.get(n)) for n in names if ordinary.get(n) != other.get(n)
        }
        return str(parted)
    for number, (one, two) in enumerate(zip(ordinary, other, strict=False)):
        if one != two:
            return f"number {number}: {one!r} became {two!r}"
    return f"{len(ordinary)} became {len(other)}: {[*ordinary, *other][min(len(ordinary), len(other))]!r}"


def counted(gate: One) -> dict[str, int]:
    """Return what a gate has counted, but for how long it took."""
    counters = gate.server.counters
    told = {f"request {key}": cell.count for key, cell in counters.cells.items()}
    told["bytes in"], told["bytes out"] = counters.bytes_in, counters.bytes_out
    for name, upstream in counters.upstreams.items():
        told[f"{name} answered"] = sum(upstream.durations.buckets)
        for kind, count in enumerate(upstream.statuses):
            told[f"{name} {kind + 1}xx"] = count
        for code, count in upstream.errors.items():
            told[f"{name} {code}"] = count
    told |= {f"{key} timed": sum(c.durations.buckets) for key, c in counters.cells.items()}
    if gate.mode != "new":  # who is looked up each time is no hit
        coherence = gate.runtime.coherence.counters
        told |= {name: getattr(coherence, name) for name in LOOKED_UP}
    return told


@contextlib.asynccontextmanager
async def trio(
    directory: Path,
    text: str,
    answers: Mapping[bytes, Sequence[Step]],
    *,
    listen: Callable[[GateServer], Any] | None = None,
    modes: Sequence[str] = COMPARED,
    **values: str,
) -> AsyncIterator[Trio]:
    """Start a gate of each mode; `@app@` in `text` is its application.

    `listen` may open further listeners; what it returns is the gate's `more`.
    """
    async with contextlib.AsyncExitStack() as stack:
        gates = []
        for mode in modes:
            mirror = Mirror(answers)
            await mirror.start()
            stack.push_async_callback(mirror.stop)
            path = directory / f"{mode}.yaml"
            path.write_text(_filled(text, {"app": f"http://127.0.0.1:{mirror.port}", **values}))
            runtime = await Runtime.start(load(path), gate_id="here", watches_revocations=True)
            stack.push_async_callback(runtime.close)
            records: list[AccessRecord] = []
            way = "warm" if mode == "new" else mode
            server = GateServer(runtime, access_log=records.append, express=way)
            if mode == "new":
                forget_people(server.lane)
            sock = _bind()
            await server.start([sock])
            stack.push_async_callback(server.drain, 1.0)
            more = {} if listen is None else await listen(server)
            port = sock.getsockname()[1]
            gates.append(One(mode, mirror, runtime, server, port, records, more))
        yield Trio(gates)


def _filled(text: str, said: Mapping[str, str]) -> str:
    return re.sub(r"@(\w+)@", lambda found: said[found[1]], text)


def _bind() -> socket.socket:
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    sock.listen(128)
    return sock
