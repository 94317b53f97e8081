from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator

import pytest

from tests.live.processes.conftest import kill
from tests.token_workshop import AUDIENCE, ISSUER, jwk, token

pytestmark = pytest.mark.slow


class Provider:
    """A JWKS server that counts how often it is asked."""

    def __init__(self) -> None:
        self.port = 0
        self.asked = 0
        self.keys = [jwk("RSA", kid="first")]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request."""
        await reader.readuntil(b"\r\n\r\n")
        self.asked += 1
        body = json.dumps({"keys": self.keys}).encode()
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        writer.write(head.encode() + body)
        await writer.drain()
        writer.close()


@pytest.fixture
async def provider() -> AsyncIterator[Provider]:
    """Run a provider."""
    found = Provider()
    server = await asyncio.start_server(found.serve, "127.0.0.1", 0)
    found.port = server.sockets[0].getsockname()[1]
    yield found
    server.close()


def bearer(kid: str, kind: str) -> str:
    """Return the Authorization header of a token that is good now."""
    now = int(time.time())
    made = token("RS256", kind, header={"kid": kid}, iat=now, exp=now + 300)
    return f"Bearer {made.decode()}"


def with_tokens(public: str, provider: Provider) -> str:
    """Return `public` with its route guarded by the provider's tokens."""
    scheme = (
        f"{{type: jwt, issuer: {ISSUER}, audience: {AUDIENCE}, revocation: none,"
        " max_lifetime: 10m, algorithms: [RS256],"
        f' keys: {{jwks_url: "http://127.0.0.1:{provider.port}/jwks"}}}}'
    )
    return public.replace("upstreams:", f"schemes: {{api: {scheme}}}\nupstreams:").replace(
        "auth: none", "auth: api"
    )


async def test_k3_keys_are_fetched_once_for_all_workers(serve, public, provider):
    """K3: two workers, one fetch; an unknown `kid` costs one more per gate, whoever asks."""
    gate = await serve(with_tokens(public, provider))
    await gate.ready()
    for _ in range(8):
        assert 200 == (await gate.get(Authorization=bearer("first", "RSA")))[0]
    assert 1 == provider.asked
    assert 2 == len({line["process"] for line in await gate.requests(8)})
    provider.keys.append(jwk("RSA-other", kid="second"))
    for _ in range(8):
        assert 200 == (await gate.get(Authorization=bearer("second", "RSA-other")))[0]
    assert 2 == provider.asked
    for number in range(8):
        refused = await gate.get(Authorization=bearer(f"unknown-{number}", "RSA"))
        assert 401 == refused[0]
    assert 2 == provider.asked


async def test_a_gate_without_keys_is_not_ready(serve, public, provider):
    """A provider that is away at the start costs its routes a 503, and the gate its readiness."""
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    text = with_tokens(public, provider).replace(f":{provider.port}/jwks", f":{port}/jwks")
    gate = await serve(text)
    await gate.ready()
    assert (503, b"not ready\n") == await gate.health("/readyz")
    assert "no keys for scheme api" in await gate.said("not ready: ")
    assert 503 == (await gate.get(Authorization=bearer("first", "RSA")))[0]


async def test_a_replacement_has_the_keys_at_once(serve, public, provider):
    """The keys come with the boot message: a new worker does not ask the provider."""
    gate = await serve(with_tokens(public, provider).replace("workers: 2", "workers: 1"))
    await gate.ready()
    kill(gate.workers()[0])
    assert 200 == (await gate.get(Authorization=bearer("first", "RSA")))[0]
    assert 1 == provider.asked
