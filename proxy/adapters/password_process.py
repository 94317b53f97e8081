"""The process in which passwords are hashed: it gives way to everything else on the machine.

A thread would do as much, but the kernel shares one time among the threads of a process that are
waited for by it: hashes in threads held requests up. It is told one piece of work a line on its
standard input and answers in the same order; the end of the input is its own. Run by
`proxy.adapters.passwords`; imports little, for it takes memory beside the gate's.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import signal
import sys
from typing import Any, BinaryIO, Final

from proxy.adapters.hashing import hasher, is_right

PLAIN: Final = "plain"
"""The argument of a process that takes a part of the time."""


def asked(known: str, password: bytes, salt: bytes | None = None) -> bytes:
    """Return the line that asks whether `password` is behind `known`, or with `salt` for its new hash."""
    told: dict[str, str] = {"known": known, "password": base64.b64encode(password).decode()}
    if salt is not None:
        told["salt"] = base64.b64encode(salt).decode()
    return json.dumps(told).encode() + b"\n"


def answer(line: bytes) -> bytes:
    """Return what a line's work has come to: `yes`, `no`, or a hash."""
    told: dict[str, Any] = json.loads(line)
    password = base64.b64decode(told["password"])
    if "salt" in told:
        return hasher().hash(password, salt=base64.b64decode(told["salt"])).encode()
    return b"yes" if is_right(told["known"], password) else b"no"


def serve(source: BinaryIO, sink: BinaryIO) -> None:
    """Answer line by line until the source ends."""
    for line in source:
        sink.write(answer(line) + b"\n")
        sink.flush()


def give_way() -> None:
    """Let everything else go first: this process runs while nothing else would.

    Niceness alone lets a request wait for the end of the kernel's time slice. Who has no privileges
    cannot take it back.
    """
    if hasattr(os, "SCHED_IDLE"):  # Linux
        with contextlib.suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    else:
        take_a_part()


def take_a_part() -> None:
    """Take a smaller part of the time than others do, whatever there is to do."""
    with contextlib.suppress(OSError):
        os.nice(5)


def main() -> None:
    """Work until whoever started it has no more."""
    for number in (signal.SIGINT, signal.SIGTERM):  # of the whole group: the gate drains first
        signal.signal(number, signal.SIG_IGN)
    take_a_part() if PLAIN in sys.argv else give_way()
    with contextlib.suppress(BrokenPipeError):
        serve(sys.stdin.buffer, sys.stdout.buffer)
    os._exit(0)  # nobody is there to be told of a pipe that is gone


if __name__ == "__main__":
    main()
