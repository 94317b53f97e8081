"""Django's sessions in a cache in Redis: its own backend, and django-redis.

The cookie is the session's key, unsigned. What never belongs here: the database backend, and
`signed_cookies`, which keep nothing in Redis.
"""

from __future__ import annotations

import re
from typing import Any, Final

from proxy.core.formats.compressions import Compressor, decompress
from proxy.core.formats.port import MAX_RECORD_BYTES, Format, Reading
from proxy.core.formats.serializations import Serializer, read_members

USER_MEMBER: Final = "_auth_user_id"
"""Where `django.contrib.auth` keeps who signed in, as text."""
_ID: Final = re.compile(rb"[a-z0-9]{32}")


def session_id(value: bytes) -> str | None:
    """Return the key in a cookie's value, and `None` for what Django would not have made."""
    return value.decode("ascii") if _ID.fullmatch(value) else None


def read_session(
    raw: bytes, serializer: Serializer, compressor: Compressor, *, max_bytes: int
) -> dict[str, Any]:
    """Return the session. Raises `BadSession`."""
    return read_members(
        decompress(raw, compressor, max_bytes=max_bytes), serializer, max_bytes=max_bytes
    )


def session_format(prefix: str, serializer: Serializer, compressor: Compressor) -> Format:
    """Return the format of sessions under `prefix`: the cache's, and the backend's name."""
    return Format(
        "django",
        prefix,
        session_id,
        lambda raw, _id: Reading(
            read_session(raw, serializer, compressor, max_bytes=MAX_RECORD_BYTES)
        ),
        "32 of a-z 0-9",
    )
