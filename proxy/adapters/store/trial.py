"""A round trip to a store before the gate relies on it: what it is, and what its user may do.

In the gate's own store keys of a random name are written and removed again. In an application's
store nothing is written.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

from proxy.adapters.store.cluster_tracked import open_tracked
from proxy.adapters.store.link import ReplyError
from proxy.adapters.store.port import Argument, StoreInfo, eviction_problem
from proxy.adapters.store.redis_store import RedisStore
from proxy.config.store_models import StoreConfig
from proxy.core.coherence import Source
from proxy.errors import StoreUnavailable

Command = Sequence[Argument]

POLL_S: Final = 0.01
LIFE_MS: Final = 10_000
"""A key of a trial that was cut short is gone after that."""


@dataclass(frozen=True, slots=True)
class SessionRead:
    """How the sessions of one application are read."""

    prefix: str
    """Of their keys."""
    is_hash: bool = False

    def commands(self, name: str) -> list[Command]:
        """Return what is sent for a key that ends with `name`; MGET asks whether the store is well."""
        key = self.prefix + name
        if not self.is_hash:
            return [("GETRANGE", key, 0, 1), ("PTTL", key), ("MGET", key)]
        return [("HMGET", key, "a"), ("HSTRLEN", key, "a"), ("PTTL", key), ("MGET", key)]


@dataclass(frozen=True, slots=True)
class Trial:
    """What came of a round trip."""

    text: str
    """What the store is and does, for the operator."""
    problem: str | None = None
    """Why a gate cannot work with it as it should; `None` if it can."""


async def try_store(
    store: RedisStore,
    settings: StoreConfig,
    prefix: str,
    *,
    is_own: bool,
    sessions: Collection[SessionRead] = (),
) -> Trial:
    """Try `store`, with keys below `prefix`. Raises `StoreUnavailable` where there is no answer.

    `is_own`: it is the gate's own, and not an application's. `sessions`: what is read there of
    applications; where it is not the gate's own there is one at least.
    """
    info = await store.probe()
    text = _what(info)
    if (problem := _unfit(info, is_cluster=bool(store.address.nodes))) is not None:
        return Trial(text, problem)
    key = f"{prefix}{{check-{secrets.token_hex(8)}}}"
    name = key.removeprefix(prefix)
    reads = [command for one in sessions for command in one.commands(name)]
    missing = await _missing(store, [*(_own_commands(key) if is_own else ()), *reads])
    if missing:
        names = " ".join(f"+{name}" for name in missing)
        under = ", ".join(dict.fromkeys([prefix, *(one.prefix for one in sessions)]))
        return Trial(text, f"its user may not, with keys under {under}: {names}")
    if is_own and (problem := eviction_problem(info, settings.eviction)) is not None:
        return Trial(text, problem)
    read = ("MGET", key) if is_own else reads[0]
    parts = [text, await _round_trip(store, read)]
    if is_own and settings.durability != "none":
        await store.put(key, b"1", ttl_s=LIFE_MS / 1000)  # raises where the replicas lack it
        parts.append("the replicas have what is written")
    parts.append(await _tracking(store, settings, read, is_own=is_own))
    parts.append(await _table(store, info))
    return Trial("; ".join(parts))


def _what(info: StoreInfo) -> str:
    version = ".".join(map(str, info.version))
    words = [f"{info.server} {version}".strip()]
    if info.mode is not None:
        words.append(f"{info.mode} {'replica' if info.is_replica else 'master'}")
    if info.replicas:
        words.append(f"{info.replicas} replica{'s' if info.replicas > 1 else ''}")
    if info.maxmemory_policy is not None:
        words.append(info.maxmemory_policy if info.maxmemory else "no bound of memory")
    return ", ".join(words)


def _unfit(info: StoreInfo, *, is_cluster: bool) -> str | None:
    if info.mode == "sentinel":
        return "is a Sentinel: write redis+sentinel://, and the name of the master"
    if info.is_cluster and not is_cluster:
        return "is a node of a Cluster: write redis+cluster://, and some of its nodes"
    if info.is_replica:
        return "is a replica, which takes no writes: name the master, or the Sentinels"
    return None


def _own_commands(key: str) -> list[Command]:
    text, ordered, stream = f"{key}:1", f"{key}:2", f"{key}:3"
    script = "return redis.call('EXISTS', KEYS[1])"
    return [
        ("SET", text, 1, "PX", LIFE_MS),
        ("MGET", text),
        ("GET", text),
        ("EXISTS", text),
        ("INCR", text),
        ("PTTL", text),
        ("PEXPIRE", text, LIFE_MS),
        ("SCAN", 0, "COUNT", 1),
        ("ZADD", ordered, 1, "a"),
        ("PEXPIRE", ordered, LIFE_MS),
        ("ZCOUNT", ordered, "-inf", "+inf"),
        ("ZRANGE", ordered, 0, 1),
        ("ZREMRANGEBYSCORE", ordered, 5, 6),
        ("ZREM", ordered, "a"),
        ("XADD", stream, "*", "a", "b"),
        ("PEXPIRE", stream, LIFE_MS),
        ("XRANGE", stream, "-", "+"),
        ("XREVRANGE", stream, "+", "-"),
        ("EVAL", script, 1, text),
        ("EVALSHA", "0" * 40, 1, text),
        ("DEL", text, ordered, stream),
    ]


async def _missing(store: RedisStore, commands: Sequence[Command]) -> list[str]:
    """Return which of `commands` the user may not send. Raises `StoreUnavailable`."""
    missing: dict[str, None] = {}
    for command in commands:
        reply, name = await store.look(*command), str(command[0])
        if not isinstance(reply, ReplyError) or reply.kind == "NOSCRIPT":
            continue
        if reply.kind != "NOPERM":
            raise StoreUnavailable(f"{store.address} refused {name}: {reply.kind}")
        missing[name.lower()] = None
    return list(missing)


async def _round_trip(store: RedisStore, read: Command) -> str:
    began = time.perf_counter()
    await store.look(*read)
    return f"answers in {_ms(time.perf_counter() - began)}"


async def _tracking(
    store: RedisStore, settings: StoreConfig, read: Command, *, is_own: bool
) -> str:
    """Say whether the server tells what changes, and how soon."""
    key = str(read[1])
    source = Source("check", max_staleness_s=settings.max_staleness)
    tracked = open_tracked(store.address, source, timeout_s=settings.timeout)
    try:
        await tracked.ask([read], lambda _replies, _sent_at: None)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(settings.max_staleness):
                # One node of a Cluster has answered, and the others may not tell yet.
                while source.state in ("waiting", "lost"):  # noqa: ASYNC110 - a command, which nobody else waits for
                    await asyncio.sleep(POLL_S)
        if source.state != "tracking":
            return "does not tell what changes, so every request is looked up"
        if not is_own:
            return "tells what changes"

        async def change() -> None:
            await store.look("SET", key, 2, "PX", LIFE_MS)

        try:
            async with asyncio.timeout(settings.max_staleness):
                await tracked.time_notice(key.encode(), change)
        except TimeoutError:
            raise StoreUnavailable(f"{store.address} does not tell what changes") from None
        await store.look("DEL", key)
        return f"tells what changes after {_ms(source.counters.notices.total_s)}"
    finally:
        await tracked.close()


async def _table(store: RedisStore, info: StoreInfo) -> str:
    """Say how full the table of tracked keys is; its size only where the user may ask."""
    reply = await store.look("CONFIG", "GET", "tracking-table-max-keys")
    size = reply[1].decode() if type(reply) is list and len(reply) == 2 else None
    known = "?" if info.tracked_keys is None else str(info.tracked_keys)
    bound = "" if size is None else ", without bound" if size == "0" else f" of at most {size}"
    return f"{known} tracked keys{bound}"


def _ms(took_s: float) -> str:
    return f"{took_s * 1000:.1f} ms"
