"""WebSockets and idle connections through a contender: opened, kept, and made to echo."""

from __future__ import annotations

import base64
import contextlib
import os
import select
import socket
import statistics
import time

from benchmarks.rig import traffic
from benchmarks.rig.echo import CLIENT, SERVER
from benchmarks.rig.report import quantile
from benchmarks.rig.wrk import Told

TIMEOUT_S = 10.0


def handshake(host, credential):
    """Return the request that opens a WebSocket, as a page of the same origin sends it."""
    key = base64.b64encode(os.urandom(16)).decode()
    lines = [
        "GET /echo HTTP/1.1",
        f"Host: {host}",
        f"Origin: http://{host}",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        f"Sec-WebSocket-Key: {key}",
        credential,
    ]
    return "\r\n".join([*lines, "", ""]).encode()


def open_websockets(port, host, credentials, count):
    """Open so many WebSockets; `RuntimeError` when one is refused."""
    found = []
    for number in range(count):
        sock = _connect(port)
        sock.sendall(handshake(host, credentials[number % len(credentials)]))
        head = _read_head(sock)
        if not head.startswith(b"HTTP/1.1 101"):
            raise RuntimeError(f"no WebSocket: {head[:60]!r}")
        found.append(sock)
    return found


def open_connections(port, host, credentials, count):
    """Open so many connections and send one request over each; they stay open."""
    found = []
    for number in range(count):
        sock = _connect(port)
        credential = credentials[number % len(credentials)]
        sock.sendall(traffic.request("small", host, credential, number).encode())
        answer = _read_head(sock)
        while not answer.endswith(b"ok"):
            answer += _some(sock)
        if not answer.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(f"no answer: {answer[:60]!r}")
        found.append(sock)
    return found


def close(socks):
    for sock in socks:
        with contextlib.suppress(OSError):
            sock.close()


def echo(socks, seconds):
    """Send a message over each WebSocket again and again, as soon as its echo is there."""
    epoll = select.epoll()
    sent_at, missing = {}, {}
    by_fd = {sock.fileno(): sock for sock in socks}
    for descriptor, sock in by_fd.items():
        epoll.register(descriptor, select.EPOLLIN)
        sent_at[descriptor], missing[descriptor] = time.monotonic(), len(SERVER)
        sock.sendall(CLIENT)
    times = []
    began_at = time.monotonic()
    ends_at = began_at + seconds
    while time.monotonic() < ends_at:
        for descriptor, _event in epoll.poll(1.0):
            sock = by_fd[descriptor]
            missing[descriptor] -= len(_some(sock))
            if missing[descriptor] <= 0:
                now = time.monotonic()
                times.append(now - sent_at[descriptor])
                sent_at[descriptor], missing[descriptor] = now, len(SERVER)
                sock.sendall(CLIENT)
    took_s = time.monotonic() - began_at
    epoll.close()
    return Told(
        requests=len(times),
        seconds=took_s,
        p50_ms=statistics.median(times) * 1000,
        p99_ms=quantile(times, 0.99) * 1000,
        errors={},
    )


def _connect(port):
    sock = socket.create_connection(("127.0.0.1", port), TIMEOUT_S)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def _read_head(sock):
    head = b""
    while b"\r\n\r\n" not in head:
        head += _some(sock)
    return head


def _some(sock):
    data = sock.recv(65536)
    if not data:
        raise RuntimeError("a connection was closed")
    return data
