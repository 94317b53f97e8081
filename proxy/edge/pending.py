"""Requests that still ask a configuration something: it stays connected until there are none."""

from __future__ import annotations

import asyncio


class Pending:
    """Counts who is inside; use it as a context manager around whatever asks."""

    def __init__(self) -> None:
        self._count = 0
        self._none = asyncio.Event()
        self._none.set()

    def __enter__(self) -> None:
        self._count += 1
        self._none.clear()

    def __exit__(self, *failure: object) -> None:
        self._count -= 1
        if not self._count:
            self._none.set()

    async def ended(self) -> None:
        """Return when nobody is inside."""
        await self._none.wait()
