"""Listening sockets: new connections are taken in few at a time, so that they hold no request up.

asyncio's servers take all that wait in one go: a thousand who come at once would stop everybody
else for a third of a second. What never belongs here: who may connect.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import socket
import ssl
from collections.abc import Callable
from functools import partial
from typing import Final

from proxy.adapters.tasks import spawn
from proxy.core.proxy_protocol import Source
from proxy.edge.greeting import Greeting, NotGreetedError
from proxy.edge.handshakes import Handshakes

AT_ONCE: Final = 4
"""Connections that one turn of the loop takes from a socket."""
TOLD_EACH_S: Final = 60.0
"""Refused connections are logged once in that time: who makes them could make many."""
PAUSE_S: Final = 0.5
"""How long nobody is taken in where there is no room for another descriptor."""
_NO_ROOM: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})

_log: Final = logging.getLogger("latchgate.edge")


class Listener:
    """One listening socket, TCP or unix, which the caller has bound and made listen."""

    def __init__(
        self,
        sock: socket.socket,
        make: Callable[..., asyncio.BaseProtocol],
        context: ssl.SSLContext | None = None,
        handshake_s: float | None = None,
        handshakes: Handshakes | None = None,
    ) -> None:
        """Prepare; `handshake_s` bounds the TLS handshake of a connection; `handshakes` counts them.

        `make` takes whom a proxy connects for, where one has said so (see `greeting`).
        """
        self._sock = sock
        self._make = make
        self._context = context
        self._handshake_s = handshake_s if context is not None else None
        self._handshakes = handshakes
        self._loop = asyncio.get_running_loop()
        self._pause: asyncio.TimerHandle | None = None
        self._is_open = True
        self.greeting: Callable[[], Greeting | None] = lambda: None
        """What a connection that comes now begins with."""
        self._told_at = -TOLD_EACH_S

    @property
    def context(self) -> ssl.SSLContext | None:
        """With what TLS connections begin; `None`: there are none."""
        return self._context

    def renew(self, context: ssl.SSLContext | None, handshake_s: float) -> ssl.SSLContext | None:
        """Take TLS connections from now on with another context; return the one before.

        A plain listener stays plain.
        """
        before = self._context
        if before is not None and context is not None:
            self._context, self._handshake_s = context, handshake_s
        return before

    def start(self) -> None:
        """Accept connections from now on."""
        self._pause = None
        self._loop.add_reader(self._sock, self._accept)

    def close(self) -> None:
        """Accept no more; connections that are open stay so."""
        if not self._is_open:
            return
        self._is_open = False
        if self._pause is not None:
            self._pause.cancel()
        else:
            self._loop.remove_reader(self._sock)
        self._sock.close()

    def _accept(self) -> None:
        for _ in range(AT_ONCE):
            try:
                sock, _ = self._sock.accept()
            except (BlockingIOError, InterruptedError):
                return  # another worker was faster
            except ConnectionAbortedError:
                continue
            except OSError as error:
                if error.errno not in _NO_ROOM:
                    raise
                self._wait(error)
                return
            spawn(self._open(sock), name="connection accepted")

    def _wait(self, error: OSError) -> None:
        """Let those who wait do so a little longer, instead of asking for them again and again."""
        _log.error("no connection can be accepted: %s", errno.errorcode.get(error.errno or 0, "?"))
        self._loop.remove_reader(self._sock)
        self._pause = self._loop.call_later(PAUSE_S, self.start)

    async def _greeted(self, sock: socket.socket) -> Source | None:
        """Return whom a proxy connects for; `None` where nobody has to say it, or it is the proxy."""
        greeting = self.greeting()
        if greeting is None or not greeting.wants(sock):
            return None
        told = await greeting.read(sock)
        if greeting != self.greeting():
            raise NotGreetedError("another configuration holds since it began")
        return told

    def _tell(self, stranger: NotGreetedError) -> None:
        """Log that a connection was refused, now and then."""
        now = self._loop.time()
        if now - self._told_at >= TOLD_EACH_S:
            self._told_at = now
            _log.warning("a connection was refused (PROXY protocol): %s", stranger.detail)

    async def _open(self, sock: socket.socket) -> None:
        sock.setblocking(False)  # noqa: FBT003 - the standard library's signature
        try:
            await self._take(sock, await self._greeted(sock))
        except NotGreetedError as stranger:
            self._tell(stranger)
            sock.close()
        except (OSError, ssl.SSLError, TimeoutError):
            with contextlib.suppress(OSError):
                sock.close()

    async def _take(self, sock: socket.socket, told: Source | None) -> None:
        """Make a connection of a socket, once its handshake is over, where there is TLS."""
        handshake = None
        if self._context is not None and self._handshakes is not None:
            handshake = self._handshakes.begin(sock.fileno(), _address(sock, told))
            if handshake is None:
                sock.close()
                return
        try:
            await self._loop.connect_accepted_socket(
                self._make if told is None else partial(self._make, told),
                sock,
                ssl=self._context,
                ssl_handshake_timeout=self._handshake_s,
            )
        finally:
            if handshake is not None and self._handshakes is not None:
                self._handshakes.end(handshake)


def _address(sock: socket.socket, told: Source | None) -> str | None:
    """Return the client's address, as `peer_of` has it of a connection. Raises OSError."""
    if told is not None:
        return told[0]
    name = sock.getpeername()
    return str(name[0]).partition("%")[0] if isinstance(name, tuple) else None
