"""Look-ups over the tracked connections of one worker to all masters of a Cluster.

Each node has a connection as a single server has (`TrackedStore`), and what it tells goes to one
`Source`: verdicts are kept while every master tells what changes. Where a slot has moved, or is on
its way, a node does not tell of changes to keys that were not there, so everything is dropped.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import math
from collections.abc import Awaitable, Callable, Collection, Sequence
from functools import partial
from typing import Any, Final

from proxy.adapters.boot_clock import boot_time
from proxy.adapters.store.address import StoreAddress
from proxy.adapters.store.cluster_view import ClusterWatch, Place, View, redirect_of
from proxy.adapters.store.link import LinkLost, ReplyError, refuse
from proxy.adapters.store.tracked_link import Command, Take
from proxy.adapters.store.tracked_store import MAX_WAITING, REPEATS, TrackedStore
from proxy.adapters.tasks import spawn
from proxy.core.coherence import Part, Reading, Source, Whole
from proxy.core.slots import slot_of
from proxy.errors import StoreUnavailable

REDIRECTS: Final = 4
"""How often one look-up follows MOVED or ASK."""
_ASKING: Final[Command] = ("ASKING",)


class ClusterTracked(TrackedStore):
    """Reads from a Cluster, for a cache that is told what changes."""

    def __init__(
        self,
        address: StoreAddress,
        source: Source,
        *,
        timeout_s: float,
        clock: Callable[[], float] = boot_time,
    ) -> None:
        """Prepare to connect; see `TrackedStore`."""
        super().__init__(address, source, timeout_s=timeout_s, clock=clock)
        self._cluster = ClusterWatch(
            address, self._context, max_staleness_s=source.max_staleness_s, clock=clock
        )
        self._whole = Whole(source)
        self._nodes: dict[Place, tuple[TrackedStore, Part]] = {}
        self._view: View | None = None
        self._why: str | None = None
        self._held: collections.deque[_Flight] = collections.deque()
        self._look = asyncio.Event()
        self._leaving: set[asyncio.Task[None]] = set()

    def __repr__(self) -> str:
        return f"ClusterTracked({self.address})"

    def start(self) -> None:
        """Begin to connect in the background."""
        if self._keeper is None:
            self._keeper = spawn(self._follow(), name="tracked connections to the Cluster")

    async def close(self) -> None:
        """End every connection; never raises."""
        keeper, self._keeper = self._keeper, None
        if keeper is not None:
            keeper.cancel()
            await asyncio.wait([keeper])
        self._why = "was closed"
        self._release()
        await asyncio.gather(*(node.close() for node, _ in self._nodes.values()), *self._leaving)
        await self._cluster.close()

    def ask(
        self,
        commands: Sequence[Command],
        take: Take,
        *,
        keys: Collection[bytes] = (),
        required: int = 1,
    ) -> asyncio.Future[Any]:
        """Send read-only commands, each to the node of its key; see `TrackedStore.ask`."""
        loop = asyncio.get_running_loop()
        flight = _Flight(commands, take, loop.create_future(), keys, required)
        if self._view is not None:
            self._dispatch(flight)
        elif self._why is not None:
            self._give_up(flight, self._why)
        elif len(self._held) >= MAX_WAITING:
            self._give_up(flight, "too many look-ups wait for a connection")
        else:
            self.start()
            self._held.append(flight)
            late = partial(self._give_up, flight, "did not answer in time")
            timer = loop.call_later(self._timeout_s, late)
            flight.future.add_done_callback(lambda _: timer.cancel())
        return flight.future

    async def time_notice(self, key: bytes, change: Callable[[], Awaitable[object]]) -> None:
        """Time the word of a change from the node that has `key`; see `TrackedStore`."""
        node = None if self._view is None else self._node_of(self._view.place_of(slot_of(key)))
        if node is not None:
            await node.time_notice(key, change)

    # One look-up, which may have to ask several nodes

    def _dispatch(self, flight: _Flight) -> None:
        assert self._view is not None  # noqa: S101 - whoever calls has looked
        groups: dict[tuple[TrackedStore, bool], list[int]] = {}
        for at, (_, command) in enumerate(flight.parts):
            place, is_asking = flight.redirects.get(at) or (
                self._view.place_of(slot_of(key_of(command))),
                False,
            )
            node = self._node_of(place)
            if node is None:
                self._look.set()
                self._give_up(flight, "has no node for this key")
                return
            groups.setdefault((node, is_asking), []).append(at)
        flight.begin(len(groups))
        if len(flight.parts) > 1:
            flight.reading = self.source.begin(flight.keys)
        for (node, is_asking), places in groups.items():
            commands = [flight.parts[at][1] for at in places]
            if is_asking:
                commands = [one for command in commands for one in (_ASKING, command)]
            landed = partial(self._landed, flight, flight.round, places, is_asking)
            future = node.ask(commands, landed, required=0)
            future.add_done_callback(partial(self._answered, flight, flight.round))

    def _landed(
        self,
        flight: _Flight,
        turn: int,
        places: list[int],
        is_asking: bool,  # noqa: FBT001 - bound by position, as `Take` has it
        replies: list[Any],
        sent_at: float,
    ) -> None:
        """Take the replies of one node off the wire; behind the last of all, fill the verdict in."""
        if turn != flight.round:
            return
        for at, reply in zip(places, replies[1::2] if is_asking else replies, strict=True):
            flight.replies[at] = reply
        flight.sent_at = min(flight.sent_at, sent_at)
        flight.missing -= 1
        if not flight.missing:
            self._fill(flight)

    def _fill(self, flight: _Flight) -> None:
        if flight.reading is not None:
            reading, flight.reading = flight.reading, None
            if not self.source.end(reading):
                self.source.counters.lookups_voided += 1
                flight.voided += 1
                self._again(flight, flight.voided <= REPEATS, "changes faster than it can be read")
                return
        if flight.is_sent_on():
            self._look.set()
            flight.detours += 1
            self._again(flight, flight.detours <= REDIRECTS, "sends from one node to another")
            return
        replies = flight.told()
        for reply in replies[: flight.required]:
            if isinstance(reply, ReplyError):
                self._give_up(flight, reply.told)
                return
        try:
            flight.result = flight.take(replies, flight.sent_at)
        except StoreUnavailable as error:
            if not flight.future.done():
                refuse(flight.future, error)

    def _again(self, flight: _Flight, may_be: bool, why: str) -> None:  # noqa: FBT001 - of the two callers above
        if may_be:
            self._dispatch(flight)
        else:
            self._give_up(flight, why)

    def _answered(self, flight: _Flight, turn: int, answer: asyncio.Future[Any]) -> None:
        """Pass the result on once every node's answer is known to be good."""
        error = None if answer.cancelled() else answer.exception()
        if turn != flight.round or flight.future.done():
            return
        if error is not None or answer.cancelled():
            self._end(flight)
            refuse(flight.future, StoreUnavailable(str(error) or "the Cluster did not answer"))
            return
        flight.unanswered -= 1
        if not flight.unanswered:
            flight.future.set_result(flight.result)

    def _give_up(self, flight: _Flight, why: str) -> None:
        self._end(flight)
        if not flight.future.done():
            self.source.counters.lookups_failed += 1
            refuse(flight.future, StoreUnavailable(f"{self.address} {why}"))

    def _end(self, flight: _Flight) -> None:
        reading, flight.reading = flight.reading, None
        flight.round += 1
        if reading is not None:
            self.source.end(reading)

    def _node_of(self, place: Place | None) -> TrackedStore | None:
        found = None if place is None else self._nodes.get(place)
        return None if found is None else found[0]

    def _release(self) -> None:
        """Let look-ups go that waited for the first view of the Cluster."""
        held, self._held = self._held, collections.deque()
        for flight in held:
            if flight.future.done():
                continue
            if self._view is not None and self._keeper is not None:
                self._dispatch(flight)
            else:
                self._give_up(flight, self._why or "was closed")

    # Following the Cluster

    async def _follow(self) -> None:
        """Have the view confirmed each half of `max_staleness`, until cancelled."""
        max_s = self.source.max_staleness_s
        while True:
            self._look.clear()
            try:
                self._adopt(await self._cluster.confirm())
                pause_s = max_s / 2
            except LinkLost as error:
                self._doubt(error)
                pause_s = max_s / 8
            await asyncio.sleep(min(0.05, pause_s))  # whatever is said to have moved
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._look.wait()

    def _adopt(self, view: View) -> None:
        before, self._view, self._why = self._view, view, None
        good_until = self._cluster.confirmed_at + self.source.max_staleness_s
        for place in view.places:
            if place not in self._nodes:
                part = Part(self.source, self._whole.changed)
                node = TrackedStore(
                    self._cluster.node(place), part, timeout_s=self._timeout_s, clock=self._clock
                )
                node.vouch(-math.inf)
                self._nodes[place] = node, part
            if place in view.confirmed:
                self._nodes[place][0].vouch(good_until)
        for place in set(self._nodes) - view.places:
            self._leave(place)
        self._whole.consist_of(
            [part for _, part in self._nodes.values()],
            None if view.is_moving else self._cluster.confirmed_at,
            is_other=before is None or before.shards != view.shards,
        )
        self._deny_unconfirmed()
        for node, _ in self._nodes.values():
            node.start()
        self._release()

    def _doubt(self, error: LinkLost) -> None:
        if self._view is None:
            self._why = f"cannot be reached: {error}"
            self._release()
        self._deny_unconfirmed()

    def _deny_unconfirmed(self) -> None:
        for node, _ in self._nodes.values():
            if not node.is_vouched:
                node.deny("not confirmed to be a master")

    def _leave(self, place: Place) -> None:
        node, _ = self._nodes.pop(place)
        task = spawn(node.close(), name="a node that is no master")
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)


