"""The composition root: one configuration, compiled and connected. The unit of reload.

A request keeps the `Runtime` that it started with. What never belongs here: decisions.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from proxy.adapters.keys import KeySource
from proxy.adapters.store import (
    Store,
    StoreAddress,
    open_gate_store,
)
from proxy.adapters.store.tracked_store import TrackedStore
from proxy.adapters.tasks import spawn
from proxy.adapters.upstreams import OwnAddress, Upstream
from proxy.config.loader import LoadedConfig, load_config
from proxy.config.models import Config
from proxy.core.forwarding import ForwardingPolicy
from proxy.core.revocation import Believed
from proxy.errors import StoreUnavailable
from proxy.model import Refusal
from proxy.services import compile as compiling
from proxy.services.assembly import assemble
from proxy.services.audit import Audit
from proxy.services.beginning import make_watch, own_address, pick_gate_id
from proxy.services.canary import time_notices
from proxy.services.coherence import Coherence
from proxy.services.compile_checks import compile_problems
from proxy.services.decision import Forward
from proxy.services.foreign_step_up import ForeignServices, open_foreign_services
from proxy.services.gate import Gate
from proxy.services.issuing import open_token_service
from proxy.services.keyrings import open_nonces, open_signing_keys
from proxy.services.limits import Limiters
from proxy.services.login_providers import open_oidc_login
from proxy.services.oauth import TokenService
from proxy.services.own import OwnServices
from proxy.services.own_opening import open_own_services, watch_users
from proxy.services.proofs import open_prover
from proxy.services.routes import Parts
from proxy.services.schemes.build import SchemeBuilder
from proxy.services.signing import SigningKeys
from proxy.services.store_health import StoreHealth, ask_store, refresh_keys, watch_store
from proxy.services.succession import open_upstreams, renewed
from proxy.services.tokens import AssertionMinter
from proxy.services.vigil import Vigil

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
    foreign: ForeignServices | None
    """What asks people with sessions of applications for a factor; `None` where no route wants one."""
    tokens: TokenService | None
    """What answers OAuth clients; `None` where nobody gets a token by HTTP."""
    health: StoreHealth
    coherence: Coherence
    """The worker's verdicts; its `counters` are for the metrics."""
    vigil: Vigil
    """The worker's open connections; counted in `coherence.streams`."""
    limiters: Limiters
    audit: Audit
    """Notes what happens to credentials."""
    _own_tracked: TrackedStore | None = None
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)

    @classmethod
    async def start(  # noqa: PLR0913 - each is one fact of the process, by name
        cls,
        loaded: LoadedConfig,
        *,
        store_address: StoreAddress | None = None,
        key_sources: KeySources | None = None,
        gate_id: str | None = None,
        own_addresses: frozenset[OwnAddress] = frozenset(),
        watches_revocations: bool = False,
        believed: Believed | None = None,
        before: Runtime | None = None,
        clock: Callable[[], float] = time.time,
    ) -> Runtime:
        """Connect and compile; a store or provider that is down does not keep the gate from starting.

        `before`: what runs meanwhile, and is to be replaced by `take_over`. What of it has the same
        settings lives on: upstreams with their connections and health, limits with their counts.

        `store_address`: of the running embedded store, where one is configured. `key_sources`:
        for every scheme with `jwks_url` or `discovery`. `watches_revocations`: True in a process
        without a supervisor, which otherwise does it for all workers (R4). `believed`: the history
        of revocations that the supervisor knew when it started this one.
        """
        async with AsyncExitStack() as undo:  # of what was begun, if something fails
            config = loaded.config
            address = own_address(config, store_address)
            store = None if address is None else open_gate_store(address, config.store)
            coherence = Coherence(
                config,
                generation=next(_generations),
                before=None if before is None else before.coherence,
            )
            health = _health(config, before)
            tasks: list[asyncio.Task[None]] = []
            undo.push_async_callback(_end, tasks)
            if store is not None:
                undo.push_async_callback(store.close)
            keys = open_signing_keys(config, store)
            audit = Audit(store, prefix=config.store.prefix)
            undo.push_async_callback(audit.close)
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
            upstreams = open_upstreams(
                config, own_addresses, {} if before is None else before.upstreams
            )
            kept = () if before is None else before.upstreams.values()
            fresh = [one for one in upstreams.values() if one not in kept]
            limiters = Limiters(config, None if before is None else before.limiters)
            schemes = builder.build()
            prover = open_prover(config, store, open_nonces(config))
            oidc = open_oidc_login(config, store, key_sources or {}, clock)
            parts = Parts(
                schemes,
                upstreams,
                keys.published,
                _minter(config, keys.assertions),
                None if oidc is None else oidc.vault.access_token,
                prover,
                limiters,
            )
            assembly = assemble(config, parts, gate_id or pick_gate_id(config))
            for upstream in fresh:
                upstream.start()
                undo.push_async_callback(upstream.close, 0.0)
            if before is None:
                limiters.bind(store, config.store.prefix)
            coherence.start()
            undo.push_async_callback(coherence.close)
            if store is not None:
                await ask_store(store, config, health)
                tasks.append(spawn(watch_store(store, config, health), name="store"))
                if watches_revocations:
                    believed = await _watch_revocations(config, store, clock, tasks)
            if believed is not None:
                builder.history.begin(believed)
            await _watch_keys(keys.all(), clock, tasks)
            own = open_own_services(
                config,
                schemes,
                store,
                assembly.destinations,
                audit,
                oidc,
                None if before is None else before.own,
            )
            if own is not None:
                undo.push_async_callback(own.close, None if before is None else before.own)
                tasks.extend(watch_users(own, clock))
            foreign = open_foreign_services(config, schemes, store, assembly.destinations, audit)
            tokens = open_token_service(config, keys, store, builder, own, unfit=health.unfit)
            if tokens is not None:
                tokens.audit = audit
                tokens.prover = prover
            runtime = cls(
                config=config,
                gate=assembly.gate,
                forwarding=assembly.forwarding,
                gate_id=assembly.gate_id,
                upstreams=upstreams,
                store=store,
                token_keys=keys.tokens,
                own=own,
                foreign=foreign,
                tokens=tokens,
                health=health,
                coherence=coherence,
                vigil=Vigil(coherence),
                limiters=limiters,
                audit=audit,
                _own_tracked=None if address is None else coherence.tracked.get(address),
                _tasks=tasks,
            )
            undo.pop_all()
            return runtime

    def time_notices(self) -> None:
        """Begin to time how late a change in the gate's own store is heard of, for the metrics.

        Nothing is timed where no verdict depends on that store.
        """
        if self.store is not None and self._own_tracked is not None:
            timed = time_notices(self._own_tracked, self.store, self.config.store.prefix)
            self._tasks.append(spawn(timed, name="notices of the store"))

    def take_over(self, before: Runtime, *, is_trust_gone: bool = False) -> None:
        """Be what decides from now on: about what `before` has let in and is still open, too (R7).

        `is_trust_gone`: an authority of clients' certificates is not believed any more.
        """
        self.limiters.bind(self.store, self.config.store.prefix)
        for upstream in self.upstreams.values():
            upstream.forget_heads()

        def renew(decision: Forward) -> Forward | Refusal:
            return renewed(self.gate, decision, time.time(), is_trust_gone=is_trust_gone)

        before.vigil.succeed(self.vigil, renew)

    async def close(self, drain_s: float | None = 0.0, *, after: Runtime | None = None) -> None:
        """Stop what runs in the background and close every connection.

        `drain_s`: what requests in flight are given; `None`: as long as they take. `after`: the
        configuration that has taken over; what it uses too goes on.
        """
        await self.vigil.close()
        await _end(self._tasks)
        spared = () if after is None else after.upstreams.values()
        ends = [one.close(drain_s) for one in self.upstreams.values() if one not in spared]
        if drain_s is None:
            for end in ends:
                spawn(end, name="upstream of an old configuration")
        else:
            await asyncio.gather(*ends)
        if self.own is not None:
            await self.own.close(None if after is None else after.own)
        await self.coherence.close()
        if self.own is not None and self.own.oidc is not None:
            await self.own.oidc.close()
        await self.audit.close()
        if self.store is not None:
            await self.store.close()


def _minter(config: Config, signer: SigningKeys | None) -> AssertionMinter | None:
    base = compiling.assertion_base(config)
    if signer is None or base is None:
        return None
    return AssertionMinter(base=base, signer=signer)


async def _watch_revocations(
    config: Config, store: Store, clock: Callable[[], float], tasks: list[asyncio.Task[None]]
) -> Believed | None:
    watch = make_watch(config, store)
    with contextlib.suppress(StoreUnavailable):
        await watch.look(clock())
    tasks.append(spawn(watch.run(clock), name="revocations"))
    return watch.believed


async def _watch_keys(
    rings: Iterable[SigningKeys], clock: Callable[[], float], tasks: list[asyncio.Task[None]]
) -> None:
    for ring in rings:
        with contextlib.suppress(StoreUnavailable):
            await ring.refresh(clock())
        tasks.append(spawn(refresh_keys(ring, clock), name="signing keys"))


def _health(config: Config, before: Runtime | None) -> StoreHealth:
    """Return what is known of the store: of the same one as before, what was known then."""
    if before is not None and before.config.store == config.store:
        return before.health
    return StoreHealth()


async def _end(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
