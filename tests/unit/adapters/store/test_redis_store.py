"""The store over a connection: what is tried again, what never is, what is told."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from proxy.adapters.store import Script, open_store
from proxy.errors import StoreUnavailable

CLOSE = b"<close>"
MGET = b"*2\r\n$4\r\nMGET\r\n$1\r\nk\r\n"


@pytest.fixture
async def opened():
    """Open stores that are closed at the end."""
    stores = []

    def open_(address, timeout_s=0.5):
        stores.append(open_store(address, timeout_s=timeout_s))
        return stores[-1]

    yield open_
    for store in stores:
        await store.close()


async def test_a_read_is_sent_again_over_a_new_connection(scripted, opened):
    """A connection that broke before the answer costs the look-up nothing but time."""
    server = await scripted(CLOSE, b"*1\r\n$1\r\nv\r\n")
    assert [b"v"] == await opened(server.address).fetch(["k"])
    assert [MGET, MGET] == server.received


async def test_a_read_is_sent_again_only_once(scripted, opened):
    """A server that breaks every connection is not asked without end."""
    server = await scripted(CLOSE, CLOSE, b"*1\r\n$1\r\nv\r\n")
    with pytest.raises(StoreUnavailable):
        await opened(server.address).fetch(["k"])
    assert 2 == len(server.received)


@pytest.mark.parametrize("write", ["put", "delete", "run"])
async def test_a_write_is_never_sent_twice(scripted, opened, write):
    """Nobody knows what became of a write whose connection broke, so it is not repeated."""
    server = await scripted(CLOSE, b"+OK\r\n")
    store = opened(server.address)
    with pytest.raises(StoreUnavailable):
        await {
            "put": lambda: store.put("k", b"v"),
            "delete": lambda: store.delete("k"),
            "run": lambda: store.run(Script("return 1"), []),
        }[write]()
    assert 1 == len(server.received)


async def test_everybody_shares_one_connection(scripted, opened):
    """A burst on a cold store opens one connection, though the first who asked has left."""
    server = await scripted(b"*1\r\n$-1\r\n" * 19)
    store = opened(server.address)
    tasks = [asyncio.ensure_future(store.fetch(["k"])) for _ in range(20)]  # noqa: TID251 - awaited below
    await asyncio.sleep(0)
    tasks[0].cancel()
    assert [[None]] * 19 == await asyncio.gather(*tasks[1:])
    assert 1 == server.connections


async def test_a_dead_connection_is_given_up(scripted, opened):
    """A peer that swallows bytes without a word is left after the timeout, for a new connection."""
    server = await scripted(b"", b"*1\r\n$1\r\nv\r\n")
    store = opened(server.address, timeout_s=0.05)
    with pytest.raises(StoreUnavailable, match="in time"):
        await store.fetch(["k"])
    assert [b"v"] == await store.fetch(["k"])
    assert 2 == server.connections


async def test_a_failure_speaks_for_the_next_moment(scripted, opened):
    """While the store does not let us in a burst of look-ups is no burst of connections."""
    server = await scripted(*[b"-WRONGPASS no\r\n"] * 500)
    store = opened(replace(server.address, password="pw"))
    for _ in range(500):
        with pytest.raises(StoreUnavailable, match="WRONGPASS"):
            await store.fetch(["k"])
    assert server.connections < 100


@pytest.mark.parametrize("kind", ["OOM", "READONLY", "NOAUTH", "MISCONF", "LOADING", "CROSSSLOT"])
async def test_every_refusal_is_unavailable(scripted, opened, kind):
    """Whatever the server's reason is: no answer is not "no such key". The rest is not repeated."""
    server = await scripted(f"-{kind} because of the-key\r\n".encode())
    with pytest.raises(StoreUnavailable) as caught:
        await opened(server.address).fetch(["the-key"])
    assert kind in str(caught.value)
    assert "the-key" not in str(caught.value)


async def test_r4_a_server_that_does_not_let_us_ask_tells_nothing(scripted, opened):
    """R4: without the right to INFO the policy stays unknown, which is then refused."""
    server = await scripted(b"-NOPERM no\r\n", b"+PONG\r\n")
    info = await opened(server.address).probe()
    assert (None, None) == (info.maxmemory, info.maxmemory_policy)


async def test_what_a_server_says_of_itself(scripted, opened):
    """A replica, a cluster and another server's name are read off INFO; a version of any form."""
    text = (
        b"# Server\r\nredis_version:7.4.1-rc2\r\nrole:slave\r\ncluster_enabled:1\r\nmaxmemory:9\r\n"
    )
    server = await scripted(b"$%d\r\n%s\r\n" % (len(text), text))
    info = await opened(server.address).probe()
    assert ("redis", (7, 4), 9) == (info.server, info.version, info.maxmemory)
    assert (True, True) == (info.is_replica, info.is_cluster)


async def test_closing_amid_a_connection_attempt_tells_who_waits(scripted, opened):
    """A gate that drains leaves nobody waiting for a store that is closed."""
    server = await scripted(b"")  # the greeting is never answered
    store = opened(replace(server.address, password="pw"), timeout_s=5)
    waiting = asyncio.ensure_future(store.fetch(["k"]))  # noqa: TID251 - awaited below
    await asyncio.wait_for(server.heard.wait(), 5)
    await store.close()
    with pytest.raises(StoreUnavailable, match="closed"):
        await waiting
