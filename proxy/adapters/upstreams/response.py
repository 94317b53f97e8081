"""The head of an upstream's response, read strictly (F1).

httptools (llhttp) already refuses bare LF, obs-fold, white space before a colon, control
characters in values, a second Content-Length, and Content-Length beside Transfer-Encoding. What it
lets pass is refused here: other protocols and versions in the status line, status codes out of
range, control characters in the reason, Transfer-Encoding that is not exactly `chunked` or comes
with HTTP/1.0, empty lines before the head, framing in a 1xx.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from proxy.errors import UpstreamInvalid
from proxy.model import Header

MAX_HEAD: Final = 64 * 1024
"""Bytes of a response's head, the empty line included."""

MEMO_HEAD: Final = 2048
"""Bytes of a head that is remembered."""
MEMO_ENTRIES: Final = 1024

_STATUS_LINE: Final = re.compile(
    rb"HTTP/1\.([01]) ([1-5][0-9]{2})(?: ([\t\x20-\x7e\x80-\xff]*))?\r\n"
)
_START: Final = b"HTTP/1."
_BARE_LF: Final = re.compile(rb"(?<!\r)\n")
_DIGITS: Final = re.compile(rb"[0-9]{1,18}")
_KEEP_ALIVE: Final = re.compile(rb"(?:^|[,; \t])timeout[ \t]*=[ \t]*\"?([0-9]{1,9})", re.IGNORECASE)

_NAMES: Final = (
    "content-length",
    "transfer-encoding",
    "connection",
    "upgrade",
    "keep-alive",
    "content-type",
)
_LENGTHS: Final = frozenset(map(len, _NAMES))
"""Lengths of the names that matter here: most other names are passed over by that alone."""


@dataclass(frozen=True, slots=True)
class ResponseHead:
    """A final (or 101) response's head as it came."""

    status: int
    reason: bytes
    headers: list[Header]
    """In order, duplicates kept, hop-by-hop ones included."""
    version: tuple[int, int]


@dataclass(frozen=True, slots=True)
class ReadHead:
    """A head and what it says about the connection."""

    head: ResponseHead
    length: int | None
    """Content-Length; `None` where there is none."""
    is_chunked: bool
    is_persistent: bool
    """HTTP/1.1 without `Connection: close` or a 204 with a body."""
    keepalive_s: float | None
    """The server's own `Keep-Alive: timeout`, in seconds."""
    upgrade: bytes | None
    """The Upgrade value in lower case, where Connection names it."""
    is_event_stream: bool
    rendered: dict[object, bytes] = field(default_factory=dict, compare=False, repr=False)
    """What whoever passes it on has made of it: the same head is rendered once."""


class HeadMemo:
    """Heads that were read before, by their bytes: a server says the same again and again.

    Only heads of whole, ordinary answers: HTTP/1.1, persistent, of known length, setting no cookie.
    """

    __slots__ = ("_heads", "find")

    def __init__(self) -> None:
        self._heads: dict[bytes, ReadHead] = {}
        self.find = self._heads.get
        """Return the head that these bytes are, empty line included, or `None`."""

    def learn(self, raw: bytes, found: ReadHead) -> None:
        """Keep what `read_head` made of `raw`, if it may be kept."""
        is_plain = (
            len(raw) <= MEMO_HEAD
            and found.is_persistent
            and found.length is not None
            and not found.is_event_stream
            and found.head.status >= 200
            and found.head.status not in {204, 304}
            and all(name.lower() != b"set-cookie" for name, _ in found.head.headers)
        )
        if is_plain:
            if len(self._heads) >= MEMO_ENTRIES:
                self._heads.clear()
            self._heads[raw] = found


class _Fields:
    """Collects what httptools reads; a fresh one, and a fresh parser, for each head."""

    __slots__ = ("headers", "is_complete")

    def __init__(self) -> None:
        self.headers: list[Header] = []
        self.is_complete = False

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        self.is_complete = True


