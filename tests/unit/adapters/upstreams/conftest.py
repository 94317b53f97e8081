"""Servers that play bytes, upstreams that ask them; every test runs on asyncio and on uvloop."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
import uvloop

from proxy.adapters.upstreams import RequestHead, Upstream, UpstreamSettings
from tests.byte_server import ByteServer


def pytest_asyncio_loop_factories(config, item):
    """Run each test on both event loops."""
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.fixture
async def serve():
    """Start byte servers: `await serve(script, script…)`, one script for each connection."""
    async with contextlib.AsyncExitStack() as stack:

        async def start(*scripts, path=None, tls=None):
            server = ByteServer(scripts)
            await server.start(path=path, tls=tls)
            stack.push_async_callback(server.stop)
            return server

        yield start


@pytest.fixture
async def reach(serve):
    """Make an upstream of byte servers or addresses: `reach(server, …, response_s=0.1)`."""
    made = []

    def make(*servers, **settings):
        addresses = tuple(getattr(server, "address", server) for server in servers)
        upstream = Upstream(UpstreamSettings("shop", addresses, **settings))
        made.append(upstream)
        return upstream

    yield make
    for upstream in made:
        await upstream.close(0)


@pytest.fixture
def get():
    """Give a plain GET."""
    return RequestHead("GET", b"/", [(b"Host", b"shop")])


@pytest.fixture
def post():
    """Give a POST with five bytes of body."""
    return RequestHead("POST", b"/", [(b"Host", b"shop")], body=5)
