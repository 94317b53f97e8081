"""PHP's `serialize`, read as data: arrays and objects become plain lists and dicts.

Nothing is made of a class, no method of one runs. For bytes that an application wrote; the session
handlers that surround these values are in `php`. What never belongs here: what a value means.
"""

from __future__ import annotations

import math
import re
from typing import Any, Final

from proxy.core.strict_json import MAX_DEPTH, MAX_VALUES

Members = dict[str, Any]
_Pairs = list[tuple[str | None, Any]]

_END: Final = re.compile(rb";")
_INTEGER: Final = re.compile(rb"(0|-?[1-9][0-9]{0,18});")
_BOOLEAN: Final = re.compile(rb"([01]);")
_FLOAT: Final = re.compile(
    rb"(-?(?:[0-9]{1,330}+(?:\.[0-9]{1,60}+)?(?:[eE][+-]?[0-9]{1,3})?|INF)|NAN);"
)
_LENGTH: Final = re.compile(rb"(0|[1-9][0-9]{0,8}):")
_COUNT: Final = re.compile(rb"(0|[1-9][0-9]{0,8}):\{")
_SLOT: Final = re.compile(rb"([1-9][0-9]{0,8});")

_UNFINISHED: Final = -1
"""Size of a container that is still being read: what refers to it is a circle."""


class BadPhp(ValueError):
    """The value is refused; the text says why and never quotes it."""


