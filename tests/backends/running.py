"""Starts the back ends that fold header names, and asks them what they were told."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).parent
TIMEOUT_S = 20.0
COMMANDS = {
    "wsgi": [str(HERE / "echo_wsgi.py")],
    "cgi": [str(HERE / "serve_cgi.py"), str(HERE / "echo_cgi.py")],
}
"""How each kind is started; all print their port first."""


class Backend:
    """A running application that answers every request with its environ."""

    def __init__(self, kind: str, port: int) -> None:
        self.kind = kind
        self.port = port

    def environ(self, headers: Sequence[tuple[bytes, bytes]], *, target: bytes = b"/") -> dict:
        """Send one GET with exactly `headers`, and return the environ that the application saw."""
        lines = b"".join(b"%b: %b\r\n" % header for header in headers)
        with socket.create_connection(("127.0.0.1", self.port), TIMEOUT_S) as connection:
            connection.sendall(b"GET %b HTTP/1.0\r\n%b\r\n" % (target, lines))
            answer = b"".join(iter(lambda: connection.recv(65536), b""))
        return json.loads(answer.partition(b"\r\n\r\n")[2])


@contextmanager
def running(kind: str) -> Iterator[Backend]:
    """Run the back end `kind` (`wsgi` or `cgi`) as a process of its own, with an empty environ."""
    command = [sys.executable, "-I", *COMMANDS[kind]]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env={}) as process:
        try:
            yield Backend(kind, int(process.stdout.readline()))
        finally:
            process.terminate()
