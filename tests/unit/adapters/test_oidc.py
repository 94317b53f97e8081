"""A provider over HTTP: bounded, without redirects, over TLS (K3)."""

from __future__ import annotations

import asyncio
import gzip

import pytest
from aiohttp import web

from proxy.adapters.oidc import ProviderClient
from proxy.core.oidc import Metadata
from proxy.errors import ProviderInvalid, ProviderRefused, ProviderUnavailable


class Answering:
    """A server whose every path is answered by `handler`."""

    def __init__(self):
        self.asked = []
        self.handler = None
        self.url = ""

    async def answer(self, request):
        self.asked.append((request.method, request.path, dict(request.headers)))
        return await self.handler(request)


@pytest.fixture
async def server():
    answering = Answering()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answering.answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    answering.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield answering
    await runner.cleanup()


@pytest.fixture
async def client():
    client = ProviderClient(timeout_s=0.3)
    yield client
    await client.close()


def answered(**options):
    """Return a handler that always gives this answer."""

    async def handler(_request):
        return web.Response(**options)

    return handler


def metadata_of(server):
    """Return metadata whose endpoints are the server's."""
    url = server.url
    return Metadata(url, f"{url}/auth", f"{url}/token", f"{url}/me")


async def test_metadata_stands_where_discovery_says(server, client):
    """Below the issuer, and nowhere else."""
    url = server.url

    async def handler(_request):
        return web.json_response(
            {"issuer": url, "authorization_endpoint": f"{url}/a", "token_endpoint": f"{url}/t"}
        )

    server.handler = handler

    assert f"{url}/a" == (await client.metadata(url)).authorization_endpoint
    assert ["/.well-known/openid-configuration"] == [path for _, path, _ in server.asked]


async def test_k3_no_redirect_is_followed(server, client):
    """A code, a secret or a token goes where the metadata says, or nowhere."""
    server.handler = answered(status=307, headers={"Location": f"{server.url}/elsewhere"})
    metadata = metadata_of(server)

    with pytest.raises(ProviderUnavailable):
        await client.metadata(server.url)
    with pytest.raises(ProviderUnavailable):
        await client.tokens(metadata, {"grant_type": "refresh_token"}, "Basic x")
    with pytest.raises(ProviderUnavailable):
        await client.userinfo(metadata, "token")
    assert "/elsewhere" not in [path for _, path, _ in server.asked]


async def test_k3_answers_are_bounded_in_size(server, client):
    """Whatever the length says, and whatever it would unfold to."""
    metadata = metadata_of(server)
    server.handler = answered(body=b'{"a": "' + b"x" * (256 * 1024) + b'"}')
    with pytest.raises(ProviderInvalid, match="longer than 256 KiB"):
        await client.tokens(metadata, {}, None)

    server.handler = answered(
        body=gzip.compress(b"{}" + b" " * 10_000_000), headers={"Content-Encoding": "gzip"}
    )
    with pytest.raises(ProviderInvalid, match="compressed"):
        await client.tokens(metadata, {}, None)
    assert "identity" == server.asked[-1][2]["Accept-Encoding"]


async def test_k3_answers_are_bounded_in_time(server, client):
    """A provider that trickles is one that does not answer."""
    release = asyncio.Event()

    async def handler(request):
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"{")
        await release.wait()
        return response

    server.handler = handler
    with pytest.raises(ProviderUnavailable, match="no answer within"):
        await client.tokens(metadata_of(server), {}, None)
    release.set()


@pytest.mark.parametrize(
    "url", ["http://id.example.com/token", "ftp://127.0.0.1/token", "file:///etc/passwd"]
)
async def test_k3_nothing_is_sent_in_the_clear(client, url):
    """Only https, or http on this machine."""
    with pytest.raises(ProviderInvalid, match="https only"):
        await client.tokens(Metadata("https://id.example.com", url, url), {}, None)


async def test_a_provider_that_is_not_there_is_unavailable(client):
    """Which is no refusal: nobody is signed out for it."""
    url = "http://127.0.0.1:9"

    with pytest.raises(ProviderUnavailable):
        await client.metadata(url)


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"status": 400, "body": b'{"error": "invalid_grant"}'}, "invalid_grant"),
        ({"status": 401, "body": b'{"error": "invalid_client"}'}, "invalid_client"),
        ({"status": 400, "body": b"<html>"}, "400"),
        ({"status": 400, "body": b'{"error": "a\\nforged line"}'}, "aforgedline"),
        ({"status": 403, "body": b'{"error": 7}'}, "403"),
    ],
)
async def test_a_refusal_says_a_word_for_the_log(server, client, options, word):
    """RFC 6749 §5.2; what is no such word cannot forge a line."""
    server.handler = answered(**options)

    with pytest.raises(ProviderRefused) as refused:
        await client.tokens(metadata_of(server), {}, None)
    assert word == refused.value.error


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"a": 1, "a": 2}', b"<html>", b"\xff"])
async def test_what_is_no_object_is_no_answer(server, client, body):
    """A form-encoded answer, or a page, is not read as anything."""
    server.handler = answered(body=body)

    with pytest.raises(ProviderInvalid):
        await client.tokens(metadata_of(server), {}, None)
    with pytest.raises(ProviderInvalid):
        await client.userinfo(metadata_of(server), "token")


async def test_an_outage_is_no_refusal(server, client):
    """500 and 503 say nothing about the token."""
    server.handler = answered(status=503, body=b'{"error": "invalid_grant"}')

    with pytest.raises(ProviderUnavailable):
        await client.tokens(metadata_of(server), {}, None)
    server.handler = answered(status=401)
    with pytest.raises(ProviderRefused):
        await client.userinfo(metadata_of(server), "token")
