"""The embedded store's directory: who may use it, who owns the store, where its socket is.

| file | what |
|---|---|
| `owner.lock` | held by the process that runs the store; its text says which |
| `server.lock` | held by the server itself and its guardian |
| `users.lock` | held, shared, by commands that use a store that they do not own |
| `endpoint.json` | socket, user and password of the running store, mode 0600 |
| `store.sock` | the server's socket, mode 0600 |
| `appendonlydir/` | the data |
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import stat
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from proxy.adapters.store.address import SOCKET_PATH_BYTES, StoreAddress, StoreMisconfigured
from proxy.errors import StoreUnavailable

SOCKET_BYTES: Final = SOCKET_PATH_BYTES if sys.platform.startswith("linux") else 103
"""`sun_path` of macOS and the BSDs has four bytes less."""
RUNTIME_PREFIX: Final = "latchgate-"
RUNTIME_SOCKET: Final = "s"
POLL_S: Final = 0.02
ENDPOINT_BYTES: Final = 8192

OwnerKind = Literal["gate", "command"]
LockName = Literal["owner", "users"]


@dataclass(slots=True)
class Lock:
    """An flock(2) that this process holds until `release`, or its end however it ends."""

    descriptor: int

    def release(self) -> None:
        """Give the lock back; harmless when it already was."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


