"""The health listener: `/healthz`, `/readyz`, `/metrics`, and nobody's data (security.md, S11).

It answers one request per connection from its first line, for `/metrics` also from its Accept, and
looks at nothing else that the client says. It is not built on aiohttp's server, whose parse errors echo the request and whose
answers carry a version.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from proxy.edge.one_shot import Heard, OneShotListener

HEAD_BYTES: Final = 8 * 1024
HEAD_TIMEOUT_S: Final = 5.0
MAX_CONNECTIONS: Final = 256

Probe = Callable[[], Awaitable[bool]]
Scrape = Callable[[str], Awaitable[tuple[str, bytes]]]
"""Returns content type and body of the metrics, for the value of an Accept header."""

_OK: Final = (200, "OK", b"ok\n")
_NOT_READY: Final = (503, "Service Unavailable", b"not ready\n")
_NOT_FOUND: Final = (404, "Not Found", b"not found\n")
_NOT_ALLOWED: Final = (405, "Method Not Allowed", b"method not allowed\n")
_BAD: Final = (400, "Bad Request", b"bad request\n")


class HealthServer(OneShotListener):
    """Tells an orchestrator whether the gate lives and is ready, and Prometheus how it fares."""

    def __init__(self, is_ready: Probe, scrape: Scrape) -> None:
        super().__init__(limit=HEAD_BYTES, most=MAX_CONNECTIONS, patience_s=HEAD_TIMEOUT_S)
        self._is_ready = is_ready
        self._scrape = scrape

    async def exchange(
        self, reader: asyncio.StreamReader, client: str, heard: Heard
    ) -> bytes | None:
        """Answer one request, whoever asks."""
        del client
        async with asyncio.timeout(HEAD_TIMEOUT_S):
            head = await _read_head(reader)
            heard()
            return None if head is None else await self._answer(head)

    async def _answer(self, head: bytes) -> bytes:
        method, _, rest = head.partition(b"\r\n")[0].partition(b" ")
        target, _, version = rest.partition(b" ")
        if version not in (b"HTTP/1.1", b"HTTP/1.0"):
            return _response(_BAD, has_body=True)
        has_body = method != b"HEAD"
        if target not in (b"/healthz", b"/readyz", b"/metrics"):
            return _response(_NOT_FOUND, has_body=has_body)
        if method not in (b"GET", b"HEAD"):
            return _response(_NOT_ALLOWED, b"Allow: GET, HEAD\r\n", has_body=True)
        if target == b"/metrics":
            content_type, body = await self._scrape(_accept(head))
            return _response((200, "OK", body), content_type=content_type, has_body=has_body)
        if target == b"/readyz" and not await self._is_ready():
            return _response(_NOT_READY, has_body=has_body)
        return _response(_OK, has_body=has_body)


async def _read_head(reader: asyncio.StreamReader) -> bytes | None:
    """Return the request head, or what there is of one that is none; `None` for nothing."""
    try:
        return await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        return error.partial or None
    except asyncio.LimitOverrunError:
        return b"\r\n"  # answered with 400


def _accept(head: bytes) -> str:
    """Return what the client says that it understands."""
    values = [
        value
        for name, _, value in (line.partition(b":") for line in head.split(b"\r\n")[1:])
        if name.lower() == b"accept"
    ]
    return b",".join(values).decode("latin-1")


def _response(
    answer: tuple[int, str, bytes],
    extra: bytes = b"",
    *,
    content_type: str = "text/plain",
    has_body: bool,
) -> bytes:
    status, reason, body = answer
    head = (
        f"HTTP/1.1 {status} {reason}\r\nContent-Type: {content_type}\r\n"
        f"Content-Length: {len(body)}\r\nCache-Control: no-store\r\nConnection: close\r\n"
    ).encode()
    return head + extra + b"\r\n" + (body if has_body else b"")
