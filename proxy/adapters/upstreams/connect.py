"""Opening a connection to a server, and refusing one that leads back to this gate (F7)."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Callable
from pathlib import Path

from proxy.adapters.upstreams.names import Names, Place
from proxy.adapters.upstreams.settings import OwnAddress, UpstreamSettings
from proxy.adapters.upstreams.whole import WholeConnection
from proxy.config.addresses import UpstreamServer
from proxy.errors import UpstreamError, UpstreamTimeout, UpstreamUnreachable


async def connect(
    server: UpstreamServer,
    settings: UpstreamSettings,
    factory: Callable[[], WholeConnection],
    names: Names,
) -> WholeConnection:
    """Return a new connection, TLS included, within `connect_s`; `names` knows the addresses.

    Raises UpstreamTimeout or UpstreamUnreachable. Cancelled or failed, it leaves no socket open.
    """
    try:
        async with asyncio.timeout(settings.connect_s):
            return await _connect(server, settings, factory, names)
    except TimeoutError:
        raise UpstreamTimeout(f"no connection to {server} in time") from None
    except UpstreamError:
        raise
    except (OSError, UnicodeError) as error:  # ssl.SSLError is an OSError
        raise UpstreamUnreachable(f"no connection to {server}: {error}") from error


async def _connect(
    server: UpstreamServer,
    settings: UpstreamSettings,
    factory: Callable[[], WholeConnection],
    names: Names,
) -> WholeConnection:
    loop = asyncio.get_running_loop()
    sock = await _open_socket(server, settings, names, loop)
    made: list[WholeConnection] = []

    def make() -> WholeConnection:
        made.append(factory())
        return made[0]

    try:
        if server.path is not None:
            _, connection = await loop.create_unix_connection(make, sock=sock)
        elif server.scheme == "https":
            _, connection = await loop.create_connection(
                make,
                sock=sock,
                ssl=settings.tls,
                server_hostname=settings.server_name or server.host,
                # asyncio.timeout above is the bound: this one must only not come before it
                ssl_handshake_timeout=settings.connect_s * 2,
            )
        else:
            _, connection = await loop.create_connection(make, sock=sock)
    except BaseException:
        for connection in made:
            connection.abort()
        sock.close()
        raise
    return connection


async def _open_socket(
    server: UpstreamServer,
    settings: UpstreamSettings,
    names: Names,
    loop: asyncio.AbstractEventLoop,
) -> socket.socket:
    """Return a connected socket: the places are tried in turn, each with its share of the time."""
    if server.path is not None and is_own_path(str(server.path), settings.own_addresses):
        raise UpstreamUnreachable(f"{server} is this gate itself")
    places = await names.places()
    for number, place in enumerate(places):
        is_last = number == len(places) - 1
        try:
            async with asyncio.timeout(None if is_last else settings.connect_s / len(places)):
                return await _connected(place, settings, loop)
        except OSError:  # a TimeoutError is one
            if is_last:
                raise
    raise UpstreamUnreachable(f"{server} has no address")


async def _connected(
    place: Place, settings: UpstreamSettings, loop: asyncio.AbstractEventLoop
) -> socket.socket:
    family, address = place
    protocol = 0 if family == socket.AF_UNIX else socket.IPPROTO_TCP
    sock = socket.socket(family, socket.SOCK_STREAM, protocol)
    try:
        sock.setblocking(False)  # noqa: FBT003 - the socket module's own signature
        await loop.sock_connect(sock, address)
        if family != socket.AF_UNIX:
            _refuse_own(sock, settings.own_addresses)
    except BaseException:
        sock.close()
        raise
    return sock


def _refuse_own(sock: socket.socket, own: frozenset[OwnAddress]) -> None:
    # The peer's name, not the one that was asked for: 0.0.0.0 leads to this machine too.
    host, port = sock.getpeername()[:2]
    if is_own_address(host, port, own):
        raise UpstreamUnreachable(f"{host}:{port} is this gate itself")


def is_own_address(host: str, port: int, own: frozenset[OwnAddress]) -> bool:
    """Tell whether a peer's address is a listener of ours, a wildcard one included."""
    peer = _plain(host)
    for item in own:
        if isinstance(item, str) or item[1] != port:
            continue
        mine = _plain(item[0])
        if mine == peer or (mine.is_unspecified and _is_local(peer)):
            return True
    return False


def is_own_path(path: str, own: frozenset[OwnAddress]) -> bool:
    """Tell whether a unix socket is a listener of ours, under whatever name."""
    for item in own:
        if not isinstance(item, str):
            continue
        try:
            if Path(item).samefile(path):
                return True
        except OSError:  # one of them is not there, so nothing can be connected to
            continue
    return False


def _plain(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    address = ipaddress.ip_address(host)
    mapped = getattr(address, "ipv4_mapped", None)
    return mapped if mapped is not None else address


def _is_local(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Tell whether this machine has the address: only then can a socket be bound to it."""
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        try:
            probe.bind((str(address), 0))
        except OSError:
            return False
    return True
