"""One connection to a Redis or Valkey server that carries many commands at once.

Commands of one turn of the event loop leave in one write; replies come in the same order, so a
caller that has left only leaves its place behind: no connection is spoilt by a client that goes
away. hiredis reads and writes the protocol (RESP2); what a reply means is the caller's business.
"""

from __future__ import annotations

import asyncio
import collections
import os
import socket
import ssl
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar, cast

import hiredis

from proxy.adapters.store.address import StoreAddress, StoreMisconfigured
from proxy.adapters.store.port import Argument

KEEPALIVE_S: Final = 15
"""An idle connection that a middlebox has forgotten is found out before it is needed."""

MORE: Final = object()
"""What the reader says while a reply is not complete."""


_CAUSES: Final = {
    ("NOAUTH", ""): "it wants a password, which its URL does not name",
    ("WRONGPASS", ""): "the user or the password in its URL is not right",
    ("NOPERM", ""): "its user lacks a right: `latchgate check --connect` says which",
    ("ERR", "AUTH"): "its URL names a password, and the server wants none",
    ("ERR", "SELECT"): "the server has no database of the number in its URL",
}
"""By kind of error and command: what usually is behind it."""


class LinkLost(ConnectionError):
    """The connection could not be made, or ended before the reply. The text names no secret."""


class ReplyError(Exception):
    """The server's answer is an error; its text may quote keys and arguments."""

    def __init__(self, text: str, command: str = "") -> None:
        """`command`: of the greeting, the one that it answers."""
        super().__init__(text, command)
        self.command = command

    def __str__(self) -> str:
        return str(self.args[0])

    @property
    def kind(self) -> str:
        """The first word, which is all that may be told: OOM, NOAUTH, READONLY, ERR."""
        word = str(self).partition(" ")[0]
        return word if word.isascii() and word.isalnum() and word.isupper() else "ERR"

    @property
    def told(self) -> str:
        """What an operator is told: the kind and, where there is one usual cause, that."""
        cause = _CAUSES.get((self.kind, self.command)) or _CAUSES.get((self.kind, ""))
        return f"refused: {self.kind}" if cause is None else f"refused: {self.kind} ({cause})"


class Link(asyncio.Protocol):
    """A connection that was opened by `open_link`."""

    def __init__(self) -> None:
        self._reader = hiredis.Reader(replyError=ReplyError, notEnoughData=MORE)
        self._pending: collections.deque[asyncio.Future[Any]] = collections.deque()
        self._outbox: list[bytes] = []
        self._transport: asyncio.Transport | None = None
        self._loop = asyncio.get_running_loop()
        self._closed: asyncio.Future[None] = self._loop.create_future()
        self.last_data_at = 0.0
        """When bytes last arrived, on the loop's clock."""

    @property
    def is_open(self) -> bool:
        """True while commands can be sent."""
        return self._transport is not None and not self._transport.is_closing()

    def send(self, *command: Argument) -> asyncio.Future[Any]:
        """Send a command and return the future of its reply.

        The future fails with `ReplyError` for the server's error and `LinkLost` without an answer.
        """
        future: asyncio.Future[Any] = self._loop.create_future()
        if not self.is_open:
            refuse(future, LinkLost("connection closed"))
            return future
        if not self._outbox:
            self._loop.call_soon(self._flush)
        self._outbox.append(hiredis.pack_command(command))  # type: ignore[arg-type]  # its stub knows one argument only
        self._pending.append(future)
        return future

    def abort(self, reason: str) -> None:
        """End the connection at once; whoever waits for a reply gets `LinkLost`."""
        if self._transport is not None:
            self._transport.abort()
        self._fail(reason)

    async def close(self) -> None:
        """End the connection and wait until it is gone."""
        if self._transport is None:
            return
        self._transport.close()
        await asyncio.wait([self._closed])

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Hand each reply to the command that is first in line."""
        self.last_data_at = self._loop.time()
        try:
            self._reader.feed(data)
            while (reply := self._reader.gets()) is not MORE:
                if not self._pending:
                    self.abort("a reply that nobody asked for")
                    return
                future = self._pending.popleft()
                if future.done():  # whoever asked has left
                    continue
                answer(future, reply)
        except hiredis.HiredisError:
            self.abort("a reply that is not RESP: no Redis or Valkey, or one that wants TLS")

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell everybody who waits."""
        self._fail(reason_of(exc) if exc is not None else "connection closed by the server")
        if not self._closed.done():
            self._closed.set_result(None)

    def _flush(self) -> None:
        data = b"".join(self._outbox)
        self._outbox.clear()
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def _fail(self, reason: str) -> None:
        pending, self._pending = self._pending, collections.deque()
        for future in pending:
            if not future.done():
                refuse(future, LinkLost(reason))


LinkT = TypeVar("LinkT", bound=Link)


