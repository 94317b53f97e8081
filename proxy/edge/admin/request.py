"""A request to the admin API: read whole and strictly, one for each connection.

It is not built on aiohttp's server, whose parse errors echo the request. Whatever could be read in two
ways is refused: the callers are programs, and none of them needs more than RFC 9112's plain form.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass, field
from typing import Any, Final

from proxy.core.fields import read_fields
from proxy.core.strict_json import BadJson, loads_object
from proxy.edge.portal.reply import Refused

HEAD_BYTES: Final = 16 * 1024
BODY_BYTES: Final = 64 * 1024

_REQUEST_LINE: Final = re.compile(rb"([A-Z]{1,16}) (/[\x21\x24-\x3b\x3d\x3f-\x7e]*) HTTP/1\.[01]")
_HEADER: Final = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):([\t\x20-\x7e\x80-\xff]*)")
_LENGTH: Final = re.compile(rb"[0-9]{1,7}")


@dataclass(frozen=True, slots=True)
class AdminRequest:
    """One request."""

    method: str
    path: str
    """As it was sent, without query; the API's own paths need no escapes."""
    query: bytes = field(repr=False)
    headers: dict[bytes, bytes] = field(repr=False)
    """By name in lower case; a name that occurs twice was refused."""
    body: bytes = field(repr=False)

    def parameters(self) -> dict[str, str]:
        """Return the query's parameters. Raises `Refused` (400) where one occurs twice."""
        try:
            return read_fields(self.query, "query")
        except ValueError as error:
            raise Refused("bad_request", str(error)) from None

    def json(self) -> dict[str, Any]:
        """Return the JSON object of the body. Raises `Refused` (400) for anything else."""
        media_type = self.headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
        if media_type != b"application/json":
            raise Refused("bad_request", "the body is not JSON")
        try:
            return loads_object(self.body, max_bytes=BODY_BYTES)
        except BadJson as error:
            raise Refused("bad_request", f"the body: {error}") from None


async def read_request(reader: asyncio.StreamReader) -> AdminRequest | None:
    """Return the request; `None` where the client sent nothing.

    Raises `Refused` for what is none, or is too large.
    """
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        if not error.partial:
            return None
        raise Refused("bad_request", "the head is cut short") from None
    except asyncio.LimitOverrunError:
        raise Refused("headers_too_large") from None
    first, *lines = head[:-4].split(b"\r\n")
    found = _REQUEST_LINE.fullmatch(first)
    if found is None:
        raise Refused("bad_request", "the request line")
    headers = _headers(lines)
    path, _, query = found[2].partition(b"?")
    body = await _body(reader, headers)
    return AdminRequest(found[1].decode(), path.decode(), query, headers, body)


def _headers(lines: list[bytes]) -> dict[bytes, bytes]:
    headers: dict[bytes, bytes] = {}
    for line in lines:
        found = _HEADER.fullmatch(line)
        if found is None:
            raise Refused("bad_request", "a header line")
        name = found[1].lower()
        if name in headers:
            raise Refused("header_ambiguous", "a header occurs twice")
        headers[name] = found[2].strip(b" \t")
    return headers


async def _body(reader: asyncio.StreamReader, headers: dict[bytes, bytes]) -> bytes:
    if b"transfer-encoding" in headers:
        raise Refused("length_required", "a body is sent with its length")
    length = headers.get(b"content-length", b"0")
    if _LENGTH.fullmatch(length) is None:
        raise Refused("bad_request", "Content-Length")
    if int(length) > BODY_BYTES:
        raise Refused("body_too_large")
    try:
        return await reader.readexactly(int(length))
    except asyncio.IncompleteReadError:
        raise Refused("bad_request", "the body is cut short") from None
