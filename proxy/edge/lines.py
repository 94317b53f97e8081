"""Header lines of the strictest form, and what is sent of each: taken apart for the express lane.

A line that matters to a decision (host, credentials, whatever a scheme or a rule reads) is told from one
that is copied or dropped by its name. What has another form, or a name that frames, upgrades or proves
something, is for the parser. What never belongs here: what was decided, I/O, clocks.
"""

from __future__ import annotations

from typing import Final

from proxy.core.headers import FORWARDING_NAMES, HeaderRules, fold, is_token
from proxy.edge.ready import Read

MAX_BLOCK: Final = 8192
"""Bytes of a header block."""
MAX_BYTES: Final = 16 * 1024 * 1024
"""Of the lines that are remembered, as estimated."""
MAX_LINES: Final = 16_384
MAX_NAMES: Final = 2048

_END: Final = b"\r\n\r\n"
_TEXT: Final = bytes(range(0x20, 0x7F))

_KEEP: Final = 0
_DROP: Final = 1
_MATTERS: Final = 2
_NEVER: Final = 3

_MATTER_PART: Final = bytes(bytearray(b"\r\n"))
"""Stands for what is sent of a line that matters: compared by identity."""
_MATTER: Final = frozenset(
    {b"host", b"authorization", b"cookie", b"user-agent", b"origin", b"connection"}
)
_NEVER_NAMES: Final = frozenset(
    {
        b"content-length",
        b"content-type",
        b"content-encoding",
        b"content-location",
        b"content-range",
        b"dpop",
        b"etag",
        b"expect",
        b"http2-settings",
        b"max-forwards",
        b"proxy-connection",
        b"server",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
        b"via",
    }
)
"""Framing, upgrades, proofs, what the parser takes for Connection, and names of which it takes one
at most."""
LADEN: Final = frozenset({b"POST", b"PUT", b"PATCH", b"DELETE"})
"""Methods of what is read with a body."""
_SITE: Final = b"sec-fetch-site"
_STEADY: Final = frozenset(
    {
        b"accept",
        b"accept-encoding",
        b"accept-language",
        b"cache-control",
        b"connection",
        b"dnt",
        b"host",
        b"origin",
        b"pragma",
        b"priority",
        b"sec-ch-ua",
        b"sec-ch-ua-mobile",
        b"sec-ch-ua-platform",
        b"sec-fetch-dest",
        b"sec-fetch-mode",
        b"sec-fetch-site",
        b"sec-fetch-user",
        b"upgrade-insecure-requests",
        b"user-agent",
        b"x-requested-with",
    }
)
"""Names whose values are few: their lines are kept; others are read each time."""


