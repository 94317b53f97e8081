"""The store: one port, reached over a connection or run by the gate itself.

`open_store` gives a `Store` for a `StoreAddress`; `parse_store_url` reads the configuration's
URL; `embedded` runs a private server.
"""

from proxy.adapters.store.address import (
    EmbeddedAddress,
    StoreAddress,
    StoreMisconfigured,
    parse_store_url,
)
from proxy.adapters.store.port import Script, Store, StoreInfo, eviction_problem
from proxy.adapters.store.redis_store import open_store

__all__ = [
    "EmbeddedAddress",
    "Script",
    "Store",
    "StoreAddress",
    "StoreInfo",
    "StoreMisconfigured",
    "eviction_problem",
    "open_store",
    "parse_store_url",
]
