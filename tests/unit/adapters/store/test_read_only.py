from __future__ import annotations

import pytest

from proxy.adapters.store import StoreAddress, open_store
from proxy.adapters.store.port import Script
from proxy.adapters.store.read_only import ReadOnlyStore
from proxy.errors import StoreUnavailable


@pytest.fixture
async def store(valkey):
    """Give a store to look at, and count how often it was opened."""
    opened = []

    async def opener():
        opened.append(open_store(StoreAddress(socket_path=str(valkey.socket_path)), timeout_s=5.0))
        return opened[-1]

    store = ReadOnlyStore(opener)
    yield store, opened
    await store.close()


async def test_it_is_opened_by_the_first_look_only(store, valkey):
    """A request without a credential asks nobody."""
    looked, opened = store
    assert [] == opened
    with valkey.client() as client:
        client.set("a:1", "x")
    assert [b"x", None] == await looked.fetch(["a:1", "a:2"])
    assert ["a:1"] == [key async for key in looked.scan("a:")]
    assert "valkey" == (await looked.probe()).server
    assert 1 == len(opened)


async def test_every_change_is_refused(store, valkey):
    """As an outage would be: nothing takes it for done."""
    looked, _ = store
    with valkey.client() as client:
        client.set("a", "x")
        for change in (
            looked.put("a", b"y"),
            looked.delete("a"),
            looked.run(Script("return redis.call('DEL', KEYS[1])"), ["a"]),
        ):
            with pytest.raises(StoreUnavailable):
                await change
        assert b"x" == client.get("a")
