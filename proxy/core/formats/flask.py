"""Flask-Session's sessions in Redis.

What never belongs here: Flask's own sessions, which stand in their cookie and nowhere else.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Sequence
from functools import partial
from typing import Final

from proxy.core.formats.port import MAX_RECORD_BYTES, Format, Reading
from proxy.core.formats.serializations import Serializer, read_members

USER_MEMBER: Final = "_user_id"
"""Where Flask-Login keeps who signed in, as text."""
_SALT: Final = b"flask-session"


def id_pattern(length: int) -> re.Pattern[bytes]:
    """Return what matches ids: base64url of random bytes, 43 letters, or a UUID, 36 of them."""
    return re.compile(rb"[A-Za-z0-9_-]{%d}" % length)


def session_id(value: bytes, pattern: re.Pattern[bytes]) -> str | None:
    """Return the id that a cookie's value is, unsigned; `None` if it is none."""
    return value.decode("ascii") if pattern.fullmatch(value) else None


def signed_session_id(
    value: bytes, secrets: Sequence[bytes], pattern: re.Pattern[bytes]
) -> str | None:
    """Return the id in `<id>.<signature>` (SESSION_USE_SIGNER); `None` where no secret signed it.

    itsdangerous derives a key from the secret, and signs with HMAC-SHA1. The signature is compared
    as text, which its twins in other base64 do not pass.
    """
    found, _, signature = value.rpartition(b".")
    if pattern.fullmatch(found) is None:
        return None
    for secret in secrets:
        key = hmac.new(secret, _SALT, hashlib.sha1).digest()
        digest = hmac.new(key, found, hashlib.sha1).digest()
        if hmac.compare_digest(base64.urlsafe_b64encode(digest).rstrip(b"="), signature):
            return found.decode("ascii")
    return None


def session_format(
    prefix: str, serializer: Serializer, *, length: int, secrets: Sequence[bytes] | None
) -> Format:
    """Return the format of sessions under `prefix`; `secrets` are `None` without a signer."""
    pattern = id_pattern(length)
    if secrets is None:
        locate = partial(session_id, pattern=pattern)
        shape = f"{length} of A-Z a-z 0-9 _ -"
    else:
        locate = partial(signed_session_id, secrets=secrets, pattern=pattern)
        shape = f"<{length} letters>.<signature>, signed with one of `secrets`"
    return Format(
        "flask",
        prefix,
        locate,
        lambda raw, _id: Reading(read_members(raw, serializer, max_bytes=MAX_RECORD_BYTES)),
        shape,
    )
