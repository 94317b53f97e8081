"""The composition root: one configuration, compiled and connected. The unit of reload.

A request keeps the `Runtime` that it started with. What never belongs here: decisions.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from proxy.adapters.keys import KeySource
from proxy.adapters.store import (
    Store,
    StoreAddress,
    eviction_problem,
    open_gate_store,
)
from proxy.adapters.store.tracked_store import TrackedStore
from proxy.adapters.tasks import spawn
from proxy.adapters.upstreams import OwnAddress, Upstream, UpstreamSettings
from proxy.config.loader import LoadedConfig, load_config
from proxy.config.models import Config
from proxy.core.forwarding import ForwardingPolicy
from proxy.core.revocation import Believed
from proxy.errors import SecretsError, StoreUnavailable
from proxy.services import compile as compiling
from proxy.services.assembly import assemble
from proxy.services.audit import Audit
from proxy.services.beginning import make_watch, own_address, pick_gate_id
from proxy.services.canary import time_notices
from proxy.services.coherence import Coherence
from proxy.services.compile_checks import compile_problems
from proxy.services.gate import Gate
from proxy.services.issuing import open_token_service
from proxy.services.keyrings import open_nonces, open_signing_keys
from proxy.services.login_providers import open_oidc_login
from proxy.services.oauth import TokenService
from proxy.services.own import OwnServices
from proxy.services.own_opening import open_own_services, watch_users
from proxy.services.proofs import open_prover
from proxy.services.schemes.build import SchemeBuilder
from proxy.services.signing import SigningKeys
from proxy.services.tokens import AssertionMinter
from proxy.services.vigil import Vigil

REFRESH_KEYS_S: Final = 60.0
RETRY_S: Final = 1.0

_log = logging.getLogger("latchgate.runtime")
_generations = itertools.count(1)
"""Numbers the configurations of this process: no verdict of one is found under another (R1)."""

KeySources = Mapping[str, KeySource]
"""By scheme, for the schemes whose keys are fetched from a provider."""


def load(
    path: Path | Literal["-"], *, environment: Mapping[str, str] | None = None
) -> LoadedConfig:
    """Read, check and compile the configuration at `path`, without binding or connecting.

    Raises `ConfigErrors` with every mistake.
    """
    return load_config(path, checks=[compile_problems], environment=environment)


@dataclass(slots=True)
class StoreHealth:
    """Whether the gate's own store may be relied on (security.md, R4)."""

    reason: str | None = "the store has not been asked yet what it is"

    def unfit(self) -> str | None:
        """Return why the store may not be relied on, or `None`."""
        return self.reason


