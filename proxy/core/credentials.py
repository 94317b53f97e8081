"""Where credentials stand in a request, and how one is taken out again (security.md, H6).

Pure extraction: nothing here says whether a credential is good. Cookies have a module of their own.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterator
from typing import Final
from urllib.parse import unquote_to_bytes

from proxy.core.strict_json import BadJson, loads_object

MAX_TOKEN_BYTES: Final = 64 * 1024
"""Beyond any request head that the gate accepts by default (server.limits.header_size)."""

_KIND: Final = re.compile(rb"[ \t]*+([!#$%&'*+\-.^_`|~0-9A-Za-z]++)(?![^ \t])[ \t]*+")
"""auth-scheme of RFC 9110 §11.1, a token; a tab behind it is a space to some servers."""

_BETWEEN_WORDS: Final = re.compile(rb"[\s,;\"'<>]+")
"""What may stand around a token in a parameter list, in quotes or in several values."""

_ISSUER_SEGMENT: Final = {2: 1, 4: 0}
"""By the dots in a token: of a signed one the payload, of an encrypted one the header."""

_FROM_URL_SAFE: Final = bytes.maketrans(b"-_", b"+/")


def authorization_scheme(value: bytes) -> str | None:
    """Return the lower-case kind of an Authorization value, or `None` if it names none."""
    match = _KIND.match(value)
    return match[1].decode("ascii").lower() if match else None


def bearer_token(authorization: bytes | None) -> bytes | None:
    """Return what stands behind `Bearer` (RFC 6750 §2.1); `None` where nothing says Bearer.

    What is no token there is returned too (empty, perhaps), for its scheme to reject: a bad
    credential that was sent on purpose is not an absent one.
    """
    return _after(b"bearer", authorization)


def dpop_token(authorization: bytes | None) -> bytes | None:
    """Return what stands behind `DPoP` (RFC 9449 §7.1), as `bearer_token` does."""
    return _after(b"dpop", authorization)


def basic_password(authorization: bytes | None) -> bytes | None:
    """Return the password of `Basic` (RFC 7617); `None` where nothing says Basic.

    git, pip and docker can send a token in no other place; the user's name does not matter. What
    is no user and password is returned as an empty one, which opens nothing.
    """
    encoded = _after(b"basic", authorization)
    if encoded is None:
        return None
    try:
        pair = binascii.a2b_base64(encoded, strict_mode=True)
    except binascii.Error:
        return b""
    return pair.partition(b":")[2]


def _after(kind: bytes, authorization: bytes | None) -> bytes | None:
    if authorization is None:
        return None
    match = _KIND.match(authorization)
    if match is None or match[1].lower() != kind:
        return None
    return authorization[match.end() :].rstrip(b" \t")


def query_parameter(query: bytes | None, name: str) -> bytes | None:
    """Return the decoded value of a query parameter, `None` where there is none.

    Where it stands twice with different values servers disagree about which one counts; the answer
    is the empty value, which opens nothing.
    """
    if not query:
        return None
    wanted = name.encode()
    found = {
        _form_decoded(value)
        for raw_name, _, value in (part.partition(b"=") for part in query.split(b"&"))
        if _form_decoded(raw_name) == wanted
    }
    if len(found) > 1:
        return b""
    return found.pop() if found else None


def remove_query_parameter(query: bytes | None, name: str) -> bytes | None:
    """Return the query without `name` in any spelling; `None` when nothing is left (H6).

    Spellings: percent-encoded, trimmed, PHP's `name[…]`, and between `;` where a server may split.
    All other bytes stay as they are.
    """
    if query is None:
        return None
    removed = name.encode()
    kept = []
    was_removed = False
    for part in query.split(b"&"):
        pieces = part.split(b";")
        left = [piece for piece in pieces if not _is_spelling(piece, removed)]
        was_removed = was_removed or len(left) < len(pieces)
        if left:
            kept.append(b";".join(left))
    if not was_removed:
        return query
    return b"&".join(kept) or None


def mask_query_parameter(query: bytes, name: str) -> bytes:
    """Return the query with `…` as the value of `name`, in every spelling: to be shown to people."""
    masked = name.encode()
    return b"&".join(
        b";".join(
            piece.partition(b"=")[0] + "=…".encode() if _is_spelling(piece, masked) else piece
            for piece in part.split(b";")
        )
        for part in query.split(b"&")
    )


def unverified_issuer(token: bytes) -> str | None:
    """Return what a signed token claims as its issuer, believing nothing; `None` if nothing.

    Used to pick the scheme to ask and to find the gate's own bearers (H6), never to let in. Base64
    is read leniently, as an upstream might read it; JSON strictly. An encrypted token says it in its
    header, if it does (RFC 7519 §5.3).
    """
    place = _ISSUER_SEGMENT.get(token.count(b"."))
    if len(token) > MAX_TOKEN_BYTES or place is None:
        return None
    segment = token.split(b".")[place].strip(b"= \t").translate(_FROM_URL_SAFE)
    try:
        payload = binascii.a2b_base64(segment + b"=" * (-len(segment) % 4))
        issuer = loads_object(payload, max_bytes=MAX_TOKEN_BYTES).get("iss")
    except (binascii.Error, BadJson):
        return None
    return issuer if isinstance(issuer, str) else None


def claimed_issuers(authorization: bytes) -> Iterator[str]:
    """Yield what every signed token in an Authorization value claims as its issuer (H6).

    Whatever the kind, and where none is named: `Bearer`, `Token`, `DPoP`, `token="…"`, the token
    alone, or a part of Basic. A server may read any of them, so this is wider than what is let in.
    """
    for word in _words(authorization):
        for token in (word, word.partition(b"=")[2]):
            if (issuer := unverified_issuer(token)) is not None:
                yield issuer


def _words(authorization: bytes) -> Iterator[bytes]:
    yield from _BETWEEN_WORDS.split(authorization)
    encoded = _after(b"basic", authorization)
    if encoded is None:
        return
    stripped = encoded.rstrip(b"=").translate(_FROM_URL_SAFE)
    try:
        pair = binascii.a2b_base64(stripped + b"=" * (-len(stripped) % 4))
    except binascii.Error:
        return
    for part in pair.split(b":"):
        yield from _BETWEEN_WORDS.split(part)


def _form_decoded(text: bytes) -> bytes:
    return unquote_to_bytes(text.replace(b"+", b" "))


def _is_spelling(piece: bytes, name: bytes) -> bool:
    decoded = _form_decoded(piece.partition(b"=")[0]).strip(b" \t\r\n\x00")
    return decoded == name or decoded.partition(b"[")[0] == name
