"""Listening sockets: bound before anything else starts, held by the supervisor, used by workers.

A TCP port is bound without SO_REUSEPORT first, so that a taken port is an error and never a silent
share with another program. Only then there is one SO_REUSEPORT socket per worker: the kernel
spreads connections over them, and the queue of each outlives the worker that reads it, because the
supervisor keeps the socket open for the replacement. Unix sockets are shared by all workers.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from proxy.config.addresses import Address
from proxy.errors import ProxyError

BACKLOG: Final = 4096  # the kernel cuts it to net.core.somaxconn, whose default this is

MAX_UNIX_PATH_BYTES: Final = 107  # sun_path has 108 bytes and ends with a NUL (unix(7))

HAS_BALANCED_REUSEPORT: Final = sys.platform == "linux"
"""Elsewhere SO_REUSEPORT does not spread connections: the workers share one socket."""


class ListenError(ProxyError):
    """An address on which the gate cannot listen; the text says which and why."""


class Listeners:
    """The bound sockets of the gate's public listener."""

    def __init__(self, workers: int) -> None:
        self.addresses: list[Address] = []
        """Where it listens in truth: port 0 has become the port that the kernel chose."""
        self._own: list[list[socket.socket]] = [[] for _ in range(workers)]
        self._shared: list[socket.socket] = []
        self._files: list[SocketFile] = []

    def add_tcp(self, address: Address) -> None:
        """Bind one socket per worker to `address`. Raises `ListenError`."""
        for family, place in _resolve(address):
            first = _bind_tcp(family, place, address, is_shared=False)
            bound = first.getsockname()
            self.addresses.append(Address(bound[0], bound[1]))
            if not HAS_BALANCED_REUSEPORT or len(self._own) == 1:
                self._shared.append(first)
                _listen(first, address)
                continue
            # The first is alone on the port by now; from here on it admits siblings. It goes: one
            # that was bound without them is no member of their group any more once it has rested.
            with first:
                first.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
                for own in self._own:
                    own.append(_bind_tcp(family, bound, address, is_shared=True))
            for own in self._own:
                _listen(own[-1], address)

    def add_unix(self, address: Address, path: Path, *, is_private: bool = False) -> None:
        """Bind one socket for all workers to `path`. Raises `ListenError`."""
        sock, file = bind_unix(path, is_private=is_private)
        self._shared.append(sock)
        self._files.append(file)
        self.addresses.append(address)

    def of(self, worker: int) -> list[socket.socket]:
        """Return the sockets that worker number `worker` accepts from."""
        return [*self._own[worker], *self._shared]

    def rest(self, worker: int) -> None:
        """Have the kernel give a worker's connections to the others, until one listens in its place.

        On Linux a socket that is shut down for reading leaves the ones that share its port, and comes
        back with the next `listen`. Who waits in it is reset, and may come again.
        """
        for sock in self._own[worker]:
            # Once more would be another thing: what is accepted later would be shut down as well.
            if sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                sock.shutdown(socket.SHUT_RD)

    def close(self) -> None:
        """Close this process's copies; workers that have theirs go on. Removes nothing."""
        for sock in (*(s for own in self._own for s in own), *self._shared):
            sock.close()

    def remove_files(self) -> None:
        """Remove the unix sockets' files, unless another process has put its own there."""
        for file in self._files:
            file.remove()
        self._files.clear()


@dataclass(frozen=True, slots=True)
class SocketFile:
    """The file of a unix socket that this process has made."""

    path: Path
    device: int
    inode: int

    def remove(self) -> None:
        """Remove it, unless another process has put its own there since."""
        with contextlib.suppress(OSError):
            found = self.path.lstat()
            if (found.st_dev, found.st_ino) == (self.device, self.inode):
                self.path.unlink()


