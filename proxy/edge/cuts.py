"""Where what arrives is cut, so that the parser is never given a head and what is not of it.

aiohttp's parser drops what stands behind a request to upgrade to a protocol that it does not know,
does not say where in its input a head begins, and takes the last trailer of a request for a header
of the next one.
"""

from __future__ import annotations

from typing import Any, Final

MAX_TRIES: Final = 16
"""Pieces of one packet that are tried as the end of a chunked body. Content may look like its end
as often as it likes."""

_HEAD_END: Final = b"\r\n\r\n"
_LAST_CHUNK: Final = b"\r\n0\r\n\r\n"
"""The end of a chunked body without trailers. In trailers it cannot occur: `0` is no field line."""


class Cuts:
    """Cuts behind each head and each body, over the borders of packets."""

    __slots__ = ("_end", "_is_in_body", "_last", "_left", "_tries", "is_clean")

    def __init__(self) -> None:
        self._end: int | None = 0
        """Length of the body that is being received; `None`: chunked."""
        self._last = b""
        self._tries = 0
        self._is_in_body = False
        self.is_clean = True
        """True where the piece that was cut last ends, if the body ends in it, exactly with the
        body, and the body has no trailers."""

    def begin_packet(self) -> None:
        """Something arrived."""
        self._tries = 0

    def begin_body(self, message: Any) -> None:
        """Take the framing of the body behind aiohttp's `message`, which has begun."""
        length = message.headers.get("Content-Length")
        self._end = None if length is None or not length.isdecimal() else int(length)
        self._last = b"\r\n" if message.chunked else b""
        self._is_in_body = True

    def cut(self, data: bytes, *, in_head: bool, seen: int) -> tuple[bytes, bytes]:
        """Return the next piece for the parser, and what stands behind it.

        `seen`: bytes of content that the parser has given out of the body under way.
        """
        if not data:
            return data, b""
        if in_head:
            if self._is_in_body:
                self._is_in_body, self._last = False, b""
            return self._cut_behind(_HEAD_END, data)
        if self._end is not None:
            self.is_clean = True
            left = max(self._end - seen, 0) or len(data)
            return data[:left], data[left:]
        self._tries += 1
        if self._tries > MAX_TRIES:
            self._last = (self._last + data)[1 - len(_LAST_CHUNK) :]
            self.is_clean = False
            return data, b""
        return self._cut_behind(_LAST_CHUNK, data)

    def _cut_behind(self, end: bytes, data: bytes) -> tuple[bytes, bytes]:
        seen = self._last + data
        found = seen.find(end)
        self.is_clean = found >= 0
        if found < 0:
            self._last = seen[1 - len(end) :]
            return data, b""
        cut = found + len(end) - len(self._last)
        self._last = b"" if end is _HEAD_END else b"\r\n"
        return data[:cut], data[cut:]
