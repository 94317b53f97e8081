"""What a server sends: one response, or an `UpstreamError`, however it is cut.

Input: a byte for method and piece size, then the bytes of the connection.
"""

from __future__ import annotations

import http.client
import io
import re

from proxy.errors import UpstreamError
from tests.wire import Receiver, Wire

METHODS = ("GET", "HEAD", "POST", "GET")
SIZES = (1, 2, 3, 7, 16, 61, 128, 1000)

WORDS = (
    *(b"HTTP/1.1 200 OK\r\n", b"HTTP/1.0 200 OK\r\n", b"HTTP/1.1 204 \r\n", b"HTTP/1.1 304 X\r\n"),
    *(b"HTTP/1.1 101 Switching\r\n", b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/2 200\r\n"),
    *(b"Content-Length: 3\r\n", b"Content-Length:", b"Transfer-Encoding: chunked\r\n", b"chunked"),
    *(b"Transfer-Encoding:", b"Upgrade: websocket\r\n", b"Connection: upgrade\r\n", b"close"),
    *(b"Keep-Alive: timeout=5\r\n", b"Connection: close\r\n", b"gzip, chunked", b"identity"),
    *(b"\r\n", b"\n", b"\r", b"\r\n\r\n", b" ", b"\t", b"\x00", b":", b";a=b", b"0\r\n\r\n"),
    *(b"3\r\nabc\r\n", b"0", b"1", b"f", b"F" * 16, b"-1", b"+3", b"0x3", b"\xff", b"_", b"-"),
)


def one_input(data: bytes) -> None:
    """Let the bytes arrive at once and in pieces; both must be understood alike."""
    choice = data[0] if data else 0
    raw, method, size = data[1:], METHODS[choice & 3], SIZES[choice >> 2 & 7]
    upgrade = b"websocket" if choice & 3 == 3 else None
    wire, whole = _play(method, [raw], upgrade)
    _, pieces = _play(method, [raw[at : at + size] for at in range(0, len(raw), size)], upgrade)
    if whole.trailers is not None or pieces.trailers is not None:
        assert whole.result == pieces.result
    if wire.pool.kept:
        _check_whole(method, raw, whole)


def _play(method: str, pieces: list[bytes], upgrade: bytes | None) -> tuple[Wire, Receiver]:
    wire = Wire()
    receiver = wire.ask(method, upgrade=upgrade)
    wire.feed(pieces)
    was_kept = list(wire.pool.kept)
    wire.lose()
    wire.pool.kept = was_kept if wire.pool.kept else []
    assert (receiver.trailers is None) == (receiver.error is not None)
    assert receiver.error is None or isinstance(receiver.error, UpstreamError)
    assert wire.pool.busy == 0
    return wire, receiver


def _check_whole(method: str, raw: bytes, receiver: Receiver) -> None:
    """Ask the standard library about a response whose connection would be used again."""
    final = re.sub(rb"(?s)\A(?:HTTP/1\.[01] 1[0-9][0-9].*?\r\n\r\n)*", b"", raw, count=1)
    head, end, body = final.partition(b"\r\n\r\n")
    final = re.sub(rb"[ \t]+\r\n", b"\r\n", head + b"\r\n") + end[2:] + body  # it keeps tabs

    class Socket:
        def makefile(self, _mode: str) -> io.BytesIO:
            return io.BytesIO(final)

    other = http.client.HTTPResponse(Socket(), method=method)  # type: ignore[arg-type] # as far as it is used
    other.begin()
    assert receiver.head is not None
    assert receiver.head.status == other.status  # type: ignore[attr-defined] # a ResponseHead by now
    if method == "HEAD" or other.status in (204, 304):  # chunked ones confuse http.client
        assert receiver.body == b""
    else:
        assert receiver.body == other.read()
