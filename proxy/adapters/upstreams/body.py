"""Where a response's body ends (RFC 9112 §6.3, §7.1).

Our own and not httptools', which tells neither where a message ended within the bytes it was fed
nor that bytes stand behind it, and takes a HEAD answer's Content-Length for a body.
"""

from __future__ import annotations

import re
from typing import Final, Protocol

from proxy.adapters.upstreams.response import ReadHead
from proxy.errors import UpstreamInvalid
from proxy.model import Header

MAX_SIZE_LINE: Final = 1024
"""Bytes of a chunk's size line with its extensions."""
MAX_TRAILERS: Final = 16 * 1024
"""Bytes of the trailer section."""

_SIZE_LINE: Final = re.compile(rb"([0-9A-Fa-f]{1,15})(?:;[\t\x20-\x7e\x80-\xff]*)?\r\n")
_SIZE_LINE_BEGUN: Final = re.compile(rb"[0-9A-Fa-f]{1,15}(?:;[\t\x20-\x7e\x80-\xff]*)?\r?")
_BARE_LF: Final = re.compile(rb"(?<!\r)\n")
_FIELD: Final = re.compile(
    rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*([\t\x20-\x7e\x80-\xff]*)", re.ASCII
)


class Body(Protocol):
    """A body that is being received."""

    is_complete: bool
    """True once the last byte of the message was fed."""
    is_ended_by_close: bool
    """True where only the end of the connection ends it."""
    extra: bytes
    """What was fed behind the last byte."""
    trailers: list[Header]

    def feed(self, data: bytes) -> bytes:
        """Return the content in `data`; raises UpstreamInvalid."""
        ...


def body_of(found: ReadHead, *, is_head: bool) -> Body:
    """Return the body that follows a final head; `is_head`: the request was a HEAD."""
    if is_head or found.head.status in {204, 304}:
        return FixedBody(0)
    if found.is_chunked:
        return ChunkedBody()
    return ClosedBody() if found.length is None else FixedBody(found.length)


class FixedBody:
    """A body of known length; length 0 is complete at once."""

    __slots__ = ("_remaining", "extra", "is_complete", "trailers")
    is_ended_by_close: bool = False

    def __init__(self, length: int) -> None:
        self._remaining = length
        self.is_complete = length == 0
        self.extra = b""
        self.trailers: list[Header] = []

    def feed(self, data: bytes) -> bytes:
        """Return the content in `data`."""
        remaining = self._remaining - len(data)
        if remaining > 0:
            self._remaining = remaining
            return data
        self.is_complete = True
        self._remaining = 0
        if remaining == 0:
            return data
        self.extra = data[remaining:]
        return data[:remaining]


class ClosedBody:
    """A body that the end of the connection ends."""

    __slots__ = ("extra", "is_complete", "trailers")
    is_ended_by_close: bool = True

    def __init__(self) -> None:
        self.is_complete = False
        self.extra = b""
        self.trailers: list[Header] = []

    def feed(self, data: bytes) -> bytes:
        """Return `data`."""
        return data


class ChunkedBody:
    """A chunked body. Extensions are dropped, trailers kept."""

    __slots__ = ("_held", "_in_trailers", "_remaining", "extra", "is_complete", "trailers")
    is_ended_by_close: bool = False

    def __init__(self) -> None:
        self._remaining = 0
        """Bytes of the current chunk that are still to come, its CR LF included."""
        self._held = b""
        """An unfinished size line, chunk end or trailer section."""
        self._in_trailers = False
        self.is_complete = False
        self.extra = b""
        self.trailers: list[Header] = []

    def feed(self, data: bytes) -> bytes:
        """Return the content in `data`; raises UpstreamInvalid."""
        if self._remaining - 2 >= len(data):
            self._remaining -= len(data)
            return data
        held = len(self._held)
        if held:
            data = self._held + data
            self._held = b""
        pieces: list[bytes] = []
        position = 0
        while not self._in_trailers:
            if self._remaining:
                position = self._read_chunk(data, position, pieces)
                if self._remaining:
                    return b"".join(pieces)
            line = _SIZE_LINE.match(data, position)
            if line is None or line.end() - position > MAX_SIZE_LINE:
                self._hold_size_line(data[position:])
                return b"".join(pieces)
            position = line.end()
            size = int(line[1], 16)
            self._remaining = size + 2 if size else 0
            self._in_trailers = size == 0
        self._read_trailers(data[position:], max(0, held - position))
        return b"".join(pieces)

    def _read_chunk(self, data: bytes, position: int, pieces: list[bytes]) -> int:
        """Take what is there of the current chunk and of its CR LF; return the new position."""
        content = self._remaining - 2
        if content > 0:
            piece = data[position : position + content]
            pieces.append(piece)
            position += len(piece)
            self._remaining -= len(piece)
            if len(piece) < content:
                return position
        end = data[position : position + 2]
        if not b"\r\n".startswith(end):
            raise UpstreamInvalid("a chunk is longer than its size")
        if len(end) < 2:
            self._held = end
            return len(data)
        self._remaining = 0
        return position + 2

    def _hold_size_line(self, begun: bytes) -> None:
        if len(begun) > MAX_SIZE_LINE:
            raise UpstreamInvalid(f"a chunk's size line is larger than {MAX_SIZE_LINE} bytes")
        if begun and _SIZE_LINE_BEGUN.fullmatch(begun) is None:
            raise UpstreamInvalid("a chunk's size line is not one")
        self._held = begun

    def _read_trailers(self, section: bytes, searched: int) -> None:
        """Take the trailer section; its first `searched` bytes held no end and no mistake."""
        if section.startswith(b"\r\n"):
            self.is_complete = True
            self.extra = section[2:]
            return
        end = section.find(b"\r\n\r\n", max(0, searched - 3))
        if (end if end >= 0 else len(section)) > MAX_TRAILERS:
            raise UpstreamInvalid(f"the trailers are larger than {MAX_TRAILERS} bytes")
        if end < 0:
            if _BARE_LF.search(section, max(0, searched - 1)):
                raise UpstreamInvalid("a trailer ends without CR")
            self._held = section
            return
        self.trailers = [_read_field(line) for line in section[:end].split(b"\r\n")]
        self.is_complete = True
        self.extra = section[end + 4 :]


def _read_field(line: bytes) -> Header:
    field = _FIELD.fullmatch(line)
    if field is None:
        raise UpstreamInvalid("a trailer is not a header field")
    return field[1], field[2].rstrip(b" \t")
