from __future__ import annotations

import asyncio

from proxy.adapters.store.asking import answers


async def test_a_majority_is_enough_and_who_is_late_is_asked_no_more():
    """Of three, two have answered: the third is waited for a moment, then cancelled."""
    never = asyncio.Event()
    cancelled = []

    async def say(word):
        return word

    async def hang():
        try:
            await never.wait()
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    async with asyncio.timeout(20):
        said = await answers([say("a"), hang(), say("b")], timeout_s=600, name="x")
    await asyncio.sleep(0)
    assert (["a", "b"], [True]) == (sorted(said), cancelled)


async def test_who_says_nothing_does_not_count():
    """`None` is no answer: without a majority all the time is given, and nobody is made up."""
    never = asyncio.Event()

    async def nothing():
        return None

    assert [] == await answers([nothing(), nothing(), never.wait()], timeout_s=0.05, name="x")
    assert [] == await answers([], timeout_s=600, name="x")
