"""What commands need of a gate: its configuration, store and schemes, without its processes."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from proxy.adapters.store import RedisStore, StoreAddress
from proxy.adapters.store.embedded import borrow
from proxy.cli import report
from proxy.cli.options import config_path
from proxy.config.loader import LoadedConfig
from proxy.config.models import Config
from proxy.errors import ConfigErrors
from proxy.run.loading import load
from proxy.services.beginning import open_own_store
from proxy.services.compile import needs_store


def load_or_fail(config: str, *, runs_tests: bool = True) -> LoadedConfig:
    """Load the configuration, or print every mistake and end with status 2.

    Without `runs_tests` a failing policy test is no mistake: whoever has to end a session now is
    not held up by it.
    """
    try:
        return load(config_path(config), runs_tests=runs_tests)
    except ConfigErrors as errors:
        report.fail_config(errors)


@contextlib.asynccontextmanager
async def open_any_store_of(config: Config) -> AsyncIterator[RedisStore | None]:
    """Give the gate's own store, if it has one: the running embedded one, or one for our own time.

    Raises `StoreUnavailable` and `StoreMisconfigured`.
    """
    async with contextlib.AsyncExitStack() as stack:
        address: StoreAddress | None = None
        url = config.store.url
        if url.kind == "embedded" and url.path is not None and needs_store(config):
            address = await stack.enter_async_context(borrow(url.path))
        store = open_own_store(config, address)
        if store is not None:
            stack.push_async_callback(store.close)
        yield store


@contextlib.asynccontextmanager
async def open_store_of(config: Config) -> AsyncIterator[RedisStore]:
    """Give the gate's own store, as `open_any_store_of`; `ValueError` where it has none."""
    async with open_any_store_of(config) as store:
        if store is None:
            raise ValueError("nothing in this configuration uses a store")
        yield store
