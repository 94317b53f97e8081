"""What a connection begins with where proxies tell whom they connect for (PROXY protocol).

It is read before TLS, and not a byte more than it has. What never belongs here: its format.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence

from proxy.config.models import ServerConfig
from proxy.core.forwarding import ForwardingPolicy, Trusted
from proxy.core.proxy_protocol import FRONT, Source, announced, source
from proxy.errors import ProxyError
from proxy.model import Peer


class NotGreetedError(ProxyError):
    """A connection that does not begin as it must, or comes from somebody who may not say it."""


class Greeting:
    """Who may connect, and must say for whom."""

    def __init__(self, trusted: Sequence[Trusted], timeout_s: float) -> None:
        """`trusted`: `server.proxy_protocol.from`; `timeout_s`: how long a header may take."""
        self._policy = ForwardingPolicy(trusted)
        self._trusted = frozenset(trusted)
        self._timeout_s = timeout_s

    @classmethod
    def from_config(cls, server: ServerConfig) -> Greeting | None:
        """Return what `server.proxy_protocol` asks for; `None` where it is absent."""
        said = server.proxy_protocol
        return None if said is None else cls(said.from_, server.limits.header_timeout)

    def __eq__(self, other: object) -> bool:
        """Tell whether both believe the same proxies."""
        return isinstance(other, Greeting) and self._trusted == other._trusted

    def __hash__(self) -> int:
        """Fit `__eq__`."""
        return hash(self._trusted)

    def wants(self, sock: socket.socket) -> bool:
        """Tell whether connections on a listening socket begin with a header.

        On TCP all do; on a unix socket where `unix` is trusted.
        """
        return "unix" in self._trusted or sock.family != socket.AF_UNIX

    async def read(self, sock: socket.socket) -> Source | None:
        """Read the header; return the client, or `None` where the proxy speaks for itself.

        Raises NotGreetedError, and OSError for a connection that is gone.
        """
        is_unix = sock.family == socket.AF_UNIX
        address = None if is_unix else sock.getpeername()[0]
        if not self._policy.known_peer(Peer(address, None, is_unix, is_tls=False))[1]:
            raise NotGreetedError(f"{address} is not in server.proxy_protocol.from")
        try:
            async with asyncio.timeout(self._timeout_s):
                front = await _exactly(sock, FRONT)
                return source(front, await _exactly(sock, announced(front)))
        except TimeoutError:
            raise NotGreetedError("its PROXY header takes too long") from None
        except ValueError as error:
            raise NotGreetedError(f"it begins with {error}") from None


async def _exactly(sock: socket.socket, size: int) -> bytes:
    """Read `size` bytes, and leave what follows to whoever reads next."""
    loop = asyncio.get_running_loop()
    data = b""
    while len(data) < size:
        chunk = await loop.sock_recv(sock, size - len(data))
        if not chunk:
            raise NotGreetedError("it ends within its PROXY header")
        data += chunk
    return data
