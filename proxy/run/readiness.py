"""Whether the gate can do its work: workers, stores, keys. What `/readyz` tells."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Final

from proxy.adapters.store import Store
from proxy.errors import StoreUnavailable

KEEP_S: Final = 0.5
"""How long an answer is good: probes of several observers cost the store one look-up."""

_log = logging.getLogger("latchgate.health")


class Readiness:
    """Looks when it is asked, at most twice a second; says in the log when the answer changes."""

    def __init__(
        self,
        *,
        has_workers: Callable[[], bool],
        missing_keys: Callable[[], list[str]],
        stores: Mapping[str, tuple[Store, str]],
        clock: Callable[[], float],
    ) -> None:
        """Prepare to look; `clock` is monotonic seconds.

        `stores` are by the name to show, each with a key that the gate's user there may read.
        """
        self._has_workers = has_workers
        self._missing_keys = missing_keys
        self._stores = stores
        self._clock = clock
        self._reasons: list[str] = ["the gate starts"]
        self._looked_at = float("-inf")
        self.answering = dict.fromkeys(stores, False)
        """Of each store, whether it answered the last look."""
        self._look: asyncio.Lock = asyncio.Lock()

    async def is_ready(self) -> bool:
        """Tell whether every worker serves, every store answers and every scheme has keys."""
        async with self._look:
            if self._clock() - self._looked_at >= KEEP_S:
                reasons = await self._reasons_now()
                self._looked_at = self._clock()
                if reasons != self._reasons:
                    self._reasons = reasons
                    _say(reasons)
        return not self._reasons

    async def _reasons_now(self) -> list[str]:
        reasons = [] if self._has_workers() else ["not every worker serves"]
        reasons += [f"no keys for scheme {name}" for name in self._missing_keys()]
        failures = await asyncio.gather(
            *(_problem(name, *place) for name, place in self._stores.items())
        )
        for name, failure in zip(self._stores, failures, strict=True):
            self.answering[name] = failure is None
        return reasons + [failure for failure in failures if failure]


async def _problem(name: str, store: Store, key: str) -> str | None:
    try:
        await store.fetch([key])  # unlike PING this fails while the data are being loaded
    except StoreUnavailable:
        return f"the store {name} does not answer"
    return None


def _say(reasons: list[str]) -> None:
    if reasons:
        _log.warning("not ready: %s", "; ".join(reasons))
    else:
        _log.info("ready")
