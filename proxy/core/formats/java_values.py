"""The few values of Java's serialization that a session's own fields have.

A text, a `Long`, an `Integer`, nothing: known by their bytes to the last one. Objects of other
classes are not read at all. What never belongs here: what a field means.
"""

from __future__ import annotations

from typing import Final

_STREAM: Final = b"\xac\xed\x00\x05"
"""Java Object Serialization Specification §6.4.2: STREAM_MAGIC and STREAM_VERSION."""
_NULL: Final = _STREAM + b"p"
_STRING: Final = _STREAM + b"t"
_LONG_STRING: Final = _STREAM + b"|"
_NUMBER: Final = b"xr\x00\x10java.lang.Number\x86\xac\x95\x1d\x0b\x94\xe0\x8b\x02\x00\x00xp"
_LONG: Final = (
    _STREAM
    + b"sr\x00\x0ejava.lang.Long;\x8b\xe4\x90\xcc\x8f#\xdf\x02\x00\x01J\x00\x05value"
    + _NUMBER
)
_INTEGER: Final = (
    _STREAM
    + b"sr\x00\x11java.lang.Integer\x12\xe2\xa0\xa4\xf7\x81\x878\x02\x00\x01I\x00\x05value"
    + _NUMBER
)


class BadJava(ValueError):
    """The value is refused; the text says why and never quotes it."""


def read(raw: bytes) -> str | int | None:
    """Return a text, a whole number or nothing. Raises `BadJava` for everything else.

    Spring writes no bytes at all, or Java's null, for an attribute that was removed.
    """
    if not raw or raw == _NULL:
        return None
    if raw.startswith(_STRING):
        return _text(raw, len(_STRING), 2)
    if raw.startswith(_LONG_STRING):
        return _text(raw, len(_LONG_STRING), 8)
    for head, size in ((_LONG, 8), (_INTEGER, 4)):
        if raw.startswith(head) and len(raw) == len(head) + size:
            return int.from_bytes(raw[len(head) :], "big", signed=True)
    if raw.startswith(_STREAM):
        raise BadJava("an object of Java, which is not read")
    raise BadJava("not what Java serializes")


def _text(raw: bytes, begin: int, size: int) -> str:
    """Read modified UTF-8 (JVM Specification §4.4.7) behind its length."""
    length = int.from_bytes(raw[begin : begin + size], "big")
    if len(raw) != begin + size + length:
        raise BadJava("a text that is not as long as it says")
    body = raw[begin + size :]
    try:
        halves = body.replace(b"\xc0\x80", b"\0").decode("utf-8", "surrogatepass")
        return halves.encode("utf-16", "surrogatepass").decode("utf-16")
    except UnicodeError:
        raise BadJava("a text that is not UTF-8") from None
