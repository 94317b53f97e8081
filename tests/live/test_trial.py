"""`latchgate serve --upstream`: guarded without a file, tried with what it prints, gone afterwards."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import signal
import socket
import sys
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web

pytestmark = pytest.mark.slow

WAIT_S = 90


async def whoami(request):
    return web.json_response({"subject": request.headers.get("X-Auth-Subject")})


async def echo(request):
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    async for message in socket:
        await socket.send_str(f"{request.headers['X-Auth-Subject']}: {message.data}")
    return socket


@pytest.fixture
async def application(aiohttp_server):
    """Give the address of an application with a page and a WebSocket."""
    app = web.Application()
    app.add_routes([web.get("/", whoami), web.get("/socket", echo)])
    server = await aiohttp_server(app)
    return f"http://127.0.0.1:{server.port}"


@asynccontextmanager
async def trial(*arguments, temporary, stderr=asyncio.subprocess.DEVNULL):
    """Run `latchgate serve …` with its temporary files in `temporary`."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "proxy", "serve", "--listen", "127.0.0.1:0", *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=stderr,
        env={"PATH": "/usr/bin:/bin", "TMPDIR": str(temporary)},
    )
    try:
        async with asyncio.timeout(WAIT_S):
            yield process
            process.send_signal(signal.SIGINT)
            assert 0 == await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_it_guards_and_its_keys_open(application, tmp_path):
    """No key is 401; the session and the token open everything, WebSockets too; nothing stays."""
    async with trial("--upstream", application, "--json", temporary=tmp_path) as process:
        told = json.loads(await process.stdout.readline())
        assert {"url", "subject", "cookie", "token"} == set(told)
        (state,) = tmp_path.glob("latchgate-*/var")
        assert 0o700 == state.parent.stat().st_mode & 0o777
        keys = ({"Cookie": told["cookie"]}, {"Authorization": f"Bearer {told['token']}"})
        async with aiohttp.ClientSession() as client:
            async with client.get(told["url"]) as answer:
                assert 401 == answer.status
            for key in keys:
                async with client.get(told["url"], headers=key) as answer:
                    assert {"subject": told["subject"]} == await answer.json()
                async with client.ws_connect(f"{told['url']}/socket", headers=key) as socket:
                    await socket.send_str("hello")
                    assert f"{told['subject']}: hello" == await socket.receive_str()
    assert [] == list(tmp_path.glob("latchgate-*/var"))


@pytest.mark.skipif(shutil.which("curl") is None, reason="the printed commands need curl")
async def test_what_it_prints_can_be_pasted(application, tmp_path):
    """Each curl command does what the line above it says; the browser's line has the same cookie."""
    async with trial("--upstream", application, temporary=tmp_path) as process:
        text = (await process.stdout.readuntil(b"with it.\n")).decode()
        commands = dict(re.findall(r"^# (.+)\n(.+)$", text, re.MULTILINE))
        curls = [line for line in commands.values() if line.startswith("curl")]
        statuses = []
        for line in curls:
            curl = await asyncio.create_subprocess_shell(line, stdout=asyncio.subprocess.PIPE)
            output, _ = await curl.communicate()
            statuses.append(int(output.split()[1]))
        assert [401, 200, 200] == statuses
        (pair,) = set(re.findall(r"latchgate_trial=[\w-]+", text))
        (script,) = [line for line in commands.values() if line.startswith("document.cookie")]
        assert f'document.cookie = "{pair}; path=/"; location.reload()' == script
        assert f"serve --upstream {application} --print-config" in text


async def test_the_cookie_is_kept_over_plain_http(application, tmp_path):
    """A browser on http://127.0.0.1 must be able to send it back: neither prefix nor Secure."""
    async with trial("--upstream", application, "--json", temporary=tmp_path) as process:
        told = json.loads(await process.stdout.readline())
        name, _, value = told["cookie"].partition("=")
        assert not name.startswith("__")
        jar = aiohttp.CookieJar(unsafe=True)
        async with aiohttp.ClientSession(cookie_jar=jar) as client:
            jar.update_cookies({name: value})
            async with client.get(told["url"]) as answer:
                assert 200 == answer.status


async def test_an_application_that_is_not_there_is_a_warning(tmp_path):
    """One line, as `check --connect` has it; the gate runs, for the application may come."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        upstream = f"http://127.0.0.1:{probe.getsockname()[1]}"
    pipe = asyncio.subprocess.PIPE
    async with trial("--upstream", upstream, "--json", temporary=tmp_path, stderr=pipe) as process:
        await process.stderr.readuntil(
            f"warning: {upstream} cannot be reached: Connection refused\n".encode()
        )
        told = json.loads(await process.stdout.readline())
        async with (
            aiohttp.ClientSession() as client,
            client.get(told["url"], headers={"Cookie": told["cookie"]}) as answer,
        ):
            assert 502 == answer.status


async def test_on_a_socket_nothing_is_said_of_browsers(application, tmp_path):
    """None opens it; curl does."""
    place = f"unix:{tmp_path}/gate.sock"
    async with trial("--upstream", application, "--listen", place, temporary=tmp_path) as process:
        text = (await process.stdout.readuntil(b"with it.\n")).decode()
    assert f"{application} is guarded at {place}. " in text
    assert f"curl -i --unix-socket {tmp_path}/gate.sock" in text
    assert "document.cookie" not in text
