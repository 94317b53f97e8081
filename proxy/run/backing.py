"""What the supervisor runs for one configuration: keys, the watch over revocations, probes, the admin API.

Another configuration takes over what is the same, so that nothing is asked twice and nothing that
was known is forgotten; it does not touch the rest before it takes the place of this one.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, Final

from proxy.adapters.store import Store, StoreAddress, address_of, open_store
from proxy.adapters.tasks import spawn
from proxy.config.models import Config, SessionSchemeConfig
from proxy.config.store_url import StoreUrl
from proxy.errors import StoreUnavailable
from proxy.run.providers import OnDocument, Providers
from proxy.run.readiness import Readiness
from proxy.services.audit import Audit
from proxy.services.beginning import make_watch, open_own_store
from proxy.services.compile import needs_store
from proxy.services.marker_lives import longest_marker_life_s
from proxy.services.revocations import RevocationWatch

if TYPE_CHECKING:
    from proxy.edge.admin import AdminJudge

KEYS_TIMEOUT_S: Final = 3.0
"""How long the start waits for providers; the workers start without their keys then."""


class Watching:
    """The one watch over the gate's revocations (R4), and what it hangs on."""

    def __init__(self, config: Config, store: Store) -> None:
        self._told = (config.store, longest_marker_life_s(config))
        self._store = store
        self.watch: RevocationWatch = make_watch(config, store)
        self._task: asyncio.Task[None] | None = None

    def is_for(self, config: Config) -> bool:
        """Tell whether the watch is the one that `config` needs."""
        return needs_store(config) and self._told == (config.store, longest_marker_life_s(config))

    async def start(self) -> None:
        """Look once, for the workers, and then again and again."""
        with contextlib.suppress(StoreUnavailable):
            await self.watch.look(time.time())
        self._task = spawn(self.watch.run(time.time), name="revocations")

    async def close(self) -> None:
        """Watch no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        await self._store.close()


class Backing:
    """Made, started and closed by the supervisor."""

    def __init__(
        self,
        config: Config,
        on_document: OnDocument,
        store_address: StoreAddress | None,
        before: Backing | None = None,
    ) -> None:
        """`store_address`: of the embedded store, where it runs."""
        self.config = config
        self._store_address = store_address
        self._before = before
        self.providers: Providers = Providers(
            config, on_document, None if before is None else before.providers
        )
        self.watching: Watching | None = None
        self.readiness: Readiness | None = None
        self.admin: AdminJudge | None = None
        self._stack = AsyncExitStack()

    async def start(self, has_workers: Callable[[], bool]) -> None:
        """Start it all, and wait for the providers' keys a little. Raises `StoreMisconfigured`."""
        await self._start_watch()
        self.providers.start()
        if self.config.health is not None:
            self.readiness = self._open_readiness(has_workers)
        self._open_admin()
        await self.providers.wait(KEYS_TIMEOUT_S)
        self._before = None  # it is not kept by what it is long over for

    def revocations(self) -> list[Any] | None:
        """Return what a worker is told of the revocations (see `Boot`)."""
        believed = None if self.watching is None else self.watching.watch.believed
        return None if believed is None else [believed.epoch.hex(), believed.good_at]

    async def close(self, other: Backing | None = None) -> None:
        """Stop it all, but for what `other` uses too."""
        await self.providers.close(None if other is None else other.providers)
        if self.admin is not None:
            await self.admin.pending.ended()
        await self._stack.aclose()
        if self.watching is not None and (other is None or other.watching is not self.watching):
            await self.watching.close()

    async def _start_watch(self) -> None:
        kept = None if self._before is None else self._before.watching
        if kept is not None and kept.is_for(self.config):
            self.watching = kept
            return
        store = open_own_store(self.config, self._store_address)
        if store is not None:
            self.watching = Watching(self.config, store)
            await self.watching.start()

    def _open_readiness(self, has_workers: Callable[[], bool]) -> Readiness:
        stores = self._open_stores()
        for store, _ in stores.values():
            self._stack.push_async_callback(store.close)
        return Readiness(
            has_workers=has_workers,
            missing_keys=self.providers.missing,
            stores=stores,
            clock=time.monotonic,
        )

    def _open_admin(self) -> None:
        """Answer the admin API here: what it looks through takes no worker's time from requests."""
        settings = self.config.admin
        store = None if settings is None else open_own_store(self.config, self._store_address)
        if settings is None or store is None:
            return
        self._stack.push_async_callback(store.close)
        audit = Audit(store, prefix=self.config.store.prefix)
        self._stack.push_async_callback(audit.close)
        # Most gates have no admin API, and start sooner without it and what it needs.
        from proxy.run.admin import make_admin_judge  # noqa: PLC0415 - as above

        self.admin = make_admin_judge(self.config, settings, store, audit)

    def _open_stores(self) -> dict[str, tuple[Store, str]]:
        """Return each store with a key below the prefix that the gate reads there."""
        stores: dict[str, tuple[Store, str]] = {}
        for url, prefix in store_prefixes(self.config).items():
            address = self._store_address if url.kind == "embedded" else address_of(url)
            if address is not None:
                store = open_store(
                    address,
                    timeout_s=self.config.store.timeout,
                    max_staleness_s=self.config.store.max_staleness,
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
