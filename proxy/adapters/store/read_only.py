"""A store that can be looked at and never changed, and that is opened only when somebody looks."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, Literal, NoReturn

from proxy.adapters.store.port import Argument, Call, Script, Store, StoreInfo
from proxy.errors import StoreUnavailable


class ReadOnlyStore:
    """Reads of a store that `opener` gives. Every change is refused, as if there were no answer.

    So whatever would be written behind a look-up (the last use of a session, a new key) is not.
    """

    def __init__(self, opener: Callable[[], Awaitable[Store]]) -> None:
        self._opener = opener
        self._store: Store | None = None

    async def fetch(self, keys: Sequence[str]) -> list[bytes | None]:
        """Return the values of `keys`."""
        return await (await self._opened()).fetch(keys)

    async def put(
        self,
        key: str,
        value: bytes,
        *,
        ttl_s: float | None = None,
        only: Literal["new", "existing"] | None = None,
    ) -> bool:
        """Refuse."""
        del key, value, ttl_s, only
        _refuse()

    async def delete(self, *keys: str) -> int:
        """Refuse."""
        del keys
        _refuse()

    async def scan(self, prefix: str) -> AsyncIterator[str]:
        """Go through the keys that begin with `prefix`."""
        async for key in (await self._opened()).scan(prefix):
            yield key

    async def scan_page(self, prefix: str, cursor: str, count: int) -> tuple[str, list[str]]:
        """Go one step through the keys that begin with `prefix`."""
        return await (await self._opened()).scan_page(prefix, cursor, count)

    async def run(self, script: Script, keys: Sequence[str], args: Sequence[Argument] = ()) -> Any:
        """Refuse: a script may write."""
        del script, keys, args
        _refuse()

    async def run_many(self, script: Script, calls: Sequence[Call]) -> list[Any]:
        """Refuse: a script may write."""
        del script, calls
        _refuse()

    async def probe(self) -> StoreInfo:
        """Ask the server what it is."""
        return await (await self._opened()).probe()

    async def close(self) -> None:
        """Close the store, if it was opened."""
        if self._store is not None:
            await self._store.close()

    async def _opened(self) -> Store:
        if self._store is None:
            self._store = await self._opener()
        return self._store


def _refuse() -> NoReturn:
    raise StoreUnavailable("the store is only looked at here, never changed")
