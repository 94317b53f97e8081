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
        self._is_first = True
        self._looked_at = float("-inf")
        self.answering = dict.fromkeys(stores, False)
        """Of each store, whether it answered the last look."""
        self._look: asyncio.Lock = asyncio.Lock()

    async def is_ready(self) -> bool:
        """Tell whether every worker serves, every store answers and every scheme has keys."""
        async with self._look:
            if self._clock() - self._looked_at >= KEEP_S:
                await self._look_now()
        return not self._reasons

    async def say_what_is_missing(self) -> None:
        """Look when the workers serve, whether or not anybody probes, and say only what is missing.

        A wrong password of a store would else show with the first request alone.
        """
        async with self._look:
            await self._look_now(is_quiet=True)

    async def _look_now(self, *, is_quiet: bool = False) -> None:
        """Look. `is_quiet`: say nothing where nothing is missing and nothing was said to be."""
        reasons = [] if self._has_workers() else ["not every worker serves"]
        reasons += [f"no keys for scheme {name}" for name in self._missing_keys()]
        failures = await asyncio.gather(
            *(_problem(name, *place) for name, place in self._stores.items())
        )
        for name, failure in zip(self._stores, failures, strict=True):
            self.answering[name] = failure is None
        said = reasons + [failure for failure in failures if failure]
        # Why a store fails may alternate while it is away: that it does is said once.
        reasons += [name for name, is_up in self.answering.items() if not is_up]
        self._looked_at = self._clock()
        if reasons != self._reasons:
            self._reasons = reasons
            if said or not (is_quiet and self._is_first):
                _say(said)
            self._is_first = False


async def _problem(name: str, store: Store, key: str) -> str | None:
    try:
        await store.fetch([key])  # unlike PING this fails while the data are being loaded
    except StoreUnavailable as error:
        address, _, reason = error.detail.partition(" ")
        return f"the store {name}: {reason if ':/' in address else error.detail}"
    return None


def _say(reasons: list[str]) -> None:
    if reasons:
        _log.warning("not ready: %s", "; ".join(reasons))
    else:
        _log.info("ready")
