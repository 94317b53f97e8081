"""Lines to a file descriptor, from a thread of their own: a slow reader holds up no request."""

from __future__ import annotations

import contextlib
import os
import select
import stat
import threading
from collections import deque
from typing import Final

MAX_LINES: Final = 8192
"""Lines that wait at most; beyond it they are dropped and counted, never waited for."""

MAX_LINE_BYTES: Final = 16 * 1024

GATHER_S: Final = 0.01
"""How long the thread gathers lines before it writes them together."""

_TAKEN: Final = 1024
"""Lines that are taken at a time."""

_PIPE_CHUNK: Final = 4096  # PIPE_BUF on Linux: a longer write may mix with other processes' lines
_FILE_CHUNK: Final = 64 * 1024


class LineWriter:
    """Writes whole lines, never blocks its caller, and never raises.

    Several processes share the descriptor (the supervisor and its workers), so each write holds
    whole lines, and to a pipe at most PIPE_BUF bytes, which the kernel keeps together.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._chunk = _chunk_size(fd)
        self._lines: deque[bytes] = deque()
        self._dropped = 0
        self._is_awake = False
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="log-writer", daemon=True)
        self._thread.start()

    # hot: every request that is logged
    def write(self, line: bytes) -> None:
        """Queue `line`, which ends with a newline."""
        if len(self._lines) >= MAX_LINES:
            self._dropped += 1
            return
        if len(line) > MAX_LINE_BYTES:
            line = line[: MAX_LINE_BYTES - 1] + b"\n"
        self._lines.append(line)
        if not self._is_awake:
            self._is_awake = True
            self._wake.set()

    def close(self, timeout_s: float = 2.0) -> None:
        """Write what waits, for at most `timeout_s`."""
        self._closing.set()
        self._wake.set()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        while not self._closing.is_set():
            self._wake.wait()
            self._closing.wait(GATHER_S)
            self._wake.clear()
            self._is_awake = False  # before the lines are taken: a later one wakes it again
            self._flush()
        self._flush()

    def _flush(self) -> None:
        lines, chunk = self._lines, self._chunk
        while count := min(len(lines), _TAKEN):
            data = b"".join([lines.popleft() for _ in range(count)])
            at = 0
            while at < len(
                data
            ):  # whole lines, at most a chunk of them; one that is longer goes alone
                end = data.rfind(b"\n", at, at + chunk) + 1 or data.find(b"\n", at) + 1 or len(data)
                self._put(data[at:end])
                at = end
        if self._dropped:
            dropped, self._dropped = self._dropped, 0
            self._put(b'{"level":"warning","message":"%d log lines dropped"}\n' % dropped)

    def _put(self, data: bytes) -> None:
        view = memoryview(data)
        # A reader that is gone (EPIPE) or a closed descriptor loses lines, not requests.
        with contextlib.suppress(OSError):
            while view:
                try:
                    view = view[os.write(self._fd, view) :]
                except BlockingIOError:  # somebody made the shared description non-blocking
                    select.select([], [self._fd], [], 1.0)


def _chunk_size(fd: int) -> int:
    try:
        is_pipe = stat.S_ISFIFO(os.fstat(fd).st_mode)
    except OSError:
        is_pipe = False
    return _PIPE_CHUNK if is_pipe else _FILE_CHUNK
