"""Sessions that an application keeps as JSON under keys of its own (security.md, S12).

A home-grown store: the cookie's value is the end of the key, the value is a JSON object, a key that
is gone is a session that is over. What never belongs here: formats that sign or wrap their cookie.
"""

from __future__ import annotations

import re
from functools import partial
from typing import Any, Final

from proxy.core.formats.port import MAX_RECORD_BYTES, Format, Reading
from proxy.core.formats.refusal import BadSession
from proxy.core.strict_json import BadJson, loads_object

MAX_ID_LENGTH: Final = 256
MIN_BARE_ID_LENGTH: Final = 16
"""Without a prefix the cookie could name any key of the database, so only what looks like an id."""

_ID: Final = re.compile(rb"[A-Za-z0-9._~-]++")
"""Unreserved characters (RFC 3986 §2.3): alike encoded and decoded, and no `:` to reach other keys."""


def session_id(value: bytes, *, has_prefix: bool) -> str | None:
    """Return the id that a cookie's value is, or `None` if it cannot be one."""
    minimum = 1 if has_prefix else MIN_BARE_ID_LENGTH
    if not minimum <= len(value) <= MAX_ID_LENGTH or _ID.fullmatch(value) is None:
        return None
    return value.decode("ascii")


def read_session(raw: bytes, *, max_bytes: int) -> dict[str, Any]:
    """Return the record. Raises `BadSession`."""
    try:
        return loads_object(raw, max_bytes=max_bytes)
    except BadJson as bad:
        raise BadSession(str(bad)) from None


def session_format(prefix: str) -> Format:
    """Return the format of records under `prefix`."""
    minimum = 1 if prefix else MIN_BARE_ID_LENGTH
    return Format(
        "json",
        prefix,
        partial(session_id, has_prefix=bool(prefix)),
        lambda raw, _id: Reading(read_session(raw, max_bytes=MAX_RECORD_BYTES)),
        f"{minimum} to {MAX_ID_LENGTH} of A-Z a-z 0-9 . _ ~ -",
    )
