"""Rails' and Rack's sessions in Redis, where they are kept as JSON.

The cookie has the public id, the key the private one: its SHA-256. What never belongs here: Ruby's
Marshal, which is not read.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from functools import partial
from typing import Any, Final
from urllib.parse import unquote_to_bytes

from proxy.core.formats.port import MAX_RECORD_BYTES, Format, Reading
from proxy.core.formats.refusal import BadSession
from proxy.core.strict_json import BadJson, loads_object

_PRIVATE: Final = "2::"
_HEX: Final = re.compile(rb"[0-9a-f]+")
_MARSHAL: Final = (b"\x04\x08", b"\x00\x11")
"""Ruby's Marshal 4.8; the cache format of Rails 7.1."""


def private_id(value: bytes, length: int) -> str | None:
    """Return the end of the key that a cookie names; `None` for what is no public id.

    `length` is 32 (Rails) or 64 (Rack). A private id, which logs and the store's keys show, has a
    colon and is none; and a public id is never a key itself, as it was before 2020.
    """
    public = unquote_to_bytes(value)
    if len(public) != length or _HEX.fullmatch(public) is None:
        return None
    return _PRIVATE + hashlib.sha256(public).hexdigest()


def read_session(raw: bytes, *, max_bytes: int) -> Mapping[str, Any]:
    """Return the session. Raises `BadSession`."""
    if raw.startswith(_MARSHAL):
        raise BadSession("Ruby's Marshal, which is not read: set the store's `serializer: :json`")
    try:
        return loads_object(raw, max_bytes=max_bytes)
    except BadJson as bad:
        raise BadSession(str(bad)) from None


def session_format(prefix: str, *, length: int) -> Format:
    """Return the format of sessions whose public ids have `length` letters."""
    return Format(
        "rails",
        prefix,
        partial(private_id, length=length),
        lambda raw, _id: Reading(read_session(raw, max_bytes=MAX_RECORD_BYTES)),
        f"{length} of 0-9 a-f; the key has its SHA-256",
    )
