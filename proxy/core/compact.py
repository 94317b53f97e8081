"""The compact serialisation of RFC 7515: base64url with one spelling for each value.

What never belongs here: keys, algorithms, claims.
"""

from __future__ import annotations

import binascii
import json
from collections.abc import Callable, Mapping
from typing import Any, Final

_TO_STANDARD: Final = bytes.maketrans(b"-_+/=", b"+/!!!")
_TO_URL_SAFE: Final = bytes.maketrans(b"+/", b"-_")


def decode_segment(segment: bytes) -> bytes:
    """Return the bytes that one base64url segment stands for (RFC 7515 §2: no padding).

    Each value has exactly one spelling: padding, white space, the letters of plain base64 and
    trailing bits that are not zero are a `ValueError`.
    """
    standard = segment.translate(_TO_STANDARD) + b"=" * (-len(segment) % 4)
    try:
        decoded = binascii.a2b_base64(standard, strict_mode=True)
    except binascii.Error as error:
        raise ValueError("not base64url") from error
    if binascii.b2a_base64(decoded, newline=False) != standard:
        raise ValueError("not canonical base64url")
    return decoded


def encode_segment(raw: bytes) -> bytes:
    """Return `raw` as base64url without padding."""
    return binascii.b2a_base64(raw, newline=False).rstrip(b"=").translate(_TO_URL_SAFE)


def to_json(value: Mapping[str, Any]) -> bytes:
    """Write `value` as compact JSON in UTF-8; NaN and infinities are a `ValueError`."""
    return json.dumps(
        value, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_plain
    ).encode("utf-8")


def sign_compact(header_segment: bytes, payload: bytes, signer: Callable[[bytes], bytes]) -> bytes:
    """Return the finished token; `header_segment` is already encoded."""
    signing_input = header_segment + b"." + encode_segment(payload)
    return signing_input + b"." + encode_segment(signer(signing_input))


def _plain(value: object) -> object:
    """Let read-only mappings and tuples of the model pass as JSON."""
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} is not JSON")
