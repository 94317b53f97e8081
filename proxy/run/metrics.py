"""What `/metrics` answers: the workers' counts, and what the supervisor itself knows."""

from __future__ import annotations

import asyncio
import platform
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, Literal

from proxy import __version__
from proxy.adapters.keys import RemoteKeys
from proxy.adapters.tasks import spawn
from proxy.config.models import Config
from proxy.run.crew import Crew
from proxy.run.gathering import Gathering
from proxy.run.tally import Tally, nanoseconds, put

READY_TIMEOUT_S: Final = 2.0
"""How long a scrape waits for a store; one that has not answered by then is not up."""


class Metrics:
    """Answers scrapes. Made once for the gate."""

    def __init__(self, crew: Crew, gathering: Gathering, config: Config) -> None:
        self._crew = crew
        self._gathering = gathering
        self._reloads = {"done": 0, "refused": 0, "failed": 0}
        self._is_last_good = True
        self.adopt(config)
        self._keys: Mapping[str, RemoteKeys] = {}
        self._is_ready: Callable[[], Awaitable[bool]]
        self._stores: Callable[[], Mapping[str, bool]]

    def adopt(self, config: Config) -> None:
        """Tell of another configuration from now on."""
        self._sizes = (len(config.routes), len(config.schemes), len(config.upstreams))
        self._loaded_at = nanoseconds(time.time())

    def reloaded(self, result: Literal["done", "refused", "failed"]) -> None:
        """Count what became of a reload."""
        self._reloads[result] += 1
        self._is_last_good = result == "done"

    def observe(
        self,
        is_ready: Callable[[], Awaitable[bool]],
        stores: Callable[[], Mapping[str, bool]],
        keys: Mapping[str, RemoteKeys],
    ) -> None:
        """Say what to look at, before the first scrape.

        `stores` tells of each store, by its name in metrics, whether it answered when `is_ready`
        last looked; `keys` are those of providers, by scheme.
        """
        self._is_ready, self._stores, self._keys = is_ready, stores, keys

    async def scrape(self, accept: str) -> tuple[str, bytes]:
        """Return content type and body for a client with this `Accept` header; takes seconds at most."""
        looking = spawn(_look(self._is_ready), name="readiness for a scrape")
        gathered = await self._gathering.gather()
        await asyncio.wait([looking], timeout=READY_TIMEOUT_S)
        tally = dict(gathered.tally)  # others may have been given the same one
        is_known = looking.done()
        put(tally, "latchgate_ready", values=[int(is_known and looking.result())])
        for store, is_up in self._stores().items():
            put(tally, "latchgate_store_up", store, values=[int(is_known and is_up)])
        put(tally, "latchgate_workers_silent", values=[gathered.silent])
        self._count_gate(tally)
        self._count_keys(tally)
        # Many gates are never asked for numbers, and start sooner without what renders them.
        from proxy.run.exposition import expose  # noqa: PLC0415 - as above

        return expose(tally, accept)

    def _count_gate(self, tally: Tally) -> None:
        for name, number in (
            ("latchgate_workers_wanted", self._crew.size),
            ("latchgate_workers_ready", self._crew.ready),
            ("latchgate_worker_restarts_total", self._crew.restarts),
            ("latchgate_config_loaded_timestamp_seconds", self._loaded_at),
        ):
            put(tally, name, values=[number])
        for result, times in self._reloads.items():
            put(tally, "latchgate_config_reloads_total", result, values=[times])
        good = int(self._is_last_good)
        put(tally, "latchgate_config_last_reload_successful", values=[good])
        put(tally, "latchgate_config_info", *map(str, self._sizes), values=[1])
        put(tally, "latchgate_build_info", __version__, platform.python_version(), values=[1])

    def _count_keys(self, tally: Tally) -> None:
        for scheme, keys in self._keys.items():
            put(tally, "latchgate_jwks_fetches_total", scheme, values=[keys.fetches])
            put(tally, "latchgate_jwks_fetch_failures_total", scheme, values=[keys.fetch_failures])
            age_s = keys.age_s()
            if age_s is not None:
                put(tally, "latchgate_jwks_age_seconds", scheme, values=[nanoseconds(age_s)])


async def _look(is_ready: Callable[[], Awaitable[bool]]) -> bool:
    return await is_ready()
