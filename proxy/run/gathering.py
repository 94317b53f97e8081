"""The supervisor's side of `/metrics`: what every worker has counted, added up.

A worker that does not answer in time holds nobody up: its last known numbers are shown, and how
many such workers there are. What a worker had counted when it was last asked outlives it, so that
totals never go down.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from typing import Final, Protocol

from proxy.adapters.tasks import spawn
from proxy.run import messages
from proxy.run.channel import ChannelError, Message
from proxy.run.metric_table import HIGHEST, METRICS, fits
from proxy.run.tally import Tally, add

ANSWER_TIMEOUT_S: Final = 1.0
"""How long a scrape waits for the workers; Prometheus itself gives up after ten seconds."""

_log = logging.getLogger("latchgate.supervisor")


class Worker(Protocol):
    """Who can be asked."""

    number: int

    async def send(self, message: Message) -> None:
        """Send a message. Raises `ChannelError`."""
        ...


@dataclass(slots=True)
class _Member:
    last: Tally = field(default_factory=dict)
    awaited: asyncio.Future[None] | None = None
    """Set while a question has no answer yet: it is not asked again, however often one looks."""


@dataclass(frozen=True, slots=True)
class Gathered:
    """What all workers have counted, those that are gone included."""

    tally: Tally
    silent: int
    """Workers that have not answered."""


class Gathering:
    """Asks the workers that serve. Members join when they are ready, and leave when they end."""

    def __init__(self, *, timeout_s: float = ANSWER_TIMEOUT_S) -> None:
        self._timeout_s = timeout_s
        self._base: Tally = {}
        self._members: dict[Worker, _Member] = {}
        self._flight: asyncio.Task[Gathered] | None = None

    def join(self, worker: Worker) -> None:
        """Ask `worker` from now on."""
        self._members.setdefault(worker, _Member())

    def leave(self, worker: Worker) -> None:
        """Keep what an ended worker had counted when it last answered."""
        member = self._members.pop(worker, None)
        if member is not None:
            totals = {s: v for s, v in member.last.items() if METRICS[s[0]].is_total}
            add(self._base, totals)
            _answered(member)

    def answered(self, worker: Worker, tally: Tally) -> None:
        """Take an answer, also one that comes too late for whoever asked."""
        member = self._members.get(worker)
        if member is not None:
            member.last = {s: values for s, values in tally.items() if fits(*s, values)}
            _answered(member)

    async def gather(self) -> Gathered:
        """Ask everybody and add up; whoever looks at the same time gets the same."""
        if self._flight is None or self._flight.done():
            self._flight = spawn(self._ask_all(), name="counts of the workers")
        return await asyncio.shield(self._flight)

    async def _ask_all(self) -> Gathered:
        for worker, member in self._members.items():
            if member.awaited is None:
                member.awaited = asyncio.get_running_loop().create_future()
                spawn(_ask(worker), name="question to a worker")
        awaited = [m.awaited for m in self._members.values() if m.awaited is not None]
        if awaited:
            await asyncio.wait(awaited, timeout=self._timeout_s)
        tally: Tally = {}
        add(tally, self._base)
        for member in self._members.values():
            add(tally, member.last, highest=HIGHEST)
        return Gathered(tally, sum(m.awaited is not None for m in self._members.values()))


async def _ask(worker: Worker) -> None:
    try:
        await worker.send(messages.count())
    except ChannelError as error:
        _log.debug("worker %d: %s", worker.number, error)  # its end is noticed elsewhere


def _answered(member: _Member) -> None:
    awaited, member.awaited = member.awaited, None
    if awaited is not None and not awaited.done():
        awaited.set_result(None)
