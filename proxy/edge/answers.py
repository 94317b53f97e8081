"""The gate's own answers: problem documents (RFC 9457) with a stable code, and nothing else.

Never a word of the request goes into an answer. The response head of every answer, own or
forwarded, is put on the wire by proxy.edge.heads.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Final

from proxy.codes import CODES
from proxy.model import Header

VARY: Final = b"Cookie, Authorization, Origin, Accept, Sec-Fetch-Mode"
"""Every answer of the gate depends on these request headers."""

RETRY_AFTER_S: Final = b"1"
"""An outage usually ends within seconds: the gate reconnects with back-off."""


def problem(
    code: str, request_id: str, headers: Sequence[Header] = ()
) -> tuple[int, list[Header], bytes]:
    """Return status, headers and body of the answer for `code`, a row of proxy.codes."""
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
    answer: list[Header] = [
        (b"Content-Type", b"application/problem+json"),
        (b"Cache-Control", b"no-store"),
        (b"Vary", VARY),
        (b"X-Content-Type-Options", b"nosniff"),
    ]
    if info.status in (429, 503):
        answer.append((b"Retry-After", RETRY_AFTER_S))
    return info.status, _merge(answer, headers), body


def _merge(answer: list[Header], extra: Sequence[Header]) -> list[Header]:
    """Add `extra`; a Vary of its own joins the gate's, so that caches see one list."""
    for name, value in extra:
        if name.lower() == b"vary":
            continue
        answer.append((name, value))
    return answer
