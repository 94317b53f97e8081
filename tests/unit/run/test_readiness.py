from __future__ import annotations

import logging
from collections.abc import Sequence

from proxy.errors import StoreUnavailable
from proxy.run.readiness import Readiness


class FakeStore:
    """A store that answers or does not, and counts how often it was asked."""

    def __init__(self) -> None:
        self.is_up = True
        self.why = "cannot be reached: no route"
        self.asked = 0

    async def fetch(self, keys: Sequence[str]) -> list[bytes | None]:
        """Answer one look-up."""
        assert list(keys) == ["latchgate:ready"]  # a user with rights below the prefix may read it
        self.asked += 1
        if not self.is_up:
            raise StoreUnavailable(f"redis://store:6379 {self.why}")
        return [None for _ in keys]


class Gate:
    """What readiness looks at, and a clock."""

    def __init__(self) -> None:
        self.now = 0.0
        self.has_workers = True
        self.missing: list[str] = []
        self.store = FakeStore()
        self.readiness = Readiness(
            has_workers=lambda: self.has_workers,
            missing_keys=lambda: self.missing,
            stores={"redis://store:6379/0": (self.store, "latchgate:ready")},  # type: ignore[dict-item]  # a fake of the port's one method that is used
            clock=lambda: self.now,
        )

    async def look(self) -> bool:
        """Look, a second later."""
        self.now += 1.0
        return await self.readiness.is_ready()


async def test_ready_means_workers_store_and_keys():
    """Each that is missing makes the gate unready, and its return ready again."""
    gate = Gate()
    assert await gate.look()
    gate.has_workers = False
    assert not await gate.look()
    gate.has_workers = True
    gate.missing = ["api"]
    assert not await gate.look()
    gate.missing = []
    gate.store.is_up = False
    assert not await gate.look()
    assert {"redis://store:6379/0": False} == gate.readiness.answering
    gate.store.is_up = True
    assert await gate.look()
    assert {"redis://store:6379/0": True} == gate.readiness.answering


async def test_many_probes_cost_the_store_one_look_up():
    """An answer is good for half a second."""
    gate = Gate()
    for _ in range(10):
        await gate.readiness.is_ready()
    assert 1 == gate.store.asked
    await gate.look()
    assert 2 == gate.store.asked


async def test_changes_are_said_once(caplog):
    """The log tells when the gate becomes unready, why, and when it is over."""
    gate = Gate()
    caplog.set_level(logging.INFO, "latchgate.health")
    await gate.look()
    gate.missing = ["api"]
    gate.store.is_up = False
    await gate.look()
    await gate.look()
    gate.missing = []
    gate.store.is_up = True
    await gate.look()
    assert [
        "ready",
        "not ready: no keys for scheme api; the store redis://store:6379/0: cannot be reached: no route",
        "ready",
    ] == caplog.messages


async def test_an_outage_is_said_once_whatever_its_reasons(caplog):
    """A store that is refused, then silent, then refused again is one outage in the log."""
    gate = Gate()
    gate.store.is_up = False
    for why in ("refused: LOADING", "did not answer in time", "refused: LOADING"):
        gate.store.why = why
        await gate.look()
    assert ["not ready: the store redis://store:6379/0: refused: LOADING"] == caplog.messages


async def test_the_first_look_says_only_what_is_missing(caplog):
    """A start with all that it needs is no news; without, it is said, and so is the end of that."""
    caplog.set_level(logging.INFO, "latchgate.health")
    await Gate().readiness.say_what_is_missing()
    assert [] == caplog.messages
    gate = Gate()
    gate.store.is_up = False
    await gate.readiness.say_what_is_missing()
    gate.store.is_up = True
    await gate.look()
    assert [
        "not ready: the store redis://store:6379/0: cannot be reached: no route",
        "ready",
    ] == caplog.messages
