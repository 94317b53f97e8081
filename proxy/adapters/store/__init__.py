"""The store: one port, reached over a connection or run by the gate itself.

`open_store` gives a `Store` for a `StoreAddress`, which `address_of` makes of a configured URL;
`embedded` runs a private server.
"""

from proxy.adapters.store.address import (
    StoreAddress,
    StoreMisconfigured,
    address_of,
)
from proxy.adapters.store.opening import open_gate_store, open_store
from proxy.adapters.store.port import Script, Store, StoreInfo, eviction_problem
from proxy.adapters.store.redis_store import RedisStore

__all__ = [
    "RedisStore",
    "Script",
    "Store",
    "StoreAddress",
    "StoreInfo",
    "StoreMisconfigured",
    "address_of",
    "eviction_problem",
    "open_gate_store",
    "open_store",
]
