"""JSON as this product accepts it: one meaning, bounded, never an odd exception.

For bytes that somebody else wrote: session records, token payloads. What never belongs here: a
default for a missing member, or any knowledge of what a document means.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any, Final

MAX_DEPTH: Final = 64
"""Arrays and objects inside each other; people nest a handful, an attack nests thousands."""

MAX_VALUES: Final = 50_000
"""Commas and brackets outside strings: the objects that a document makes in memory."""

_VALUE_BYTES: Final = 96
_NAME_BYTES: Final = 80
"""What a value, and a member's name, take beside their text at most (measured)."""

_MAX_DIGITS: Final = 20
"""Digits of an integer: 64 bits have 20. More is no identifier, and slow to turn into text."""

_MISREAD: Final = object()

_TOKEN: Final = re.compile(rb'"(?:[^"\\]++|\\.)*+\\?"?|[\[\]{},]', re.DOTALL)
"""A string (also one that never ends, so that the scan stays linear), a bracket or a comma."""


class BadJson(ValueError):
    """The document is refused; the text says why and never quotes it."""


def loads(raw: bytes, *, max_bytes: int) -> Any:
    """Return the value of a JSON text (RFC 8259, UTF-8 without BOM).

    Refused with `BadJson`: more than `max_bytes`, `MAX_DEPTH` or `MAX_VALUES`, duplicate members,
    NaN, Infinity and numbers that overflow to it, integers of more than 64 bits, lone surrogates.
    """
    if len(raw) > max_bytes:
        raise BadJson(f"{len(raw)} bytes, more than {max_bytes}")
    _check_shape(raw)
    try:
        text = raw.decode("utf-8")
        value = _quickly(text) if text[:1] == "{" else _MISREAD
        if value is _MISREAD:
            value = _DECODER.decode(text)
    except BadJson:
        raise
    except UnicodeDecodeError:
        raise BadJson("not UTF-8") from None
    except (ValueError, RecursionError):
        raise BadJson("not JSON") from None
    if b"\\u" in raw:  # only an escape can name half of a surrogate pair
        _check_text(value)
    return value


def loads_object(raw: bytes, *, max_bytes: int) -> dict[str, Any]:
    """Return the members of a JSON object; as `loads`, and refused when it is anything else."""
    value = loads(raw, max_bytes=max_bytes)
    if not isinstance(value, dict):
        raise BadJson("not a JSON object")
    return value


def memory_of(raw: bytes) -> int:
    """Return about how many bytes the value of `raw` takes in memory, rather too many.

    Small values take far more than their text: `{}` has 64 bytes beside its place. Signs inside
    strings count as well: looking closer would cost more than it tells.
    """
    values = raw.count(b",") + raw.count(b"{") + raw.count(b"[")
    return len(raw) + _VALUE_BYTES * values + _NAME_BYTES * raw.count(b":")


def _check_shape(raw: bytes) -> None:
    """Bound depth and number of values before anything is built from them."""
    opened = raw.count(b"{") + raw.count(b"[")
    if opened <= MAX_DEPTH and opened + raw.count(b",") <= MAX_VALUES:
        return
    depth = values = 0
    for match in _TOKEN.finditer(raw):
        byte = raw[match.start()]
        if byte in b"{[":
            depth += 1
            values += 1
            if depth > MAX_DEPTH:
                raise BadJson(f"nested deeper than {MAX_DEPTH}")
        elif byte in b"}]":
            depth -= 1
        elif byte == 0x2C:  # a comma
            values += 1
        if values > MAX_VALUES:
            raise BadJson(f"more than {MAX_VALUES} values")


def _check_text(value: Any) -> None:
    """Refuse lone surrogates, which no later step could write as UTF-8."""
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, str):
            if not item.isascii() and any("\ud800" <= letter <= "\udfff" for letter in item):
                raise BadJson("a lone surrogate")
        elif isinstance(item, dict):
            waiting.extend(item)
            waiting.extend(item.values())
        elif isinstance(item, list):
            waiting.extend(item)


def _quickly(text: str) -> Any:
    """Return the value of an object; `_MISREAD` where a member may occur twice."""
    value, end = _QUICK.raw_decode(text)
    # As many colons as members: none stands in a string, and no member hides behind another.
    members = len(value) if text.count("{") == 1 else _members_in(value)
    is_plain = end == len(text) and text.count(":") == members
    return value if is_plain else _MISREAD


def _members_in(value: Any) -> int:
    """Count the members of all objects in `value`."""
    if not isinstance(value, dict):
        return 0 if not isinstance(value, list) else sum(map(_members_in, value))
    count = len(value)
    for member in value.values():
        if isinstance(member, dict | list):
            count += _members_in(member)
    return count


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise BadJson("a member occurs twice")
    return members


def _integer(text: str) -> int:
    if len(text) > _MAX_DIGITS + (text[0] == "-"):
        raise BadJson("an integer of more than 64 bits")
    return int(text)


def _fraction(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise BadJson("a number that is not finite")
    return number


def _constant(_text: str) -> float:
    raise BadJson("a number that is not finite")


_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=_members,
    parse_int=_integer,
    parse_float=_fraction,
    parse_constant=_constant,
)
_QUICK: Final = json.JSONDecoder(
    parse_int=_integer, parse_float=_fraction, parse_constant=_constant
)
"""The same, and blind to a member that occurs twice."""
