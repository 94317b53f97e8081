"""How Python's frameworks write a session: JSON, MessagePack or pickle, compressed or not."""

from __future__ import annotations

import lzma
import zlib
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal

import msgpack  # type: ignore[import-untyped]  # it has none

from proxy.core.formats import pickle_values
from proxy.core.formats.plain import members_of
from proxy.core.formats.refusal import BadSession
from proxy.core.strict_json import MAX_VALUES, BadJson, loads_object

Serializer = Literal["json", "msgpack", "pickle"]
Compressor = Literal["none", "zlib", "gzip", "lzma"]

_LZMA_MEMORY: Final = 64 * 1024 * 1024
"""Bytes that a dictionary of LZMA may take; its own presets take 9 to 65 MiB."""
_GZIP: Final = 31
"""`wbits` for a header of gzip."""


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


def decompress(raw: bytes, compressor: Compressor, *, max_bytes: int) -> bytes:
    """Return what was compressed. Raises `BadSession`, for more than `max_bytes` too.

    django-redis leaves short values as they are: what has not the compressor's first bytes is one.
    """
    if compressor == "none" or not raw.startswith(_BEGINS[compressor]):
        return raw
    try:
        if compressor == "lzma":
            reader = lzma.LZMADecompressor(memlimit=_LZMA_MEMORY)
            found, is_whole = reader.decompress(raw, max_bytes + 1), reader.eof
        else:
            inflater = zlib.decompressobj(zlib.MAX_WBITS if compressor == "zlib" else _GZIP)
            found = inflater.decompress(raw, max_bytes + 1)
            is_whole = inflater.eof
    except (zlib.error, lzma.LZMAError, MemoryError):
        raise BadSession(f"not what {compressor} has made") from None
    if len(found) > max_bytes:
        raise BadSession(f"more than {max_bytes} bytes when it is unpacked")
    if not is_whole:
        raise BadSession(f"cut off: not all that {compressor} has made")
    return found


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
_BEGINS: Final[Mapping[str, tuple[bytes, ...]]] = {
    "zlib": (b"\x78",),
    "gzip": (b"\x1f\x8b",),
    "lzma": (b"\xfd7zXZ", b"\x5d\x00\x00"),
}