class _Flight:
    """A look-up on its way through the Cluster."""

    __slots__ = ("detours", "future", "keys", "missing", "parts", "reading", "redirects", "replies", "required", "result", "round", "sent_at", "take", "unanswered", "voided")  # fmt: skip

    def __init__(
        self,
        commands: Sequence[Command],
        take: Take,
        future: asyncio.Future[Any],
        keys: Collection[bytes],
        required: int,
    ) -> None:
        self.parts = list(enumerate(commands))
        """What is sent, with which of the commands it belongs to."""
        self.take = take
        self.future = future
        self.keys = keys
        self.required = required
        self.redirects: dict[int, tuple[Place, bool]] = {}
        """By part: where it is to be sent instead, and whether with ASKING."""
        self.detours = 0
        self.voided = 0
        self.round = 0
        """Answers of an earlier one do not count."""
        self.replies: dict[int, Any] = {}
        self.reading: Reading | None = None
        self.result: Any = None
        self.begin(0)

    def begin(self, nodes: int) -> None:
        """Begin to ask `nodes` nodes."""
        self.round += 1
        self.missing = self.unanswered = nodes
        self.replies.clear()
        self.sent_at = math.inf

    def is_sent_on(self) -> bool:
        """Tell whether a node has sent a part on to another one, and note where to.

        Where a slot is on its way, some keys are here and some there: a command of several keys is
        then refused by both (TRYAGAIN), and made one of each key. Its keys are watched over (R5).
        """
        found = {
            at: to for at, reply in self.replies.items() if (to := redirect_of(reply)) is not None
        }
        torn = [at for at, reply in self.replies.items() if _is_torn(self.parts[at][1], reply)]
        self.redirects.update(found)
        if torn:
            self.redirects.clear()
            keys = [key_of(("MGET", key)) for at in torn for key in self.parts[at][1][1:]]
            self.keys = (*self.keys, *keys)
            self.parts = [
                part
                for at, (number, command) in enumerate(self.parts)
                for part in (
                    [(number, ("MGET", key)) for key in command[1:]]
                    if at in torn
                    else [(number, command)]
                )
            ]
        return bool(found or torn)

    def told(self) -> list[Any]:
        """Return one reply for each command."""
        found: dict[int, list[Any]] = {}
        for at, (number, _) in enumerate(self.parts):
            found.setdefault(number, []).append(self.replies[at])
        return [replies[0] if len(replies) == 1 else _joined(replies) for replies in found.values()]


def _is_torn(command: Command, reply: Any) -> bool:
    is_refused = isinstance(reply, ReplyError) and reply.kind == "TRYAGAIN"
    return is_refused and command[0] == "MGET" and len(command) > 2


def _joined(replies: list[Any]) -> Any:
    error = next((reply for reply in replies if isinstance(reply, ReplyError)), None)
    return error or [value for reply in replies for value in reply]


def key_of(command: Command) -> bytes:
    """Return the first key of a command: where a Cluster is to be asked."""
    at = 3 if command[0] in ("EVAL", "EVALSHA") else 1
    key = command[at]
    return key if isinstance(key, bytes) else str(key).encode("utf-8", "surrogateescape")


def open_tracked(
    address: StoreAddress,
    source: Source,
    *,
    timeout_s: float,
    clock: Callable[[], float] = boot_time,
) -> TrackedStore:
    """Return the tracked connection, or connections, to the store at `address`, not connected yet.

    Raises `StoreMisconfigured` for certificates that cannot be used.
    """
    kind = ClusterTracked if address.nodes else TrackedStore
    return kind(address, source, timeout_s=timeout_s, clock=clock)
