"""aiohttp-session's `RedisStorage`: JSON with the session inside.

A logout may leave the key with an empty object. What never belongs here: its encrypted cookies.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from math import inf
from typing import Any, Final

from proxy.core.formats.port import MAX_RECORD_BYTES, Format, Reading
from proxy.core.formats.refusal import BadSession
from proxy.core.strict_json import BadJson, loads_object

IDENTITY_PATH: Final = "session.AIOHTTP_SECURITY"
"""Where aiohttp-security's `SessionIdentityPolicy` keeps who signed in."""

_ID: Final = re.compile(rb"[0-9a-f]{32}")


def session_id(value: bytes) -> str | None:
    """Return the id in a cookie's value: `uuid4().hex`, and `None` for anything else."""
    return value.decode("ascii") if _ID.fullmatch(value) else None


def read_session(
    raw: bytes, *, max_age: float | None, max_bytes: int
) -> tuple[Mapping[str, Any], float]:
    """Return the record and when it is over. Raises `BadSession`.

    With `max_age` the application goes by `created` besides the key's life.
    """
    try:
        members = loads_object(raw, max_bytes=max_bytes)
    except BadJson as bad:
        raise BadSession(str(bad)) from None
    if max_age is None or "session" not in members:
        return members, inf
    created = members.get("created")
    if not isinstance(created, int | float) or isinstance(created, bool):
        raise BadSession("`created` is missing, which max_age counts from")
    return members, created + max_age


def session_format(prefix: str, *, max_age: float | None) -> Format:
    """Return the format of sessions under `prefix`, which is the cookie's name and `_`."""
    return Format(
        "aiohttp-session",
        prefix,
        session_id,
        lambda raw, _id: Reading(*read_session(raw, max_age=max_age, max_bytes=MAX_RECORD_BYTES)),
        "32 of 0-9 a-f",
    )
