"""Laravel's sessions in Redis: an encrypted cookie, and a value that is serialized twice.

What never belongs here: the ciphers (`laravel_crypt`) and PHP's values (`php_values`).
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Sequence
from typing import Final, Literal
from urllib.parse import unquote_to_bytes

from proxy.core.formats.laravel_crypt import BadPayload, Cipher, decrypt
from proxy.core.formats.php_values import BadPhp, Members, Reader
from proxy.core.formats.port import MAX_RECORD_BYTES, Format, Reading
from proxy.core.formats.refusal import BadSession
from proxy.core.strict_json import BadJson, loads_object

Serialization = Literal["php", "json"]

LOGIN_MEMBER: Final = "login_web_59ba36addc2b2f9401580f014c7f58ea4e30989d"
"""Where the guard `web` of the framework keeps who signed in: SHA-1 of its class's name."""

_ID: Final = re.compile(rb"[A-Za-z0-9]{40}")
_MAX_COOKIE: Final = 8192
"""Bytes of a cookie's JSON: base64 of 4 KiB has less."""


def session_id(value: bytes, cookie: str, keys: Sequence[bytes], cipher: Cipher) -> str:
    """Return the id in a cookie's value. Raises `BadPayload` for one that no key has made.

    The value names the cookie that it was made for: one of another cookie is refused.
    """
    plain, key = decrypt(unquote_to_bytes(value), keys, cipher, max_bytes=_MAX_COOKIE)
    mark = hmac.new(key, f"{cookie}v2".encode(), hashlib.sha1).hexdigest().encode() + b"|"
    if not hmac.compare_digest(plain[: len(mark)], mark):
        raise BadPayload("it was made for a cookie of another name")
    if _ID.fullmatch(plain, len(mark)) is None:
        raise BadPayload("it has no session's id")
    return plain[len(mark) :].decode("ascii")


def read_session(
    raw: bytes,
    serialization: Serialization,
    *,
    max_bytes: int,
    keys: Sequence[bytes] = (),
    cipher: Cipher | None = None,
) -> Members:
    """Return the session's attributes. Raises `BadSession`.

    With a `cipher` (`session.encrypt`) the attributes are encrypted, and serialized once more.
    """
    try:
        inner = _text(raw, max_bytes)
        if cipher is not None:
            inner = _text(decrypt(inner, keys, cipher, max_bytes=max_bytes)[0], max_bytes)
        if serialization == "json":
            return loads_object(inner, max_bytes=max_bytes)
        reader = Reader(inner, max_bytes=max_bytes)
        members = reader.members()
    except (BadPhp, BadPayload, BadJson) as bad:
        raise BadSession(str(bad)) from None
    if not reader.is_done:
        raise BadSession("something behind the session")
    return members


def _text(raw: bytes, max_bytes: int) -> bytes:
    """Return the bytes of the one string that `raw` is."""
    reader = Reader(raw, max_bytes=max_bytes)
    text = reader.text()
    if not reader.is_done:
        raise BadPhp("something behind the string")
    return text


def session_format(
    prefix: str,
    serialization: Serialization,
    *,
    cookie: str,
    keys: Sequence[bytes],
    cipher: Cipher,
    is_encrypted: bool,
) -> Format:
    """Return the format of sessions whose cookie is called `cookie`; `keys` decrypt, newest first."""

    def locate(value: bytes) -> str | None:
        try:
            return session_id(value, cookie, keys, cipher)
        except BadPayload:
            return None

    def read(raw: bytes, _id: str) -> Reading:
        inner = cipher if is_encrypted else None
        return Reading(
            read_session(raw, serialization, max_bytes=MAX_RECORD_BYTES, keys=keys, cipher=inner)
        )

    return Format(
        "laravel",
        prefix,
        locate,
        read,
        f"encrypted with APP_KEY ({cipher}) for this cookie's name",
        folding="php",
    )
