"""Sessions of Node's express-session with connect-redis, and of @fastify/session on the same store.

The cookie is `s:<id>.<signature>`; the value is JSON. What never belongs here: koa-session, whose
signature stands in a cookie of its own.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial
from math import inf
from typing import Any, Final, Literal
from urllib.parse import unquote_to_bytes

from proxy.core.formats.port import MAX_RECORD_BYTES, Format, Reading
from proxy.core.formats.refusal import BadSession
from proxy.core.strict_json import BadJson, loads_object

Variant = Literal["express", "fastify"]

MARK: Final = "s:"
"""What express-session puts before the id."""
_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{3})?Z")


def id_pattern(length: int) -> re.Pattern[bytes]:
    """Return what matches ids of `length` letters; without a `:` that would reach other keys."""
    return re.compile(rb"[A-Za-z0-9._~-]{%d}" % length)


def session_id(
    value: bytes, secrets: Sequence[bytes], pattern: re.Pattern[bytes], *, mark: bytes = b"s:"
) -> str | None:
    """Return the id in a cookie's value; `None` where no secret has signed it.

    The signature is compared as text, which its twins in other base64 do not pass.
    """
    bare = unquote_to_bytes(value)
    if not bare.startswith(mark):
        return None
    found, _, signature = bare[len(mark) :].rpartition(b".")
    if pattern.fullmatch(found) is None:
        return None
    for secret in secrets:
        digest = hmac.new(secret, found, hashlib.sha256).digest()
        if hmac.compare_digest(base64.b64encode(digest).rstrip(b"="), signature):
            return found.decode("ascii")
    return None


def read_session(
    raw: bytes, variant: Variant, *, max_bytes: int
) -> tuple[Mapping[str, Any], float]:
    """Return the session and when its application takes it for over. Raises `BadSession`.

    express-session itself goes by the key's life alone: the date in the session is that of its last
    change and not of its last use. @fastify/session goes by the date as well.
    """
    try:
        members = loads_object(raw, max_bytes=max_bytes)
    except BadJson as bad:
        raise BadSession(str(bad)) from None
    cookie = members.get("cookie")
    if not isinstance(cookie, dict):
        raise BadSession("not a session: `cookie` is missing")
    if variant == "express":
        return members, inf
    return members, _ends_at(cookie.get("originalExpires") or cookie.get("expires"))


def _ends_at(date: Any) -> float:
    """Return seconds since the epoch of a date as `JSON.stringify` writes it; none is no end."""
    if date is None or date is False:
        return inf
    if isinstance(date, str) and _DATE.fullmatch(date):
        try:
            return datetime.fromisoformat(date).timestamp()
        except ValueError:
            pass
    raise BadSession("`cookie.expires` is no date")


def session_format(
    prefix: str, variant: Variant, *, secrets: Sequence[bytes], length: int, mark: str
) -> Format:
    """Return the format of sessions whose cookies any of `secrets` has signed."""
    return Format(
        "express",
        prefix,
        partial(session_id, secrets=secrets, pattern=id_pattern(length), mark=mark.encode()),
        lambda raw, _id: Reading(*read_session(raw, variant, max_bytes=MAX_RECORD_BYTES)),
        f"{mark}<{length} letters>.<signature>, signed with one of `secrets`",
    )
