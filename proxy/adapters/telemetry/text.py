"""Text that is safe in a log: nothing that moves a cursor, reorders a line or opens a door (S15).

Pure functions. What they return is printable; they never raise on any string.
"""

from __future__ import annotations

import re
from typing import Final

MAX_TEXT: Final = 1024
"""Characters of one value: keeps an ordinary line within PIPE_BUF (4,096 bytes)."""

_TOKEN: Final = re.compile(r"(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]{5,}(?:\.[A-Za-z0-9_-]*){1,4}")
"""A compact JWS or JWE (RFC 7515 §3.1): its header begins with `{"`, which is `eyJ`."""

_SPOKEN: Final = (
    (re.compile(r"(?i)\b(bearer|basic|dpop)\s+[A-Za-z0-9._~+/=-]{6,}"), r"\1 [hidden]"),
    (re.compile(r"(?i)\b(cookie['\"]?\s*[:,]\s*)b?['\"]?[^\s=]+=.*"), r"\1[hidden]"),
    (re.compile(r"(://)[^/\s@]+@"), r"\1[hidden]@"),
    (re.compile(r"(\b[a-z+]+://[^\s?#]*)\?[^\s'\"]*"), r"\1?[hidden]"),
)
_OPAQUE: Final = re.compile(r"(?<![A-Za-z0-9_+=-])(?=[A-Za-z_+=-]{0,200}[0-9])[A-Za-z0-9_+=-]{20,}")
"""A long run with a digit in it: what a session id, a key or a password looks like."""


def escape(text: str) -> str:
    r"""Return `text` with control, bidi and other invisible characters as `\xNN` or `\uNNNN`.

    The backslash itself is doubled, so that no text can look like another one's escape.
    """
    if text.isprintable() and "\\" not in text:
        return text
    return "".join(_shown(char) for char in text)


def clip(text: str, limit: int = MAX_TEXT) -> str:
    """Return at most `limit` characters of `text`; what is missing is marked by an ellipsis."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def redact(text: str) -> str:
    """Return `text` without what is recognisably a credential, a cookie, or a URL's query."""
    if "eyJ" in text:
        text = _TOKEN.sub("[hidden]", text)
    for pattern, replacement in _SPOKEN:
        text = pattern.sub(replacement, text)
    return text


def redact_opaque(text: str) -> str:
    """Return `text` without anything that could be a credential: for messages of foreign origin."""
    return _OPAQUE.sub("[hidden]", redact(text))


def clean(text: str, limit: int = MAX_TEXT) -> str:
    """Clip, redact and escape a value of our own making."""
    return escape(redact(clip(text, limit)))


def clean_path(path: str) -> str:
    """Clip and escape a request's path: no query, and no token where an application puts one."""
    path = clip(path.partition("?")[0])
    if "eyJ" in path:
        path = _TOKEN.sub("[hidden]", path)
    return escape(path)


def _shown(char: str) -> str:
    if char == "\\":
        return "\\\\"
    if char.isprintable():
        return char
    code = ord(char)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
