"""The admin listener: whom it hears."""

from __future__ import annotations

import asyncio
import socket

import pytest

from proxy.config.addresses import Address
from proxy.config.models import AdminConfig
from proxy.edge.admin import AdminJudge, AdminServer, Guard
from proxy.edge.admin import server as module


@pytest.fixture
async def admin():
    """Run the admin listener on a free port, with services that no refused request reaches."""
    sock = socket.create_server(("127.0.0.1", 0))
    config = AdminConfig(listen=Address("127.0.0.1", sock.getsockname()[1]))
    server = AdminServer(AdminJudge(Guard(config), None))
    await server.start([sock])
    server.port = sock.getsockname()[1]
    yield server
    await server.close()


async def ask(port):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /sessions HTTP/1.1\r\nHost: evil.example\r\n\r\n")
    async with asyncio.timeout(10):
        answer = await reader.read()
    writer.close()
    return answer


async def test_s11_whoever_says_nothing_keeps_no_operator_out(admin, monkeypatch):
    """S11: beyond the bound the oldest connection without a request makes room for the new one."""
    monkeypatch.setattr(module, "READ_TIMEOUT_S", 600.0)
    admin.most = 3
    silent = [await asyncio.open_connection("127.0.0.1", admin.port) for _ in range(5)]
    for _ in range(5):
        assert b"host_invalid" in await ask(admin.port)
    for _, writer in silent:
        writer.close()
