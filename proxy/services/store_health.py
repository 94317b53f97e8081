"""Whether the gate's own store may be relied on, asked again as long as the gate runs."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from proxy.adapters.store import Store, eviction_problem
from proxy.config.models import Config
from proxy.errors import SecretsError, StoreUnavailable
from proxy.services.signing import SigningKeys

REFRESH_S: Final = 60.0
RETRY_S: Final = 1.0

_log = logging.getLogger("latchgate.runtime")


@dataclass(slots=True)
class StoreHealth:
    """Whether the gate's own store may be relied on (security.md, R4)."""

    reason: str | None = "the store has not been asked yet what it is"

    def unfit(self) -> str | None:
        """Return why the store may not be relied on, or `None`."""
        return self.reason


async def ask_store(store: Store, config: Config, health: StoreHealth) -> None:
    """Ask the store what it is; a server that can evict revocations is not relied on (R4).

    An outage changes nothing here: it answers for itself, request by request.
    """
    with contextlib.suppress(StoreUnavailable):
        problem = eviction_problem(await store.probe(), config.store.eviction)
        if problem is not None and problem != health.reason:
            _log.critical("the store is not used for tokens: %s", problem)
        health.reason = problem


async def watch_store(store: Store, config: Config, health: StoreHealth) -> None:
    """Ask until there is an answer, then now and then: a fail-over may lead to another server."""
    while True:
        await asyncio.sleep(RETRY_S if health.reason is not None else REFRESH_S)
        await ask_store(store, config, health)


async def refresh_keys(keys: SigningKeys, clock: Callable[[], float]) -> None:
    """Read the keys again each minute, and rotate what is due; after a failure, each second."""
    delay = REFRESH_S
    while True:
        await asyncio.sleep(delay if keys.published() else RETRY_S)
        try:
            await keys.refresh(clock())
        except StoreUnavailable:
            delay = RETRY_S
        except SecretsError as planted:
            _log.critical("signing keys in the store are not accepted: %s", planted)
        else:
            delay = REFRESH_S