def check_beginning(data: bytes | bytearray, searched: int = 0) -> None:
    """Raise UpstreamInvalid if `data`, a head that is not complete yet, can never become one.

    Its first `searched` bytes were looked at before: a head that comes byte by byte is read once.
    """
    if not (data.startswith(_START) or _START.startswith(data)):
        raise UpstreamInvalid("the response does not begin with HTTP/1.")
    if len(data) > MAX_HEAD:
        raise UpstreamInvalid(f"the response's head is larger than {MAX_HEAD} bytes")
    if _BARE_LF.search(data, max(0, searched - 1)):
        raise UpstreamInvalid("a line of the response's head ends without CR")


def read_head(raw: bytes) -> ReadHead:
    """Read one head, from its first byte to its empty line; raises UpstreamInvalid."""
    if len(raw) > MAX_HEAD:
        raise UpstreamInvalid(f"the response's head is larger than {MAX_HEAD} bytes")
    line = _STATUS_LINE.match(raw)
    if line is None:
        raise UpstreamInvalid("the response's status line is not one of HTTP/1.0 or HTTP/1.1")
    head = ResponseHead(
        status=int(line[2]),
        reason=line[3] or b"",
        headers=_read_fields(raw),
        version=(1, 1 if line[1] == b"1" else 0),
    )
    return _interpret(head)


def _read_fields(raw: bytes) -> list[Header]:
    fields = _Fields()
    try:
        HttpResponseParser(fields).feed_data(raw)
    except HttpParserUpgrade:
        pass  # a 101: whether it was asked for is the connection's question
    except HttpParserError as error:
        if fields.is_complete:  # llhttp stops behind every 101, and this one says not for what
            raise UpstreamInvalid("a 101 without an Upgrade that Connection names") from None
        raise UpstreamInvalid(f"the response's head is not HTTP: {error}") from None
    if not fields.is_complete:
        raise UpstreamInvalid("the response's head ends in the middle")
    return [(name, value.strip(b" \t")) for name, value in fields.headers]


def _interpret(head: ResponseHead) -> ReadHead:
    lengths: list[bytes] = []
    codings: list[bytes] = []
    options: list[bytes] = []
    upgrade = keepalive_s = None
    is_event_stream = False
    for name, value in head.headers:
        if len(name) not in _LENGTHS:
            continue
        match name.lower():
            case b"content-length":
                lengths.append(value)
            case b"transfer-encoding":
                codings.append(value.lower())
            case b"connection":
                options += [option.strip(b" \t") for option in value.lower().split(b",")]
            case b"upgrade":
                upgrade = value.lower() if upgrade is None else upgrade + b"," + value.lower()
            case b"keep-alive":
                hint = _KEEP_ALIVE.search(value)
                keepalive_s = float(hint[1]) if hint else keepalive_s
            case b"content-type":
                is_event_stream = value.lower().startswith(b"text/event-stream")
    _check_framing(head, lengths, codings)
    # A 204 has no body; a server that announces one may send it after all.
    is_odd = head.status == 204 and (bool(codings) or lengths not in ([], [b"0"]))
    return ReadHead(
        head=head,
        length=int(lengths[0]) if lengths else None,
        is_chunked=bool(codings),
        is_persistent=head.version == (1, 1) and b"close" not in options and not is_odd,
        keepalive_s=keepalive_s,
        upgrade=upgrade if b"upgrade" in options else None,
        is_event_stream=is_event_stream,
    )


def _check_framing(head: ResponseHead, lengths: list[bytes], codings: list[bytes]) -> None:
    if codings and codings != [b"chunked"]:
        raise UpstreamInvalid("the response's Transfer-Encoding is not exactly chunked")
    if codings and (lengths or head.version == (1, 0)):
        raise UpstreamInvalid("Transfer-Encoding beside Content-Length or with HTTP/1.0")
    if len(lengths) > 1 or (lengths and _DIGITS.fullmatch(lengths[0]) is None):
        raise UpstreamInvalid("the response's Content-Length is not one number")
    if head.status < 200 and (lengths or codings):
        raise UpstreamInvalid("a 1xx response with a body")
