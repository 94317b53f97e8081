"""What is shown of the servers."""

from __future__ import annotations

import socket

import pytest

from tests.unit.cli.test_health import answering

# The labels in the order of the alphabet, as the gate's exposition writes them.
SAMPLE = 'latchgate_upstream_server_%s{server="http://a:80",upstream="shop"} %d\n'
WORDS = ("used", "busy", "connections", "waiting", "ejections_total", "retries_total")


@pytest.mark.parametrize(
    ("used", "said", "status"),
    [(2, "up", 0), (1, "up in 1 of 2 workers", 1), (0, "down", 1)],
    ids=["up", "partly", "down"],
)
def test_each_server_has_a_line(latchgate, used, said, status):
    """Its state in words, and status 1 where a worker sends it nothing."""
    numbers = dict(zip(WORDS, (used, 3, 4, 5, 6, 7), strict=True))
    text = "latchgate_workers_ready 2\n" + "".join(SAMPLE % item for item in numbers.items())
    answer = b"HTTP/1.1 200 OK\r\n\r\n" + text.encode()
    with socket.create_server(("127.0.0.1", 0)) as sock:
        latchgate.write(f'health: {{listen: "127.0.0.1:{sock.getsockname()[1]}"}}\n')
        with answering(sock, answer):
            result = latchgate.run("upstreams")
        with answering(sock, answer):
            found = latchgate.json("upstreams", status=status)

    assert status == result.exit_code
    assert (
        f"shop  http://a:80  {said}: 3 busy, 4 connections, 5 waiting, ejected 6 times,"
        " 7 second attempts\n"
    ) == result.stdout
    assert (2, 6) == (found["workers"], found["servers"][0]["ejections"])


def test_a_gate_that_does_not_run_tells_nothing(latchgate):
    """Status 1, and the address is said."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
    latchgate.write(f'health: {{listen: "127.0.0.1:{port}"}}\n')
    result = latchgate.run("upstreams")

    assert (1, f"latchgate: 127.0.0.1:{port}: Connection refused; is the gate running?\n") == (
        result.exit_code,
        result.stderr,
    )


def test_a_gate_that_tells_of_no_server_is_not_well(latchgate):
    """What cannot be read is said, and is no status 0."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        latchgate.write(f'health: {{listen: "127.0.0.1:{sock.getsockname()[1]}"}}\n')
        with answering(sock, b"HTTP/1.1 200 OK\r\n\r\nlatchgate_workers_ready 2\n"):
            result = latchgate.run("upstreams")

    assert result.exit_code == 1
    assert "does not tell of any server" in result.stderr
