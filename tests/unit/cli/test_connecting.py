from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from proxy.cli.connecting import Finding, connect_all
from proxy.config.models import Config
from tests.small_provider import CLIENT_ID, running_provider
from tests.token_workshop import jwk

UPSTREAM = {"app": {"servers": ["http://127.0.0.1:1"]}}


def config(**sections: object) -> Config:
    """Return a configuration without checks."""
    return Config.model_validate({"upstreams": {}, "routes": [], **sections})


async def only(settings: Config) -> Finding:
    """Try the one thing that a configuration points to."""
    (finding,) = await connect_all(settings)
    return finding


async def test_a_store_that_can_evict_is_not_good(valkey):
    """R4: `check --connect` says before the start what the gate would refuse."""
    schemes = {"web": {"type": "session", "format": "native"}}
    settings = config(store={"url": valkey.url}, schemes=schemes)
    assert (await only(settings)).text.startswith("valkey ")
    with valkey.client() as client:
        client.config_set("maxmemory", "100mb")
        client.config_set("maxmemory-policy", "allkeys-lru")
        try:
            finding = await only(settings)
        finally:
            client.config_set("maxmemory", "0")
            client.config_set("maxmemory-policy", "noeviction")
    assert not finding.is_good
    assert "can evict keys" in finding.text


async def test_an_embedded_store_that_does_not_run_is_no_failure(tmp_path):
    """`serve` starts it, and `check` starts nothing."""
    schemes = {"web": {"type": "session", "format": "native"}}
    store = {"url": f"embedded:{tmp_path / 'store'}"}
    finding = await only(config(store=store, schemes=schemes))
    assert (True, "not running; serve starts it") == (finding.is_good, finding.text)
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize(
    ("document", "is_good"),
    [
        (json.dumps({"keys": [jwk("RSA", kid="k")]}), True),
        (json.dumps({"keys": []}), False),
        ("nonsense", False),
    ],
)
async def test_keys_are_fetched_and_read(document, is_good):
    """A provider is good when it publishes a key that the scheme can use."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n" % len(document))
        writer.write(b"Connection: close\r\n\r\n" + document.encode())
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    scheme = {
        "type": "jwt",
        "issuer": "https://id.example.com/",
        "audience": ["a"],
        "algorithms": ["RS256"],
        "revocation": "none",
        "keys": {"jwks_url": f"http://127.0.0.1:{port}/jwks"},
    }
    finding = await only(config(schemes={"api": scheme}))
    server.close()
    assert ("keys", "api", is_good) == (finding.kind, finding.name, finding.is_good)


async def test_upstreams_on_unix_sockets_are_tried_too(tmp_path, monkeypatch):
    """A socket file without a listener is a failure."""
    monkeypatch.chdir(tmp_path)
    settings = config(upstreams={"app": {"servers": ["unix:s"]}})
    assert not (await only(settings)).is_good
    server = await asyncio.start_unix_server(lambda _reader, writer: writer.close(), Path("s"))
    assert (await only(settings)).is_good
    server.close()


async def test_a_server_without_tls_is_no_https_upstream():
    """The handshake belongs to the attempt."""
    server = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    finding = await only(config(upstreams={"app": {"servers": [f"https://127.0.0.1:{port}"]}}))
    server.close()
    assert not finding.is_good


async def test_a_provider_is_asked_what_it_is():
    """Its metadata and its keys, before anybody wants to sign in."""
    async with running_provider() as small:
        provider = {"issuer": small.issuer, "client_id": CLIENT_ID}
        settings = config(login={"scheme": "web", "providers": {"corp": provider}})
        found = {finding.kind: finding for finding in await connect_all(settings)}
        assert [True, True] == [found[kind].is_good for kind in ("keys", "provider")]
        assert "login:corp" == found["keys"].name

        small.metadata = {"issuer": "https://evil.example"}
        found = {finding.kind: finding for finding in await connect_all(settings)}
        assert "the discovery document is another issuer's" == found["provider"].text
        assert not found["keys"].is_good
    found = {finding.kind: finding for finding in await connect_all(settings)}
    assert not found["provider"].is_good
