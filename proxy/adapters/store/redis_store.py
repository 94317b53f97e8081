"""The store over a connection: Redis or Valkey by TCP, TLS or a unix socket.

The protocol's and the socket's errors end here: every failure is `StoreUnavailable`. Keys and
values never stand in an error's text.
"""

from __future__ import annotations

import math
import re
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final, Literal

from proxy.adapters.store.durable import DurableLine
from proxy.adapters.store.line import Line, Refused, settled
from proxy.adapters.store.link import Link, LinkLost, ReplyError, fits
from proxy.adapters.store.port import Argument, Call, Script, StoreInfo
from proxy.adapters.store.sentinel import Mastership

SCAN_STEP: Final = 500
"""Keys that one SCAN looks at: some 0.1 ms of the server's time."""
_CURSOR: Final = re.compile(r"[0-9]{1,20}")
_GLOB: Final = re.compile(r"([\\*?\[\]])")


class RedisStore:
    """A `Store` on one Redis or Valkey server, over one connection that is made when needed."""

    def __init__(
        self,
        line: Line,
        durable: DurableLine | None = None,
        mastership: Mastership | None = None,
    ) -> None:
        self.address = line.address
        self._line = line
        self._durable = durable
        self._mastership = mastership

    def __repr__(self) -> str:
        return f"RedisStore({self.address})"

    async def fetch(self, keys: Sequence[str]) -> list[bytes | None]:
        """Return the values of `keys` by one MGET (see `Store`)."""
        if not keys:
            return []
        values: list[bytes | None] = await self._read("MGET", *map(encode, keys))
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
        command: list[Argument] = ["SET", encode(key), value]
        if ttl_s is not None:
            if not ttl_s > 0:
                raise ValueError("a key's life must be above 0")
            command += ["PX", math.ceil(ttl_s * 1000)]
        if only is not None:
            command.append("NX" if only == "new" else "XX")
        return await self._write(*command) is not None

    async def delete(self, *keys: str) -> int:
        """Delete `keys` by one DEL (see `Store`)."""
        return int(await self._write("DEL", *map(encode, keys))) if keys else 0

    async def scan(self, prefix: str) -> AsyncIterator[str]:
        """Go through the keys under `prefix` by SCAN (see `Store`)."""
        cursor = ""
        while True:
            cursor, keys = await self.scan_page(prefix, cursor, SCAN_STEP)
            for key in keys:
                yield key
            if not cursor:
                return

    async def scan_page(self, prefix: str, cursor: str, count: int) -> tuple[str, list[str]]:
        """Go one step of SCAN (see `Store`)."""
        if cursor and (_CURSOR.fullmatch(cursor) is None or int(cursor) >= 1 << 64):
            raise ValueError("no such place in the store")
        following, keys = await self._read(
            "SCAN", cursor or "0", "MATCH", self.pattern(prefix), "COUNT", min(count, SCAN_STEP)
        )
        end = "" if following == b"0" else following.decode()
        return end, [key.decode("utf-8", "surrogateescape") for key in keys]

    async def run(self, script: Script, keys: Sequence[str], args: Sequence[Argument] = ()) -> Any:
        """Run `script` by its digest, and by its text where the server does not know it."""
        tail: list[Argument] = [len(keys), *map(encode, keys), *args]
        try:
            return await self._write("EVALSHA", script.sha, *tail, is_durable=script.is_durable)
        except Refused as refused:
            if refused.kind != "NOSCRIPT":
                raise
        return await self._write("EVAL", script.body, *tail, is_durable=script.is_durable)

    async def run_many(self, script: Script, calls: Sequence[Call]) -> list[Any]:
        """Run `script` for each call by one write (see `Store`)."""
        commands = [
            ("EVALSHA", script.sha, len(keys), *map(encode, keys), *args) for keys, args in calls
        ]

        if self._durable is not None and script.is_durable:
            replies = await self._durable.ask(commands)
        else:
            replies = await self._line.within(lambda link: settled(link, commands), attempts=1)
        for number, reply in enumerate(replies):
            if isinstance(reply, ReplyError):
                if reply.kind != "NOSCRIPT":
                    raise Refused(self.address, reply)
                replies[number] = await self.run(script, *calls[number])
        return replies

    async def probe(self) -> StoreInfo:
        """Ask INFO (see `Store`)."""
        try:
            return _store_info(await self._read("INFO"), self.address.database)
        except Refused as refused:
            if refused.kind != "NOPERM":
                raise
        await self._read("PING")
        return _store_info(b"", 0)

    async def look(self, *command: Argument) -> Any:
        """Send a read-only command of a person who looks around; an error is a `ReplyError`.

        Raises `StoreUnavailable` where the store cannot be reached.
        """
        (reply,) = await self._line.within(lambda link: settled(link, [command]), attempts=2)
        return reply

    async def close(self) -> None:
        """Close every connection; never raises."""
        await self._line.close()
        if self._durable is not None:
            await self._durable.close()
        if self._mastership is not None:
            await self._mastership.close()

    @staticmethod
    def pattern(prefix: str) -> bytes:
        """Return the pattern of keys that begin with `prefix`, literally."""
        return encode(_GLOB.sub(r"\\\1", prefix) + "*")

    def info_of(self, reply: bytes) -> StoreInfo:
        """Read the answer to INFO."""
        return _store_info(reply, self.address.database)

    async def _read(self, *command: Argument) -> Any:
        """Send what changes nothing; when the connection breaks, once more over a new one."""
        return await self._send(command, attempts=2)

    async def _write(self, *command: Argument, is_durable: bool = True) -> Any:
        """Send what may change something, once: nobody knows what a lost connection did.

        Where replicas have to have it, there is an answer only once they do.
        """
        if self._durable is None or not is_durable:
            return await self._send(command, attempts=1)
        (reply,) = await self._durable.ask([command])
        if isinstance(reply, ReplyError):
            raise Refused(self.address, reply)
        return reply

    async def _send(self, command: Sequence[Argument], *, attempts: int) -> Any:
        return await self._line.within(lambda link: _asked(link, command), attempts=attempts)


