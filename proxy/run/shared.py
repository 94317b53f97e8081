"""What exists once for a gate, whatever it is configured to be: sockets of probes and admin API, the embedded store.

What goes with one configuration is in `backing`; another one takes its place by `adopt`.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

from proxy.adapters.store import StoreAddress
from proxy.adapters.store.embedded import EmbeddedStore
from proxy.config.addresses import Address
from proxy.config.models import Config
from proxy.edge.health import HealthServer
from proxy.run.backing import Backing, store_names
from proxy.run.listeners import Listeners, bind_all
from proxy.run.metrics import Metrics
from proxy.run.providers import OnDocument, Providers
from proxy.services.compile import needs_store

if TYPE_CHECKING:
    from proxy.edge.admin import AdminServer


class Shared:
    """Everything of a gate that exists once. Made, started and closed by the supervisor."""

    def __init__(self, config: Config, on_document: OnDocument, metrics: Metrics) -> None:
        self._config = config
        self._on_document = on_document
        self._stack = AsyncExitStack()
        self._health: Listeners | None = None
        self._admin: Listeners | None = None
        self._admin_server: AdminServer | None = None
        self._metrics = metrics
        self._has_workers: Callable[[], bool] = lambda: False
        self._backing: Backing | None = None
        self.store_address: StoreAddress | None = None
        """Of the embedded store, with its password; `None` where it is not used."""

    @property
    def providers(self) -> Providers:
        """Whose keys are fetched now."""
        return self.backing.providers

    @property
    def backing(self) -> Backing:
        """What goes with the configuration that is served."""
        assert self._backing is not None  # noqa: S101 - `start` was called before anybody asks
        return self._backing

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
        self._has_workers = has_workers
        self._stack.push_async_callback(self._close_backing)
        self.adopt(await self.prepare(self._config))
        await self._start_health()
        await self._start_admin()

    async def prepare(self, config: Config) -> Backing:
        """Start what goes with a configuration, beside what there is.

        Raises `StoreMisconfigured` and `StoreUnavailable`, and leaves nothing behind then.
        """
        await self._start_embedded(config)
        backing = Backing(config, self._on_document, self.store_address, self._backing)
        if self._backing is None:
            self._backing = backing  # the providers tell of keys before the start is over
        try:
            await backing.start(self._has_workers)
        except BaseException:
            if self._backing is not backing:
                await backing.close(self._backing)
            raise
        return backing

    def adopt(self, backing: Backing) -> None:
        """Let the listeners answer by `backing` from now on."""
        self._backing = backing
        self._config = backing.config
        readiness = backing.readiness
        if readiness is not None:
            names = store_names(backing.config)
            self._metrics.observe(
                readiness.is_ready,
                lambda: {names[url]: is_up for url, is_up in readiness.answering.items()},
                backing.providers.sources(),
            )
        if self._admin_server is not None and backing.admin is not None:
            self._admin_server.adopt(backing.admin)

    async def close(self) -> None:
        """Stop it all, the store last."""
        await self._stack.aclose()

    async def _close_backing(self) -> None:
        if self._backing is not None:
            await self._backing.close()

    async def _start_embedded(self, config: Config) -> None:
        url = config.store.url
        if self.store_address is not None or url.path is None or url.kind != "embedded":
            return
        if needs_store(config):
            store = EmbeddedStore(url.path)
            self.store_address = await store.start()
            self._stack.push_async_callback(store.stop)

    def revocations(self) -> list[Any] | None:
        """Return what a worker is told of the revocations (see `Boot`)."""
        return self.backing.revocations()

    async def say_what_is_missing(self) -> None:
        """Say which stores and keys the gate has to do without, where it is asked for that at all."""
        if self.backing.readiness is not None:
            await self.backing.readiness.say_what_is_missing()

    async def _start_health(self) -> None:
        if self._health is None:
            return

        async def is_ready() -> bool:
            readiness = self.backing.readiness
            return readiness is not None and await readiness.is_ready()

        server = HealthServer(is_ready, self._metrics.scrape)
        await server.start(self._health.of(0))
        self._stack.push_async_callback(server.close)

    async def _start_admin(self) -> None:
        if self._admin is None or self.backing.admin is None:
            return
        from proxy.edge.admin import AdminServer  # noqa: PLC0415 - see `Backing`

        self._admin_server = server = AdminServer(self.backing.admin)
        await server.start(self._admin.of(0))
        self._stack.push_async_callback(server.close)
