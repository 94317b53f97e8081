"""What a gate's first process, its workers and commands agree on before anything is decided.

It is apart from `runtime` because the first process decides nothing, and starts sooner without it.
"""

from __future__ import annotations

import secrets

from proxy.adapters.store import RedisStore, Store, StoreAddress, address_of, open_gate_store
from proxy.config.models import Config
from proxy.core.revocation import RevocationKeys
from proxy.errors import StoreUnavailable
from proxy.services.compile import needs_store
from proxy.services.marker_lives import longest_marker_life_s
from proxy.services.revocations import RevocationWatch


def login_keys(provider: str) -> str:
    """Return what a login provider's keys are called among those of the schemes.

    No scheme's name has a colon.
    """
    return f"login:{provider}"


def pick_gate_id(config: Config) -> str:
    """Return the name of this gate in Via; one for all workers, so that they know a loop."""
    configured = config.server.id
    return f"latchgate-{secrets.token_hex(8)}" if configured == "random" else configured


def own_address(config: Config, embedded: StoreAddress | None) -> StoreAddress | None:
    """Return where the gate's own store is; `None` where nothing needs one.

    Raises `StoreMisconfigured` where the address cannot be one.
    """
    if not needs_store(config):
        return None
    if config.store.url.kind != "embedded":
        return address_of(config.store.url)
    if embedded is None:
        raise StoreUnavailable("the embedded store is not running")
    return embedded


def open_own_store(config: Config, embedded: StoreAddress | None) -> RedisStore | None:
    """Return the gate's own store, unconnected; `None` where nothing needs one.

    Raises `StoreMisconfigured` where the address cannot be one.
    """
    address = own_address(config, embedded)
    return None if address is None else open_gate_store(address, config.store)


def make_watch(config: Config, store: Store) -> RevocationWatch:
    """Return what notices lost revocations (R4): one for each gate."""
    return RevocationWatch(
        store,
        RevocationKeys(config.store.prefix),
        keep_s=longest_marker_life_s(config),
        on_loss=config.store.on_loss,
    )
