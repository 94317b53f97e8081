"""better-auth's sessions in a secondary storage: a signed token, and a record under it.

A session is alive while its own key is there, its date is not past, and it is not older than the
mark that ending all sessions of a user leaves. What never belongs here: `session_data`, the copy
in a cookie, which no revocation reaches.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, Final
from urllib.parse import unquote_to_bytes

from proxy.core.formats.port import MAX_RECORD_BYTES, Format, Guard, Reading
from proxy.core.formats.refusal import BadSession
from proxy.core.mapping import as_text
from proxy.core.strict_json import BadJson, loads_object

REVOKED: Final = "revoked-sessions-before-"
"""Followed by the user's id: the key of the time before which all their sessions are over."""

_SIGNED: Final = re.compile(rb"([A-Za-z0-9]{32})\.([A-Za-z0-9+/]{43}=)")
_USER_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,128}")
"""A `:` or the like would reach other keys."""
_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{3})?Z")
_MS: Final = re.compile(rb"[0-9]{1,15}")


@dataclass(frozen=True, slots=True)
class AuthSession:
    """What a record says."""

    user_id: str
    created_at: float
    ends_at: float
    members: Mapping[str, Any]


def token(value: bytes, secrets: Sequence[bytes]) -> str | None:
    """Return the token in a cookie's value; `None` where no secret has signed it.

    The signature is compared as text, which its twins in other base64 do not pass.
    """
    match = _SIGNED.fullmatch(unquote_to_bytes(value))
    if match is None:
        return None
    for secret in secrets:
        digest = hmac.new(secret, match[1], hashlib.sha256).digest()
        if hmac.compare_digest(base64.b64encode(digest), match[2]):
            return match[1].decode("ascii")
    return None


def read_session(raw: bytes, wanted: str, *, max_bytes: int) -> AuthSession:
    """Return what the record under the token `wanted` says. Raises `BadSession`."""
    try:
        members = loads_object(raw, max_bytes=max_bytes)
    except BadJson as bad:
        raise BadSession(str(bad)) from None
    session, user = members.get("session"), members.get("user")
    if not isinstance(session, dict) or not isinstance(user, dict):
        raise BadSession("not a session of better-auth")
    if session.get("token") != wanted:
        raise BadSession("the session of another token")
    user_id = as_text(session.get("userId"))
    if user_id is None or user_id != as_text(user.get("id")):
        raise BadSession("session and user do not belong together")
    if _USER_ID.fullmatch(user_id) is None:
        raise BadSession("the user's id cannot be a part of a key")
    times = [_time(session.get(name)) for name in ("createdAt", "expiresAt")]
    return AuthSession(user_id, times[0], times[1], members)


def is_revoked(session: AuthSession, mark: bytes | None) -> bool:
    """Tell whether all sessions of its user were ended since it began; a strange mark ends it."""
    if mark is None:
        return False
    return _MS.fullmatch(mark) is None or session.created_at <= int(mark) / 1000


def _time(value: Any) -> float:
    """Return seconds since the epoch of a date as `JSON.stringify` writes it."""
    if isinstance(value, str) and _DATE.fullmatch(value):
        try:
            return datetime.fromisoformat(value).timestamp()
        except ValueError:
            pass
    raise BadSession("a date is missing")


def session_format(prefix: str, *, secrets: Sequence[bytes]) -> Format:
    """Return the format of sessions whose tokens any of `secrets` has signed."""

    def read(raw: bytes, wanted: str) -> Reading:
        session = read_session(raw, wanted, max_bytes=MAX_RECORD_BYTES)
        guard = Guard(REVOKED + session.user_id, partial(is_revoked, session))
        return Reading(session.members, session.ends_at, guard)

    return Format(
        "better-auth",
        prefix,
        partial(token, secrets=secrets),
        read,
        "<token>.<signature>, signed with one of `secrets`",
        has_guard=True,
    )
