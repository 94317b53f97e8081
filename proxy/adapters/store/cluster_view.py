"""Which node of a Cluster has which slots, as the majority of its masters sees it."""

from __future__ import annotations

import asyncio
import math
import re
import ssl
from bisect import bisect_right
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, Final

from proxy.adapters.boot_clock import boot_time
from proxy.adapters.store.address import StoreAddress
from proxy.adapters.store.asking import answers
from proxy.adapters.store.link import Link, LinkLost, ReplyError, open_link
from proxy.adapters.store.sentinel import NotConfirmed
from proxy.adapters.tasks import spawn

Place = tuple[str, int]
"""Host and port of a node."""

_ASK_S: Final = (0.1, 1.0)
_DOWN: Final = frozenset({"fail", "fail?", "noaddr", "handshake"})
_ADDRESS: Final = re.compile(r"(.*):([0-9]{1,5})@[0-9]*(?:,([^,=]*))?.*")
_RANGE: Final = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?")


@dataclass(frozen=True, slots=True)
class Shard:
    """A master with its slots, as one node sees it."""

    place: Place
    epoch: int
    slots: tuple[tuple[int, int], ...]
    """First and last of each range."""


@dataclass(frozen=True, slots=True)
class Told:
    """What one node says of the Cluster."""

    myself: Place
    shards: frozenset[Shard]
    down: frozenset[Place]
    """Masters that it holds to be down, or suspects to be."""
    replicas: tuple[tuple[Place, int], ...]
    """How many replicas each master has that are not held to be down."""
    is_moving: bool
    """True while a slot of its own is on the way to or from another node."""


class View:
    """What the majority agrees on."""

    def __init__(self, shards: frozenset[Shard], told: Iterable[Told]) -> None:
        told = tuple(told)
        self.shards = shards
        self.places = frozenset(shard.place for shard in shards)
        needed = len(shards) // 2 + 1
        self.confirmed = frozenset(
            place for place in self.places if sum(place not in one.down for one in told) >= needed
        )
        """Masters that a majority holds to be up."""
        self.is_moving = any(one.is_moving for one in told)
        self._replicas = {
            place: max(dict(one.replicas).get(place, 0) for one in told) for place in self.places
        }
        ranges = sorted((*ends, shard.place) for shard in shards for ends in shard.slots)
        self._first = [first for first, _, _ in ranges]
        self._ranges = ranges

    def place_of(self, slot: int) -> Place | None:
        """Return the master of `slot`, `None` where there is none."""
        at = bisect_right(self._first, slot) - 1
        if at < 0:
            return None
        _, last, place = self._ranges[at]
        return place if slot <= last else None

    def replicas_of(self, place: Place) -> int:
        """Return how many replicas of a master are up."""
        return self._replicas.get(place, 0)


def agree(told: Iterable[Told]) -> View:
    """Return what more than half of the masters say. Raises `NotConfirmed`."""
    by_shards: dict[frozenset[Shard], list[Told]] = {}
    for one in told:
        by_shards.setdefault(one.shards, []).append(one)
    for shards, agreeing in by_shards.items():
        masters = {shard.place for shard in shards}
        voting = [one for one in agreeing if one.myself in masters]
        if len(voting) > len(shards) / 2:
            return View(shards, voting)
    raise NotConfirmed("no majority of the Cluster's masters answers and agrees")


