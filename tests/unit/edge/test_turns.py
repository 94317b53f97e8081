"""Turns: between a few requests the loop looks at its sockets, whoever else has come."""

from __future__ import annotations

import asyncio

from proxy.adapters.tasks import spawn
from proxy.edge.turns import AT_ONCE, Turns


async def test_few_begin_in_one_turn_of_the_loop_in_the_order_in_which_they_came():
    """Of many that arrive together each turn of the loop takes a handful, the first ones first."""
    turns, begun, turn = Turns(), [], [0]

    async def request(number):
        await turns.take()
        begun.append((number, turn[0]))

    def count():
        turn[0] += 1
        if len(begun) < 50:
            asyncio.get_running_loop().call_soon(count)

    tasks = [spawn(request(number), name="request") for number in range(50)]
    count()
    await asyncio.gather(*tasks)

    assert list(range(50)) == [number for number, _ in begun]
    by_turn = [sum(at == one for _, at in begun) for one in range(turn[0] + 1)]
    assert max(by_turn) <= AT_ONCE


async def test_who_comes_alone_waits_for_nobody():
    """With nothing else to do a request begins at once, any number of times."""
    turns = Turns()
    for _ in range(3 * AT_ONCE):
        task = spawn(turns.take(), name="request")
        await asyncio.sleep(0)
        assert task.done()
        await asyncio.sleep(0)
    assert not turns._is_counting or not turns._waiting


async def test_who_leaves_holds_nobody_up():
    """A request that is given up while it waits takes no turn."""
    turns = Turns()
    tasks = [spawn(turns.take(), name="request") for _ in range(4 * AT_ONCE)]
    await asyncio.sleep(0)
    for task in tasks[AT_ONCE:-1]:
        task.cancel()
    async with asyncio.timeout(1):
        await tasks[-1]
    await asyncio.gather(*tasks, return_exceptions=True)
    await asyncio.sleep(0)
    await asyncio.sleep(0)

    assert not turns._is_counting
