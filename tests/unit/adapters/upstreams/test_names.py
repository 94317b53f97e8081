"""Which addresses a server's name stands for, and when it is asked again."""

from __future__ import annotations

import asyncio
import socket

import pytest

from proxy.adapters.upstreams.names import Names
from proxy.config.addresses import UpstreamServer

APP = UpstreamServer("http", "app.test", 80)


class Resolver:
    """Answers from a list of outcomes; the last one stays."""

    def __init__(self, *outcomes):
        self.outcomes = list(outcomes)
        self.asked = 0

    async def __call__(self, server):
        self.asked += 1
        outcome = self.outcomes.pop(0) if len(self.outcomes) > 1 else self.outcomes[0]
        await asyncio.sleep(0)
        if isinstance(outcome, Exception):
            raise outcome
        return [(socket.AF_INET, (address, server.port)) for address in outcome]


async def test_one_look_up_serves_all_who_ask():
    """Meanwhile and for as long as its answer is good."""
    resolver = Resolver(["10.0.0.1"])
    names = Names(APP, 30.0, lambda _: None, resolver)
    first = await asyncio.gather(*(names.places() for _ in range(5)))
    await names.places()

    assert [[(socket.AF_INET, ("10.0.0.1", 80))]] * 5 == first
    assert 1 == resolver.asked


async def test_new_addresses_are_noticed_and_told():
    """After the interval the name is looked up beside everything else; whoever changed is named."""
    resolver = Resolver(["10.0.0.1"], ["10.0.0.2"])
    told = asyncio.get_running_loop().create_future()
    names = Names(APP, 30.0, told.set_result, resolver)
    await names.places()
    now = asyncio.get_running_loop().time()
    names.refresh(now)
    assert 1 == resolver.asked
    names.refresh(now + 31)

    assert frozenset({"10.0.0.2"}) == await told
    assert [(socket.AF_INET, ("10.0.0.2", 80))] == await names.places()


async def test_a_resolver_that_is_away_takes_no_server_with_it():
    """What was known is used on; where nothing was, the error is told to everybody who asked."""
    resolver = Resolver(socket.gaierror("away"), ["10.0.0.1"], socket.gaierror("away"))
    names = Names(APP, 0.0, lambda _: None, resolver)
    with pytest.raises(OSError, match="away"):
        await names.places()

    assert await names.places() == await names.places()


async def test_addresses_and_sockets_are_not_looked_up():
    """They stand for themselves."""
    resolver = Resolver(["10.9.9.9"])
    for server in (
        UpstreamServer("http", "::1", 80),
        UpstreamServer("unix", "", 0, "/run/app.sock"),
    ):
        assert 1 == len(await Names(server, 30.0, lambda _: None, resolver).places())

    assert not resolver.asked
