"""The control socket: a running gate answers commands about itself, to its own user alone.

A supervisor that serves a file opens it; commands find it by their user and the file's path. One
line of JSON is asked, one is answered:

| kind | fields of the answer |
|---|---|
| `configuration` | `pid`, `file`, `base`, `text`, `environment`: what the gate runs; see `Running` |
| `reload` | `result`, `reasons`, `effects`, `digest`: what became of it; asked with `confirmed`, a digest or null |

An unknown question is answered with kind `unknown`. The socket is in a directory of mode 0700 that
belongs to us; what is there and does not, is neither used nor believed. Of several gates that serve
one file the newest has the socket, and an older one that ends leaves it alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import hashlib
import os
import secrets
import socket
import stat
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Final

from proxy.adapters.store.private_directory import SOCKET_BYTES, restore_runtime_directory
from proxy.errors import ProxyError, StoreUnavailable
from proxy.run.channel import Channel, ChannelError, Message

ANSWER_TIMEOUT_S: Final = 5.0
"""How long a command waits for the gate, and the gate for a command."""
LOCK_TIMEOUT_S: Final = 2.0
MAX_CONNECTIONS: Final = 16
_QUESTION_BYTES: Final = 64 * 1024
_ATTEMPTS: Final = 5
_POLL_S: Final = 0.02

Answer = Callable[[Message], Awaitable[Message | None]]
"""Answers a question; `None` for one that it does not know."""


class ControlError(ProxyError):
    """The socket cannot be made, or a gate that has one does not answer."""


class ControlSocket:
    """The gate's side."""

    def __init__(self, file: Path, answer: Answer) -> None:
        self._file = file
        self._answer = answer
        self._path: Path | None = None
        self._inode = 0
        self._server: asyncio.Server | None = None
        self._channels: set[Channel] = set()

    async def open(self) -> Path:
        """Take the file's socket over and answer on it; return where. Raises `ControlError`."""
        refused: ControlError | None = None
        for directory in directories():
            try:
                return await self._open_in(directory)
            except ControlError as error:
                refused = refused or error
        raise refused or ControlError("there is no place for it")

    async def _open_in(self, directory: Path) -> Path:
        path = directory / _name(self._file)
        if len(os.fsencode(directory / _fresh_name())) > SOCKET_BYTES:
            raise ControlError(f"{directory} is too long a path for a socket")
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            await self._publish(sock, directory, path)
            self._server = await asyncio.start_unix_server(
                self._serve, sock=sock, limit=_QUESTION_BYTES
            )
        except OSError as error:
            sock.close()
            raise ControlError(f"{directory}: {error.strerror or error}") from None
        except BaseException:
            sock.close()
            raise
        return path

    async def close(self) -> None:
        """Stop answering, and leave nothing behind but what a newer gate has put there."""
        if self._server is not None:
            self._server.close()
            for channel in list(self._channels):
                await channel.close()
        if self._path is None:
            return
        directory = self._path.parent
        with contextlib.suppress(OSError, ControlError):
            async with _locked(directory):
                if self._path.lstat().st_ino == self._inode:
                    self._path.unlink()
                directory.rmdir()  # unless another gate's socket is in it

    async def _publish(self, sock: socket.socket, directory: Path, path: Path) -> None:
        """Bind under a name of our own, then take the file's name in one step."""
        for _ in range(_ATTEMPTS):
            try:
                restore_runtime_directory(str(directory))
            except StoreUnavailable as refused:
                raise ControlError(refused.detail) from None
            with contextlib.suppress(FileNotFoundError):  # a gate that ended has just removed it
                async with _locked(directory):
                    _sweep(directory)
                    fresh = directory / _fresh_name()
                    sock.bind(str(fresh))
                    try:
                        fresh.chmod(0o600)
                        sock.listen(MAX_CONNECTIONS)
                        self._inode = fresh.lstat().st_ino
                        fresh.rename(path)
                    except OSError:
                        fresh.unlink(missing_ok=True)
                        raise
                    self._path = path
                    return
        raise ControlError(f"{directory} disappears again and again")

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        channel = Channel(reader, writer)
        if len(self._channels) >= MAX_CONNECTIONS:
            await channel.close()
            return
        self._channels.add(channel)
        try:
            while (question := await _heard(channel)) is not None:
                await channel.send(await self._answer(question) or {"kind": "unknown"})
        except (TimeoutError, ChannelError):
            pass  # whoever asks so has no answer coming
        finally:
            self._channels.discard(channel)
            await channel.close()