async def _asked(link: Link, command: Sequence[Argument]) -> Any:
    """Return the answer of `command`; the connection ends where it can be none (LinkLost)."""
    reply = await link.send(*command)
    if not fits(command, reply):
        link.abort("a reply that does not fit its command")
        raise LinkLost("a reply that does not fit its command")
    return reply


def encode(key: str) -> bytes:
    """Return `key` as it is sent."""
    return key.encode("utf-8", "surrogateescape")


def _store_info(raw: bytes, database: int) -> StoreInfo:
    lines = raw.decode("utf-8", "replace").splitlines()
    info = dict(line.split(":", 1) for line in lines if ":" in line)
    valkey = info.get("valkey_version")
    version = valkey or info.get("redis_version", "")
    return StoreInfo(
        server="valkey" if valkey else "redis",
        version=tuple(int(part) for part in version.split(".") if part.isdigit()),
        maxmemory=_number(info.get("maxmemory")),
        maxmemory_policy=info.get("maxmemory_policy"),
        is_replica=info.get("role") in ("slave", "replica"),
        is_cluster=info.get("cluster_enabled") == "1",
        keys=_keys_of(info, database),
        mode=info.get("redis_mode") or info.get("server_mode"),
        replicas=_number(info.get("connected_slaves")),
        tracked_keys=_number(info.get("tracking_total_keys")),
    )


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdigit() else None


def _keys_of(info: dict[str, str], database: int) -> int | None:
    """Read `db0:keys=12,expires=3,…`; an empty database has no such line."""
    if "redis_version" not in info:
        return None
    count = info.get(f"db{database}", "keys=0").partition(",")[0].removeprefix("keys=")
    return int(count) if count.isdigit() else None