class Lines:
    """Reads the header lines of one kind of listener and peer under one configuration."""

    __slots__ = ("_fields", "_is_trusted", "_known", "_max_block", "_names", "_rules", "_size")

    def __init__(
        self,
        rules: HeaderRules,
        fields: frozenset[bytes],
        *,
        is_trusted: bool,
        max_block: int,
    ) -> None:
        """Begin empty. `fields`: lower-case names that any scheme of the file reads.

        `max_block`: bytes of a block beyond which none is read.
        """
        self._rules = rules
        self._fields = fields
        self._is_trusted = is_trusted
        self._max_block = min(MAX_BLOCK, max_block)
        self._names: dict[bytes, int] = {}
        self._known: dict[bytes, bytes] = {}
        self._size = 0

    def clear(self) -> None:
        """Forget everything."""
        self._known.clear()
        self._size = 0

    # hot: every request of the express lane whose block was not seen before
    def read(self, block: bytes) -> Read | None:
        """Take a block apart; `None` for what is not of the strictest form, or never remembered."""
        if block[-4:] != _END or block[:2] != b"\r\n" or len(block) > self._max_block:
            return None
        known = self._known.get
        parts: list[bytes] = []
        matter: list[bytes] = []
        places: list[int] = []
        is_steady = True
        for line in block[2:-3].split(b"\n"):
            part = known(line)
            if part is None:
                part = self._read_line(line)
                if part is None:
                    return None
                is_steady = False
            if part is _MATTER_PART:
                matter.append(line)
                places.append(len(parts))
            parts.append(part)
        return tuple(matter), parts, places, is_steady

    # hot: every request of the express lane with a body
    def read_laden(self, block: bytes, method: bytes, size: int) -> Read | None:
        """Take a block apart that announces a body of `size` bytes; the method is what matters first.

        From where its browser says that it comes matters too (S3). Content-Length stands last in what
        is sent, and is in none of the parts.
        """
        if method not in LADEN or block[-4:] != _END or block[:2] != b"\r\n":
            return None
        if len(block) > self._max_block:
            return None
        parts: list[bytes] = []
        matter: list[bytes] = [method]
        places: list[int] = []
        is_sized = is_typed = False
        for line in block[2:-3].split(b"\n"):
            name = line[: line.find(b":")].lower()
            part: bytes | None
            if name == b"content-length":
                if is_sized or line[len(name) :] != b": %d\r" % size:
                    return None
                is_sized = True
                continue
            if name == b"content-type":
                part = None if is_typed or not _is_strict(line, len(name)) else line + b"\n"
                is_typed = True
            elif name == _SITE:
                part = _MATTER_PART if _is_strict(line, len(name)) else None
            else:
                part = self._known.get(line)
                if part is None:
                    part = self._read_line(line)
            if part is None:
                return None
            if part is _MATTER_PART:
                matter.append(line)
                places.append(len(parts))
            parts.append(part)
        return (tuple(matter), parts, places, False) if is_sized else None

    def _read_line(self, line: bytes) -> bytes | None:
        """Return what is sent of a line that is not remembered; `_MATTER_PART`: that depends."""
        if line[-1:] != b"\r":
            return None  # a bare LF
        name, colon, value = line[:-1].partition(b": ")
        kind = self._names.get(name)
        if kind is None:
            kind = self._learn_name(name)
        if kind == _NEVER or not value or not colon or value.translate(None, _TEXT):
            return None
        if value[0] == 32 or value[-1] == 32:
            return None
        if kind == _MATTERS:
            self._learn_line(line, _MATTER_PART)
            return _MATTER_PART
        part = b"" if kind == _DROP else line + b"\n"
        if name.lower() in _STEADY:
            self._learn_line(line, part)
        return part

    def _learn_line(self, line: bytes, part: bytes) -> None:
        self._size += len(line) + len(part)
        if len(self._known) >= MAX_LINES or self._size > MAX_BYTES:
            self._known.clear()
            self._size = 0
        self._known[line] = part

    def _learn_name(self, name: bytes) -> int:
        kind = self._classify(name)
        if len(name) <= 64:
            if len(self._names) >= MAX_NAMES:
                self._names.clear()
            self._names[name] = kind
        return kind

    def _classify(self, name: bytes) -> int:
        lower, folded = name.lower(), fold(name)
        if not is_token(name) or folded in _NEVER_NAMES or folded.startswith(b"sec-websocket-"):
            return _NEVER
        if self._is_trusted and (folded in FORWARDING_NAMES or folded.startswith(b"x-forwarded-")):
            return _NEVER
        if lower in _MATTER or lower in self._fields:
            return _MATTERS
        becomes = self._rules.becomes(name, is_trusted=self._is_trusted)
        if becomes is None:
            return _MATTERS
        return _KEEP if becomes else _DROP


def _is_strict(line: bytes, at: int) -> bool:
    """Tell whether a line has one space behind its colon, and then text that no space surrounds.

    `at`: where the colon is.
    """
    value = line[at + 2 : -1]
    if line[at : at + 2] != b": " or line[-1:] != b"\r":
        return False
    return bool(value) and not value.translate(None, _TEXT) and value[0] != 32 and value[-1] != 32
