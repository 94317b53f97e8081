"""How Python's frameworks write a session: JSON, MessagePack or pickle.

What never belongs here: what was compressed (`compressions`), and what a member means.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, Literal

import msgpack  # type: ignore[import-untyped]  # it has none

from proxy.core.formats import pickle_values
from proxy.core.formats.plain import members_of
from proxy.core.formats.refusal import BadSession
from proxy.core.strict_json import MAX_VALUES, BadJson, loads_object

Serializer = Literal["json", "msgpack", "pickle"]


def read_members(raw: bytes, serializer: Serializer, *, max_bytes: int) -> dict[str, Any]:
    """Return the members of a session. Raises `BadSession`, which says what it looks like instead."""
    if len(raw) > max_bytes:
        raise BadSession(f"more than {max_bytes} bytes")
    try:
        return _READERS[serializer](raw, max_bytes)
    except BadSession as bad:
        seems = _seems(raw)
        if seems is None or seems == serializer:
            raise
        raise BadSession(f"{bad}; it looks like `serializer: {seems}`") from None


def _read_json(raw: bytes, max_bytes: int) -> dict[str, Any]:
    try:
        return loads_object(raw, max_bytes=max_bytes)
    except BadJson as bad:
        raise BadSession(str(bad)) from None


def _read_msgpack(raw: bytes, max_bytes: int) -> dict[str, Any]:
    size, counter = len(raw), _Counter()
    try:
        value = msgpack.unpackb(
            raw,
            raw=False,
            strict_map_key=False,
            ext_hook=_refuse_extension,
            object_pairs_hook=counter.members,
            list_hook=counter.items,
            max_str_len=size,
            max_bin_len=size,
            max_array_len=min(size, MAX_VALUES),
            max_map_len=min(size, MAX_VALUES),
            max_ext_len=size,
        )
    except BadSession:
        raise
    except (ValueError, TypeError, OverflowError, RecursionError, MemoryError):
        raise BadSession("not MessagePack") from None
    return members_of(value, max_bytes=max_bytes)


class _Counter:
    """Counts what is made while it is read: a byte can stand for an object of a hundred."""

    def __init__(self) -> None:
        self._left = MAX_VALUES

    def members(self, pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
        """Return the members of a map, none of which occurs twice."""
        self._take(len(pairs))
        found = dict(pairs)
        if len(found) != len(pairs):
            raise BadSession("a member occurs twice")
        return found

    def items(self, items: list[Any]) -> list[Any]:
        """Return the items of an array."""
        self._take(len(items))
        return items

    def _take(self, count: int) -> None:
        self._left -= 1 + count
        if self._left < 0:
            raise BadSession(f"more than {MAX_VALUES} values")


def _refuse_extension(_code: int, _data: bytes) -> None:
    """Read what MessagePack itself does not know as nothing."""


def _read_pickle(raw: bytes, max_bytes: int) -> dict[str, Any]:
    return members_of(pickle_values.read(raw), max_bytes=max_bytes)


def _seems(raw: bytes) -> Serializer | None:
    if raw[:1] == b"{":
        return "json"
    if raw[:1] == b"\x80" and raw[-1:] == b".":
        return "pickle"
    return "msgpack" if raw[:1] and (raw[0] & 0xF0 == 0x80 or raw[0] in (0xDE, 0xDF)) else None


_READERS: Final[Mapping[Serializer, Callable[[bytes, int], dict[str, Any]]]] = {
    "json": _read_json,
    "msgpack": _read_msgpack,
    "pickle": _read_pickle,
}
