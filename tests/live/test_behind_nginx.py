"""A real nginx with config/behind-nginx.conf in front of a gate with config/behind-nginx.yaml."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import shutil
import socket
import ssl
import time
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from yarl import URL

from proxy.config.models import SessionSchemeConfig
from proxy.services.schemes.build import open_sessions
from proxy.services.sessions import Login
from tests.live.test_tls import Authority

CONFIG = Path(__file__).parents[2] / "config"
NGINX = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
WAIT_S = 30.0

HOST = "shop.example.com"
SIZE = 3 * 1024 * 1024

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(NGINX is None, reason="nginx is not installed: .ci/run installs it"),
]

AROUND = """
daemon off;
master_process off;
pid nginx.pid;
error_log stderr notice;
events {{}}
http {{
    access_log off;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    include {snippet};
}}
"""


async def _echo(request: web.Request) -> web.StreamResponse:
    if request.headers.get("Upgrade", "").lower() == "websocket":
        socket_ = web.WebSocketResponse()
        await socket_.prepare(request)
        async for message in socket_:
            await socket_.send_str(f"{request.headers['X-Auth-Subject']}: {message.data}")
        return socket_
    return web.json_response(
        {
            "target": request.raw_path,
            "headers": [[name.lower(), value] for name, value in request.headers.items()],
            "body": len(await request.read()),
        }
    )


@pytest.fixture
async def app():
    application = web.Application(client_max_size=64 * 1024 * 1024)
    application.router.add_route("*", "/{tail:.*}", _echo)
    async with TestServer(application) as server:
        yield f"http://127.0.0.1:{server.port}"


@pytest.fixture
async def gate(start_gate, valkey, app, monkeypatch):
    """Run the sample itself; only the environment says where application and store are."""
    monkeypatch.setenv("APP_URL", app)
    monkeypatch.setenv("REDIS_URL", valkey.tcp_url)
    return await start_gate((CONFIG / "behind-nginx.yaml").read_text())


@pytest.fixture
async def session(gate):
    """Give the Cookie header of a session."""
    scheme = gate.runtime.config.schemes["web"]
    assert isinstance(scheme, SessionSchemeConfig)
    sessions = open_sessions(gate.runtime.config, scheme, gate.runtime.store)
    made = await sessions.create(Login("ada"), time.time())
    return {"Cookie": f"{scheme.cookie}={made.cookie}"}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
async def edge(gate, tmp_path):
    """Run nginx with the snippet, of which only places are changed; give its URL and TLS context."""
    authority = Authority(tmp_path)
    cert, key = authority.issue("nginx")
    port = free_port()
    text = (CONFIG / "behind-nginx.conf").read_text()
    for old, new in (
        ("server 127.0.0.1:8080;", f"server 127.0.0.1:{gate.port};"),
        ("listen 443 ssl;", f"listen 127.0.0.1:{port} ssl;"),
        ("/etc/nginx/tls/fullchain.pem", str(cert)),
        ("/etc/nginx/tls/key.pem", str(key)),
    ):
        assert text.count(old) == 1
        text = text.replace(old, new)
    (tmp_path / "snippet.conf").write_text(text)
    (tmp_path / "nginx.conf").write_text(AROUND.format(snippet=tmp_path / "snippet.conf"))
    assert NGINX is not None
    process = await asyncio.create_subprocess_exec(
        *(NGINX, "-p", str(tmp_path), "-c", str(tmp_path / "nginx.conf"), "-e", "stderr")
    )
    try:
        await _listening(process, port)
        yield f"https://127.0.0.1:{port}", ssl.create_default_context(cafile=authority.file), port
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.wait()


async def _listening(process: asyncio.subprocess.Process, port: int) -> None:
    async with asyncio.timeout(WAIT_S):
        while True:
            assert process.returncode is None, "nginx ended"
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.02)
                continue
            writer.close()
            await writer.wait_closed()
            return


@pytest.fixture
async def client(edge):
    """Give a client that speaks to nginx under the site's name."""
    url, context, _ = edge
    async with aiohttp.ClientSession(
        url,
        connector=aiohttp.TCPConnector(ssl=context),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"Host": HOST},
    ) as made:
        yield made


async def test_a_refusal_passes(client):
    """The gate's 401 arrives as it is: status, challenge and problem document."""
    async with client.get("/account") as answer:
        assert (401, 'Cookie realm="web"') == (answer.status, answer.headers["WWW-Authenticate"])
        assert "credential_missing" == (await answer.json(content_type=None))["code"]


async def test_the_application_learns_what_nginx_knows(client, session, edge, gate):
    """Address, scheme, host and port are nginx's word; what the client claims counts nothing."""
    claims = {
        "X-Forwarded-For": "203.0.113.7",
        "X-Forwarded-Proto": "http",
        "X-Forwarded-Host": "evil.example",
        "Forwarded": "for=203.0.113.7;host=evil.example",
        "X-Auth-Subject": "root",
        "X-Request-Id": "chosen-by-the-client",
    }
    async with client.get("/account", headers={**session, **claims}) as answer:
        told = (await answer.json())["headers"]
    one = dict(told)

    assert ["ada"] == [value for name, value in told if name == "x-auth-subject"]
    assert ("127.0.0.1", "https", HOST) == (
        one["x-forwarded-for"].split(",")[0],
        one["x-forwarded-proto"],
        one["x-forwarded-host"].split(":")[0],
    )
    assert str(edge[2]) == one["x-forwarded-port"]
    assert "203.0.113.7" not in str(told)
    assert "evil.example" not in str(told)
    assert len(one["x-request-id"]) == 32
    assert one["x-request-id"] == (await gate.next_record()).request_id


async def test_a_path_arrives_as_it_was_sent(client, session, edge):
    """Decoded and merged is nothing on the way; what is ambiguous is the gate's to refuse."""
    plain = URL(f"{edge[0]}/a%20b/c?x=%2F", encoded=True)
    async with client.get(plain, headers=session) as answer:
        assert "/a%20b/c?x=%2F" == (await answer.json())["target"]
    ambiguous = URL(f"{edge[0]}/assets/..%2faccount", encoded=True)
    async with client.get(ambiguous) as answer:
        assert (400, "path_ambiguous") == (
            answer.status,
            (await answer.json(content_type=None))["code"],
        )


async def test_a_large_body_passes(client, session):
    """The limit of 1 MiB that nginx has is lifted: the gate decides."""
    headers = {**session, "Sec-Fetch-Site": "same-origin"}
    async with client.post("/upload", data=io.BytesIO(bytes(SIZE)), headers=headers) as answer:
        assert (200, SIZE) == (answer.status, (await answer.json())["body"])


async def test_a_websocket_passes(client, session, edge):
    """The upgrade goes through both, guarded: with a session it speaks, without it is 401."""
    async with client.ws_connect("/chat", headers={**session, "Host": HOST}) as chat:
        await chat.send_str("hello")
        assert "ada: hello" == (await asyncio.wait_for(chat.receive(), WAIT_S)).data
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await client.ws_connect("/chat", headers={"Host": HOST})
    assert 401 == refused.value.status
