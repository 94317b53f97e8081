"""How late a worker hears of a change: timed on a key of its own, for the metrics alone.

The gate's own store is asked, where the worker has a tracked connection to it anyway: no connection
is made for this, and no verdict depends on it.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import secrets
from typing import Final

from proxy.adapters.store import Store
from proxy.adapters.store.tracked_store import TrackedStore
from proxy.errors import StoreUnavailable

EVERY_S: Final = 5.0
"""Between two writes, about: each worker has a key, and they are not to write together."""
LIFE_S: Final = 30.0
"""A worker's key is gone so long after its last write."""
LONGEST_S: Final = 60.0
"""What was not told by then never will be: proofs of freshness are not allowed to be older."""


async def time_notices(
    tracked: TrackedStore, store: Store, prefix: str, *, every_s: float = EVERY_S
) -> None:
    """Time one notice after the other until cancelled; `store` is where `tracked` reads."""
    key = f"{prefix}canary:{secrets.token_hex(8)}"

    async def write() -> None:
        await store.put(key, b"1", ttl_s=LIFE_S)

    while True:
        await asyncio.sleep(every_s * random.uniform(0.8, 1.2))  # noqa: S311 - spreading load is no secret
        with contextlib.suppress(StoreUnavailable, TimeoutError):
            async with asyncio.timeout(LONGEST_S):
                await tracked.time_notice(key.encode(), write)