def bind_all(addresses: Iterable[Address], workers: int, *, is_private: bool = False) -> Listeners:
    """Bind every address for `workers` workers. Raises `ListenError`; nothing stays bound then.

    `is_private`: only the gate's own user may connect to a unix socket.
    """
    listeners = Listeners(workers)
    try:
        for address in addresses:
            if address.path is not None:
                listeners.add_unix(address, address.path, is_private=is_private)
            else:
                listeners.add_tcp(address)
    except BaseException:
        listeners.close()
        listeners.remove_files()
        raise
    return listeners


def bind_unix(path: Path, *, is_private: bool = False) -> tuple[socket.socket, SocketFile]:
    """Bind and listen on a unix socket; a file that a dead process left there is replaced.

    The file's mode is 0600 where it is private, from its first moment on, and else what the umask
    leaves. Raises `ListenError`.
    """
    place = f"unix:{path}"
    length = len(os.fsencode(path))
    if length > MAX_UNIX_PATH_BYTES:
        raise ListenError(
            f"cannot listen on {place}: the path has {length} bytes, "
            f"a unix socket's has room for {MAX_UNIX_PATH_BYTES}"
        )
    _remove_stale(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.settimeout(0)  # non-blocking
        with _umask(0o177) if is_private else contextlib.nullcontext():
            sock.bind(os.fspath(path))
        sock.listen(BACKLOG)
        made = path.lstat()
    except OSError as error:
        sock.close()
        raise _refused(place, error) from None
    return sock, SocketFile(path, made.st_dev, made.st_ino)


@contextlib.contextmanager
def _umask(mask: int) -> Iterator[None]:
    """Have files made with a mask of their own; nothing else runs meanwhile that makes any."""
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def _remove_stale(path: Path) -> None:
    """Remove the file of a unix socket that nobody listens on any more."""
    place = f"unix:{path}"
    try:
        found = path.lstat()
    except OSError:
        return  # nothing there; if the directory is missing, bind says so
    if not stat.S_ISSOCK(found.st_mode):
        raise ListenError(f"cannot listen on {place}: a file that is no socket is in its place")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(os.fspath(path))
        except ConnectionRefusedError:
            with contextlib.suppress(OSError):
                path.unlink()
            return
        except FileNotFoundError:
            return
        except OSError as error:
            raise _refused(place, error) from None
    raise ListenError(f"cannot listen on {place}: another process is listening there")


Place = tuple[str, int] | tuple[str, int, int, int]


def _resolve(address: Address) -> Sequence[tuple[socket.AddressFamily, Place]]:
    try:
        found = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except socket.gaierror as error:
        raise ListenError(f"cannot listen on {address}: {error.strerror}") from None
    places: list[tuple[socket.AddressFamily, Place]] = []
    for family, _, _, _, place in found:
        if family in (socket.AF_INET, socket.AF_INET6) and (family, place) not in places:
            places.append((family, place))  # type: ignore[arg-type]  # these families' shapes
    return places


def _bind_tcp(
    family: socket.AddressFamily, place: Place, address: Address, *, is_shared: bool
) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.settimeout(0)  # non-blocking
        # Lets a restart bind while connections of the last run are in TIME_WAIT; on Linux it
        # does not let two programs listen on one port.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if is_shared:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            # What is written is what is listened on, whatever net.ipv6.bindv6only says.
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(place)
    except OSError as error:
        sock.close()
        raise _refused(address, error) from None
    return sock


def _listen(sock: socket.socket, address: Address) -> None:
    try:
        sock.listen(BACKLOG)
    except OSError as error:
        raise _refused(address, error) from None


def _refused(place: object, error: OSError) -> ListenError:
    reasons = {
        errno.EADDRINUSE: "the port is taken by another process: give `listen` another one",
        errno.EACCES: "permission denied",
        errno.EADDRNOTAVAIL: "this machine does not have that address",
        errno.ENOENT: "its directory does not exist",
    }
    reason = reasons.get(error.errno or 0) or error.strerror or type(error).__name__
    return ListenError(f"cannot listen on {place}: {reason}")
