"""What all workers of a gate share, and the supervisor runs: store, keys, watch, health, admin API."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any, Final

from proxy.adapters.store import Store, StoreAddress, address_of, open_store
from proxy.adapters.store.embedded import EmbeddedStore
from proxy.adapters.tasks import spawn
from proxy.config.addresses import Address
from proxy.config.models import Config, SessionSchemeConfig
from proxy.config.store_url import StoreUrl
from proxy.edge.health import HealthServer
from proxy.errors import StoreUnavailable
from proxy.run.listeners import Listeners, bind_all
from proxy.run.metrics import Metrics
from proxy.run.providers import OnDocument, Providers
from proxy.run.readiness import Readiness
from proxy.services.audit import Audit
from proxy.services.beginning import make_watch, open_own_store
from proxy.services.compile import needs_store
from proxy.services.revocations import RevocationWatch

KEYS_TIMEOUT_S: Final = 3.0
"""How long the start waits for providers; the workers start without their keys then."""


class Shared:
    """Everything of a gate that exists once. Made, started and closed by the supervisor."""

    def __init__(self, config: Config, on_document: OnDocument, metrics: Metrics) -> None:
        self._config = config
        self._stack = AsyncExitStack()
        self._health: Listeners | None = None
        self._admin: Listeners | None = None
        self._metrics = metrics
        self.providers = Providers(config, on_document)
        self.store_address: StoreAddress | None = None
        """Of the embedded store, with its password; `None` where it is not used."""
        self._watch: RevocationWatch | None = None

    def bind(self) -> list[Address]:
        """Bind the health listener, if there is one; return where. Raises `ListenError`."""
        if self._config.health is None:
            return []
        self._health = self._bound(bind_all([self._config.health.listen], 1))
        return self._health.addresses

    def bind_admin(self) -> list[Address]:
        """Bind the listener of the admin API, if there is one; return where. Raises `ListenError`."""
        if self._config.admin is None:
            return []
        self._admin = self._bound(bind_all([self._config.admin.listen], 1, is_private=True))
        return self._admin.addresses

    def _bound(self, listeners: Listeners) -> Listeners:
        self._stack.callback(listeners.remove_files)
        self._stack.callback(listeners.close)
        return listeners

    async def start(self, has_workers: Callable[[], bool]) -> None:
        """Start it all; wait for the store, and for the providers' keys a little.

        A store elsewhere that is down does not keep the gate from starting: its routes answer 503
        until it is there. Raises `StoreMisconfigured` and `StoreUnavailable` for the embedded one.
        """
        await self._start_embedded()
        await self._start_watch()
        self.providers.start()
        self._stack.push_async_callback(self.providers.close)
        await self._start_health(has_workers)
        await self._start_admin()
        await self.providers.wait(KEYS_TIMEOUT_S)

    def revocations(self) -> list[Any] | None:
        """Return what a worker is told of the revocations (see `Boot`)."""
        believed = None if self._watch is None else self._watch.believed
        return None if believed is None else [believed.epoch.hex(), believed.good_at]

    async def close(self) -> None:
        """Stop it all, the store last."""
        await self._stack.aclose()

    async def _start_embedded(self) -> None:
        url = self._config.store.url
        if url.path is not None and url.kind == "embedded" and needs_store(self._config):
            store = EmbeddedStore(url.path)
            self.store_address = await store.start()
            self._stack.push_async_callback(store.stop)

    async def _start_watch(self) -> None:
        """Watch over revocations, once for the gate; the first look is for the workers (R4)."""
        store = open_own_store(self._config, self.store_address)
        if store is not None:
            self._stack.push_async_callback(store.close)
            self._watch = watch = make_watch(self._config, store)
            with contextlib.suppress(StoreUnavailable):
                await watch.look(time.time())
            task = spawn(watch.run(time.time), name="revocations")
            self._stack.push_async_callback(_cancel, task)

    async def _start_health(self, has_workers: Callable[[], bool]) -> None:
        if self._health is None:
            return
        stores = self._open_stores()
        for store, _ in stores.values():
            self._stack.push_async_callback(store.close)
        readiness = Readiness(
            has_workers=has_workers,
            missing_keys=self.providers.missing,
            stores=stores,
            clock=time.monotonic,
        )
        names = store_names(self._config)
        self._metrics.observe(
            readiness.is_ready,
            lambda: {names[url]: is_up for url, is_up in readiness.answering.items()},
            self.providers.sources(),
        )
        server = HealthServer(readiness.is_ready, self._metrics.scrape)
        await server.start(self._health.of(0))
        self._stack.push_async_callback(server.close)

    async def _start_admin(self) -> None:
        """Answer the admin API here: what it looks through takes no worker's time from requests."""
        if self._admin is None or self._config.admin is None:
            return
        store = open_own_store(self._config, self.store_address)
        if store is None:
            return
        self._stack.push_async_callback(store.close)
        audit = Audit(store, prefix=self._config.store.prefix)
        self._stack.push_async_callback(audit.close)
        # Most gates have no admin API, and start sooner without it and what it needs.
        from proxy.run.admin import make_admin_server  # noqa: PLC0415 - as above

        server = make_admin_server(self._config, self._config.admin, store, audit)
        await server.start(self._admin.of(0))
        self._stack.push_async_callback(server.close)

    def _open_stores(self) -> dict[str, tuple[Store, str]]:
        """Return each store with a key below the prefix that the gate reads there."""
        stores: dict[str, tuple[Store, str]] = {}
        for url, prefix in store_prefixes(self._config).items():
            address = self.store_address if url.kind == "embedded" else address_of(url)
            if address is not None:
                store = open_store(
                    address,
                    timeout_s=self._config.store.timeout,
                    max_staleness_s=self._config.store.max_staleness,
                )
                stores[str(url)] = (store, f"{prefix}ready")
        return stores


def store_prefixes(config: Config) -> dict[StoreUrl, str]:
    """Return every store that the configuration uses, the gate's own first, and its prefix there."""
    stores = {config.store.url: config.store.prefix} if needs_store(config) else {}
    for scheme in config.schemes.values():
        if isinstance(scheme, SessionSchemeConfig) and scheme.store is not None:
            stores.setdefault(scheme.store, scheme.prefix)
    return stores


def store_names(config: Config) -> dict[str, str]:
    """Return what each store is called in metrics: `store` the gate's own, else as its scheme."""
    names = {str(config.store.url): "store"} if needs_store(config) else {}
    for name, scheme in config.schemes.items():
        if isinstance(scheme, SessionSchemeConfig) and scheme.store is not None:
            names.setdefault(str(scheme.store), name)
    return names


async def _cancel(task: asyncio.Task[Any]) -> None:
    task.cancel()
    await asyncio.wait([task])
