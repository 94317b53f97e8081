"""Uses of sessions, written behind what used them: all that fall due together by two writes.

A use is no part of an answer: it may be lost with a gate that dies, as the last one of every session
is that is used more often than a use is written. What never belongs here: whether a use is due.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from dataclasses import dataclass
from typing import Final

from proxy.core.coherence import Key, Verdict
from proxy.core.formats import native
from proxy.errors import StoreUnavailable
from proxy.services.coherence import Ledger
from proxy.services.session_index import Made
from proxy.services.sessions import Sessions, Used

GATHER_S: Final = 0.02
"""How long uses are gathered before they are written."""
BATCH: Final = 32
"""Uses in one write: half a millisecond, in which no request is answered."""


@dataclass(slots=True)
class _Due:
    verdict: Verdict
    key: Key
    now: float


class Uses:
    """The uses of one scheme's sessions that are to be written."""

    def __init__(self, sessions: Sessions, ledger: Ledger) -> None:
        self._sessions = sessions
        self._ledger = ledger
        self._due: list[_Due] = []
        self._is_writing = False

    def add(self, verdict: Verdict, key: Key, now: float) -> None:
        """Have a use written; `now` is when it was."""
        self._due.append(_Due(verdict, key, now))
        if not self._is_writing:
            self._is_writing = True
            self._ledger.behind(self._write(), name="session in use")

    async def _write(self) -> None:
        try:
            while self._due:
                await asyncio.sleep(GATHER_S)
                due, self._due = self._due, []
                for start in range(0, len(due), BATCH):
                    with contextlib.suppress(StoreUnavailable):  # it is not the requests' failure
                        await self._write_batch(due[start : start + BATCH])
        finally:
            self._is_writing = False

    async def _write_batch(self, due: list[_Due]) -> None:
        told = await self._sessions.use_many([_used(one) for one in due])
        made: list[Made] = []
        for one, use in zip(due, told, strict=True):
            if use is None:
                self._ledger.drop_invalid(one.key)
                continue
            verdict = one.verdict
            verdict.seen_at, verdict.has_seen = use.seen_at, True
            if use.is_written and verdict.not_after > one.now:
                # Once in a step: another program may have made it.
                made.append(
                    Made(
                        verdict.identity.subject,
                        one.key[2].hex(),
                        verdict.not_before + native.CLOCK_SKEW_S,
                        verdict.not_after - one.now,
                    )
                )
        await self._sessions.index_many(made)


def _used(due: _Due) -> Used:
    verdict = due.verdict
    return Used(due.key[2].hex(), due.now, verdict.has_seen, verdict.idle_s == math.inf)
