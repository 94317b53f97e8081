"""Why an open connection ends before its client or its application ends it (security.md, R7)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from proxy.model import Refusal


@dataclass(frozen=True, slots=True)
class Ending:
    """Why a connection has to end. `code` is for the log and, in a close frame, for the client."""

    code: str
    """`stream_revoked`, `stream_expired` or `stream_unconfirmed`."""
    detail: str
    refusal: Refusal
    """What a client is told that has had no answer yet."""


UNCONFIRMED: Final = Ending(
    "stream_unconfirmed",
    "not confirmed in max_staleness",
    Refusal("store_unavailable", "not confirmed in max_staleness"),
)

OVER: Final = Refusal("session_unknown", "it was taken back while the route only reported")