class Reader:
    """Reads values one behind the other; references count over all of them, as PHP counts.

    Refused with `BadPhp`: more than `max_bytes`, `MAX_DEPTH` or `MAX_VALUES` (what a reference
    repeats counts as often as it is repeated), a name that occurs twice, integers of more than 64
    bits, forms that PHP reads and never writes. What has no meaning outside PHP is `None`: text
    that is not UTF-8, numbers that are not finite, circles, and what a class wrote in its own way.
    """

    def __init__(self, raw: bytes, *, max_bytes: int) -> None:
        if len(raw) > max_bytes:
            raise BadPhp(f"{len(raw)} bytes, more than {max_bytes}")
        self.raw = raw
        self.position = 0
        self._spare = max_bytes - len(raw)
        self._repeated = 0
        """Bytes that references have repeated."""
        self._values = 0
        self._slots: list[_Slot] = []
        self._is_opaque = False
        """Something was passed over that has slots of its own, so later numbers mean nothing."""
        self._height = 0
        """Of the value that was read last."""

    @property
    def is_done(self) -> bool:
        """Tell whether nothing is left."""
        return self.position >= len(self.raw)

    def value(self) -> Any:
        """Read one value."""
        return self._value(0)

    def members(self) -> Members:
        """Read an array and return it as names and values, however it is numbered."""
        if self._kind() != b"a":
            raise BadPhp("not an array")
        self._values += 1
        self._slots.append(_Slot(self._values))  # what refers to it is a circle, to its end
        return _named(self._pairs(0))

    def text(self) -> bytes:
        """Read a string and return its bytes."""
        if self._kind() != b"s":
            raise BadPhp("not a string")
        return self._string(b";")

    def _value(self, depth: int) -> Any:
        if depth > MAX_DEPTH:
            raise BadPhp(f"nested deeper than {MAX_DEPTH}")
        self._values += 1
        if self._values > MAX_VALUES:
            raise BadPhp(f"more than {MAX_VALUES} values")
        begin = self.position + self._repeated
        kind = self._kind()
        self._height = 0
        if kind == b"R":  # the one form that takes no slot: it is another name for one
            return self._reference(depth, is_object=False)
        slot = _Slot(self._values)
        self._slots.append(slot)
        if kind == b"a":
            slot.value = _plain(self._pairs(depth))
        elif kind == b"O":
            slot.value = self._object(depth)
        elif kind == b"r":
            slot.value = self._reference(depth, is_object=True)
        else:
            slot.value = self._scalar(kind)
        slot.is_object = kind in b"OEr"
        slot.size, slot.height = self.position + self._repeated - begin, self._height
        slot.values = self._values - slot.values + 1
        return slot.value

    def _kind(self) -> bytes:
        """Take the letter of a value, and the `:` that follows all but `N`."""
        kind = self.raw[self.position : self.position + 1]
        if kind == b"N":
            self.position += 1
            return kind
        if (
            not kind
            or kind not in b"bidsaOECrR"
            or self.raw[self.position + 1 : self.position + 2] != b":"
        ):
            raise BadPhp("not a value of PHP's serialize")
        self.position += 2
        return kind

    def _scalar(self, kind: bytes) -> Any:
        if kind == b"s":
            return _decoded(self._string(b";"))
        if kind == b"E":
            return _decoded(self._string(b";").partition(b":")[2])
        if kind == b"C":
            return self._passed_over()
        if kind == b"N":
            self._take(_END)
            return None
        if kind == b"b":
            return self._take(_BOOLEAN) == b"1"
        if kind == b"i":
            number = int(self._take(_INTEGER))
            if not -(1 << 63) <= number < 1 << 63:
                raise BadPhp("an integer of more than 64 bits")
            return number
        fraction = float(self._take(_FLOAT))
        return fraction if math.isfinite(fraction) else None

    def _take(self, pattern: re.Pattern[bytes]) -> bytes:
        match = pattern.match(self.raw, self.position)
        if match is None:
            raise BadPhp("cut short, or not as PHP writes it")
        self.position = match.end()
        return match[match.lastindex or 0]

    def _string(self, end: bytes) -> bytes:
        """Take `length:"bytes"` and what ends it; the length counts bytes."""
        length = int(self._take(_LENGTH))
        begin = self.position + 1
        close = begin + length
        if self.raw[self.position : begin] != b'"' or self.raw[close : close + 2] != b'"' + end:
            raise BadPhp("a string that is not as long as it says")
        self.position = close + 2
        return self.raw[begin:close]

    def _object(self, depth: int) -> Any:
        own = self._string(b":")
        return _named([(_property(name, own), value) for name, value in self._pairs(depth)])

    def _passed_over(self) -> None:
        """Pass over what a class has written in its own way (`C`)."""
        self._string(b":")
        length = int(self._take(_LENGTH))
        close = self.position + 1 + length
        if (
            self.raw[self.position : self.position + 1] != b"{"
            or self.raw[close : close + 1] != b"}"
        ):
            raise BadPhp("an object that is not as long as it says")
        self.position = close + 1
        self._is_opaque = True

    def _pairs(self, depth: int) -> _Pairs:
        count = int(self._take(_COUNT))
        pairs: _Pairs = []
        height = 0
        for _ in range(count):
            name = self._name()
            pairs.append((name, self._value(depth + 1)))
            height = max(height, self._height + 1)
        if self.raw[self.position : self.position + 1] != b"}":
            raise BadPhp("more members than are announced")
        self.position += 1
        self._height = height
        return pairs

    def _name(self) -> str | None:
        """Return a member's name; `None` for one that is not text."""
        kind = self._kind()
        if kind == b"i":
            return self._take(_INTEGER).decode("ascii")
        if kind == b"s":
            return _decoded(self._string(b";"))
        raise BadPhp("a name that is neither a string nor a number")

    def _reference(self, depth: int, *, is_object: bool) -> Any:
        """Return what a slot holds; it is paid for as if it stood here once more."""
        number = int(self._take(_SLOT)) - 1
        known = len(self._slots) - is_object  # the reference's own slot is the last one
        if self._is_opaque or number >= known:
            raise BadPhp("a reference to nothing")
        slot = self._slots[number]
        if slot.size == _UNFINISHED:
            return None
        if is_object and not slot.is_object:
            raise BadPhp("a reference to what is no object")
        self._values += slot.values
        self._repeated += slot.size
        if self._values > MAX_VALUES or self._repeated > self._spare:
            raise BadPhp("references that repeat too much")
        if depth + slot.height > MAX_DEPTH:
            raise BadPhp(f"nested deeper than {MAX_DEPTH}")
        self._height = slot.height
        return slot.value


class _Slot:
    """A value that references may name, and what it costs to repeat it."""

    __slots__ = ("height", "is_object", "size", "value", "values")

    def __init__(self, values: int) -> None:
        self.value: Any = None
        self.size = _UNFINISHED
        self.values = values
        """How many there were with it; once it is finished, how many it has, itself counted."""
        self.height = 0
        self.is_object = False


def _decoded(raw: bytes) -> str | None:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return None


def _property(name: str | None, own: bytes) -> str | None:
    """Return a property's name without PHP's marks of who may see it.

    Between NULs stand `*` for a protected one, and the class for a private one. A private property of a parent class is
    another one than the object's own of that name: it keeps its class.
    """
    if name is None or not name.startswith("\0"):
        return name
    owner, _, bare = name[1:].partition("\0")
    return bare if owner == "*" or owner.encode() == own else f"{owner}::{bare}"


def _plain(pairs: _Pairs) -> Any:
    """Return a list where the array is numbered from 0 in order, as `json_encode` does."""
    if all(name == str(index) for index, (name, _) in enumerate(pairs)):
        return [value for _, value in pairs]
    return _named(pairs)


def _named(pairs: _Pairs) -> Members:
    members = {name: value for name, value in pairs if name is not None}
    if len(members) != sum(name is not None for name, _ in pairs):
        raise BadPhp("a member occurs twice")
    return members