class ClusterWatch:
    """What the Cluster looks like, asked for again and again; nothing is asked before it is needed."""

    def __init__(
        self,
        address: StoreAddress,
        context: ssl.SSLContext | None,
        *,
        max_staleness_s: float,
        clock: Callable[[], float] = boot_time,
    ) -> None:
        self.address = address
        self.max_staleness_s = max_staleness_s
        self.confirmed_at = -math.inf
        """When the question was sent whose answers gave `view` (`clock`)."""
        self.view: View | None = None
        self._context = context
        self._clock = clock
        self._links: dict[Place, Link] = {}
        least, most = _ASK_S
        self._timeout_s = max(least, min(most, max_staleness_s / 4))
        self._asking: asyncio.Task[View | NotConfirmed] | None = None

    async def current(self) -> View:
        """Return the view, agreed on within `max_staleness`; asked for again after half of it.

        Raises `NotConfirmed`.
        """
        age_s = self._clock() - self.confirmed_at
        if self.view is None or age_s > self.max_staleness_s:
            return await self.confirm()
        if age_s > self.max_staleness_s / 2:
            self.ask()
        return self.view

    async def confirm(self) -> View:
        """Ask the masters now; everybody who asks meanwhile shares the answer. Raises `NotConfirmed`."""
        attempt = self.ask()
        await asyncio.wait([attempt])  # who asked first may leave while others wait
        if attempt.cancelled():
            raise NotConfirmed("the store was closed")
        found = attempt.result()
        if isinstance(found, NotConfirmed):
            raise NotConfirmed(*found.args)
        return found

    def ask(self) -> asyncio.Task[View | NotConfirmed]:
        """Begin to ask, if nobody does."""
        if self._asking is None:
            self._asking = spawn(self._confirm(), name="view of the Cluster")
        return self._asking

    def node(self, place: Place) -> StoreAddress:
        """Return the address of the node at `place`."""
        return replace(self.address, host=place[0], port=place[1], nodes=())

    async def close(self) -> None:
        """End every connection; never raises."""
        if (attempt := self._asking) is not None:
            attempt.cancel()
            await asyncio.wait([attempt])
        for link in self._links.values():
            link.abort("closed")
        self._links.clear()

    async def _confirm(self) -> View | NotConfirmed:
        asked_at = self._clock()
        try:
            known = self.view.places if self.view is not None else frozenset[Place]()
            told = await self._answers(known or frozenset(self.address.nodes))
            more = (
                {shard.place for one in told for shard in one.shards}
                - {one.myself for one in told}
                - known
            )
            if more:  # what was asked first were some nodes, or masters of a moment ago
                told += await self._answers(frozenset(more))
            if known and not told:
                told = await self._answers(frozenset(self.address.nodes))
            view = agree(told)
        except NotConfirmed as error:
            return error.with_traceback(None)
        finally:
            self._asking = None
        for place in set(self._links) - view.places:
            self._links.pop(place).abort("not a master")
        self.view, self.confirmed_at = view, asked_at
        return view

    async def _answers(self, places: frozenset[Place]) -> list[Told]:
        questions = [self._ask(place) for place in places]
        return await answers(questions, timeout_s=self._timeout_s, name="a node of the Cluster")

    async def _ask(self, place: Place) -> Told | None:
        try:
            link = self._links.get(place)
            if link is None or not link.is_open:
                link = await open_link(self.node(place), self._context, Link)
                self._links[place] = link
            return read_nodes(await link.send("CLUSTER", "NODES"), place)
        except asyncio.CancelledError:
            if (late := self._links.pop(place, None)) is not None:
                late.abort("no reply in time")  # it may be dead without a word
            raise
        except (LinkLost, ReplyError, ValueError):
            return None


def read_nodes(reply: Any, asked: Place) -> Told:
    """Read the answer to CLUSTER NODES of the node at `asked`. Raises `ValueError` for what is none."""
    if type(reply) is not bytes:
        raise ValueError("not an answer to CLUSTER NODES")
    shards: set[Shard] = set()
    down: set[Place] = set()
    is_moving = False
    names: dict[str, Place] = {}
    replicas: list[str] = []
    myself = None
    for line in reply.decode("utf-8", "replace").splitlines():
        name, address, words, primary, _, _, epoch, _, *slots = line.split(" ")
        flags = frozenset(words.split(","))
        if (match := _ADDRESS.fullmatch(address)) is None:
            raise ValueError("not an answer to CLUSTER NODES")
        place = (match[1] or asked[0], int(match[2]))
        if "myself" in flags:
            myself = place
            is_moving = any(one.startswith("[") for one in slots)
        if "master" not in flags:
            replicas += [] if flags & _DOWN else [primary]
            continue
        names[name] = place
        ranges = tuple(_range(one) for one in slots if not one.startswith("["))
        if ranges:
            shards.add(Shard(place, int(epoch), ranges))
            down.update({place} if flags & _DOWN else ())
    if myself is None:
        raise ValueError("not an answer to CLUSTER NODES")
    counts = tuple((place, replicas.count(name)) for name, place in names.items())
    return Told(myself, frozenset(shards), frozenset(down), counts, is_moving)


def redirect_of(reply: object) -> tuple[Place, bool] | None:
    """Return where MOVED or ASK sends to, and whether it was ASK; `None` for anything else."""
    if not isinstance(reply, ReplyError):
        return None
    words = str(reply).split(" ")
    if len(words) != 3 or words[0] not in ("MOVED", "ASK"):
        return None
    host, _, port = words[2].rpartition(":")
    return ((host, int(port)), words[0] == "ASK") if port.isdigit() else None


def _range(text: str) -> tuple[int, int]:
    match = _RANGE.fullmatch(text)
    if match is None:
        raise ValueError("not an answer to CLUSTER NODES")
    return int(match[1]), int(match[2] or match[1])
