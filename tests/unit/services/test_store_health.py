"""Whether the store may be relied on, as it says itself."""

from __future__ import annotations

from proxy.adapters.store import StoreAddress, open_store
from proxy.services.runtime import load
from proxy.services.store_health import StoreHealth, ask_store

CONFIG = """
store: {url: "redis://127.0.0.1:1"}
upstreams: {app: {servers: ["http://127.0.0.1:1"]}}
schemes: {web: {type: session, format: native, cookie: sid}}
routes: [{match: {path: /**}, auth: web, upstream: app}]
"""


async def test_r4_a_store_that_can_evict_is_unfit_until_it_cannot(valkey, tmp_path):
    """An outage says nothing new; an answer does."""
    path = tmp_path / "gate.yaml"
    path.write_text(CONFIG)
    config = load(path).config
    health = StoreHealth()
    assert health.unfit() is not None
    store = open_store(
        StoreAddress(socket_path=str(valkey.socket_path)), timeout_s=5, max_staleness_s=5
    )
    with valkey.client() as admin:
        admin.config_set("maxmemory", "100mb")
        admin.config_set("maxmemory-policy", "allkeys-lru")
        await ask_store(store, config, health)
        assert health.unfit() is not None
        admin.config_set("maxmemory-policy", "noeviction")
        await ask_store(store, config, health)
    assert health.unfit() is None
    await store.close()
