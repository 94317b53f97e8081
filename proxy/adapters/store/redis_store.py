"""The store over a connection: Redis or Valkey by TCP, TLS or a unix socket.

redis-py ends here: `translate` turns every failure into `StoreUnavailable`. Keys and values
never stand in an error's text.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import re
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any, Final, Literal, TypeVar

from redis.asyncio.client import Redis
from redis.asyncio.connection import (
    Connection,
    ConnectionPool,
    SSLConnection,
    UnixDomainSocketConnection,
)
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError, RedisError, ResponseError

from proxy.adapters.store.address import StoreAddress, StoreMisconfigured
from proxy.adapters.store.port import Argument, Script, Store, StoreInfo
from proxy.errors import StoreUnavailable

CONNECTIONS: Final = 64
"""At most that many commands at once from one worker; the others wait, within their timeout."""
CLOSE_TIMEOUT_S: Final = 2.0
_SCAN_STEP: Final = 500
"""Keys that one SCAN looks at: some 0.1 ms of the server's time."""
_GLOB: Final = re.compile(r"([\\*?\[\]])")
_ERROR_KIND: Final = re.compile(r"[A-Z][A-Z0-9]{2,30}\b")

T = TypeVar("T")


class RedisStore:
    """A `Store` on one Redis or Valkey server."""

    def __init__(self, address: StoreAddress, *, timeout_s: float) -> None:
        self.address = address
        self._timeout_s = timeout_s
        self._pool = _pool(address)
        self._client = Redis(connection_pool=self._pool)
        self._permits = asyncio.Semaphore(CONNECTIONS)

    def __repr__(self) -> str:
        return f"RedisStore({self.address})"

    async def fetch(self, keys: Sequence[str]) -> list[bytes | None]:
        """Return the values of `keys` by one MGET (see `Store`)."""
        if not keys:
            return []
        values = await self._read("MGET", *map(_encode, keys))
        return list(values)

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
        reply = await self._once(lambda: self._execute(*command))
        return reply is not None and reply is not False

    async def delete(self, *keys: str) -> int:
        """Delete `keys` by one DEL (see `Store`)."""
        if not keys:
            return 0
        return int(await self._once(lambda: self._execute("DEL", *map(_encode, keys))))

    async def scan(self, prefix: str) -> AsyncIterator[str]:
        """Go through the keys under `prefix` by SCAN (see `Store`)."""
        pattern = _encode(_GLOB.sub(r"\\\1", prefix) + "*")
        cursor = b"0"
        while True:
            reply = await self._read("SCAN", cursor, "MATCH", pattern, "COUNT", _SCAN_STEP)
            cursor, keys = _cursor(reply[0]), reply[1]
            for key in keys:
                yield key.decode("utf-8", "surrogateescape")
            if cursor == b"0":
                return

    async def run(self, script: Script, keys: Sequence[str], args: Sequence[Argument] = ()) -> Any:
        """Run `script` by its digest, and by its text where the server does not know it."""
        tail: list[Argument] = [len(keys), *map(_encode, keys), *args]

        async def evaluate() -> Any:
            try:
                return await self._execute("EVALSHA", script.sha, *tail)
            except NoScriptError:
                return await self._execute("EVAL", script.body, *tail)

        return await self._once(evaluate)

    async def probe(self) -> StoreInfo:
        """Ask INFO (see `Store`)."""
        try:
            info = await self._read("INFO")
        except _NotPermittedError:
            await self._read("PING")
            info = {}
        return _store_info(info)

    async def close(self) -> None:
        """Close every connection; never raises."""
        with contextlib.suppress(Exception):
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await self._pool.disconnect()

    async def _execute(self, *command: Argument) -> Any:
        return await self._client.execute_command(*command)  # type: ignore[no-untyped-call]  # redis-py has no annotation here

    async def _read(self, *command: Argument) -> Any:
        """Run a command that changes nothing; a broken connection is tried again, once."""

        async def attempt() -> Any:
            try:
                return await self._execute(*command)
            except (RedisConnectionError, OSError):
                # The server may just have been restarted. Timeouts are bounded from outside.
                return await self._execute(*command)

        return await self._once(attempt)

    async def _once(self, operation: Callable[[], Awaitable[T]]) -> T:
        with translate(self.address):
            async with asyncio.timeout(self._timeout_s), self._permits:
                return await operation()


