"""Who is inside, and when nobody is."""

from __future__ import annotations

import asyncio
import contextlib

from proxy.adapters.tasks import spawn
from proxy.edge.pending import Pending


async def test_the_end_comes_with_the_last_one():
    """Whoever waits goes on when nobody is inside any more, whatever they left by."""
    pending = Pending()
    await pending.ended()
    with contextlib.suppress(ValueError), pending:
        waiting = spawn(pending.ended(), name="test")
        with pending:
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not waiting.done()
        raise ValueError
    async with asyncio.timeout(5):
        await waiting
