"""The addresses of one server: its name is looked up now and then, not for every connection."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable
from typing import Any

from proxy.adapters.tasks import spawn
from proxy.config.addresses import UpstreamServer

Place = tuple[socket.AddressFamily, Any]
"""A family of sockets, and an address in it."""


LookUp = Callable[[UpstreamServer], Awaitable[list[Place]]]
"""Asks the resolver; raises OSError or UnicodeError."""


class Names:
    """What a server's name stands for; a unix socket and an address stand for themselves."""

    def __init__(
        self,
        server: UpstreamServer,
        every_s: float,
        on_change: Callable[[frozenset[str]], None],
        look_up: LookUp | None = None,
    ) -> None:
        """`every_s`: how long an answer is good; `on_change` takes the hosts that are left."""
        self._server = server
        self._every_s = every_s
        self._on_change = on_change
        self._look_up = look_up or _look_up
        self._fixed = _fixed(server)
        self._found: list[Place] = []
        self._due = 0.0
        self._search: asyncio.Task[Exception | None] | None = None

    async def places(self) -> list[Place]:
        """Return where to connect to, in the order to try them. Raises OSError, UnicodeError."""
        if self._fixed is not None:
            return [self._fixed]
        if self._found and asyncio.get_running_loop().time() < self._due:
            return self._found
        problem = await asyncio.shield(self._look())
        if problem is not None:
            raise problem
        return self._found

    def refresh(self, now: float) -> None:
        """Look again where that is due, beside everything else; `now`: on the loop's clock."""
        if self._fixed is None and self._found and now >= self._due and self._search is None:
            self._look()

    def _look(self) -> asyncio.Task[Exception | None]:
        """Return the search that is under way: whoever asks meanwhile waits for the same one."""
        if self._search is None:
            self._search = spawn(self._resolve(), name=f"addresses of {self._server.host}")
        return self._search

    async def _resolve(self) -> Exception | None:
        """Look the name up; return why nothing is known. What was known outlives a failure."""
        loop = asyncio.get_running_loop()
        try:
            found = await self._look_up(self._server)
        except (OSError, UnicodeError) as error:
            self._due = loop.time() + self._every_s
            return None if self._found else error
        finally:
            self._search = None
        before = {place[1][0] for place in self._found}
        self._found = found
        self._due = loop.time() + self._every_s
        hosts = frozenset(place[1][0] for place in self._found)
        if before and before != hosts:
            self._on_change(hosts)
        return None


async def _look_up(server: UpstreamServer) -> list[Place]:
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(server.host, server.port, type=socket.SOCK_STREAM)
    return [(family, address) for family, _, _, _, address in found]


def _fixed(server: UpstreamServer) -> Place | None:
    if server.path is not None:
        return socket.AF_UNIX, str(server.path)
    try:
        version = ipaddress.ip_address(server.host).version
    except ValueError:
        return None
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    return family, (server.host, server.port)
