"""Where a trace comes from and goes on to: `traceparent` and `tracestate` (W3C Trace Context).

Pure. Two headers of foreign origin are read here, and what is not exactly what the standard says is
no parent. What never belongs here: who is believed, and chance.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from proxy.model import Header

TRACEPARENT: Final = b"traceparent"
TRACESTATE: Final = b"tracestate"
NAMES: Final = frozenset({TRACEPARENT, TRACESTATE})
"""In lower case, as header names are compared."""

MAX_STATE: Final = 512
"""Characters of a `tracestate` that are passed on (§3.3.1.5); members beyond are left out."""
MAX_MEMBERS: Final = 32

_PARENT: Final = re.compile(
    rb"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-[!-~]*)?"
)
_KEY: Final = r"(?:[a-z][a-z0-9_*/-]{0,255}|[a-z0-9][a-z0-9_*/-]{0,240}@[a-z][a-z0-9_*/-]{0,13})"
_MEMBER: Final = re.compile(_KEY + r"=[ -+\--<>-~]{0,255}[!-+\--<>-~]")
_SAMPLED: Final = 0x01


@dataclass(frozen=True, slots=True)
class Parent:
    """The span of somebody else in which a request was sent."""

    trace_id: str
    """32 hexadecimal digits, not all 0."""
    span_id: str
    """16 hexadecimal digits, not all 0."""
    is_sampled: bool
    """True where its sender keeps what it knows of this trace."""
    state: str = ""
    """What tracing systems tell each other about it; "" where nothing can be read."""
    is_verbatim: bool = False
    """True where the headers may go on as they came."""


def has_context(headers: Sequence[Header]) -> bool:
    """Tell whether a request says anything about a trace."""
    return any(name.lower() in NAMES for name, _ in headers)


def read_parent(headers: Sequence[Header]) -> Parent | None:
    """Return the parent that a request names; `None` where it names none, two, or nonsense (§3.2.2).

    A later version is read as far as this one goes (§3.2.4). A `tracestate` that cannot be read is
    left out, and the parent counts all the same (§3.3.1).
    """
    parents = [value for name, value in headers if name.lower() == TRACEPARENT]
    states = [value for name, value in headers if name.lower() == TRACESTATE]
    if len(parents) != 1:
        return None
    found = _PARENT.fullmatch(parents[0])
    if found is None:
        return None
    version, trace_id, span_id, flags, more = found.groups()
    if version == b"00" and more is not None:
        return None
    state = read_state(states)
    is_verbatim = version == b"00" and (not states or [state.encode("ascii")] == states)
    is_sampled = bool(int(flags, 16) & _SAMPLED)
    return Parent(trace_id.decode("ascii"), span_id.decode("ascii"), is_sampled, state, is_verbatim)


def read_state(values: Sequence[bytes]) -> str:
    """Return the members of all `tracestate` headers in one line; "" where one is none (§3.3.1)."""
    members: list[str] = []
    size = -1
    is_full = False
    for text in b",".join(values).decode("latin-1").split(","):
        member = text.strip(" \t")
        if not member:
            continue  # "a,,b" is allowed
        if not _MEMBER.fullmatch(member):
            return ""
        is_full = is_full or size + 1 + len(member) > MAX_STATE
        if not is_full:
            size += 1 + len(member)
            members.append(member)
    keys = [member.partition("=")[0] for member in members]
    if len(keys) > MAX_MEMBERS or len(set(keys)) != len(keys):
        return ""
    return ",".join(members)


def context_headers(trace_id: str, span_id: str, *, is_sampled: bool, state: str) -> list[Header]:
    """Return what a receiver is told of the span in which it is asked."""
    flags = "01" if is_sampled else "00"
    told = [(TRACEPARENT, f"00-{trace_id}-{span_id}-{flags}".encode("ascii"))]
    if state:
        told.append((TRACESTATE, state.encode("ascii")))
    return told


def without_context(headers: Sequence[Header]) -> list[Header]:
    """Return headers without those of a trace."""
    return [header for header in headers if header[0].lower() not in NAMES]
