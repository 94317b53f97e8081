"""The store on a Cluster: each command goes to the master that has the slot of its key.

What reads or changes several keys in one step names keys of one hash tag; a list of keys of
several slots is read or deleted slot by slot. A scan goes from master to master: a slot that
moves meanwhile may be missed, or come twice.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Awaitable, Sequence
from dataclasses import replace
from typing import Any, Final, NoReturn

from proxy.adapters.store.address import StoreAddress
from proxy.adapters.store.cluster_tracked import REDIRECTS, key_of
from proxy.adapters.store.cluster_view import ClusterWatch, Place, View, redirect_of
from proxy.adapters.store.durable import Durability, DurableLine
from proxy.adapters.store.line import Line, Refused, settled
from proxy.adapters.store.link import LinkLost, ReplyError, fits
from proxy.adapters.store.port import Argument, Call, Script, StoreInfo
from proxy.adapters.store.redis_store import SCAN_STEP, RedisStore, encode
from proxy.adapters.tasks import spawn
from proxy.core.slots import slot_of, tag_of
from proxy.errors import StoreUnavailable

Command = Sequence[Argument]

TRY_AGAIN_S: Final = 0.02
"""Pause where the keys of a command stand in two nodes just now."""
_CURSOR: Final = re.compile(r"([0-9]{1,4})-([0-9]{1,20})")


class ClusterStore(RedisStore):
    """A `Store` on a Cluster, over one connection to each master that is needed."""

    def __init__(
        self,
        address: StoreAddress,
        context: ssl.SSLContext | None,
        watch: ClusterWatch,
        *,
        timeout_s: float,
        durability: Durability | None,
    ) -> None:
        super().__init__(Line(address, context, timeout_s=timeout_s))
        self._context = context
        self._watch = watch
        self._timeout_s = timeout_s
        self._durability = durability
        self._masters: dict[Place, tuple[Line, DurableLine | None]] = {}
        self._is_closed = False

    def __repr__(self) -> str:
        return f"ClusterStore({self.address})"

    async def fetch(self, keys: Sequence[str]) -> list[bytes | None]:
        """Return the values of `keys`: in one step those of one slot (see `Store`)."""
        found: list[bytes | None] = [None] * len(keys)

        async def read(places: list[int]) -> None:
            values = await self._read("MGET", *(encode(keys[at]) for at in places))
            for at, value in zip(places, values, strict=True):
                found[at] = value

        await _all(read(places) for places in _by_slot(keys).values())
        return found

    async def delete(self, *keys: str) -> int:
        """Delete `keys`: in one step those of one slot (see `Store`)."""
        groups = _by_slot(keys).values()
        counts = await _all(
            self._write("DEL", *(encode(keys[at]) for at in places)) for places in groups
        )
        return sum(counts)

    async def scan_page(self, prefix: str, cursor: str, count: int) -> tuple[str, list[str]]:
        """Go one step of SCAN at one master, or to the next one (see `Store`)."""
        match = _CURSOR.fullmatch(cursor or "0-0")
        if match is None:
            raise ValueError("no such place in the store")
        places = sorted((await self._view()).places)
        number = int(match[1])
        if number >= len(places):
            raise ValueError("no such place in the store")
        at, pattern = match[2], self.pattern(prefix)
        command = ("SCAN", at, "MATCH", pattern, "COUNT", min(count, SCAN_STEP))
        following, keys = await self._at(places[number], command)
        found = [key.decode("utf-8", "surrogateescape") for key in keys]
        if following != b"0":
            return f"{number}-{following.decode()}", found
        return ("" if number + 1 == len(places) else f"{number + 1}-0"), found

    async def run_many(self, script: Script, calls: Sequence[Call]) -> list[Any]:
        """Run `script` for each call, all at once (see `Store`)."""
        return await _all(self.run(script, keys, args) for keys, args in calls)

    async def probe(self) -> StoreInfo:
        """Ask every master; what is told is the worst of it (see `Store`)."""
        view = await self._view()
        infos = [await self._probe(place) for place in sorted(view.places)]
        first = next((one for one in infos if one.maxmemory is None), None)
        first = first or max(
            infos, key=lambda one: bool(one.maxmemory) + (one.maxmemory_policy != "noeviction")
        )
        return replace(
            first,
            is_replica=any(one.is_replica for one in infos),
            keys=_sum(one.keys for one in infos),
            tracked_keys=_sum(one.tracked_keys for one in infos),
            replicas=_sum(one.replicas for one in infos),
        )

    async def look(self, *command: Argument) -> Any:
        """Send a read-only command to the node of its key; one without a key to any of them."""
        if command[0] in ("CONFIG", "INFO", "PING", "SCAN", "ROLE"):
            place = min((await self._view()).places)
            return await self._at(place, command)
        return await self._ask(command, attempts=2)

    async def close(self) -> None:
        """Close every connection for good, whoever still asks; never raises."""
        self._is_closed = True
        for line, durable in self._masters.values():
            await line.close()
            if durable is not None:
                await durable.close()
        await self._watch.close()

    async def _probe(self, place: Place) -> StoreInfo:
        reply = await self._at(place, ("INFO",))
        if isinstance(reply, ReplyError):
            if reply.kind != "NOPERM":
                raise Refused(self.address, reply)
            reply = b""
        return self.info_of(reply)

    async def _read(self, *command: Argument) -> Any:
        return self._good(await self._ask(command, attempts=2))

    async def _write(self, *command: Argument, is_durable: bool = True) -> Any:
        is_waited = is_durable and self._durability is not None
        return self._good(await self._ask(command, attempts=1, is_waited=is_waited))

    def _good(self, reply: Any) -> Any:
        if isinstance(reply, ReplyError):
            raise Refused(self.address, reply)
        return reply

    async def _ask(self, command: Command, *, attempts: int, is_waited: bool = False) -> Any:
        """Send `command` to the master of its key, wherever it is sent on to; return the reply.

        An error of the server is a `ReplyError`. MOVED and ASK say that nothing was done, so that
        a change is not made twice.
        """
        key = key_of(command)
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._followed(command, key, attempts, is_waited=is_waited)
        except TimeoutError:
            raise StoreUnavailable(f"{self.address} did not answer in time") from None

    async def _followed(
        self, command: Command, key: bytes, attempts: int, *, is_waited: bool
    ) -> Any:
        sent_to: tuple[Place, bool] | None = None
        for _ in range(REDIRECTS + 1):
            view = await self._view()
            place, is_asking = sent_to or (view.place_of(slot_of(key)), False)
            line, durable = self._master(view, place)
            sent: list[Command] = [("ASKING",), command] if is_asking else [command]
            if is_waited and durable is not None:
                replies = await durable.ask(sent, tag=tag_of(key), is_asking=is_asking)
            else:
                replies = await line.within(
                    lambda link, sent=sent: settled(link, sent),  # type: ignore[misc]  # its argument is the connection alone
                    attempts=attempts,
                )
            reply = replies[-1]
            if not fits(command, reply):
                raise StoreUnavailable(f"{self.address} gave a reply that does not fit its command")
            if isinstance(reply, ReplyError) and reply.kind == "TRYAGAIN":
                await asyncio.sleep(TRY_AGAIN_S)
            elif (sent_to := redirect_of(reply)) is None:
                return reply
            else:
                self._watch.ask()
        raise StoreUnavailable(f"{self.address} sends from one node to another")

    async def _at(self, place: Place, command: Command) -> Any:
        """Send a command without a key to the master at `place`."""
        line, _ = self._master(await self._view(), place)
        (reply,) = await line.within(lambda link: settled(link, [command]), attempts=2)
        return reply

    async def _view(self) -> View:
        if self._is_closed:  # nobody would ever close what is opened now
            raise StoreUnavailable(f"{self.address} was closed")
        try:
            view = await self._watch.current()
        except LinkLost as error:
            raise StoreUnavailable(f"{self.address} cannot be reached: {error}") from None
        for place in set(self._masters) - view.places:
            for line in self._masters.pop(place):
                if line is not None:
                    spawn(line.close(), name="connection to a node that is no master")
        return view

    def _master(self, view: View, place: Place | None) -> tuple[Line, DurableLine | None]:
        """Return the connections to a master that a majority confirms."""
        if place is None or place not in view.confirmed:
            self._watch.ask()
            self._unknown(place)
        found = self._masters.get(place)
        if found is None:
            durable = None
            if self._durability is not None:
                durable = DurableLine(
                    self._line_to(place), self._durability, lambda: self._replicas_of(place)
                )
            found = self._masters[place] = self._line_to(place), durable
        return found

    def _line_to(self, place: Place) -> Line:
        return Line(self._watch.node(place), self._context, timeout_s=self._timeout_s)

    def _replicas_of(self, place: Place) -> int:
        view = self._watch.view
        return 0 if view is None else view.replicas_of(place)

    def _unknown(self, place: Place | None) -> NoReturn:
        if place is None:
            raise StoreUnavailable(f"{self.address} has no node for this key")
        raise StoreUnavailable(f"{self.address} has a node that is not confirmed to be a master")


def _by_slot(keys: Sequence[str]) -> dict[int, list[int]]:
    """Return the places of `keys` by their slots."""
    groups: dict[int, list[int]] = {}
    for at, key in enumerate(keys):
        groups.setdefault(slot_of(encode(key)), []).append(at)
    return groups


async def _all(work: Any) -> list[Any]:
    """Wait for all of it, then raise the first error: none is left without a reader."""
    awaitables: list[Awaitable[Any]] = list(work)
    if len(awaitables) == 1:
        return [await awaitables[0]]
    found = await asyncio.gather(*awaitables, return_exceptions=True)
    for one in found:
        if isinstance(one, BaseException):
            raise one
    return found


def _sum(numbers: Any) -> int | None:
    known = [number for number in numbers if number is not None]
    return sum(known) if known else None
