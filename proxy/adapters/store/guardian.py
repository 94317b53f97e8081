"""Keeps the embedded server no longer than its parent; a program of its own.

    python -I -S guardian.py BINARY LOCK_FILE [RUNTIME_DIRECTORY]

Standard input brings the server's configuration (a line with its length in bytes, then the
bytes) and then stays open for as long as the server is wanted. Its end, which the kernel brings
about even when the parent is killed, ends the server. When the guardian itself is killed the
kernel ends the server (Linux). The server inherits the lock: it is free only when both are gone,
so that no second server ever writes the same files. The exit status is the server's.

Only the standard library is imported, and nothing of `proxy`: it stays small and starts at once.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from types import FrameType
from typing import Final

LOCK_TIMEOUT_S: Final = 15.0
"""How long a server whose guardian was killed may take to be gone."""
STOP_TIMEOUT_S: Final = 5.0
"""After that a server that does not end on SIGTERM is killed."""
POLL_S: Final = 0.02
CONFIGURATION_BYTES: Final = 64 * 1024
PR_SET_PDEATHSIG: Final = 1  # prctl(2)
EXIT_GUARDIAN: Final = 70  # EX_SOFTWARE of sysexits.h: the guardian, not the server, failed
_STDIN: Final = 0


def main(arguments: list[str]) -> int:
    """Run the server until it ends or standard input does."""
    binary, lock_file, *rest = arguments
    os.umask(0o077)
    # The terminal's Ctrl-C and the service's SIGTERM are for the parent, which drains first.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    configuration = _read_configuration()
    lock = _lock(lock_file) if configuration is not None else None
    if configuration is None or lock is None:
        return EXIT_GUARDIAN
    wake = _wake_on_child()
    server = _start(binary, configuration, lock)
    is_wanted = _wait(server, wake)
    if not is_wanted:
        _stop(server)
        for directory in rest:
            _remove_runtime_directory(directory)
    status = server.wait()
    return status if status >= 0 else 128 - status


def _read_configuration() -> bytes | None:
    with os.fdopen(_STDIN, "rb", buffering=0, closefd=False) as stdin:
        line = stdin.readline(16)
        if not line.endswith(b"\n") or not line.strip().isdigit():
            return None
        size = int(line)
        if size > CONFIGURATION_BYTES:
            return None
        parts = bytearray()
        while len(parts) < size:
            part = stdin.read(size - len(parts))
            if not part:
                return None
            parts += part
        return bytes(parts)


def _lock(path: str) -> int | None:
    """Take the servers' lock, waiting for an old server to go; `None` when it does not."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    end = time.monotonic() + LOCK_TIMEOUT_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return descriptor
        except BlockingIOError:
            if time.monotonic() > end:
                _say("a server of an earlier gate is still running and does not end")
                return None
            if select.select([_STDIN], [], [], POLL_S)[0]:
                return None  # the parent is gone: nothing else is ever sent


def _wake_on_child() -> int:
    """Return a descriptor that becomes readable when a child ends."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)

    def noticed(_number: int, _frame: FrameType | None) -> None:
        """Let Python install a handler: only then is the descriptor written."""

    signal.signal(signal.SIGCHLD, noticed)
    return reader


def _start(binary: str, configuration: bytes, lock: int) -> subprocess.Popen[bytes]:
    server = subprocess.Popen(  # noqa: S603 - the binary's path comes from the installed package
        [binary, "-"],
        stdin=subprocess.PIPE,
        pass_fds=[lock],
        preexec_fn=_before_exec(),  # noqa: PLW1509 - this program has one thread
    )
    assert server.stdin is not None  # noqa: S101 - stdin=PIPE was asked for
    with contextlib.suppress(BrokenPipeError):
        server.stdin.write(configuration)
    with contextlib.suppress(BrokenPipeError):
        server.stdin.close()
    return server


def _before_exec() -> Callable[[], None]:
    """Return what the server's process does before it becomes the server."""
    # Loaded before the fork: afterwards as little as possible happens.
    libc = ctypes.CDLL(None) if sys.platform.startswith("linux") else None
    guardian = os.getpid()

    def prepare() -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # ignored here, it would stay so over exec
        if libc is None:
            return
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != guardian:  # it was killed between fork and prctl
            os._exit(EXIT_GUARDIAN)

    return prepare


def _wait(server: subprocess.Popen[bytes], wake: int) -> bool:
    """Wait for either end; return False when it is the parent's."""
    while server.poll() is None:
        readable, _, _ = select.select([_STDIN, wake], [], [])
        if wake in readable:
            os.read(wake, 512)
        if _STDIN in readable and not os.read(_STDIN, 512):
            return False
    return True


def _stop(server: subprocess.Popen[bytes]) -> None:
    server.terminate()
    try:
        server.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        server.kill()


def _remove_runtime_directory(directory: str) -> None:
    with contextlib.suppress(OSError):
        os.unlink(os.path.join(directory, "s"))  # noqa: PTH108, PTH118 - pathlib would triple the start
    with contextlib.suppress(OSError):
        os.rmdir(directory)  # noqa: PTH106 - as above


def _say(text: str) -> None:
    os.write(2, f"guardian: {text}\n".encode())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
