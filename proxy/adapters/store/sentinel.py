"""Which server is the master, as the majority of the Sentinels says it.

A client library asks the first Sentinel that answers. That is enough to find a master, and not enough
to go on believing one: an old master that is cut off together with one Sentinel is still the master
to it. So all are asked, and mastership counts where the majority that a failover needs as well
names one server and holds it to be well.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import ssl
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from typing import Any, Final

from proxy.adapters.boot_clock import boot_time
from proxy.adapters.store.address import StoreAddress
from proxy.adapters.store.asking import answers
from proxy.adapters.store.link import Link, LinkLost, ReplyError, open_link
from proxy.adapters.tasks import spawn

_ASK_S: Final = (0.1, 1.0)
"""Least and most time for one question to all Sentinels; between them a quarter of `max_staleness`."""
_DOUBTS: Final = frozenset({"s_down", "o_down", "disconnected", "master_down"})
_FAILOVER: Final = frozenset({"failover_in_progress", "force_failover"})


class NotConfirmed(LinkLost):
    """Too few Sentinels answer: nobody says that the master is another one, or that it is not."""


class NotMaster(LinkLost):
    """What the Sentinels say speaks against the server: none is to be believed just now."""


@dataclass(frozen=True, slots=True)
class Said:
    """What one Sentinel says of the master."""

    place: tuple[str, int]
    """Host and port of the master."""
    epoch: int
    """Of the configuration: the last failover that it knows of."""
    flags: frozenset[str]
    others: int
    """How many other Sentinels it knows, those that are down included."""
    replicas: int
    """How many replicas it does not hold to be down."""


@dataclass(frozen=True, slots=True)
class Agreed:
    """What the majority says."""

    place: tuple[str, int]
    replicas: int
    """The most that one of them counts."""


def agree(said: Collection[Said], configured: int) -> Agreed:
    """Return the master that a majority of all Sentinels holds to be well.

    `configured` of them are known to us; they may know more. Raises `NotConfirmed` where too few
    have answered, and `NotMaster` where one of them knows better.
    """
    if not said:
        raise NotConfirmed("no Sentinel answers")
    needed = max(configured, *(one.others + 1 for one in said)) // 2 + 1
    newest = max(one.epoch for one in said)
    replaced = {one.place for one in said if one.flags & _FAILOVER}
    named = {one.place for one in said if one.epoch == newest} - replaced
    if not named:
        raise NotMaster("the Sentinels are changing the master")
    if len(named) > 1:
        raise NotMaster("the Sentinels disagree about the master")
    (place,) = named
    agreeing = [one for one in said if one.place == place]
    well = [one for one in agreeing if "master" in one.flags and not one.flags & _DOUBTS]
    if len(well) >= needed:
        return Agreed(place, max(one.replicas for one in well))
    if len(said) < needed:
        raise NotConfirmed(f"{len(said)} of {needed} Sentinels that are needed answer")
    raise NotMaster("the Sentinels do not confirm the master")


class Mastership:
    """The master of one name, asked for again and again; nothing is asked before it is needed."""

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
        """When the question was sent whose answers confirmed `node` (`clock`)."""
        self.node: StoreAddress | None = None
        self.replicas = 0
        """How many replicas the master has that no Sentinel of the majority misses."""
        self._clock = clock
        self._sentinels = [_Sentinel(address, place, context) for place in address.sentinels]
        least, most = _ASK_S
        self._timeout_s = max(least, min(most, max_staleness_s / 4))
        self._asking: asyncio.Task[StoreAddress | LinkLost] | None = None

    @property
    def good_until(self) -> float:
        """When the last confirmation is worth nothing any more (`clock`)."""
        return self.confirmed_at + self.max_staleness_s

    async def current(self) -> StoreAddress:
        """Return the master, confirmed within `max_staleness`; asked again after half of it.

        Raises `NotConfirmed` and `NotMaster`.
        """
        age_s = self._clock() - self.confirmed_at
        if self.node is None or age_s > self.max_staleness_s:
            return await self.confirm()
        if age_s > self.max_staleness_s / 2:
            self._ask()
        return self.node

    async def confirm(self) -> StoreAddress:
        """Ask the Sentinels now; everybody who asks meanwhile shares the answer.

        Raises `NotConfirmed` and `NotMaster`.
        """
        attempt = self._ask()
        await asyncio.wait([attempt])  # who asked first may leave while others wait
        if attempt.cancelled():
            raise NotConfirmed("the store was closed")
        found = attempt.result()
        if isinstance(found, LinkLost):
            raise type(found)(*found.args)
        return found

    async def close(self) -> None:
        """End every connection; never raises."""
        if (attempt := self._asking) is not None:
            attempt.cancel()
            await asyncio.wait([attempt])
        for sentinel in self._sentinels:
            sentinel.close()

    def _ask(self) -> asyncio.Task[StoreAddress | LinkLost]:
        if self._asking is None:
            self._asking = spawn(self._confirm(), name="mastership of the store")
        return self._asking

    async def _confirm(self) -> StoreAddress | LinkLost:
        """Ask, and note what came of it; a failure is returned, for all who wait."""
        asked_at = self._clock()
        try:
            agreed = agree(await self._answers(), len(self._sentinels))
        except NotMaster as error:
            self.node, self.confirmed_at = None, -math.inf
            return error.with_traceback(None)
        except NotConfirmed as error:
            return error.with_traceback(None)
        finally:
            self._asking = None
        host, port = agreed.place
        self.node = replace(self.address, host=host, port=port, sentinels=(), master_name="")
        self.confirmed_at, self.replicas = asked_at, agreed.replicas
        return self.node

    async def _answers(self) -> list[Said]:
        name = self.address.master_name
        questions = [one.ask(name) for one in self._sentinels]
        return await answers(questions, timeout_s=self._timeout_s, name="a Sentinel")


async def check_role(link: Link) -> None:
    """Ask a server itself whether it is a master; one that may not tell is taken at their word.

    Ends the connection and raises `LinkLost` if it is none.
    """
    try:
        role = await link.send("ROLE")
    except ReplyError as error:
        if error.kind == "NOPERM":
            return
        role = None
    except BaseException:
        link.abort("greeting failed")
        raise
    if type(role) is not list or role[:1] != [b"master"]:
        link.abort("not a master")
        raise LinkLost("the server is not a master")


class _Sentinel:
    """The connection to one Sentinel, made again when it breaks."""

    def __init__(
        self, address: StoreAddress, place: tuple[str, int], context: ssl.SSLContext | None
    ) -> None:
        host, port = place
        self._address = StoreAddress(
            host=host,
            port=port,
            username=address.sentinel_username,
            password=address.sentinel_password,
            is_tls=address.is_tls,
        )
        self._context = context
        self._link: Link | None = None

    async def ask(self, name: str) -> Said | None:
        """Return what it says of the master `name`; `None` without a good answer."""
        try:
            link = self._link
            if link is None or not link.is_open:
                self._link = link = await open_link(self._address, self._context, Link)
            master, replicas = await asyncio.gather(
                link.send("SENTINEL", "MASTER", name), link.send("SENTINEL", "REPLICAS", name)
            )
            return _said(master, replicas)
        except asyncio.CancelledError:
            self.close()  # it has not answered in time: it may be dead without a word
            raise
        except (LinkLost, ReplyError, ValueError):
            return None

    def close(self) -> None:
        """End the connection."""
        link, self._link = self._link, None
        if link is not None:
            link.abort("closed")


def _said(master: Any, replicas: Any) -> Said:
    """Read two answers of a Sentinel. Raises `ValueError` for what is none."""
    if type(replicas) is not list:
        raise ValueError("not the answer of a Sentinel")
    fields = _fields(master)
    with contextlib.suppress(KeyError):
        return Said(
            place=(fields["ip"], int(fields["port"])),
            epoch=int(fields["config-epoch"]),
            flags=frozenset(fields["flags"].split(",")),
            others=int(fields["num-other-sentinels"]),
            replicas=sum(_is_up(_fields(one)) for one in replicas),
        )
    raise ValueError("not the answer of a Sentinel")


def _is_up(fields: dict[str, str]) -> bool:
    return not frozenset(fields.get("flags", "s_down").split(",")) & _DOUBTS


def _fields(reply: Any) -> dict[str, str]:
    if type(reply) is not list or not all(type(one) is bytes for one in reply):
        raise ValueError("not the answer of a Sentinel")
    words = [one.decode("utf-8", "replace") for one in reply]
    return dict(zip(words[::2], words[1::2], strict=False))
