"""Changes that count as made only once the replicas have them (`store.durability`).

`WAIT` speaks of what its own connection has written last. A change that changes nothing any more,
because somebody else's of a moment ago was lost half-way (a logout that is tried again), would
wait for nothing. So something is always written before it is waited for.

`WAIT` holds its connection up; therefore it has one of its own.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from proxy.adapters.store.line import Line, settled
from proxy.adapters.store.link import Link, LinkLost, ReplyError
from proxy.adapters.store.port import Argument
from proxy.errors import StoreUnavailable

BARRIER_LIFE_MS: Final = 1_000


@dataclass(frozen=True, slots=True)
class Durability:
    """How many replicas must have a change before it counts."""

    replicas: int | None
    """`None`: all that the master has, and one at least."""
    timeout_s: float
    """How long they may take."""
    barrier: bytes
    """A key that is written for the sole purpose of being waited for."""


class DurableLine:
    """Sends changes and waits for the replicas."""

    def __init__(
        self, line: Line, durability: Durability, replicas: Callable[[], int] | None = None
    ) -> None:
        """Make it of a connection; `replicas` tells how many there are, else the master does."""
        self._line = line
        self._durability = durability
        self._replicas = replicas

    async def ask(
        self, commands: Sequence[Sequence[Argument]], *, tag: bytes = b"", is_asking: bool = False
    ) -> list[Any]:
        """Send `commands` and return every reply, `ReplyError` in the place of an error.

        In a Cluster `tag` names their slot, and `is_asking` one that is on its way here.

        Raises `StoreUnavailable`: also when too few replicas have what was changed. Nobody knows
        then whether it stays so.
        """
        waited = self._durability.barrier + (b":{%s}" % tag if tag else b"")
        if is_asking:
            # Where the slot comes from there may still be a key of this name, and moving it would
            # break off (BUSYKEY) over one that is here already.
            waited += b":" + secrets.token_hex(8).encode()
        barrier: list[Sequence[Argument]] = [("SET", waited, b"", "PX", BARRIER_LIFE_MS)]
        if is_asking:
            barrier.insert(0, ("ASKING",))
        return await self._line.within(lambda link: self._ask(link, commands, barrier), attempts=1)

    async def close(self) -> None:
        """Close the connection; never raises."""
        await self._line.close()

    async def _ask(
        self,
        link: Link,
        commands: Sequence[Sequence[Argument]],
        barrier: Sequence[Sequence[Argument]],
    ) -> list[Any]:
        wanted = await self._wanted(link)
        timeout_ms = math.ceil(self._durability.timeout_s * 1000)
        found = await settled(link, [*commands, *barrier, ("WAIT", wanted, timeout_ms)])
        replies, (*waiting, have) = found[: len(commands)], found[len(commands) :]
        changes = [one for one in zip(commands, replies, strict=True) if one[0][0] != "ASKING"]
        if all(isinstance(reply, ReplyError) for _, reply in changes):
            return replies
        for reply in (*waiting, have):
            if isinstance(reply, ReplyError):
                raise reply
        if type(have) is not int:
            link.abort("a reply that does not fit its command")
            raise LinkLost("a reply that does not fit its command")
        if have < wanted:
            raise StoreUnavailable(
                f"{self._line.address}: {have} of {wanted} replicas have the change"
            )
        return replies

    async def _wanted(self, link: Link) -> int:
        """Return how many replicas have to have it; where all, never none."""
        if self._durability.replicas is not None:
            return self._durability.replicas
        if self._replicas is not None:
            return max(1, self._replicas())
        role = await link.send("ROLE")
        if type(role) is not list or role[:1] != [b"master"] or len(role) != 3:
            raise LinkLost("the server is not a master")
        return max(1, len(role[2]))