class PrivateDirectory:
    """A directory of mode 0700 that belongs to us, with the locks and the endpoint in it."""

    def __init__(self, path: Path) -> None:
        self.path = Path(os.path.realpath(path))

    def prepare(self) -> None:
        """Create the directory or check the one that is there.

        Raises `StoreMisconfigured` when others could look into it, or it cannot be written.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(FileExistsError):
                self.path.mkdir(mode=0o700)
            self._check()
            with tempfile.TemporaryFile(dir=self.path):
                pass  # room for an inode, and permission: a clear word now, not the server's later
        except OSError as error:
            raise self._refused(f"cannot be used: {error.strerror or error}") from None

    def problem(self) -> str | None:
        """Return what speaks against the directory as it is, changing nothing; for `check`."""
        try:
            if self.path.exists():
                self._check()
                if not os.access(self.path, os.W_OK | os.X_OK):
                    return f"{self.path} is not writable"
        except StoreMisconfigured as error:
            return error.detail
        except OSError as error:
            return f"{self.path}: {error.strerror or error}"
        return None

    def try_lock(self, name: LockName, *, is_shared: bool = False) -> Lock | None:
        """Take a lock if it is free, else return `None`. Raises `StoreMisconfigured`."""
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            lock = Lock(os.open(self.path / f"{name}.lock", flags, 0o600))
        except OSError as error:
            raise self._refused(f"cannot be locked: {error.strerror or error}") from None
        try:
            mode = fcntl.LOCK_SH if is_shared else fcntl.LOCK_EX
            fcntl.flock(lock.descriptor, mode | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.release()
            return None
        except OSError as error:
            lock.release()
            raise self._refused(f"cannot be locked: {error.strerror or error}") from None
        return lock

    async def wait_lock(
        self, name: LockName, *, timeout_s: float, is_shared: bool = False
    ) -> Lock | None:
        """Take a lock as soon as it is free; `None` when it is not within `timeout_s`."""
        end = time.monotonic() + timeout_s
        while (lock := self.try_lock(name, is_shared=is_shared)) is None:
            if time.monotonic() > end:
                return None
            await asyncio.sleep(POLL_S)
        return lock

    def write_owner(self, lock: Lock, kind: OwnerKind) -> None:
        """Say in the owner's lock which process holds it."""
        text = json.dumps({"pid": os.getpid(), "kind": kind}).encode()
        os.ftruncate(lock.descriptor, 0)
        os.pwrite(lock.descriptor, text, 0)

    def owner(self) -> str:
        """Name the process that holds the owner's lock, for a message."""
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            document = json.loads((self.path / "owner.lock").read_text())
            return f"process {int(document['pid'])} ({document['kind']})"
        return "another process"

    def write_endpoint(self, address: StoreAddress) -> None:
        """Leave the endpoint for commands; the file is readable by us alone, from its first byte."""
        descriptor, name = tempfile.mkstemp(dir=self.path, prefix=".endpoint-")  # mode 0600
        try:
            with os.fdopen(descriptor, "w") as file:
                json.dump(address.to_json(), file)
            Path(name).replace(self.path / "endpoint.json")
        except OSError as error:
            Path(name).unlink(missing_ok=True)
            raise StoreUnavailable(
                f"{self.path} cannot be written: {error.strerror or error}"
            ) from None

    def read_endpoint(self) -> StoreAddress | None:
        """Read the endpoint that the store's owner left, if there is one."""
        try:
            with (self.path / "endpoint.json").open("rb") as file:
                return StoreAddress.from_text(file.read(ENDPOINT_BYTES).decode())
        except (OSError, ValueError):
            return None

    def remove_endpoint(self) -> None:
        """Take the endpoint away, and a runtime directory that a crash left behind."""
        address = self.read_endpoint()
        with contextlib.suppress(OSError):
            (self.path / "endpoint.json").unlink(missing_ok=True)
        if address is None:
            return
        directory = Path(address.socket_path).parent
        if directory != self.path and directory.name.startswith(RUNTIME_PREFIX):
            with contextlib.suppress(OSError):
                if directory.lstat().st_uid == os.geteuid():
                    (directory / RUNTIME_SOCKET).unlink(missing_ok=True)
                    directory.rmdir()

    def make_socket_path(self) -> tuple[str, str | None]:
        """Return where the socket goes, and a runtime directory made for it or `None`.

        It is in the directory itself, or, where that path is too long for a socket, in a new
        directory of mode 0700 with a random name under the system's temporary directory: commands
        find it by `endpoint.json`. Raises `StoreMisconfigured` when that is too long as well.
        """
        path = str(self.path / "store.sock")
        if len(os.fsencode(path)) <= SOCKET_BYTES:
            return path, None
        try:
            directory = tempfile.mkdtemp(prefix=RUNTIME_PREFIX)
        except OSError as error:
            raise self._refused(
                f"has too long a path for a socket ({SOCKET_BYTES} bytes), and there is no"
                f" temporary directory to put it into: {error.strerror or error}"
            ) from None
        path = str(Path(directory) / RUNTIME_SOCKET)
        if len(os.fsencode(path)) <= SOCKET_BYTES:
            return path, directory
        Path(directory).rmdir()
        raise self._refused(
            f"has too long a path for a socket ({SOCKET_BYTES} bytes), and so has the temporary"
            " directory: choose a shorter one, or set TMPDIR"
        )

    def _check(self) -> None:
        status = self.path.stat()
        if not stat.S_ISDIR(status.st_mode):
            raise self._refused("is not a directory")
        if status.st_uid != os.geteuid():
            raise self._refused(
                f"belongs to user {status.st_uid}, not to us ({os.geteuid()}): it holds sessions and keys"
            )
        if status.st_mode & 0o077:
            raise self._refused(
                f"has mode {stat.S_IMODE(status.st_mode):04o}, so that others can reach sessions"
                " and keys: chmod 700"
            )

    def _refused(self, reason: str) -> StoreMisconfigured:
        return StoreMisconfigured(f"the embedded store's directory {self.path} {reason}")


def restore_runtime_directory(directory: str) -> None:
    """Make a runtime directory again that a cleaner took away.

    Raises `StoreUnavailable` when somebody else was faster: a server of theirs at our socket's
    path would be told our password.
    """
    path = Path(directory)
    try:
        with contextlib.suppress(FileExistsError):
            path.mkdir(mode=0o700)
        status = path.lstat()
    except OSError as error:
        raise StoreUnavailable(f"{path} cannot be used: {error.strerror or error}") from None
    is_private = stat.S_ISDIR(status.st_mode) and not status.st_mode & 0o077
    if not is_private or status.st_uid != os.geteuid():
        raise StoreUnavailable(f"{path} is not a private directory of ours any more")