class _NotPermittedError(StoreUnavailable):
    """The server's rules do not let this user do that."""


@contextlib.contextmanager
def translate(address: StoreAddress) -> Iterator[None]:
    """Turn every failure of the client library into `StoreUnavailable`.

    Of a server's error only its first word is kept (OOM, READONLY, NOAUTH …): the rest may
    quote a key or a script's argument.
    """
    try:
        yield
    except TimeoutError:
        raise StoreUnavailable(f"{address} did not answer in time") from None
    except ResponseError as error:
        kind = _kind(error)
        if kind == "NOPERM":
            raise _NotPermittedError(f"{address} refused: {kind}") from None
        raise StoreUnavailable(f"{address} refused: {kind}") from None
    except (RedisError, OSError, ssl.SSLError) as error:
        raise StoreUnavailable(f"{address} cannot be reached: {_reason(error)}") from None


def open_store(address: StoreAddress, *, timeout_s: float) -> Store:
    """Open the store at `address`; nothing is sent yet.

    Raises `StoreMisconfigured` when a certificate file cannot be used.
    """
    if address.is_tls:
        _check_tls_files(address)
    return RedisStore(address, timeout_s=timeout_s)


def _pool(address: StoreAddress) -> ConnectionPool:
    common: dict[str, Any] = {
        "db": address.database,
        "username": address.username,
        "password": address.password,
        "protocol": 2,  # tracking and pushes are not used here, and every server speaks it
        "socket_timeout": None,  # one timeout bounds the whole operation, see _once
        "socket_connect_timeout": None,
        "retry": Retry(NoBackoff(), 0),  # a write must never happen twice
    }
    if address.socket_path:
        return ConnectionPool(UnixDomainSocketConnection, path=address.socket_path, **common)
    network: dict[str, Any] = {"host": address.host, "port": address.port, "socket_keepalive": True}
    if not address.is_tls:
        return ConnectionPool(Connection, **network, **common)
    return ConnectionPool(
        SSLConnection,
        ssl_cert_reqs="required",
        ssl_check_hostname=True,
        ssl_min_version=ssl.TLSVersion.TLSv1_2,
        ssl_ca_certs=address.ca_file,
        ssl_certfile=address.cert_file,
        ssl_keyfile=address.key_file,
        **network,
        **common,
    )


def _check_tls_files(address: StoreAddress) -> None:
    try:
        context = ssl.create_default_context(cafile=address.ca_file)
        if address.cert_file and address.key_file:
            context.load_cert_chain(address.cert_file, address.key_file)
    except (OSError, ssl.SSLError) as error:
        raise StoreMisconfigured(
            f"the store's TLS files cannot be used: {_reason(error)}"
        ) from None


def _encode(key: str) -> bytes:
    return key.encode("utf-8", "surrogateescape")


def _cursor(value: Any) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()


def _kind(error: ResponseError) -> str:
    # redis-py gives some errors a class and cuts their first word off, so both are looked at.
    found = _ERROR_KIND.match(str(error))
    if found:
        return found.group()
    name = type(error).__name__
    return {"NoPermissionError": "NOPERM", "OutOfMemoryError": "OOM"}.get(name, name)


def _reason(error: BaseException) -> str:
    """Say why in words that hold no address, key or value."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLError):
            return f"TLS: {cause.reason or 'failed'}"
        if isinstance(cause, socket.gaierror):
            return "the host's name is not known"
        if isinstance(cause, OSError) and cause.errno is not None and cause.errno > 0:
            return os.strerror(cause.errno)
        cause = cause.__cause__ or cause.__context__
    return type(error).__name__


def _store_info(info: Mapping[str, Any]) -> StoreInfo:
    valkey = info.get("valkey_version")
    version = str(valkey or info.get("redis_version") or "")
    maxmemory, policy = info.get("maxmemory"), info.get("maxmemory_policy")
    return StoreInfo(
        server="valkey" if valkey else "redis",
        version=tuple(int(part) for part in version.split(".") if part.isdigit()),
        maxmemory=maxmemory if isinstance(maxmemory, int) else None,
        maxmemory_policy=policy if isinstance(policy, str) else None,
        is_replica=info.get("role") in ("slave", "replica"),
        is_cluster=info.get("cluster_enabled") == 1,
    )
