"""A span as the gate knows it, before anybody's library sees it.

What never belongs here: OpenTelemetry, which is imported only where spans are sent (`otlp`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

Kind = Literal["server", "client", "internal"]
Value = str | int | float | bool


@dataclass(frozen=True, slots=True)
class Span:
    """What took from one moment to another. Times are nanoseconds since the epoch."""

    name: str
    kind: Kind
    trace_id: str
    """32 hexadecimal digits."""
    span_id: str
    """16 hexadecimal digits."""
    parent_id: str | None
    began_ns: int
    ended_ns: int
    attributes: Mapping[str, Value]
    """Never a credential, a query, an address or a name of anybody (S15)."""
    is_failed: bool = False
    is_parent_remote: bool = False
    """True where the parent is somebody else's."""
    state: str = ""
    """The trace's `tracestate`."""


Export = Callable[[Sequence[Span]], None]
"""Takes the spans of one request that is over; never raises, and waits for nothing."""
