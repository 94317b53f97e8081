"""One configuration in a worker: read from what the supervisor told, compiled, connected."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass

from proxy.adapters.keys import RelayedKeys
from proxy.adapters.store import StoreAddress
from proxy.adapters.upstreams import OwnAddress
from proxy.config.loader import LoadedConfig
from proxy.core.revocation import Believed
from proxy.edge.tls import listener_context
from proxy.run.loading import load_booted
from proxy.run.messages import Boot
from proxy.run.providers import key_plans
from proxy.services.runtime import Runtime

Want = Callable[[str, str], None]
"""Takes scheme and `kid` of a key that a token names and nobody has."""


@dataclass(slots=True)
class Opened:
    """A configuration that can be served."""

    loaded: LoadedConfig
    runtime: Runtime
    tls: ssl.SSLContext | None
    keys: dict[str, RelayedKeys]
    sources: dict[str, str]
    """By scheme: whose keys it takes (`KeyPlan.source`)."""

    def accept_keys(self, scheme: str, source: str, document: dict[str, object]) -> None:
        """Take a provider's keys, if they are of the provider that is configured here."""
        if self.sources.get(scheme) == source:
            self.keys[scheme].accept(document)


async def open_booted(boot: Boot, want: Want, before: Runtime | None = None) -> Opened:
    """Compile and connect what a boot message tells; `before` is served meanwhile.

    Raises `ProxyError`, `OSError` and `ssl.SSLError` where it cannot be served.
    """
    if before is None:
        loaded = load_booted(boot)
    else:  # requests go on meanwhile
        loaded = await asyncio.to_thread(load_booted, boot)
    config = loaded.config
    plans = dict(key_plans(config))
    keys = {
        name: RelayedKeys(
            plan.algorithms,
            lambda kid, name=name: want(name, kid),  # type: ignore[misc]  # mypy cannot infer a default's type
            max_stale_s=plan.max_stale_s,
        )
        for name, plan in plans.items()
    }
    for scheme, document in boot.keys.items():
        if scheme in keys:
            keys[scheme].accept(document)
    tls = config.server.tls
    context = None if tls is None else listener_context(tls)
    runtime = await Runtime.start(
        loaded,
        store_address=None if boot.store is None else StoreAddress.from_json(boot.store),
        key_sources=keys,
        gate_id=boot.gate_id,
        own_addresses=frozenset(map(_own_address, boot.own_addresses)),
        believed=_believed(boot),
        before=before,
    )
    if config.health is not None:  # else nobody could ask for it
        runtime.time_notices()
    sources = {name: plan.source for name, plan in plans.items()}
    return Opened(loaded, runtime, context, keys, sources)


def _believed(boot: Boot) -> Believed | None:
    if boot.revocations is None:
        return None
    epoch, good_at = boot.revocations
    return Believed(bytes.fromhex(epoch), good_at)


def _own_address(item: str | list[str | int]) -> OwnAddress:
    if isinstance(item, str):
        return item
    host, port = item
    return str(host), int(port)
