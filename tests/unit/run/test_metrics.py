"""What a scrape tells beside the workers' counts."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from proxy.config.loader import load_config
from proxy.run import metrics as module
from proxy.run.crew import Crew
from proxy.run.gathering import Gathering
from proxy.run.metrics import Metrics

TEXT = """
upstreams: {app: {servers: ["http://127.0.0.1:1"]}}
routes: [{match: {path: "/**"}, auth: none, upstream: app}]
"""


class FakeKeys:
    """The keys of a provider, as far as they are counted."""

    fetches = 5
    fetch_failures = 2

    def __init__(self) -> None:
        self.age: float | None = 60.0

    def age_s(self) -> float | None:
        """Return the age of the document."""
        return self.age


class Gate:
    """What the supervisor knows."""

    def __init__(self, directory: Path) -> None:
        file = directory / "latchgate.yaml"
        file.write_text(TEXT)
        self.may_look = asyncio.Event()
        self.may_look.set()
        self.stores = {"store": True, "legacy": False}
        self.keys = FakeKeys()
        self.crew = Crew(2)
        self.metrics = Metrics(self.crew, Gathering(), load_config(file).config)
        self.metrics.observe(self.is_ready, lambda: self.stores, {"api": self.keys})  # type: ignore[dict-item]  # a fake of what is used

    async def is_ready(self) -> bool:
        """Look at the stores."""
        await self.may_look.wait()
        return True

    async def scrape(self) -> dict:
        """Return every sample by name and values of labels."""
        _, body = await self.metrics.scrape("")
        return {
            (sample.name, *sample.labels.values()): sample.value
            for family in text_string_to_metric_families(body.decode())
            for sample in family.samples
        }


async def test_workers_stores_and_keys_are_told(tmp_path):
    """What the supervisor knows by itself needs no worker."""
    gate = Gate(tmp_path)
    gate.crew.started(0)
    gate.crew.became_ready(0, 0.0)
    gate.crew.died(1, 0.0)
    told = await gate.scrape()
    assert (1, 1, 0) == (
        told["latchgate_ready",],
        told["latchgate_store_up", "store"],
        told["latchgate_store_up", "legacy"],
    )
    assert (2, 1, 1, 0) == tuple(
        told[f"latchgate_{name}",]
        for name in ("workers_wanted", "workers_ready", "worker_restarts_total", "workers_silent")
    )
    assert (60, 5, 2) == tuple(
        told[f"latchgate_jwks_{name}", "api"]
        for name in ("age_seconds", "fetches_total", "fetch_failures_total")
    )
    assert 1 == told["latchgate_config_info", "1", "0", "1"]
    assert abs(time.time() - told["latchgate_config_loaded_timestamp_seconds",]) < 600


async def test_keys_that_never_came_have_no_age(tmp_path):
    """An age of zero would say that they are fresh."""
    gate = Gate(tmp_path)
    gate.keys.age = None
    assert ("latchgate_jwks_age_seconds", "api") not in await gate.scrape()


async def test_a_store_that_hangs_is_not_up(tmp_path, monkeypatch):
    """A scrape does not wait for it, and believes nothing that it said before."""
    monkeypatch.setattr(module, "READY_TIMEOUT_S", 0.01)
    gate = Gate(tmp_path)
    gate.may_look.clear()
    told = await gate.scrape()
    assert (0, 0) == (told["latchgate_ready",], told["latchgate_store_up", "store"])
    gate.may_look.set()


async def test_scrapes_do_not_add_to_each_other(tmp_path):
    """Two that share what was gathered tell the same."""
    gate = Gate(tmp_path)
    first, second = await asyncio.gather(gate.scrape(), gate.scrape())
    assert 2 == first["latchgate_workers_wanted",] == second["latchgate_workers_wanted",]
