"""The decision and redirect listeners of a whole gate: every worker answers there, and they end with them."""

from __future__ import annotations

import asyncio
import signal

CONFIG = """
server: {{listen: "127.0.0.1:0", workers: 2}}
health: none
decision: {{listen: "unix:{socket}", callers: [{{from: unix, dialect: haproxy}}]}}
redirect: {{listen: "unix:{led}", hosts: [a.test]}}
upstreams: {{app: {{servers: ["http://127.0.0.1:{port}"]}}}}
routes: [{{match: {{path: "/**"}}, auth: none, upstream: app}}]
"""
QUESTION = (
    b"GET /check HTTP/1.1\r\nHost: a.test\r\nX-Original-Method: GET\r\nX-Original-URI: /a\r\n"
    b"X-Forwarded-Proto: http\r\nX-Forwarded-For: 192.0.2.1\r\nConnection: close\r\n\r\n"
)


async def test_the_workers_of_a_gate_answer_questions(serve, application, tmp_path):
    """The supervisor binds the sockets, the workers answer on them, and their files go with the gate."""
    socket, led = tmp_path / "d.sock", tmp_path / "r.sock"
    gate = await serve(CONFIG.format(socket=socket, led=led, port=application.port))
    await gate.ready()
    reader, writer = await asyncio.open_unix_connection(str(led))
    writer.write(b"GET /a HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n")
    async with asyncio.timeout(20):
        assert b"\r\nLocation: https://a.test/a\r\n" in await reader.read()
    writer.close()
    reader, writer = await asyncio.open_unix_connection(str(socket))
    writer.write(QUESTION)
    async with asyncio.timeout(20):
        answer = await reader.read()
    writer.close()

    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"X-Latchgate-Upstream: app\r\n" in answer
    gate.send(signal.SIGTERM)
    assert await gate.exit() == 0
    assert not socket.exists()
    assert not led.exists()
