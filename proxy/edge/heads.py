"""Response heads as bytes, and how a response's end is told to the client (RFC 9112 §6)."""

from __future__ import annotations

import time
from collections.abc import Iterable
from email.utils import formatdate
from enum import Enum
from functools import lru_cache
from http import HTTPStatus
from typing import Final

from proxy.model import Header

_REASONS: Final = {status.value: status.phrase.encode() for status in HTTPStatus}


class Framing(Enum):
    """How the client learns where the body ends."""

    NONE = "none"
    """No body: HEAD, 204, 304, or a length of zero."""
    LENGTH = "length"
    CHUNKED = "chunked"
    CLOSE = "close"
    """HTTP/1.0 clients and a body of unknown length: the end of the connection."""


def response_head(status: int, headers: Iterable[Header], *, reason: bytes | None = None) -> bytes:
    """Return the head of a response; `headers` are complete, framing included."""
    phrase = _REASONS.get(status, b"") if reason is None else reason
    lines = [b"HTTP/1.1 %d %b" % (status, phrase)]
    lines += [b"%b: %b" % header for header in headers]
    lines.append(b"\r\n")
    return b"\r\n".join(lines)


def date() -> Header:
    """Return the Date of an answer of the gate's, or of one that has none (RFC 9110 §6.6.1)."""
    return _date(int(time.time()))


@lru_cache(maxsize=1)  # made once a second
def _date(second: int) -> Header:
    return (b"Date", formatdate(second, usegmt=True).encode())


def may_have_body(method: str, status: int) -> bool:
    """Tell whether a response to `method` can have content (RFC 9110 §6.4.1)."""
    return method != "HEAD" and status >= 200 and status not in (204, 304)


def connection_header(version: tuple[int, int], *, keeps_alive: bool) -> tuple[Header, ...]:
    """Say what happens to the connection, where the version's default says otherwise."""
    if not keeps_alive:
        return ((b"Connection", b"close"),)
    if version < (1, 1):
        return ((b"Connection", b"keep-alive"),)
    return ()


def own_response(
    status: int,
    headers: Iterable[Header],
    body: bytes,
    *,
    method: str,
    version: tuple[int, int],
    keeps_alive: bool,
) -> bytes:
    """Return a whole response of the gate's own; HEAD gets its head only."""
    lines = [date(), *headers]
    if status != 204:
        lines.append((b"Content-Length", b"%d" % len(body)))
    lines += connection_header(version, keeps_alive=keeps_alive)
    head = response_head(status, lines)
    return head if method == "HEAD" else head + body
