"""The store over a connection: Redis or Valkey by TCP, TLS or a unix socket.

The protocol's and the socket's errors end here: every failure is `StoreUnavailable`. Keys and
values never stand in an error's text.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import re
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, Final, Literal, TypeVar

from proxy.adapters.store.address import StoreAddress
from proxy.adapters.store.link import (
    Link,
    LinkLost,
    ReplyError,
    client_context,
    fits,
    open_link,
)
from proxy.adapters.store.port import Argument, Call, Script, StoreInfo
from proxy.adapters.tasks import spawn
from proxy.errors import StoreUnavailable

T = TypeVar("T")

CONNECT_TIMEOUT_S: Final = 5.0
"""A connection may take longer than a look-up may wait for it: the next one then finds it."""
RETRY_AFTER_S: Final = 0.05
"""How long a connection that failed speaks for the next ones: an outage costs no storm of them."""
CLOSE_TIMEOUT_S: Final = 2.0
_SCAN_STEP: Final = 500
"""Keys that one SCAN looks at: some 0.1 ms of the server's time."""
_CURSOR: Final = re.compile(r"[0-9]{1,20}")
_GLOB: Final = re.compile(r"([\\*?\[\]])")


class RedisStore:
    """A `Store` on one Redis or Valkey server, over one connection that is made when needed."""

    def __init__(
        self, address: StoreAddress, context: ssl.SSLContext | None, *, timeout_s: float
    ) -> None:
        self.address = address
        self._context = context
        self._timeout_s = timeout_s
        self._link: Link | None = None
        self._connecting: asyncio.Task[Link | None] | None = None
        self._failure: LinkLost | ReplyError | None = None
        self._failed_at = -math.inf

    def __repr__(self) -> str:
        return f"RedisStore({self.address})"

    async def fetch(self, keys: Sequence[str]) -> list[bytes | None]:
        """Return the values of `keys` by one MGET (see `Store`)."""
        if not keys:
            return []
        values: list[bytes | None] = await self._read("MGET", *map(_encode, keys))
        return values

    async def put(
        self,
        key: str,
        value: bytes,
        *,
        ttl_s: float | None = None,
        only: Literal["new", "existing"] | None = None,
    ) -> bool:
        """Set `key` by one SET (see `Store`)."""
        command: list[Argument] = ["SET", _encode(key), value]
        if ttl_s is not None:
            if not ttl_s > 0:
                raise ValueError("a key's life must be above 0")
            command += ["PX", math.ceil(ttl_s * 1000)]
        if only is not None:
            command.append("NX" if only == "new" else "XX")
        return await self._write(*command) is not None

    async def delete(self, *keys: str) -> int:
        """Delete `keys` by one DEL (see `Store`)."""
        return int(await self._write("DEL", *map(_encode, keys))) if keys else 0

    async def scan(self, prefix: str) -> AsyncIterator[str]:
        """Go through the keys under `prefix` by SCAN (see `Store`)."""
        cursor = ""
        while True:
            cursor, keys = await self.scan_page(prefix, cursor, _SCAN_STEP)
            for key in keys:
                yield key
            if not cursor:
                return

    async def scan_page(self, prefix: str, cursor: str, count: int) -> tuple[str, list[str]]:
        """Go one step of SCAN (see `Store`)."""
        if cursor and (_CURSOR.fullmatch(cursor) is None or int(cursor) >= 1 << 64):
            raise ValueError("no such place in the store")
        pattern = _encode(_GLOB.sub(r"\\\1", prefix) + "*")
        following, keys = await self._read(
            "SCAN", cursor or "0", "MATCH", pattern, "COUNT", min(count, _SCAN_STEP)
        )
        end = "" if following == b"0" else following.decode()
        return end, [key.decode("utf-8", "surrogateescape") for key in keys]

    async def run(self, script: Script, keys: Sequence[str], args: Sequence[Argument] = ()) -> Any:
        """Run `script` by its digest, and by its text where the server does not know it."""
        tail: list[Argument] = [len(keys), *map(_encode, keys), *args]
        try:
            return await self._write("EVALSHA", script.sha, *tail)
        except _Refused as refused:
            if refused.kind != "NOSCRIPT":
                raise
        return await self._write("EVAL", script.body, *tail)

    async def run_many(self, script: Script, calls: Sequence[Call]) -> list[Any]:
        """Run `script` for each call by one write (see `Store`)."""
        commands = [
            ("EVALSHA", script.sha, len(keys), *map(_encode, keys), *args) for keys, args in calls
        ]

        def ask(link: Link) -> Awaitable[list[Any]]:
            return _settled([link.send(*command) for command in commands])

        replies = await self._within(ask, attempts=1)
        for number, reply in enumerate(replies):
            if isinstance(reply, ReplyError):
                if reply.kind != "NOSCRIPT":
                    raise _Refused(self.address, reply.kind)
                replies[number] = await self.run(script, *calls[number])
        return replies

    async def probe(self) -> StoreInfo:
        """Ask INFO (see `Store`)."""
        try:
            return _store_info(await self._read("INFO"), self.address.database)
        except _Refused as refused:
            if refused.kind != "NOPERM":
                raise
        await self._read("PING")
        return _store_info(b"", 0)

    async def look(self, *command: Argument) -> Any:
        """Send a read-only command of a person who looks around; an error is a `ReplyError`.

        Raises `StoreUnavailable` where the store cannot be reached.
        """
        (reply,) = await self._within(lambda link: _settled([link.send(*command)]), attempts=2)
        return reply

    async def close(self) -> None:
        """Close the connection; never raises."""
        if (attempt := self._connecting) is not None:
            attempt.cancel()
            await asyncio.wait([attempt])
        link, self._link = self._link, None
        if link is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_TIMEOUT_S):
                    await link.close()

    async def _read(self, *command: Argument) -> Any:
        """Send what changes nothing; when the connection breaks, once more over a new one."""
        return await self._send(command, attempts=2)

    async def _write(self, *command: Argument) -> Any:
        """Send what may change something, once: nobody knows what a lost connection did."""
        return await self._send(command, attempts=1)

    async def _send(self, command: Sequence[Argument], *, attempts: int) -> Any:
        return await self._within(lambda link: _asked(link, command), attempts=attempts)

    async def _within(self, ask: Callable[[Link], Awaitable[T]], *, attempts: int) -> T:
        """Ask over the connection, within the time that there is."""
        link: Link | None = None
        sent_at = math.inf
        try:
            async with asyncio.timeout(self._timeout_s):
                while True:
                    attempts -= 1
                    link = self._link
                    if link is None or not link.is_open:
                        link = await self._connected()
                    sent_at = asyncio.get_running_loop().time()
                    try:
                        return await ask(link)
                    except LinkLost:
                        if not attempts:
                            raise
        except TimeoutError:
            if link is not None and link.last_data_at < sent_at:
                link.abort("no reply in time")  # it may be dead without a word
            raise StoreUnavailable(f"{self.address} did not answer in time") from None
        except ReplyError as error:
            raise _Refused(self.address, error.kind) from None
        except LinkLost as error:
            raise StoreUnavailable(f"{self.address} cannot be reached: {error}") from None

    async def _connected(self) -> Link:
        """Wait for the one attempt to connect that everybody shares."""
        if self._connecting is None:
            age_s = asyncio.get_running_loop().time() - self._failed_at
            if self._failure is not None and age_s < RETRY_AFTER_S:
                raise type(self._failure)(*self._failure.args)
            self._connecting = spawn(self._connect(), name="connection to the store")
        attempt = self._connecting
        await asyncio.wait([attempt])  # who asked first may leave while others wait
        if attempt.cancelled():
            raise LinkLost("the store was closed")
        link = attempt.result()
        if link is None:
            assert self._failure is not None  # noqa: S101 - `_connect` says why there is no link
            raise type(self._failure)(*self._failure.args)
        return link

    async def _connect(self) -> Link | None:
        """Connect; on failure remember why, for all who wait."""
        self._failure = None
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                self._link = await open_link(self.address, self._context, Link)
            return self._link
        except TimeoutError:
            self._failure = LinkLost("no connection in time")
        except (LinkLost, ReplyError) as error:
            self._failure = error.with_traceback(None)
        finally:
            self._connecting = None
        self._failed_at = asyncio.get_running_loop().time()
        return None


