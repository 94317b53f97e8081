from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest


@contextmanager
def answering(sock: socket.socket, answer: bytes) -> Iterator[None]:
    """Answer one connection on `sock`."""

    def serve() -> None:
        connection, _ = sock.accept()
        with connection:
            connection.recv(4096)
            connection.sendall(answer)

    thread = threading.Thread(target=serve)
    thread.start()
    yield
    thread.join()


@pytest.mark.parametrize(
    ("answer", "status", "is_ready"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\nok\n", 0, True),
        (b"HTTP/1.1 503 Service Unavailable\r\n\r\n", 1, False),
        (b"", 1, False),
        (b"nonsense", 1, False),
    ],
)
def test_health_is_what_readyz_says(latchgate, answer, status, is_ready):
    """Status 0 only for a 200: what HEALTHCHECK needs."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        latchgate.write(f'health: {{listen: "127.0.0.1:{sock.getsockname()[1]}"}}\n')
        with answering(sock, answer):
            assert status == latchgate.run("health").exit_code
        with answering(sock, answer):
            assert is_ready == latchgate.json("health", status=status)["ready"]


def test_a_gate_that_does_not_run_is_not_healthy(latchgate):
    """Nobody listens: status 1, and the address is said."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
    latchgate.write(f'health: {{listen: "127.0.0.1:{port}"}}\n')
    result = latchgate.run("health")
    assert (1, f"latchgate: 127.0.0.1:{port}: Connection refused; is the gate running?\n") == (
        result.exit_code,
        result.stderr,
    )
    latchgate.write('health: {listen: "unix:h"}\n')
    assert 1 == latchgate.run("health").exit_code


def test_a_gate_without_health_listener_cannot_be_asked(latchgate):
    """`health: none` is a matter of configuration: status 2."""
    latchgate.write("health: none\n")
    assert 2 == latchgate.run("health").exit_code


def test_a_mistake_elsewhere_in_the_file_makes_no_gate_unhealthy(latchgate):
    """It is told, and the listener that the file names is asked; a gate does not read it again."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
        latchgate.write(f'health: {{listen: "127.0.0.1:{port}"}}\nroutes: [{{match: nonsense}}]\n')
        with answering(sock, b"HTTP/1.1 200 OK\r\n\r\n"):
            result = latchgate.run("health")
    assert (0, "ready\n") == (result.exit_code, result.stdout)
    assert result.stderr.startswith(f"warning: {latchgate.file}:2:")


@pytest.mark.parametrize(
    "text", ["health: {listen: nonsense}\n", "health: {port: 1}\n", "health: [\n", "- a\n"]
)
def test_a_listener_that_cannot_be_read_is_a_mistake(latchgate, text):
    """Nobody is asked in its place: status 2."""
    latchgate.write(text)
    assert 2 == latchgate.run("health").exit_code


def test_without_a_file_there_is_nobody_to_ask(latchgate):
    """Status 2, and what cannot be read."""
    result = latchgate.run("health")
    assert (2, True) == (result.exit_code, "the file cannot be read" in result.stderr)
