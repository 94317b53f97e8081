"""The gate's own endpoints: where they are, and who may call them."""

from __future__ import annotations

import asyncio
import socket
import struct

import pytest

from proxy.config.loader import load_config
from proxy.errors import ConfigErrors
from proxy.services.own import own_endpoints
from proxy.services.runtime import load


@pytest.mark.parametrize(
    ("login", "host", "path", "status"),
    [
        ("{scheme: web}", "any.test", "/_auth/me", 401),
        ("{scheme: web}", "shop.test", "/_auth/me/", 401),
        ("{scheme: web}", "shop.test", "/_auth/nothing", 404),
        ("{scheme: web}", "shop.test", "/_AUTH/me", 400),
        ("{scheme: web, path: /gate/own}", "shop.test", "/gate/own/me", 401),
        ("{scheme: web, path: /gate/own}", "shop.test", "/_auth/me", 502),
        ("{scheme: web, hosts: shop.test}", "shop.test", "/_auth/me", 401),
        ("{scheme: web, hosts: shop.test}", "any.test", "/_auth/me", 404),
        ("{scheme: web, hosts: login.test}", "login.test", "/_auth/me", 401),
        ("{scheme: web, hosts: login.test}", "shop.test", "/_auth/jwks.json", 200),
    ],
)
async def test_where_they_are(start, client, login, host, path, status):
    """`login.path` and `login.hosts` say where they answer; the rest below the path is 404."""
    gate = await start(login)
    async with client.get(f"{gate.url}{path}", headers={"Host": host}) as answer:
        assert status == answer.status


async def test_a_method_that_an_endpoint_has_not_is_405(start, client):
    """The answer says which ones it has."""
    gate = await start()
    async with client.post(f"{gate.url}/_auth/me") as answer:
        assert (405, "GET, HEAD") == (answer.status, answer.headers["Allow"])


async def test_what_was_to_be_ended_ends_though_nobody_waits_for_it(start, sign_in, valkey):
    """R6: whoever signs out and is gone is signed out; the store takes its time meanwhile."""
    gate = await start()
    made = await sign_in(gate)
    _, writer = await gate.connect()
    with valkey.client() as admin:
        admin.execute_command("CLIENT", "PAUSE", "150", "ALL")
    writer.write(
        b"POST /_auth/logout HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 0\r\n"
        b"Cookie: sid=%b\r\n\r\n" % made.cookie.encode()
    )
    async with asyncio.timeout(10):
        while not under_way("endpoint logout"):  # noqa: ASYNC110 - there is no event for it
            await asyncio.sleep(0)
        broken = struct.pack("ii", 1, 0)  # by a reset: half a connection would be waited for
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, broken)
        writer.transport.abort()
        await gate.next_record()
        while under_way("endpoint logout"):  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.01)

    assert not await gate.runtime.own.login.sessions.is_there(made.digest)


def under_way(name):
    """Tell whether a task of this name runs."""
    return any(task.get_name() == name for task in asyncio.all_tasks())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{scheme: nobody}", "there is no such name"),
        ("{scheme: app}", "must be a session scheme of `format: native`"),
        ("{scheme: web, path: /_auth/}", "without a final slash"),
    ],
)
def test_a_login_that_cannot_be_is_a_mistake_of_the_file(tmp_path, portal_config, text, message):
    """The gate makes sessions in its own format only."""
    file = tmp_path / "gate.yaml"
    config = portal_config.format(store="embedded:store", login=text)
    file.write_text(
        config.replace(
            "login:",
            "  app: {type: session, format: json, cookie: s, identity: {subject: a}}\nlogin:",
        )
    )
    with pytest.raises(ConfigErrors, match=message):
        load_config(file)


def test_a_route_below_the_gates_own_path_is_a_mistake(tmp_path, portal_config):
    """It would never match, wherever the path is."""
    file = tmp_path / "gate.yaml"
    text = portal_config.format(store="embedded:store", login="{scheme: web, path: /gate}")
    file.write_text(text + "  - {match: {path: /gate/app}, auth: none, upstream: app}\n")
    with pytest.raises(ConfigErrors, match="everything under /gate is the gate's own"):
        load(file)


def test_without_login_there_are_no_endpoints(tmp_path, portal_config):
    """What is not configured cannot be called."""
    file = tmp_path / "gate.yaml"
    file.write_text(portal_config.format(store="embedded:store", login="{scheme: web}"))
    config = load_config(file).config
    assert "me" in {endpoint.name for endpoint in own_endpoints(config)}
    assert not list(own_endpoints(config.model_copy(update={"login": None})))


@pytest.mark.parametrize("size", [65_537, None])
async def test_a_body_beyond_what_they_read_is_413(start, client, size):
    """Nothing is held in memory that nobody needs, whether its length is told or not."""
    gate = await start()

    async def chunks():
        for _ in range(9):
            yield b"x" * 8192

    body = b"x" * size if size else chunks()
    async with client.request("GET", f"{gate.url}/_auth/me", data=body) as answer:
        assert 413 == answer.status


async def test_a_body_that_waits_to_be_asked_for_is(start):
    """Expect: 100-continue is answered by the gate itself (RFC 9110 §10.1.1)."""
    gate = await start()
    reader, writer = await gate.connect()
    writer.write(
        b"GET /_auth/me HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n"
        b"Content-Length: 2\r\nConnection: close\r\n\r\n"
    )
    assert b"HTTP/1.1 100 Continue\r\n\r\n" == await reader.readuntil(b"\r\n\r\n")
    writer.write(b"{}")
    assert (await reader.read()).startswith(b"HTTP/1.1 401")
    writer.close()
