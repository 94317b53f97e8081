"""A server that says what a test writes down, byte by byte."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field

import pytest

from proxy.adapters.store import StoreAddress

CLOSE = b"<close>"
"""In a list of answers: end the connection instead."""


@dataclass
class ScriptedServer:
    """Answers the n-th write of a client with the n-th answer, over all connections."""

    address: StoreAddress
    answers: Sequence[bytes]
    received: list[bytes] = field(default_factory=list)
    connections: int = 0
    heard: asyncio.Event = field(default_factory=asyncio.Event)


@pytest.fixture
async def scripted(tmp_path) -> AsyncIterator[Callable]:
    """Start scripted servers; they end with the test."""
    async with contextlib.AsyncExitStack() as stack:

        async def start(*answers: bytes) -> ScriptedServer:
            path = str(tmp_path / f"s{len(list(tmp_path.iterdir()))}")
            server = ScriptedServer(StoreAddress(socket_path=path), answers)
            await stack.enter_async_context(listening(server))
            return server

        yield start


@contextlib.asynccontextmanager
async def listening(script: ScriptedServer) -> AsyncIterator[None]:
    """Serve a script on its socket."""
    writers: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        script.connections += 1
        writers.append(writer)
        while data := await reader.read(65536):
            script.received.append(data)
            script.heard.set()
            place = len(script.received) - 1
            answer = script.answers[place] if place < len(script.answers) else b""
            if answer == CLOSE:
                writer.transport.abort()
                return
            writer.write(answer)

    server = await asyncio.start_unix_server(serve, script.address.socket_path)
    try:
        yield
    finally:
        server.close()
        for writer in writers:
            writer.transport.abort()
        await server.wait_closed()
        await asyncio.sleep(0)
