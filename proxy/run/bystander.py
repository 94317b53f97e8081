"""A gate that only looks on: real schemes, keys and store, and no way to change any of them.

It decides as the running gate does, by the same code, but writes no last use of a session, repairs
no revocations, makes and rotates no key, and connects to nothing that the request does not need.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from proxy.adapters.store import (
    Store,
    StoreAddress,
    address_of,
    eviction_problem,
    open_store,
)
from proxy.adapters.store.embedded import borrow
from proxy.adapters.store.link import refuse
from proxy.adapters.store.read_only import ReadOnlyStore
from proxy.adapters.store.tracked_link import Command, Take
from proxy.adapters.store.tracked_store import TrackedStore
from proxy.config.models import Config, JwtSchemeConfig
from proxy.core.coherence import Source
from proxy.core.keyset import KeySet
from proxy.errors import KeysUnavailable, StoreUnavailable
from proxy.model import RequestView
from proxy.run.providers import Providers
from proxy.services.assembly import Assembly
from proxy.services.coherence import Coherence
from proxy.services.compile import needs_store
from proxy.services.decision import Decision
from proxy.services.keyrings import SECRET_FILE, open_nonces, open_signing_keys
from proxy.services.proofs import open_prover
from proxy.services.rehearsal import assemble_rehearsal
from proxy.services.schemes.build import SchemeBuilder
from proxy.services.signing import SigningKeys
from proxy.services.store_health import StoreHealth
from proxy.services.trace import Trace

NO_KEYS: Final = "no gate has made signing keys yet"


class _NoKeys:
    """Stands where the gate's own signing keys would be, had a gate made any."""

    def current(self) -> KeySet:
        """Raise: there are none."""
        raise KeysUnavailable(NO_KEYS)

    async def refreshed(self, kid: str) -> KeySet | None:
        """Return `None`."""
        del kid
        return None


@dataclass(slots=True)
class Bystander:
    """Decides requests and changes nothing. Made by `open_bystander`."""

    config: Config
    assembly: Assembly
    problem: str | None = field(default=None, init=False)
    """Why the gate's own store could not be asked, if it could not."""
    _store: Store | None
    _health: StoreHealth
    _keys: SigningKeys | None
    _providers: Providers

    async def decide(self, view: RequestView, now: float) -> tuple[Decision, Trace]:
        """Return what the gate would decide at `now`, and how it came to that.

        Keys are fetched, and the store is asked what it is, only for schemes that the request
        carries a token for.
        """
        trace = Trace()
        decision = await self.assembly.gate.decide(view, now, trace)
        carried = [v.scheme.name for v in trace.verdicts if v.place is not None]
        tokens = {
            name: scheme
            for name in carried
            if isinstance(scheme := self.config.schemes[name], JwtSchemeConfig)
        }
        if tokens:
            for name, scheme in tokens.items():
                await self._prepare(name, scheme)
            trace = Trace()
            decision = await self.assembly.gate.decide(view, now, trace)
        return decision, trace

    async def _prepare(self, name: str, scheme: JwtSchemeConfig) -> None:
        """Have at hand what a running gate has: the scheme's keys, and what the store is."""
        source = self._providers.sources().get(name)
        if source is not None:
            source.start()
            await source.ready()
        try:
            if scheme.keys.local and self._keys is not None:
                await self._keys.refreshed("")  # reads; `refresh` would make and rotate
            if scheme.revocation == "store" and self._store is not None:
                info = await self._store.probe()
                self._health.reason = eviction_problem(info, self.config.store.eviction)
        except StoreUnavailable as error:
            self.problem = self._health.reason = error.detail


class _NoStore(TrackedStore):
    """Stands where the gate's own store would be, and answers every look-up with why it is not."""

    def __init__(self, address: StoreAddress, source: Source, reason: str) -> None:
        super().__init__(address, source, timeout_s=1.0)
        self._reason = reason

    def start(self) -> None:
        """Do nothing: there is nothing to connect to."""

    def ask(
        self,
        commands: Sequence[Command],
        take: Take,
        *,
        keys: Collection[bytes] = (),
        required: int = 1,
    ) -> asyncio.Future[Any]:
        """Return a future that has failed."""
        del commands, take, keys, required
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        refuse(future, StoreUnavailable(self._reason))
        return future


@contextlib.asynccontextmanager
async def open_bystander(config: Config) -> AsyncIterator[Bystander]:
    """Give a bystander of `config`'s gate.

    Raises `StoreMisconfigured` and `SecretsError`. The embedded store is asked while a gate runs
    it; else it is run for as long as the look takes, if there is one.
    """
    async with contextlib.AsyncExitStack() as stack:
        coherence = Coherence(config, generation=0)
        stack.push_async_callback(coherence.close)
        address, store = None, None
        if needs_store(config):
            address, reason = await _locate(config, stack)
            if reason is not None:
                source = coherence.cache.source(
                    "store", max_staleness_s=config.store.max_staleness, grace_s=None
                )
                coherence.tracked[address] = _NoStore(address, source, reason)
            store = ReadOnlyStore(lambda: _open(config, address, reason, stack))
        health = StoreHealth()
        providers = Providers(config, lambda _scheme, _source, _document: None)
        stack.push_async_callback(providers.close)
        has_secret = _has_secret(config)
        plan = open_signing_keys(config, store) if has_secret else None
        keys = None if plan is None else plan.tokens
        builder = SchemeBuilder(
            config,
            store,
            providers.sources(),
            keys or _NoKeys(),
            health.unfit,
            address=address,
            coherence=coherence,
            cipher=None if plan is None else plan.cipher,
        )
        nonces = open_nonces(config) if has_secret else None
        prover = open_prover(config, store, nonces, is_looking=True)
        assembly = assemble_rehearsal(config, builder.build(), prover)
        yield Bystander(config, assembly, store, health, keys, providers)


async def _locate(
    config: Config, stack: contextlib.AsyncExitStack
) -> tuple[StoreAddress, str | None]:
    """Return where the gate's own store is, and why it cannot be asked, if it cannot."""
    url = config.store.url
    if url.kind != "embedded" or url.path is None:
        return address_of(url), None
    nowhere = StoreAddress(socket_path=str(url.path))
    if not url.path.is_dir():
        return nowhere, "no gate has run the embedded store yet"
    try:
        return await stack.enter_async_context(borrow(url.path)), None
    except StoreUnavailable as error:
        return nowhere, error.detail


async def _open(
    config: Config, address: StoreAddress, reason: str | None, stack: contextlib.AsyncExitStack
) -> Store:
    if reason is not None:
        raise StoreUnavailable(reason)
    store = open_store(
        address, timeout_s=config.store.timeout, max_staleness_s=config.store.max_staleness
    )
    stack.push_async_callback(store.close)
    return store


def _has_secret(config: Config) -> bool:
    """Tell whether there is a secret to read; opening the signing keys would make one."""
    path = config.store.url.path
    if config.secrets is not None or config.store.url.kind != "embedded" or path is None:
        return True
    return (path / SECRET_FILE).exists()
