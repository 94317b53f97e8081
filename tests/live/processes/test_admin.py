"""The admin API of a whole gate: who may use it, and that what it ends is ended in every worker."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import stat
import time
from http import HTTPStatus

import pytest

TOKEN = "0123456789abcdef0123456789abcdef"
CONFIG = """
server: {{listen: "127.0.0.1:0", workers: 2}}
health: none
admin: {admin}
store: {{url: "{store}"}}
schemes: {{web: {{type: session, format: native, cookie: sid}}}}
upstreams: {{app: {{servers: ["http://127.0.0.1:{port}"]}}}}
routes: [{{match: {{path: "/**"}}, auth: [web], upstream: app}}]
"""


async def exchange(streams, raw: bytes) -> tuple[int, dict[str, str], bytes]:
    """Send a request; return status, headers and body of the answer."""
    reader, writer = streams
    writer.write(raw)
    async with asyncio.timeout(20):
        answer = await reader.read()
    writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    return int(first.split()[1]), headers, body


def request(method: str, path: str, content=None, **headers: str) -> bytes:
    """Write a request."""
    body = b"" if content is None else json.dumps(content).encode()
    lines = {"Host": "localhost", "Content-Length": str(len(body))}
    if content is not None:
        lines["Content-Type"] = "application/json"
    lines |= {name.replace("_", "-"): value for name, value in headers.items()}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + body


@pytest.fixture
async def start(serve, valkey, application):
    """Return a function that runs a gate with an admin listener."""

    async def begin(admin: str):
        port = application.port
        gate = await serve(CONFIG.format(admin=admin, store=valkey.url, port=port))
        await gate.ready()
        return gate

    return begin


async def until(condition) -> None:
    """Ask again until `condition` holds."""
    async with asyncio.timeout(10):
        while not await condition():  # noqa: ASYNC110 - another process does it
            await asyncio.sleep(0.01)


async def is_refused(statuses) -> bool:
    """Tell whether no worker lets the session in any more."""
    return await statuses() == {401}


def make_session(valkey, subject: str) -> tuple[str, str]:
    """Write a session as another program would; return its cookie and its id."""
    cookie = f"cookie-of-{subject}"
    digest = hashlib.sha256(cookie.encode()).hexdigest()
    now = int(time.time())
    record = {"v": 1, "sub": subject, "created_at": now, "expires_at": now + 3600}
    with valkey.client() as client:
        client.set(f"latchgate:session:{{{digest}}}", json.dumps(record))
    return cookie, digest


async def test_what_it_ends_is_refused_by_every_worker(start, valkey, directory):
    """A session opens the gate, is found by its first use, and is shut out everywhere when ended."""
    gate = await start(f'{{listen: "unix:{directory}/a"}}')
    cookie, digest = make_session(valkey, "ada")

    async def statuses() -> set[int]:
        return {(await gate.get(Cookie=f"sid={cookie}"))[0] for _ in range(8)}

    async def ask(raw: bytes):
        return await exchange(await asyncio.open_unix_connection(directory / "a"), raw)

    assert {200} == await statuses()

    async def is_listed() -> bool:
        _, _, body = await ask(request("GET", "/sessions?subject=ada"))
        return [digest] == [item["id"] for item in json.loads(body)["sessions"]]

    await until(is_listed)  # the first use is written behind the answer
    status, headers, body = await ask(request("DELETE", f"/sessions/{digest}"))
    assert (200, {"revoked": 1}) == (status, json.loads(body))
    assert ("application/json", "no-store", "close") == (
        headers["content-type"],
        headers["cache-control"],
        headers["connection"],
    )
    await until(lambda: is_refused(statuses))
    status, _, body = await ask(request("DELETE", f"/sessions/{digest}"))
    assert (404, "session_not_found") == (status, json.loads(body)["code"])
    with valkey.client() as client:
        ((_, noted),) = client.xrange("latchgate:audit")
    assert (b"ada", b"unix") == (noted[b"subject"], noted[b"address"])


async def test_s11_the_socket_is_its_users_alone(start, directory):
    """S11: mode 0600 from its first moment, whatever the umask, and gone with the gate."""
    before = os.umask(0)
    try:
        gate = await start(f'{{listen: "unix:{directory}/a"}}')
    finally:
        os.umask(before)
    path = directory / "a"
    assert 0o600 == stat.S_IMODE(path.stat().st_mode)
    gate.process.terminate()
    assert 0 == await gate.exit()
    assert not path.exists()


async def test_s11_on_tcp_only_a_program_with_the_token_is_heard(start, directory):
    """S11: no token, a page of a browser, or a foreign name: refused, and nothing is said."""
    (directory / "token").write_text(TOKEN)
    gate = await start('{listen: "127.0.0.1:0", token: {file: token}}')
    said = await gate.said("admin API on http://127.0.0.1:")
    port = int(said.rpartition(":")[2])
    bearer = f"Bearer {TOKEN}"

    async def ask(**headers: str) -> tuple[int, bytes]:
        streams = await asyncio.open_connection("127.0.0.1", port)
        status, _, body = await exchange(streams, request("GET", "/sessions", **headers))
        return status, body

    assert HTTPStatus.OK == (await ask(Authorization=bearer))[0]
    for status, headers in (
        (401, {}),
        (401, {"Authorization": "Bearer " + TOKEN[::-1]}),
        (403, {"Authorization": bearer, "Origin": f"http://127.0.0.1:{port}"}),
        (403, {"Authorization": bearer, "Sec-Fetch-Site": "same-origin"}),
        (400, {"Authorization": bearer, "Host": "evil.example"}),
    ):
        found, body = await ask(**headers)
        assert (status, "sessions" in json.loads(body)) == (found, False)
    assert TOKEN not in "".join(gate.raw)
    assert TOKEN[::-1] not in "".join(gate.raw)


async def test_an_outage_is_said_and_outlived(start, directory, valkey):
    """While the store is away the API says 503; no list is ever empty for want of an answer."""
    await start(f'{{listen: "unix:{directory}/a"}}')
    with valkey.client() as client:
        client.config_set("requirepass", "x")
        client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")

        async def answer() -> tuple[int, bytes]:
            streams = await asyncio.open_unix_connection(directory / "a")
            status, _, body = await exchange(streams, request("GET", "/sessions"))
            return status, body

        status, body = await answer()
        client.config_set("requirepass", "")
        assert (503, "store_unavailable") == (status, json.loads(body)["code"])

        async def is_back() -> bool:
            return (await answer())[0] == HTTPStatus.OK

        await until(is_back)