async def open_link(
    address: StoreAddress, context: ssl.SSLContext | None, make: Callable[[], LinkT]
) -> LinkT:
    """Connect, authenticate and choose the database; `make` gives the `Link` to do it with.

    Raises `LinkLost` or `ReplyError`; on cancellation nothing stays open.
    """
    loop = asyncio.get_running_loop()
    link = make()
    try:
        if address.socket_path:
            await loop.create_unix_connection(lambda: link, address.socket_path)
        else:
            transport, _ = await loop.create_connection(
                lambda: link, address.host, address.port, ssl=context
            )
            _keep_alive(transport)
    except (OSError, ssl.SSLError) as error:
        raise LinkLost(reason_of(error)) from None
    except asyncio.CancelledError:
        await asyncio.sleep(0)  # in which the transport that was made already is told of
        await link.close()
        raise
    try:
        greeting = _greeting(address)
        await _settled(greeting, [link.send(*command) for command in greeting])
    except BaseException:
        link.abort("greeting failed")
        raise
    return link


def client_context(address: StoreAddress) -> ssl.SSLContext | None:
    """Return how the server's certificate is checked; `None` without TLS.

    Raises `StoreMisconfigured` when a certificate file cannot be used.
    """
    if not address.is_tls:
        return None
    try:
        context = ssl.create_default_context(cafile=address.ca_file)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if address.cert_file is not None:
            context.load_cert_chain(address.cert_file, address.key_file)
    except (OSError, ssl.SSLError) as error:
        raise StoreMisconfigured(
            f"the store's TLS files cannot be used: {reason_of(error)}"
        ) from None
    return context


def reason_of(error: BaseException) -> str:
    """Say what went wrong in words that hold no address, key or value."""
    if isinstance(error, ssl.SSLError):
        return f"TLS: {getattr(error, 'reason', None) or 'failed'}"
    if isinstance(error, socket.gaierror):
        return "the host's name is not known"
    if isinstance(error, LinkLost):
        return str(error)
    if isinstance(error, OSError) and error.errno is not None and error.errno > 0:
        return os.strerror(error.errno)
    return type(error).__name__


def _greeting(address: StoreAddress) -> list[tuple[Argument, ...]]:
    commands: list[tuple[Argument, ...]] = []
    if address.password is not None or address.username is not None:
        # Without AUTH a user who is named would silently be the default one.
        user = () if address.username is None else (address.username,)
        commands.append(("AUTH", *user, address.password or ""))
    if address.database:
        commands.append(("SELECT", address.database))
    return commands


def fits(command: Sequence[Argument], reply: Any) -> bool:
    """Tell whether `reply` can be the answer of `command`, as far as its type and length say.

    Replies have no names: one that nobody asked for gives each one behind it to the wrong command,
    and so somebody's session to somebody else.
    """
    if isinstance(reply, ReplyError):
        return True
    match command[0]:
        case "MGET":
            return (
                type(reply) is list
                and len(reply) == len(command) - 1
                and all(value is None or type(value) is bytes for value in reply)
            )
        case "HMGET":
            return (
                type(reply) is list
                and len(reply) == len(command) - 2
                and all(value is None or type(value) is bytes for value in reply)
            )
        case "GETRANGE":
            return type(reply) is bytes
        case "PTTL" | "DEL":
            return type(reply) is int
        case "GET" | "SET":
            return reply is None or type(reply) is bytes
        case "SCAN":
            return type(reply) is list and len(reply) == 2
        case "INFO":
            return type(reply) is bytes
    return True


def answer(future: asyncio.Future[Any], reply: Any) -> None:
    """Give `future` its reply, or the server's error."""
    if isinstance(reply, ReplyError):
        refuse(future, reply)
    else:
        future.set_result(reply)


def refuse(future: asyncio.Future[Any], error: Exception) -> None:
    """Let `future` fail."""
    future.set_exception(error)
    future.exception()  # seen: whoever waits may be cancelled before it hears of this


async def _settled(
    commands: Sequence[tuple[Argument, ...]], replies: Sequence[asyncio.Future[Any]]
) -> None:
    """Wait for every reply, then raise the first error: none is left without a reader."""
    results = await asyncio.gather(*replies, return_exceptions=True)
    for command, result in zip(commands, results, strict=True):
        if isinstance(result, ReplyError):
            raise ReplyError(str(result), str(command[0]))
        if isinstance(result, BaseException):
            raise result


def _keep_alive(transport: asyncio.BaseTransport) -> None:
    sock = transport.get_extra_info("socket")
    if sock is None:
        return
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (("TCP_KEEPIDLE", KEEPALIVE_S), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3)):
        number = getattr(socket, option, None)  # macOS names the first one otherwise
        if number is not None:
            sock.setsockopt(socket.IPPROTO_TCP, number, value)
