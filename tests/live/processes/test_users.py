"""People of the users' file on a whole gate: commands, workers, and changes by hand."""

from __future__ import annotations

import asyncio
import json

import pytest

from tests.live.processes.conftest import WAIT_S, eventually

pytestmark = pytest.mark.slow

CONFIG = """
server: {{listen: ["127.0.0.1:0"], workers: 2}}
health: {{listen: "unix:{directory}/h"}}
store: {{url: "embedded:{directory}/store"}}
upstreams: {{app: {{servers: ["http://127.0.0.1:9"]}}}}
schemes: {{web: {{type: session, format: native}}}}
login: {{scheme: web, users: {{file: users.yaml}}}}
routes: [{{match: {{path: /**}}, auth: web, upstream: app}}]
"""


async def sign_in(gate, password):
    """Sign alice in over a connection of its own; return the status and the session's cookie."""
    body = json.dumps({"username": "alice", "password": password}).encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", gate.port)
    writer.write(
        b"POST /_auth/login HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
        b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
    )
    async with asyncio.timeout(WAIT_S):
        answer = (await reader.read()).decode("latin-1")
    writer.close()
    cookies = [line for line in answer.split("\r\n") if line.startswith("Set-Cookie: sid=")]
    cookie = cookies[0].partition(": ")[2].partition(";")[0] if cookies else None
    # The requests that follow are not for localhost, where the name counts that it has here (S5).
    return int(answer.split(" ")[1]), cookie and f"__Host-{cookie}"


async def test_r6_commands_and_edits_reach_every_worker(serve, shell, directory):
    """R6: a person is added, changes the password, loses a role and is disabled, while two workers serve."""
    text = CONFIG.format(directory=directory)
    (directory / "latchgate.yaml").write_text(text)
    await shell.json("user", "add", "alice", "--role", "a", "--password", "-", stdin="first")
    gate = await serve(text)
    await gate.ready()

    async def statuses(cookie):
        asked = [gate.get("/_auth/me", Cookie=cookie) for _ in range(8)]
        return {status for status, _ in await asyncio.gather(*asked)}

    async def is_in(cookie):
        return await statuses(cookie) == {200}

    async def is_out(cookie):
        return await statuses(cookie) == {401}

    status, first = await sign_in(gate, "first")
    assert (200, True) == (status, await is_in(first))
    told = await shell.json("user", "passwd", "alice", "--password", "-", stdin="second")
    assert 1 == told["ended"]
    await eventually(lambda: is_out(first))
    assert 401 == (await sign_in(gate, "first"))[0]
    status, second = await sign_in(gate, "second")
    assert (200, True) == (status, await is_in(second))
    await asyncio.sleep(1.5)  # workers look each second: what a command has ended is ended once
    assert await is_in(second)

    file = directory / "users.yaml"
    file.write_text(file.read_text().replace("- a\n", "- b\n"))
    await eventually(lambda: is_out(second))
    status, third = await sign_in(gate, "second")
    assert (200, True) == (status, await is_in(third))
    await shell.json("user", "disable", "alice")
    await eventually(lambda: is_out(third))
    assert 401 == (await sign_in(gate, "second"))[0]
