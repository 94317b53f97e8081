"""The store's port: what sessions, revocations and keys need of a key-value server.

Capabilities only. What never belongs here: a client library, a key name, a clock.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

Argument = str | bytes | int | float
"""What a script takes besides keys."""
Call = tuple[Sequence[str], Sequence[Argument]]
"""The keys and arguments of a script that is run once."""


@dataclass(frozen=True, slots=True)
class Script:
    """A Lua script that the server runs as one step."""

    body: str
    is_durable: bool = True
    """False for what only reads, or may be lost: nobody is told that it has happened."""
    sha: str = field(init=False)
    """What EVALSHA calls it: hex SHA-1 of the body."""

    def __post_init__(self) -> None:
        digest = hashlib.sha1(self.body.encode(), usedforsecurity=False).hexdigest()
        object.__setattr__(self, "sha", digest)


@dataclass(frozen=True, slots=True)
class StoreInfo:
    """What the server says about itself (INFO)."""

    server: str
    """`valkey` or `redis`; other compatible servers say `redis`."""
    version: tuple[int, ...]
    maxmemory: int | None
    """Bytes; 0 is without limit, `None` is not told."""
    maxmemory_policy: str | None
    is_replica: bool
    """True when it takes no writes of ours."""
    is_cluster: bool
    keys: int | None = None
    """Keys in the database, of any name; `None` is not told."""
    mode: str | None = None
    """`standalone`, `cluster` or `sentinel`; `None` is not told."""
    replicas: int | None = None
    """How many are connected."""
    tracked_keys: int | None = None
    """Keys of which the server would tell somebody that they change."""


class Store(Protocol):
    """A key-value server with lives of keys and scripts.

    Every method raises `StoreUnavailable` when there is no good answer within the store's
    timeout, whatever the reason: unreachable, slow, loading, out of memory, not permitted. It
    then is not known whether a change took place. An answer is never invented: no answer is
    not "no such key".
    """

    async def fetch(self, keys: Sequence[str]) -> list[bytes | None]:
        """Return the values of `keys`, in order, read in one step; `None` where there is none.

        A key that holds something other than a string counts as one that does not exist.
        """
        ...

    async def put(
        self,
        key: str,
        value: bytes,
        *,
        ttl_s: float | None = None,
        only: Literal["new", "existing"] | None = None,
    ) -> bool:
        """Set `key`; it lives `ttl_s` seconds (above 0), or for good. Return whether it was set.

        `only` makes it depend on the key: `new` where there is none, `existing` where there is.
        """
        ...

    async def delete(self, *keys: str) -> int:
        """Delete `keys` and return how many of them there were."""
        ...

    def scan(self, prefix: str) -> AsyncIterator[str]:
        """Go through the keys that begin with `prefix`, literally.

        Each key that is there from beginning to end comes at least once; one may come twice.
        """
        ...

    async def scan_page(self, prefix: str, cursor: str, count: int) -> tuple[str, list[str]]:
        """Return the next keys that begin with `prefix`, and the cursor behind them; "" is the end.

        "" is the beginning, too. About `count` keys of any name are looked at: few of them, or
        none, may fit. As in `scan` a key may come twice. Raises `ValueError` for what is no cursor.
        """
        ...

    async def run(self, script: Script, keys: Sequence[str], args: Sequence[Argument] = ()) -> Any:
        """Run `script` as one step and return its reply: int, bytes, `None` or a list of these."""
        ...

    async def run_many(self, script: Script, calls: Sequence[Call]) -> list[Any]:
        """Run `script` once for each call, in this order; return the replies as `run` does.

        Every call is a step of its own. Where it fails nobody knows which of them were made.
        """
        ...

    async def probe(self) -> StoreInfo:
        """Ask the server what it is."""
        ...

    async def close(self) -> None:
        """Close every connection; never raises."""
        ...


def eviction_problem(info: StoreInfo, eviction: Literal["refuse", "accept"]) -> str | None:
    """Return why this server may not hold revocations (security.md, R4), or `None` if it may.

    A server that drops keys when its memory is full would drop revocations too, and a
    revocation that is gone means *allow*. What cannot be read is taken for the worst.
    """
    if eviction == "accept" or info.maxmemory == 0 or info.maxmemory_policy == "noeviction":
        return None
    if info.maxmemory is None or info.maxmemory_policy is None:
        return (
            "the store does not tell whether it can evict keys (INFO is not permitted or not"
            " complete): permit INFO, or write `eviction: accept`"
        )
    return (
        f"the store can evict keys (maxmemory is {info.maxmemory}, the policy is"
        f" {info.maxmemory_policy}), and with them revocations: set maxmemory-policy to"
        " noeviction, or write `eviction: accept`"
    )