@dataclass(slots=True)
class Runtime:
    """A running configuration. Made by `Runtime.start`, ended by `close`."""

    config: Config
    gate: Gate
    forwarding: ForwardingPolicy
    gate_id: str
    upstreams: Mapping[str, Upstream]
    store: Store | None
    token_keys: SigningKeys | None
    own: OwnServices | None
    """What the gate's own endpoints work with; `None` without `login:`."""
    tokens: TokenService | None
    """What answers OAuth clients; `None` where nobody gets a token by HTTP."""
    health: StoreHealth
    coherence: Coherence
    """The worker's verdicts; its `counters` are for the metrics."""
    vigil: Vigil
    """The worker's open connections; counted in `coherence.streams`."""
    audit: Audit
    """Notes what happens to credentials."""
    _own_tracked: TrackedStore | None = None
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)

    @classmethod
    async def start(
        cls,
        loaded: LoadedConfig,
        *,
        store_address: StoreAddress | None = None,
        key_sources: KeySources | None = None,
        gate_id: str | None = None,
        own_addresses: frozenset[OwnAddress] = frozenset(),
        watches_revocations: bool = False,
        believed: Believed | None = None,
        clock: Callable[[], float] = time.time,
    ) -> Runtime:
        """Connect and compile; a store or provider that is down does not keep the gate from starting.

        `store_address`: of the running embedded store, where one is configured. `key_sources`:
        for every scheme with `jwks_url` or `discovery`. `watches_revocations`: True in a process
        without a supervisor, which otherwise does it for all workers (R4). `believed`: the history
        of revocations that the supervisor knew when it started this one.
        """
        config = loaded.config
        address = own_address(config, store_address)
        store = None if address is None else open_gate_store(address, config.store)
        coherence = Coherence(config, generation=next(_generations))
        health = StoreHealth()
        tasks: list[asyncio.Task[None]] = []
        keys = open_signing_keys(config, store)
        audit = Audit(store, prefix=config.store.prefix)
        builder = SchemeBuilder(
            config,
            store,
            key_sources or {},
            keys.tokens,
            health.unfit,
            address=address,
            coherence=coherence,
            cipher=keys.cipher,
        )
        builder.audit = audit
        upstreams = {
            name: Upstream(UpstreamSettings.from_config(name, upstream, own_addresses))
            for name, upstream in config.upstreams.items()
        }
        base = compiling.assertion_base(config)
        minter = (
            AssertionMinter(base=base, signer=keys.assertions)
            if keys.assertions is not None and base is not None
            else None
        )
        for upstream in upstreams.values():
            upstream.start()
        schemes = builder.build()
        prover = open_prover(config, store, open_nonces(config))
        oidc = open_oidc_login(config, store, key_sources or {}, clock)
        assembly = assemble(
            config,
            schemes,
            upstreams,
            minter=minter,
            published=keys.published,
            gate_id=gate_id or pick_gate_id(config),
            provider_token=None if oidc is None else oidc.vault.access_token,
            prover=prover,
        )
        for route in assembly.gate.routes:
            if route.limiter is not None:
                route.limiter.bind(store, config.store.prefix)
        coherence.start()
        if store is not None:
            await _ask_store(store, config, health)
            tasks.append(spawn(_watch_store(store, config, health), name="store"))
            if watches_revocations:
                watch = make_watch(config, store)
                with contextlib.suppress(StoreUnavailable):
                    await watch.look(clock())
                believed = watch.believed
                tasks.append(spawn(watch.run(clock), name="revocations"))
        if believed is not None:
            builder.history.begin(believed)
        for ring in keys.all():
            with contextlib.suppress(StoreUnavailable):
                await ring.refresh(clock())
            tasks.append(spawn(_refresh_keys(ring, clock), name="signing keys"))
        own = open_own_services(config, schemes, store, assembly.destinations, audit, oidc)
        if own is not None:
            tasks.extend(watch_users(own, clock))
        tokens = open_token_service(config, keys, store, builder, own, unfit=health.unfit)
        if tokens is not None:
            tokens.audit = audit
            tokens.prover = prover
        return cls(
            config=config,
            gate=assembly.gate,
            forwarding=assembly.forwarding,
            gate_id=assembly.gate_id,
            upstreams=upstreams,
            store=store,
            token_keys=keys.tokens,
            own=own,
            tokens=tokens,
            health=health,
            coherence=coherence,
            vigil=Vigil(coherence),
            audit=audit,
            _own_tracked=None if address is None else coherence.tracked.get(address),
            _tasks=tasks,
        )

    def time_notices(self) -> None:
        """Begin to time how late a change in the gate's own store is heard of, for the metrics.

        Nothing is timed where no verdict depends on that store.
        """
        if self.store is not None and self._own_tracked is not None:
            timed = time_notices(self._own_tracked, self.store, self.config.store.prefix)
            self._tasks.append(spawn(timed, name="notices of the store"))

    async def close(self, drain_s: float = 0.0) -> None:
        """Stop what runs in the background and close every connection."""
        await self.vigil.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self.own is not None:
            await self.own.close()
        await asyncio.gather(*(upstream.close(drain_s) for upstream in self.upstreams.values()))
        await self.coherence.close()
        if self.own is not None and self.own.oidc is not None:
            await self.own.oidc.close()
        await self.audit.close()
        if self.store is not None:
            await self.store.close()


async def _ask_store(store: Store, config: Config, health: StoreHealth) -> None:
    """Ask the store what it is; a server that can evict revocations is not relied on (R4).

    An outage changes nothing here: it answers for itself, request by request.
    """
    with contextlib.suppress(StoreUnavailable):
        problem = eviction_problem(await store.probe(), config.store.eviction)
        if problem is not None and problem != health.reason:
            _log.critical("the store is not used for tokens: %s", problem)
        health.reason = problem


async def _watch_store(store: Store, config: Config, health: StoreHealth) -> None:
    """Ask until there is an answer, then now and then: a fail-over may lead to another server."""
    while True:
        await asyncio.sleep(RETRY_S if health.reason is not None else REFRESH_KEYS_S)
        await _ask_store(store, config, health)


async def _refresh_keys(keys: SigningKeys, clock: Callable[[], float]) -> None:
    """Read the keys again each minute, and rotate what is due; after a failure, each second."""
    delay = REFRESH_KEYS_S
    while True:
        await asyncio.sleep(delay if keys.published() else RETRY_S)
        try:
            await keys.refresh(clock())
        except StoreUnavailable:
            delay = RETRY_S
        except SecretsError as planted:
            _log.critical("signing keys in the store are not accepted: %s", planted)
        else:
            delay = REFRESH_KEYS_S
