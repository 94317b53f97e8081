"""A key that is written for the sole purpose of hearing how long the word of it takes."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence

from proxy.adapters.store.link import LinkLost, refuse


class Canary:
    """One change of one key, from before it is read until the server has told of it."""

    __slots__ = ("_heard", "_key")

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._heard: asyncio.Future[float] = asyncio.get_running_loop().create_future()

    def hears(self, keys: Sequence[bytes] | None, now: float) -> bool:
        """Take an invalidation that arrived at `now`; True if it was of this key and no other."""
        if keys is None:  # the server has forgotten that it was read, and will not tell
            self._settle(-math.inf)
            return False
        if self._key not in keys:
            return False
        self._settle(now)
        return len(keys) == 1

    def end(self) -> None:
        """Hear that the connection is lost."""
        if not self._heard.done():
            refuse(self._heard, LinkLost("connection lost"))

    async def heard_at(self) -> float:
        """Wait for the word; return when it came, `-inf` if none will. Raises `LinkLost`."""
        return await self._heard

    def _settle(self, at: float) -> None:
        if not self._heard.done():
            self._heard.set_result(at)