class _Refused(StoreUnavailable):
    """The server answered with an error: out of memory, a replica, no permission."""

    def __init__(self, address: StoreAddress, kind: str) -> None:
        super().__init__(f"{address} refused: {kind}")
        self.kind = kind


def open_store(address: StoreAddress, *, timeout_s: float) -> RedisStore:
    """Open the store at `address`; nothing is sent yet.

    Raises `StoreMisconfigured` when a certificate file cannot be used.
    """
    return RedisStore(address, client_context(address), timeout_s=timeout_s)


async def _asked(link: Link, command: Sequence[Argument]) -> Any:
    """Return the answer of `command`; the connection ends where it can be none (LinkLost)."""
    reply = await link.send(*command)
    if not fits(command, reply):
        link.abort("a reply that does not fit its command")
        raise LinkLost("a reply that does not fit its command")
    return reply


async def _settled(replies: Sequence[asyncio.Future[Any]]) -> list[Any]:
    """Return every reply; one that is an error is a `ReplyError` in its place. Raises `LinkLost`."""
    found = await asyncio.gather(*replies, return_exceptions=True)
    for reply in found:
        if isinstance(reply, BaseException) and not isinstance(reply, ReplyError):
            raise reply
    return found


def _encode(key: str) -> bytes:
    return key.encode("utf-8", "surrogateescape")


def _store_info(raw: bytes, database: int) -> StoreInfo:
    lines = raw.decode("utf-8", "replace").splitlines()
    info = dict(line.split(":", 1) for line in lines if ":" in line)
    valkey = info.get("valkey_version")
    version = valkey or info.get("redis_version", "")
    maxmemory = info.get("maxmemory", "")
    return StoreInfo(
        server="valkey" if valkey else "redis",
        version=tuple(int(part) for part in version.split(".") if part.isdigit()),
        maxmemory=int(maxmemory) if maxmemory.isdigit() else None,
        maxmemory_policy=info.get("maxmemory_policy"),
        is_replica=info.get("role") in ("slave", "replica"),
        is_cluster=info.get("cluster_enabled") == "1",
        keys=_keys_of(info, database),
    )


def _keys_of(info: dict[str, str], database: int) -> int | None:
    """Read `db0:keys=12,expires=3,…`; an empty database has no such line."""
    if "redis_version" not in info:
        return None
    count = info.get(f"db{database}", "keys=0").partition(",")[0].removeprefix("keys=")
    return int(count) if count.isdigit() else None
