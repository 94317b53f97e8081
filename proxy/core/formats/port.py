"""What the gate needs of a format in which an application keeps its sessions (security.md, S12).

A `Format` is made once, from the configuration, of the functions of one module beside this one.
What never belongs here: the store, the clock, and what any one application does.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from sys import getsizeof
from typing import Any, Final

from proxy.core.cookies import Folding
from proxy.core.formats.refusal import BadSession
from proxy.core.mapping import IdentityReader
from proxy.model import Absent, Identity

MAX_RECORD_BYTES: Final = 1024 * 1024
"""Default bound of one record: shopping carts are large, 10 MB is no session."""
MAX_GUARD_BYTES: Final = 32
"""Of what stands under a guard's key: a time."""

Record = bytes | Mapping[str, bytes | None]
"""A string, or the fields of a hash that were asked for."""

_NO_SESSION: Final = Absent("session_unknown", "no such session")
_VALUE_BYTES: Final = 64
"""What an object of Python takes beside its content, about."""
_MEMBER_BYTES: Final = 104
"""What a place in a mapping takes, about."""


@dataclass(frozen=True, slots=True)
class Guard:
    """A second key that can end a session."""

    key: str
    """Of the store, without the format's prefix."""
    is_over: Callable[[bytes | None], bool]
    """Takes what the key holds; `None` where there is no such key."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What a record says."""

    members: Mapping[str, Any]
    ends_at: float = inf
    """When the application takes it for over, whatever its key's life is; epoch seconds."""
    guard: Guard | None = None


@dataclass(frozen=True, slots=True)
class Format:
    """How one application keeps its sessions."""

    name: str
    prefix: str
    """Begin of the store's keys."""
    locate: Callable[[bytes], str | None]
    """Takes the cookie's value, returns the rest of the key; `None` for what cannot be a session's.

    Whatever is returned is safe in a key: its letters and its length have been looked at (S12).
    """
    read: Callable[[Any, str], Reading | None]
    """Takes the `Record` and the rest of its key; `None`: no session. Raises `BadSession`."""
    shape: str = ""
    """What `locate` takes, in words, for who looks for their configuration."""
    fields: tuple[str, ...] = ()
    """Of the hash that holds a session; empty where it is a string."""
    has_guard: bool = False
    """True where readings may name a `Guard`."""
    max_bytes: int = MAX_RECORD_BYTES
    folding: Folding = "exact"
    """What its application makes of a cookie's name: another spelling of it is a second cookie (S2)."""


def identity_of(
    members: Mapping[str, Any], reader: IdentityReader, *, scheme: str
) -> Identity | Absent:
    """Return whose session it is, or `Absent` (`session_unknown`) with a reason for the log.

    The origin is the scheme's name (K6). A session that names nobody is an anonymous one, which
    many applications keep after a logout: never an identity.
    """
    subject = reader.subject(members)
    if subject is None or not subject.strip():
        return Absent("session_unknown", "the record names nobody")
    return Identity(
        origin=scheme,
        subject=subject,
        scheme=scheme,
        email=reader.email(members) or None,
        name=reader.name(members) or None,
        roles=reader.roles(members),
        scopes=reader.scopes(members),
        claims=members,
    )


def open_record(
    form: Format, record: Record | None, rest: str, reader: IdentityReader, *, scheme: str
) -> tuple[Identity | Absent, Reading | None]:
    """Return whose session a record is, and what it says; `rest` is the rest of its key."""
    if record is None:
        return _NO_SESSION, None
    size = len(record) if isinstance(record, bytes) else sum(map(_length, record.values()))
    if size > form.max_bytes:
        return Absent("session_unknown", f"record of more than {form.max_bytes} bytes"), None
    try:
        reading = form.read(record, rest)
    except BadSession as bad:
        return Absent("session_unknown", f"record cannot be read: {bad}"), None
    if reading is None:
        return _NO_SESSION, None
    return identity_of(reading.members, reader, scheme=scheme), reading


def _length(value: bytes | None) -> int:
    return 0 if value is None else len(value)


def digest_of(parts: Sequence[bytes | None]) -> bytes:
    """Return a digest that two lists share only where every part is the same."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(b"-" if part is None else b"%d:" % len(part))
        digest.update(part or b"")
    return digest.digest()


def weight_of(members: Mapping[str, Any]) -> int:
    """Return the bytes that a decoded session takes, about; what occurs twice counts once."""
    weight, seen = 0, set()
    waiting: list[Any] = [members]
    while waiting:
        value = waiting.pop()
        weight += _VALUE_BYTES
        if isinstance(value, str | bytes):
            weight += getsizeof(value)  # one emoji makes four bytes of each letter
        elif isinstance(value, Mapping | list | tuple) and id(value) not in seen:
            seen.add(id(value))
            weight += _MEMBER_BYTES * len(value)
            if isinstance(value, Mapping):
                waiting += value.keys()
                waiting += value.values()
            else:
                waiting += value
    return weight
