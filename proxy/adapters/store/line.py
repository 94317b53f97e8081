"""The one connection of a store, made when it is needed and again when it breaks."""

from __future__ import annotations

import asyncio
import contextlib
import math
import ssl
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, TypeVar

from proxy.adapters.store.address import StoreAddress
from proxy.adapters.store.link import Link, LinkLost, ReplyError, open_link
from proxy.adapters.store.port import Argument
from proxy.adapters.store.sentinel import Mastership, check_role
from proxy.adapters.tasks import spawn
from proxy.errors import StoreUnavailable

T = TypeVar("T")

CONNECT_TIMEOUT_S: Final = 5.0
"""A connection may take longer than a look-up may wait for it: the next one then finds it."""
RETRY_AFTER_S: Final = 0.05
"""How long a connection that failed speaks for the next ones: an outage costs no storm of them."""
CLOSE_TIMEOUT_S: Final = 2.0


class Line:
    """Asks over one connection, which everybody shares."""

    def __init__(
        self,
        address: StoreAddress,
        context: ssl.SSLContext | None,
        *,
        timeout_s: float,
        mastership: Mastership | None = None,
    ) -> None:
        """Prepare to connect; `mastership` says where to, if the address does not."""
        self.address = address
        self._context = context
        self._timeout_s = timeout_s
        self._mastership = mastership
        self._node = address if mastership is None else None
        self._link: Link | None = None
        self._connecting: asyncio.Task[Link | None] | None = None
        self._failure: LinkLost | ReplyError | None = None
        self._failed_at = -math.inf
        self._is_closed = False

    async def close(self) -> None:
        """Close the connection for good, whoever still asks; never raises."""
        self._is_closed = True
        if (attempt := self._connecting) is not None:
            attempt.cancel()
            await asyncio.wait([attempt])
        link, self._link = self._link, None
        if link is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_TIMEOUT_S):
                    await link.close()

    async def within(self, ask: Callable[[Link], Awaitable[T]], *, attempts: int) -> T:
        """Ask over the connection, within the time that there is; `attempts` times if it breaks.

        Raises `StoreUnavailable`; `Refused` for the server's error.
        """
        link: Link | None = None
        sent_at = math.inf
        try:
            async with asyncio.timeout(self._timeout_s):
                while True:
                    attempts -= 1
                    link = await self._ready()
                    sent_at = asyncio.get_running_loop().time()
                    try:
                        return await ask(link)
                    except LinkLost:
                        if not attempts:
                            raise
        except TimeoutError:
            if link is not None and link.last_data_at < sent_at:
                link.abort("no reply in time")  # it may be dead without a word
            hint = (
                " (does it speak TLS there?)" if self._context is not None and link is None else ""
            )
            raise StoreUnavailable(f"{self.address} did not answer in time{hint}") from None
        except ReplyError as error:
            raise Refused(self.address, error) from None
        except LinkLost as error:
            raise StoreUnavailable(f"{self.address} cannot be reached: {error}") from None

    async def _ready(self) -> Link:
        """Return the connection that is to be asked. Raises `LinkLost` and `ReplyError`."""
        if self._is_closed:  # nobody would ever close what is opened now
            raise LinkLost("the store was closed")
        if self._mastership is not None:
            await self._follow(self._mastership)
        link = self._link
        if link is None or not link.is_open:
            link = await self._connected()
        return link

    async def _follow(self, mastership: Mastership) -> None:
        """Leave a server that is the master no more, or that nobody confirms to be it.

        Raises `LinkLost` where there is no master to be believed.
        """
        try:
            node = await mastership.current()
        except LinkLost:
            self._leave("not confirmed to be the master")
            raise
        if node != self._node:
            self._leave("another server is the master")
            self._node = node

    def _leave(self, why: str) -> None:
        link, self._link = self._link, None
        attempt, self._connecting = self._connecting, None
        self._node = self._failure = None
        if link is not None:
            link.abort(why)
        if attempt is not None:
            attempt.cancel()

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
            raise LinkLost("the store was closed, or another server is the master")
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
                self._link = await self._open()
            return self._link
        except TimeoutError:
            self._failure = LinkLost("no connection in time")
        except (LinkLost, ReplyError) as error:
            self._failure = error.with_traceback(None)
        finally:
            if self._connecting is asyncio.current_task():
                self._connecting = None
        self._failed_at = asyncio.get_running_loop().time()
        return None

    async def _open(self) -> Link:
        """Open the connection. Raises `LinkLost` and `ReplyError`."""
        node = self._node
        if node is None:
            raise LinkLost("the master is not known")
        link = await open_link(node, self._context, Link)
        if self._mastership is not None:
            await check_role(link)
        return link


class Refused(StoreUnavailable):
    """The server answered with an error: out of memory, a replica, no permission."""

    def __init__(self, address: StoreAddress, error: ReplyError) -> None:
        super().__init__(f"{address} {error.told}")
        self.kind = error.kind


async def settled(link: Link, commands: Sequence[Sequence[Argument]]) -> list[Any]:
    """Send `commands` and return every reply; one that is an error is a `ReplyError` in its place.

    Raises `LinkLost`.
    """
    replies = [link.send(*command) for command in commands]
    found = await asyncio.gather(*replies, return_exceptions=True)
    for reply in found:
        if isinstance(reply, BaseException) and not isinstance(reply, ReplyError):
            raise reply
    return found
