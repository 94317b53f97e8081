"""Values that somebody else serialized, as plain and bounded as JSON: text, numbers, lists, objects.

What a session says of anybody is text or a whole number; bytes, dates and the like say nothing, and
are read as if they were not there.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

from proxy.core.formats.refusal import BadSession
from proxy.core.strict_json import MAX_DEPTH, MAX_VALUES

_BITS: Final = 64


def members_of(value: Any, *, max_bytes: int) -> dict[str, Any]:
    """Return the members of a session as plain values. Raises `BadSession`.

    Shared parts are copied, so what refers to itself, or a thousand times to one part, is refused by
    the bounds of depth and count. A text is paid for as often as it occurs, in letters: all together
    have at most `max_bytes`, as they would if each was written out.
    """
    if not isinstance(value, Mapping):
        raise BadSession("not a mapping")
    members: dict[str, Any] = _Plain(max_bytes).of(value, 0)
    return members


class _Plain:
    """Copies values, and counts them."""

    def __init__(self, max_letters: int) -> None:
        self._left = MAX_VALUES
        self._letters_left = max_letters

    def of(self, value: Any, depth: int) -> Any:
        self._left -= 1
        if self._left < 0:
            raise BadSession(f"more than {MAX_VALUES} values")
        if depth > MAX_DEPTH:
            raise BadSession(f"nested deeper than {MAX_DEPTH}")
        if isinstance(value, Mapping):
            return self._mapping(value, depth + 1)
        if isinstance(value, list | tuple | set | frozenset):
            return [self.of(one, depth + 1) for one in value]
        return self._text(value) if isinstance(value, str) else _scalar(value)

    def _text(self, value: str) -> str:
        self._letters_left -= len(value)
        if self._letters_left < 0:  # before it is looked at: that takes time for each letter
            raise BadSession("texts that are repeated too often")
        try:
            value.encode()
        except UnicodeEncodeError:
            raise BadSession("a lone surrogate") from None
        return value

    def _mapping(self, value: Mapping[Any, Any], depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, one in value.items():
            key = str(name) if isinstance(name, int) and not isinstance(name, bool) else name
            if not isinstance(key, str):
                raise BadSession("a name that is no text")
            if key in found:
                raise BadSession("a member occurs twice")
            found[self._text(key)] = self.of(one, depth)
        return found


def _scalar(value: Any) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        if value.bit_length() > _BITS:
            raise BadSession("an integer of more than 64 bits")
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise BadSession("a number that is not finite")
        return value
    return None
