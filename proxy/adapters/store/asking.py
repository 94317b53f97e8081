"""Many servers asked for their word at once, of which a majority is enough."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Coroutine
from typing import Any, Final, TypeVar

from proxy.adapters.tasks import spawn

T = TypeVar("T")

REST_S: Final = 0.05
"""How long the others may take once a majority has answered: they may know better."""


async def answers(
    questions: Collection[Coroutine[Any, Any, T | None]], *, timeout_s: float, name: str
) -> list[T]:
    """Return what those say who answer in time; once a majority has, the rest must be quick.

    `None` is no answer. A question that is late is cancelled. `name` is that of its task.
    """
    majority = len(questions) // 2 + 1
    pending = {spawn(question, name=name) for question in questions}
    said: list[T] = []
    loop = asyncio.get_running_loop()
    end = loop.time() + timeout_s
    try:
        while pending and (left_s := end - loop.time()) > 0:
            wait_s = min(left_s, REST_S) if len(said) >= majority else left_s
            done, pending = await asyncio.wait(
                pending, timeout=wait_s, return_when=asyncio.FIRST_COMPLETED
            )
            said += [one for task in done if (one := task.result()) is not None]
            if not done:
                break
    finally:
        for task in pending:
            task.cancel()
    return said
