"""How the supervisor adds up what its workers have counted."""

from __future__ import annotations

import asyncio
import logging

from proxy.adapters.tasks import spawn
from proxy.run.channel import ChannelError
from proxy.run.gathering import Gathering

TOTAL = ("latchgate_sent_bytes_total", ())
LEVEL = ("latchgate_tunnels", ())
AGE = ("latchgate_store_proof_age_seconds", ("store",))


class FakeWorker:
    """A worker that answers at once, or not at all."""

    def __init__(self, gathering: Gathering, *, number: int = 0) -> None:
        self.number = number
        self.gathering = gathering
        self.tally: dict = {TOTAL: [0], LEVEL: [0]}
        self.is_stuck = False
        self.is_gone = False
        self.asked = 0
        self.was_asked = asyncio.Event()

    async def send(self, message: dict) -> None:
        """Take the question."""
        assert {"kind": "count"} == message
        self.asked += 1
        self.was_asked.set()
        if self.is_gone:
            raise ChannelError("gone")
        if not self.is_stuck:
            self.gathering.answered(self, dict(self.tally))


def crew(*, timeout_s: float = 30.0) -> tuple[Gathering, FakeWorker, FakeWorker]:
    """Return a gathering with two workers."""
    gathering = Gathering(timeout_s=timeout_s)
    workers = FakeWorker(gathering), FakeWorker(gathering, number=1)
    for worker in workers:
        gathering.join(worker)
    return gathering, *workers


async def test_the_counts_of_all_workers_add_up():
    """Totals and levels are sums, ages the highest."""
    gathering, one, two = crew()
    one.tally = {TOTAL: [1], LEVEL: [2], AGE: [9]}
    two.tally = {TOTAL: [10], LEVEL: [20], AGE: [5]}
    gathered = await gathering.gather()
    assert {TOTAL: [11], LEVEL: [22], AGE: [9]} == gathered.tally
    assert 0 == gathered.silent


async def test_a_stuck_worker_holds_nobody_up():
    """Its last known numbers stand in, it is counted as silent, and it is not asked again."""
    gathering, one, two = crew(timeout_s=0.05)
    one.tally = {TOTAL: [1]}
    two.tally = {TOTAL: [10]}
    await gathering.gather()
    one.is_stuck = True
    one.tally, two.tally = {TOTAL: [5]}, {TOTAL: [50]}
    for _ in range(3):
        gathered = await gathering.gather()
        assert ({TOTAL: [51]}, 1) == (gathered.tally, gathered.silent)
    assert 2 == one.asked
    gathering.answered(one, {TOTAL: [5]})  # it answers when it goes on
    one.is_stuck = False
    gathered = await gathering.gather()
    assert ({TOTAL: [55]}, 0) == (gathered.tally, gathered.silent)


async def test_a_replaced_worker_does_not_lower_totals():
    """What it had counted stays; what it had open is gone with it."""
    gathering, one, two = crew()
    one.tally = {TOTAL: [7], LEVEL: [3], AGE: [1]}
    two.tally = {TOTAL: [1], LEVEL: [1], AGE: [1]}
    await gathering.gather()
    gathering.leave(one)
    assert {TOTAL: [8], LEVEL: [1], AGE: [1]} == (await gathering.gather()).tally
    new = FakeWorker(gathering)
    gathering.join(new)
    new.tally = {TOTAL: [2], LEVEL: [0], AGE: [0]}
    assert {TOTAL: [10], LEVEL: [1], AGE: [1]} == (await gathering.gather()).tally
    gathering.leave(new)
    gathering.leave(new)
    assert {TOTAL: [10], LEVEL: [1], AGE: [1]} == (await gathering.gather()).tally


async def test_a_worker_that_ends_while_it_is_asked_is_not_waited_for():
    """Its end is an answer too."""
    gathering, one, _ = crew(timeout_s=60.0)
    one.is_stuck = True
    looking = spawn(gathering.gather(), name="look")
    await one.was_asked.wait()
    gathering.leave(one)
    async with asyncio.timeout(20):
        assert {TOTAL: [0], LEVEL: [0]} == (await looking).tally


async def test_who_looks_at_the_same_time_costs_one_question():
    """Ten observers are one to a worker."""
    gathering, one, _ = crew()
    found = await asyncio.gather(*(gathering.gather() for _ in range(10)))
    assert 1 == one.asked
    assert all(gathered is found[0] for gathered in found)


async def test_an_observer_that_leaves_takes_nothing_from_the_others():
    """A cancelled scrape does not cancel the question."""
    gathering, one, _ = crew()
    one.is_stuck = True
    first, second = (spawn(gathering.gather(), name="look") for _ in range(2))
    await one.was_asked.wait()
    first.cancel()
    gathering.answered(one, {TOTAL: [4]})
    assert [4] == (await second).tally[TOTAL]


async def test_what_does_not_fit_the_table_is_left_out():
    """A worker of a newer version may count what this supervisor does not know."""
    gathering, one, _ = crew()
    one.tally = {TOTAL: [4], ("latchgate_future_total", ()): [1], LEVEL: [1, 2]}
    assert {TOTAL: [4], LEVEL: [0]} == (await gathering.gather()).tally


async def test_a_worker_that_is_gone_or_unknown_changes_nothing(caplog):
    """Its end is noticed elsewhere; a late word of it is not counted."""
    caplog.set_level(logging.DEBUG, "latchgate.supervisor")
    gathering, one, _ = crew(timeout_s=0.05)
    one.is_gone = True
    assert 1 == (await gathering.gather()).silent
    assert ["worker 0: gone"] == caplog.messages
    gathering.answered(FakeWorker(gathering), {TOTAL: [100]})
    gathering.leave(FakeWorker(gathering))
    assert [0] == (await gathering.gather()).tally[TOTAL]
    gathering.leave(one)
