"""The compact serialisation of RFC 7515, and JSON read without lenience.

Bytes in, values out. Whatever two readers could understand differently is a `ValueError` here:
base64 that is not canonical, members that occur twice, numbers that are none. What never belongs
here: keys, algorithms, claims.
"""

from __future__ import annotations

import binascii
import json
import math
from collections.abc import Callable, Mapping
from typing import Any, Final, NoReturn

MAX_DEPTH: Final = 32
"""Levels of nesting in one document. Real claims have 3 or 4; deeper ones are an attack on readers."""

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


def parse_object(raw: bytes) -> dict[str, Any]:
    """Read one JSON object; everything that RFC 8259 leaves to taste is a `ValueError`.

    Members that occur twice on any level, NaN and infinities (also by overflow), lone surrogates,
    a byte-order mark, invalid UTF-8, nesting beyond `MAX_DEPTH`.
    """
    text = raw.decode("utf-8")
    try:
        value = _DECODER.decode(text)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if type(value) is not dict:
        raise ValueError("not a JSON object")
    if raw.count(b"{") + raw.count(b"[") > MAX_DEPTH:
        _check_depth(value)
    if b"\\u" in raw:
        # An escaped lone surrogate passes the decoder, and no header or hash could carry it.
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    return value


def to_json(value: Mapping[str, Any]) -> bytes:
    """Write `value` as compact JSON in UTF-8; NaN and infinities are a `ValueError`."""
    return json.dumps(
        value, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_plain
    ).encode("utf-8")


def sign_compact(header_segment: bytes, payload: bytes, signer: Callable[[bytes], bytes]) -> bytes:
    """Return the finished token; `header_segment` is already encoded."""
    signing_input = header_segment + b"." + encode_segment(payload)
    return signing_input + b"." + encode_segment(signer(signing_input))


def _unique_members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("a member occurs twice")
    return value


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("a number is too large")
    return number


def _no_constant(_text: str) -> NoReturn:
    raise ValueError("NaN and infinities are not JSON")


_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=_unique_members, parse_float=_finite, parse_constant=_no_constant
)


def _check_depth(value: object) -> None:
    level = [value]
    for _ in range(MAX_DEPTH):
        below: list[object] = []
        for item in level:
            if isinstance(item, dict):
                below.extend(item.values())
            elif isinstance(item, list):
                below.extend(item)
        if not below:
            return
        level = below
    if any(isinstance(item, dict | list) for item in level):
        raise ValueError("nested too deeply")


def _plain(value: object) -> object:
    """Let read-only mappings and tuples of the model pass as JSON."""
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} is not JSON")
