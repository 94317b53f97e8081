"""The gate's refusals: problem documents (RFC 9457) with a stable code, and pages that say the same.

Never a word of the request goes into an answer, but for its id. The response head of every answer, own or
forwarded, is put on the wire by proxy.edge.heads.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Final

from proxy.codes import CODES
from proxy.core.navigation import navigation
from proxy.edge.pages import Pages, page_headers
from proxy.model import Header, RequestView

OwnAnswer = tuple[int, list[Header], bytes]
"""Status, headers without framing, body."""

VARY: Final = b"Cookie, Authorization, Origin, Accept, Sec-Fetch-Mode"
"""Every answer of the gate depends on these request headers."""

RETRY_AFTER_S: Final = b"1"
"""An outage usually ends within seconds: the gate reconnects with back-off."""


class Answers:
    """The refusals of one gate: a page for people, a problem document for everybody else."""

    def __init__(self, pages: Pages) -> None:
        self._pages = pages

    def refuse(
        self,
        view: RequestView | None,
        code: str,
        request_id: str,
        headers: Sequence[Header] = (),
        *,
        sign_in: str | None = None,
    ) -> OwnAnswer:
        """Return status, headers and body of the answer for `code`; `view`: None where no head is.

        `sign_in` is where a page leads whose form has lost its session.
        """
        kind = None if view is None else navigation(view)
        if kind is None:
            return problem(code, request_id, headers)
        lines = [*page_headers(), *_common(code, request_id)]
        body = self._pages.body(code, kind, request_id, sign_in)
        return CODES[code].status, _merge(lines, headers), body


def problem(code: str, request_id: str, headers: Sequence[Header] = ()) -> OwnAnswer:
    """Return status, headers and body of the problem document for `code`, a row of proxy.codes."""
    info = CODES[code]
    body = json.dumps(
        {
            "type": f"urn:latchgate:problem:{code}",
            "title": info.title,
            "status": info.status,
            "code": code,
            "request_id": request_id,
        }
    ).encode()
    lines = [(b"Content-Type", b"application/problem+json"), *_common(code, request_id)]
    return info.status, _merge(lines, headers), body


def _common(code: str, request_id: str) -> Iterator[Header]:
    """Yield what every refusal is sent with; HEAD has nothing but these to tell the id."""
    yield b"Cache-Control", b"no-store"
    yield b"Vary", VARY
    yield b"X-Content-Type-Options", b"nosniff"
    yield b"X-Request-Id", request_id.encode("ascii")
    if CODES[code].status in (429, 503):
        yield b"Retry-After", RETRY_AFTER_S


def _merge(answer: list[Header], extra: Sequence[Header]) -> list[Header]:
    """Add `extra`; a Vary of its own joins the gate's, and a Retry-After of its own takes its place.

    Its Cache-Control says what every refusal does.
    """
    if any(name.lower() == b"retry-after" for name, _ in extra):
        answer = [header for header in answer if header[0] != b"Retry-After"]
    for name, value in extra:
        if name.lower() in (b"vary", b"cache-control"):
            continue
        answer.append((name, value))
    return answer
