"""Codes of providers that a network may have exchanged in vain, on a real store."""

from __future__ import annotations

import asyncio

import pytest

from proxy.adapters.store import StoreAddress, open_store
from proxy.services.exchanges import MOST, WINDOW_S, Exchanges, TooManyExchanges

HERE = "192.0.2.0/24"


@pytest.fixture
async def store(valkey):
    """Open the store."""
    store = open_store(StoreAddress(socket_path=str(valkey.socket_path)), timeout_s=5)
    yield store
    await store.close()


@pytest.fixture
def exchanges(store):
    """Give the counts of an empty store."""
    return Exchanges(store, prefix="p:")


async def test_whoever_has_used_up_a_window_waits_for_its_end(exchanges, store, valkey):
    """Not a second longer, whatever they try meanwhile, and in all workers together."""
    both = (exchanges, Exchanges(store, prefix="p:"))
    for number in range(MOST):
        await both[number % 2].take("corp", HERE)
    for one in both:
        with pytest.raises(TooManyExchanges) as refused:
            await one.take("corp", HERE)
        assert 0 < refused.value.wait_s <= WINDOW_S
    with valkey.client() as client:
        (key,) = client.keys("p:exchanges:*")
        assert 0 < client.pttl(key) <= WINDOW_S * 1000
        client.delete(key)  # the window is over
    await exchanges.take("corp", HERE)


async def test_nobody_else_waits(exchanges):
    """Other networks, those of unknown address, and other providers have windows of their own."""
    for _ in range(MOST):
        await exchanges.take("corp", HERE)

    for provider, network in (("corp", "198.51.100.0/24"), ("corp", None), ("other", HERE)):
        await exchanges.take(provider, network)


async def test_who_signs_in_takes_nothing(exchanges, valkey):
    """A good code is given back, and no more than was counted; the window goes on as it was."""
    for _ in range(3 * MOST):
        await exchanges.take("corp", HERE)
        await exchanges.give_back("corp", HERE)
    await exchanges.give_back("corp", HERE)
    for _ in range(MOST):
        await exchanges.take("corp", HERE)
    with pytest.raises(TooManyExchanges):
        await exchanges.take("corp", HERE)
    await exchanges.give_back("corp", HERE)
    with valkey.client() as client:
        (key,) = client.keys("p:exchanges:*")
        assert 0 < client.pttl(key) <= WINDOW_S * 1000
    await exchanges.take("corp", HERE)


async def test_of_many_at_once_no_more_pass(exchanges):
    """It is one step for each."""
    tries = [exchanges.take("corp", HERE) for _ in range(MOST + 20)]
    results = await asyncio.gather(*tries, return_exceptions=True)

    assert 20 == sum(isinstance(result, TooManyExchanges) for result in results)


@pytest.mark.parametrize("value", ["x", "-5", "1"])
async def test_what_is_no_count_of_ours_begins_a_window(exchanges, valkey, value):
    """Neither a text, nor a count without an end, locks a network out for good."""
    await exchanges.take("corp", HERE)
    with valkey.client() as client:
        (key,) = client.keys("p:exchanges:*")
        client.set(key, value)
        await exchanges.take("corp", HERE)

        assert (b"1", True) == (client.get(key), client.pttl(key) > 0)
