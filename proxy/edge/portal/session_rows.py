"""A session, or a refresh family, as its owner or an administrator sees it: on a page and as JSON.

People are told of programs: a family is what one of them has got by somebody's sign-in.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from proxy.core.devices import device_of
from proxy.services.administration import family_summary, summary
from proxy.services.family_records import ListedFamily
from proxy.services.session_reading import ListedSession


@dataclass(frozen=True, slots=True)
class Row:
    """A line of a page."""

    id: str
    subject: str
    device: str
    address: str | None
    created_at: str
    """As RFC 3339 has it, for programs that read the page."""
    last_seen_at: str
    first_seen: str
    """In words."""
    last_seen: str
    is_current: bool


def row_of(item: ListedSession, text: Mapping[str, str], now: float, current: str) -> Row:
    """Return the line of a session; `text` are the messages, `current` the id of the visitor's own."""
    session = item.session
    return Row(
        id=item.digest,
        subject=session.subject,
        device=_device(session.agent, text),
        address=session.address,
        created_at=_stamp(session.created_at),
        last_seen_at=_stamp(item.last_seen),
        first_seen=text["first_seen"].format(ago=ago(now - session.created_at, text)),
        last_seen=text["last_seen"].format(ago=ago(now - item.last_seen, text)),
        is_current=item.digest == current,
    )


def document_of(item: ListedSession, current: str) -> dict[str, Any]:
    """Return a session ready for JSON."""
    device = device_of(item.session.agent)
    return {
        **summary(item),
        "device": {"program": device.program, "system": device.system},
        "is_current": item.digest == current,
    }


@dataclass(frozen=True, slots=True)
class FamilyRow:
    """A line of a page; its members are those of `Row`."""

    id: str
    subject: str
    client: str
    """The name of the program, as the configuration has it."""
    device: str
    """Of its last use, where it is known."""
    address: str | None
    created_at: str
    last_seen_at: str
    first_seen: str
    last_seen: str


def family_row_of(item: ListedFamily, text: Mapping[str, str], now: float) -> FamilyRow:
    """Return the line of a refresh family; `text` are the messages."""
    family = item.family
    return FamilyRow(
        id=item.digest,
        subject=family.subject,
        client=family.client,
        device="" if family.agent is None else _device(family.agent, text),
        address=family.address,
        created_at=_stamp(family.begun_at),
        last_seen_at=_stamp(family.used_at),
        first_seen=text["first_seen"].format(ago=ago(now - family.begun_at, text)),
        last_seen=text["last_seen"].format(ago=ago(now - family.used_at, text)),
    )


def family_document_of(item: ListedFamily) -> dict[str, Any]:
    """Return a refresh family ready for JSON."""
    device = device_of(item.family.agent)
    return {
        **family_summary(item),
        "device": {"program": device.program, "system": device.system},
    }


def ago(seconds: float, text: Mapping[str, str]) -> str:
    """Return how long ago something was, in words: nobody has to know the server's time zone."""
    if seconds < 60:
        return text["ago_now"]
    for name, unit, limit in (("minutes", 60, 3600), ("hours", 3600, 2 * 86_400)):
        if seconds < limit:
            return text[f"ago_{name}"].format(count=int(seconds // unit))
    return text["ago_days"].format(count=int(seconds // 86_400))


def _device(agent: str | None, text: Mapping[str, str]) -> str:
    device = device_of(agent)
    if device.program is not None and device.system is not None:
        return text["device_both"].format(program=device.program, system=device.system)
    return device.program or device.system or text["device_unknown"]


def _stamp(at: float) -> str:
    """Return RFC 3339; nothing for a time that no calendar has, which any program may write."""
    try:
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))
    except (OverflowError, ValueError, OSError):
        return ""