async def _heard(channel: Channel) -> Message | None:
    """Return the next question of a command that has one soon. Raises `TimeoutError`."""
    async with asyncio.timeout(ANSWER_TIMEOUT_S):
        return await channel.receive()


async def ask(
    file: Path, question: Message, *, within_s: float = ANSWER_TIMEOUT_S
) -> Message | None:
    """Ask the gate that serves `file`; `None` where none of ours does.

    Raises `ControlError` where there is one that does not answer.
    """
    for directory in directories():
        if not _is_ours(directory):
            continue
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.setblocking(False)  # noqa: FBT003 - the standard library has no keyword for it
        try:
            async with asyncio.timeout(within_s):
                path = str(directory / _name(file))
                await asyncio.get_running_loop().sock_connect(sock, path)
                channel = await Channel.open(sock)
                try:
                    await channel.send(question)
                    answer = await channel.receive()
                finally:
                    await channel.close()
        except TimeoutError:
            raise ControlError("the running gate does not answer") from None
        except OSError:
            continue  # nobody is there, or a gate that was killed
        finally:
            sock.close()
        if answer is None:
            raise ControlError("the running gate has hung up: it ends, or is asked by too many")
        if answer["kind"] != question["kind"]:
            raise ControlError("the running gate does not know this question")
        return answer
    return None


def directories() -> list[Path]:
    """Return where sockets may be, the place for a new one first.

    A service and a shell of one user do not always have the same environment. Where nothing can be
    written, as in a container with a read-only root, there is no temporary directory.
    """
    user = os.geteuid()
    found = []
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    if runtime.startswith("/") and Path(runtime).is_dir():
        found.append(Path(runtime) / "latchgate")
    with contextlib.suppress(OSError):
        found.append(Path(tempfile.gettempdir()) / f"latchgate-{user}")
    found.append(Path(f"/run/user/{user}/latchgate"))
    return list(dict.fromkeys(found))


def served_file(name: str) -> Path | None:
    """Return the absolute path of a configuration file; `None` where the name is none."""
    path = Path(name)
    return Path(os.path.abspath(path)) if path.is_file() else None  # noqa: PTH100 - symlinks stay: what they lead to is replaced


def _sweep(directory: Path) -> None:
    """Remove the sockets of gates that were killed: nobody listens on them."""
    for path in directory.glob("*.sock"):
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(0)  # a gate that is busy is one
            try:
                probe.connect(str(path))
            except ConnectionRefusedError:
                path.unlink()


def _name(file: Path) -> str:
    return hashlib.sha256(os.fsencode(file)).hexdigest()[:24] + ".sock"


def _fresh_name() -> str:
    return f".{secrets.token_hex(8)}"


def _is_ours(directory: Path) -> bool:
    try:
        status = directory.lstat()
    except OSError:
        return False
    is_private = stat.S_ISDIR(status.st_mode) and not status.st_mode & 0o077
    return is_private and status.st_uid == os.geteuid()


@contextlib.asynccontextmanager
async def _locked(directory: Path) -> AsyncIterator[None]:
    """Hold the directory, so that no gate removes what another one has just put there."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        end = time.monotonic() + LOCK_TIMEOUT_S
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > end:
                    raise ControlError(f"{directory} is locked by another process") from None
                await asyncio.sleep(_POLL_S)
        yield
    finally:
        os.close(descriptor)
