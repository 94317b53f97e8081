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
from typing import Any, BinaryIO

from proxy.adapters.hashing import hasher, is_right


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


def give_way(process: int = 0) -> None:
    """Let everything else go before a process; it runs while nothing else would.

    Niceness alone lets a request wait for the end of the kernel's time slice.
    """
    _schedule(process, "SCHED_IDLE")
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, process, 19)


def take_part(process: int) -> None:
    """Let a process have its small part although there is more to do than time: as the nicest of all."""
    _schedule(process, "SCHED_OTHER")


def _schedule(process: int, policy: str) -> None:
    if hasattr(os, "sched_setscheduler") and hasattr(os, policy):  # Linux
        with contextlib.suppress(OSError):
            os.sched_setscheduler(process, getattr(os, policy), os.sched_param(0))


def main() -> None:
    """Work until whoever started it has no more."""
    for number in (signal.SIGINT, signal.SIGTERM):  # of the whole group: the gate drains first
        signal.signal(number, signal.SIG_IGN)
    give_way()
    with contextlib.suppress(BrokenPipeError):
        serve(sys.stdin.buffer, sys.stdout.buffer)
    os._exit(0)  # nobody is there to be told of a pipe that is gone


if __name__ == "__main__":
    main()
