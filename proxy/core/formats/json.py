"""Sessions that an application keeps as JSON under keys of its own (security.md, S12).

A home-grown store: the cookie's value is the end of the key, the value is a JSON object, a key that
is gone is a session that is over. What never belongs here: formats that sign or wrap their cookie.
"""

from __future__ import annotations

import re
from typing import Final

from proxy.core.mapping import IdentityReader
from proxy.core.strict_json import BadJson, loads_object
from proxy.model import Absent, Identity

MAX_RECORD_BYTES: Final = 1024 * 1024
"""Default bound of one record: shopping carts are large, 10 MB is no session."""

MAX_ID_LENGTH: Final = 256
MIN_BARE_ID_LENGTH: Final = 16
"""Without a prefix the cookie could name any key of the database, so only what looks like an id."""

_ID: Final = re.compile(rb"[A-Za-z0-9._~-]++")
"""Unreserved characters (RFC 3986 §2.3): alike encoded and decoded, and no `:` to reach other keys."""


def cookie_to_key(value: bytes, prefix: str) -> str | None:
    """Return the store key that a cookie names, or `None` if the value cannot be a session's id."""
    minimum = 1 if prefix else MIN_BARE_ID_LENGTH
    if not minimum <= len(value) <= MAX_ID_LENGTH or _ID.fullmatch(value) is None:
        return None
    return prefix + value.decode("ascii")


def decode(
    record: bytes | None,
    reader: IdentityReader,
    *,
    scheme: str,
    max_bytes: int = MAX_RECORD_BYTES,
) -> Identity | Absent:
    """Return whose session a record is, or `Absent` (`session_unknown`) with a reason for the log.

    The origin is the scheme's name (K6). A session that names nobody is an anonymous one, which
    many applications keep after a logout: never an identity.
    """
    if record is None:
        return Absent("session_unknown", "no such session")
    try:
        members = loads_object(record, max_bytes=max_bytes)
    except BadJson as bad:
        return Absent("session_unknown", f"record cannot be read: {bad}")
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
