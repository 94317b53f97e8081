"""Sentinels and their master behind TLS; failovers are in tests/live."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from dataclasses import replace

import pytest

from proxy.adapters.store import StoreAddress, open_store
from proxy.adapters.store.tracked_store import TrackedStore
from proxy.core.coherence import Source
from proxy.errors import StoreUnavailable
from tests.contract.conftest import make_certificate, relay
from tests.fake_sentinel import FakeSentinel


@pytest.fixture
async def address(mortal_valkey, tmp_path):
    """Give three Sentinels that ask for TLS, and name a master that asks for it and a user."""
    with mortal_valkey.client() as admin:
        admin.execute_command("ACL", "SETUSER", "gate", "on", ">pw", "~*", "+@all")
    certificate = make_certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")
    async with contextlib.AsyncExitStack() as stack:
        port = await relay(stack, mortal_valkey, certificate)
        places = []
        for _ in range(3):
            sentinel = FakeSentinel(("127.0.0.1", port))
            server = await asyncio.start_server(sentinel.serve, "127.0.0.1", 0, ssl=context)
            stack.callback(server.close)
            places.append(("127.0.0.1", server.sockets[0].getsockname()[1]))
        yield StoreAddress(
            username="gate",
            password="pw",
            is_tls=True,
            ca_file=str(certificate / "cert.pem"),
            sentinels=tuple(places),
            master_name="shop",
        )


async def test_sentinels_and_master_are_reached_with_tls_and_a_user(address):
    """One authority signs for all of them; the user is the master's."""
    store = open_store(address, timeout_s=5)
    source = Source("store", max_staleness_s=2.0)
    tracked = TrackedStore(address, source, timeout_s=5)
    assert await store.put("k", b"v")
    assert await store.look("ACL", "WHOAMI") == b"gate"
    assert await tracked.ask([("MGET", b"k")], lambda replies, _: replies[0]) == [b"v"]
    assert source.state == "tracking"
    await tracked.close()
    await store.close()


@pytest.mark.parametrize("change", [{"ca_file": None}, {"is_tls": False}, {"password": "guessed"}])
async def test_whoever_cannot_prove_who_they_are_is_refused(address, change):
    """An unknown authority, a peer without TLS and a wrong password are no store."""
    store = open_store(replace(address, **change), timeout_s=2)
    with pytest.raises(StoreUnavailable) as caught:
        await store.fetch(["k"])
    assert "guessed" not in str(caught.value)
    await store.close()
