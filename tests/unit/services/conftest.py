"""Fixtures of the tests of logins with a provider."""

from __future__ import annotations

import contextlib

import pytest

from tests.small_provider import running_provider
from tests.unit.services.oidc_bench import Worker


@pytest.fixture
async def small():
    """Run a small provider."""
    async with running_provider() as provider:
        yield provider


@pytest.fixture
async def start_worker(valkey, small):
    """Return a function that makes logins as one worker has them."""
    async with contextlib.AsyncExitStack() as stack:

        def start(**options):
            worker = Worker(valkey, small, **options)
            stack.push_async_callback(worker.close)
            return worker

        yield start


@pytest.fixture
def worker(start_worker):
    """Give the logins of one worker."""
    return start_worker()
