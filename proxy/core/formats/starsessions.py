"""starsessions' `RedisStore`: a flat JSON object, with the store's own notes inside.

The key's life is the session's; the notes (`__metadata__`) are not asked by the application either.
What never belongs here: its cookies that hold the session themselves.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from proxy.core.formats.port import MAX_RECORD_BYTES, Format, Reading
from proxy.core.formats.refusal import BadSession
from proxy.core.strict_json import BadJson, loads_object

_ID: Final = re.compile(rb"[0-9a-f]{32}")
_NOTES: Final = "__metadata__"


def session_id(value: bytes) -> str | None:
    """Return the id in a cookie's value: `token_hex(16)`, and `None` for anything else."""
    return value.decode("ascii") if _ID.fullmatch(value) else None


def read_session(raw: bytes, *, max_bytes: int) -> Mapping[str, Any]:
    """Return the session without the store's notes. Raises `BadSession`."""
    try:
        members = loads_object(raw, max_bytes=max_bytes)
    except BadJson as bad:
        raise BadSession(str(bad)) from None
    members.pop(_NOTES, None)
    return members


def session_format(prefix: str) -> Format:
    """Return the format of sessions under `prefix`."""
    return Format(
        "starsessions",
        prefix,
        session_id,
        lambda raw, _id: Reading(read_session(raw, max_bytes=MAX_RECORD_BYTES)),
        "32 of 0-9 a-f",
    )
