"""What an endpoint of the gate's own answers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from proxy.edge.answers import VARY
from proxy.errors import ProxyError
from proxy.model import Header

_PRIVATE: Final[tuple[Header, ...]] = (
    (b"Cache-Control", b"no-store"),
    (b"X-Content-Type-Options", b"nosniff"),
    (b"Referrer-Policy", b"no-referrer"),
)
"""On every answer of an endpoint: each is one person's, and none is another site's business."""


class Refused(ProxyError):
    """The endpoint refuses: rendered like every other refusal, by `code` (a row of proxy.codes).

    `detail` is for the log; `headers` go with the answer.
    """

    def __init__(self, code: str, detail: str = "", headers: Sequence[Header] = ()) -> None:
        super().__init__(detail)
        self.code = code  # type: ignore[misc] # one class for every code that an endpoint refuses with
        self.headers = tuple(headers)


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer, complete but for framing."""

    status: int
    headers: tuple[Header, ...] = ()
    body: bytes = field(default=b"", repr=False)
    subject: str | None = None
    """Whom it was about, for the log line."""
    code: str | None = None
    """For the log: why it is not a success, where the body tells that in a form of its own."""

    def lines(self) -> list[Header]:
        """Return every header line to send, the common ones included."""
        given = {name.lower() for name, _ in self.headers}
        common = [header for header in _PRIVATE if header[0].lower() not in given]
        return [*self.headers, *common, (b"Vary", VARY)]


def json_reply(
    content: Mapping[str, Any] | Sequence[Any],
    status: int = 200,
    headers: Sequence[Header] = (),
    *,
    subject: str | None = None,
    code: str | None = None,
) -> Reply:
    """Return `content` as JSON (RFC 8259)."""
    body = json.dumps(content, ensure_ascii=False).encode() + b"\n"
    lines = ((b"Content-Type", b"application/json"), *headers)
    return Reply(status, lines, body, subject=subject, code=code)


def redirect(location: str, headers: Sequence[Header] = (), *, subject: str | None = None) -> Reply:
    """Return a 303 to `location` (RFC 9110 §15.4.4), which the caller has checked (S4): a GET follows."""
    return Reply(303, ((b"Location", location.encode("ascii")), *headers), subject=subject)
