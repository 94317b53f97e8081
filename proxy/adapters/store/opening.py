"""From an address to a store: one server, whichever is the master, or a Cluster."""

from __future__ import annotations

from proxy.adapters.store.address import StoreAddress
from proxy.adapters.store.cluster_store import ClusterStore
from proxy.adapters.store.cluster_view import ClusterWatch
from proxy.adapters.store.durable import Durability, DurableLine
from proxy.adapters.store.line import Line
from proxy.adapters.store.link import client_context
from proxy.adapters.store.redis_store import RedisStore, encode
from proxy.adapters.store.sentinel import Mastership
from proxy.config.store_models import StoreConfig


def open_store(
    address: StoreAddress,
    *,
    timeout_s: float,
    max_staleness_s: float = 2.0,
    durability: Durability | None = None,
) -> RedisStore:
    """Open the store at `address`; nothing is sent yet.

    `max_staleness_s`: for how long Sentinels' word of a master is believed. Raises
    `StoreMisconfigured` when a certificate file cannot be used.
    """
    context = client_context(address)
    if address.nodes:
        watch = ClusterWatch(address, context, max_staleness_s=max_staleness_s)
        return ClusterStore(address, context, watch, timeout_s=timeout_s, durability=durability)
    mastership = None
    if address.sentinels:
        mastership = Mastership(address, context, max_staleness_s=max_staleness_s)

    def line() -> Line:
        return Line(address, context, timeout_s=timeout_s, mastership=mastership)

    durable = None
    if durability is not None:
        replicas = None if mastership is None else lambda: mastership.replicas
        durable = DurableLine(line(), durability, replicas)
    return RedisStore(line(), durable, mastership)


def open_gate_store(address: StoreAddress, settings: StoreConfig) -> RedisStore:
    """Open the gate's own store at `address`, as its section of the configuration says.

    Raises `StoreMisconfigured` when a certificate file cannot be used.
    """
    durability = None
    if settings.durability != "none":
        wanted = settings.durability.replicas
        durability = Durability(
            replicas=None if wanted == "all" else wanted,
            timeout_s=settings.durability.timeout,
            barrier=encode(f"{settings.prefix}barrier"),
        )
    return open_store(
        address,
        timeout_s=settings.timeout,
        max_staleness_s=settings.max_staleness,
        durability=durability,
    )
