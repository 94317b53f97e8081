"""The head of a request to an upstream, and the only place that writes one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from proxy.model import IDEMPOTENT_METHODS, Header

_OURS: Final = re.compile(
    rb"\n(?:content-length|transfer-encoding|connection|upgrade|te|trailer|keep-alive|expect"
    rb"|proxy-connection)[ \t]*:",
    re.IGNORECASE,
)
_BODY_EXPECTED: Final = frozenset({"POST", "PUT", "PATCH"})


@dataclass(slots=True)
class RequestHead:
    """What to ask an upstream for. Framing and Connection are written here and nowhere else."""

    method: str
    target: bytes
    """Origin-form, byte for byte."""
    headers: Sequence[Header]
    """Final, with Host; without framing, Connection, Upgrade, TE, Trailer, Keep-Alive, Expect."""
    body: int | Literal["chunked"] | None = None
    """Its length in bytes, `chunked` where that is not known, or `None` for no body."""
    upgrade: bytes | None = None
    """The one protocol that is asked for, such as b"websocket"; only without a body."""
    expects_continue: bool = False
    """True: the body waits for the upstream's 100 (RFC 9110 §10.1.1)."""
    takes_trailers: bool = False
    """True where the client said `TE: trailers`."""

    @property
    def is_repeatable(self) -> bool:
        """True where F3 allows a second attempt: idempotent, no body, no upgrade."""
        return not self.body and self.upgrade is None and self.method in IDEMPOTENT_METHODS

    def encode(self) -> bytes:
        """Return the head as it goes on the wire; raises ValueError for what would split it."""
        lines = [b"%b %b HTTP/1.1" % (self.method.encode("ascii"), self.target)]
        lines += [b"%b: %b" % header for header in self.headers]
        is_forged = _OURS.search(b"\n".join(lines)) is not None
        lines += self._framing()
        block = b"\r\n".join(lines)
        breaks = len(lines) - 1
        if (
            is_forged
            or block.count(b"\n") != breaks
            or block.count(b"\r") != breaks
            or b"\0" in block
            or lines[0].count(b" ") != 2
        ):
            raise ValueError("a request head that other bytes could be smuggled in with")
        return block + b"\r\n\r\n"

    def _framing(self) -> list[bytes]:
        lines = []
        if self.body == "chunked":
            lines.append(b"Transfer-Encoding: chunked")
        elif self.body is not None:
            lines.append(b"Content-Length: %d" % self.body)
        elif self.method in _BODY_EXPECTED:
            lines.append(b"Content-Length: 0")
        options = []
        if self.upgrade is not None:
            if self.body is not None:
                raise ValueError("an upgrade is asked for without a body")
            options.append(b"Upgrade")
            lines.append(b"Upgrade: " + self.upgrade)
        if self.takes_trailers:
            options.append(b"TE")
            lines.append(b"TE: trailers")
        if options:
            lines.append(b"Connection: " + b", ".join(options))
        if self.expects_continue:
            lines.append(b"Expect: 100-continue")
        return lines
