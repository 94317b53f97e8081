"""What an application has compressed, unpacked: at most as much of it as a session may have.

Those of django-redis that are not Python's own come with `pip install 'latchgate[compressors]'`. What never belongs here: what was compressed.
"""

from __future__ import annotations

import lzma
import zlib
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, Final, Literal

from proxy.config.foreign_formats import COMPRESSOR_MODULES
from proxy.core.formats.refusal import BadSession

Compressor = Literal["none", "zlib", "gzip", "lzma", "zstd", "lz4"]

_LZMA_MEMORY: Final = 64 * 1024 * 1024
"""Bytes that a dictionary of LZMA may take; its own presets take 9 to 65 MiB."""
_ZSTD_WINDOW: Final = 23
"""Exponent of the bytes that Zstandard may look back on: 8 MiB, as every decoder has to (RFC 8878 §3.1.1.1.2)."""
_GZIP: Final = 31
"""`wbits` for a header of gzip."""
_BEGINS: Final[Mapping[str, tuple[bytes, ...]]] = {
    "zlib": (b"\x78",),
    "gzip": (b"\x1f\x8b",),
    "lzma": (b"\xfd7zXZ", b"\x5d\x00\x00"),
    "zstd": (b"\x28\xb5\x2f\xfd",),
    "lz4": (b"\x04\x22\x4d\x18",),
}


def decompress(raw: bytes, compressor: Compressor, *, max_bytes: int) -> bytes:
    """Return what was compressed. Raises `BadSession`, for more than `max_bytes` too.

    django-redis leaves short values as they are: what has not the compressor's first bytes is one.
    """
    if compressor == "none" or not raw.startswith(_BEGINS[compressor]):
        return raw
    try:
        reader = _READERS[compressor]()
        found = reader.decompress(raw, max_bytes + 1)
        is_whole, behind = reader.eof, reader.unused_data
    except Exception:  # noqa: BLE001 - each library has errors of its own, some of them RuntimeError
        raise BadSession(f"not what {compressor} has made") from None
    if len(found) > max_bytes:
        raise BadSession(f"more than {max_bytes} bytes when it is unpacked")
    if not is_whole:
        raise BadSession(f"cut off: not all that {compressor} has made")
    if behind:
        raise BadSession(f"something behind what {compressor} has made")
    return bytes(found)


def _module(compressor: str) -> Any:
    """Return the library of a compressor. Raises `ImportError` where there is none."""
    *earlier, last = COMPRESSOR_MODULES[compressor]
    for name in earlier:
        try:
            return import_module(name)
        except ImportError:
            continue
    return import_module(last)


def _zstd() -> Any:
    module = _module("zstd")
    options = {module.DecompressionParameter.window_log_max: _ZSTD_WINDOW}
    return module.ZstdDecompressor(options=options)


_READERS: Final[Mapping[str, Callable[[], Any]]] = {
    "zlib": lambda: zlib.decompressobj(zlib.MAX_WBITS),
    "gzip": lambda: zlib.decompressobj(_GZIP),
    "lzma": lambda: lzma.LZMADecompressor(memlimit=_LZMA_MEMORY),
    "zstd": _zstd,
    "lz4": lambda: _module("lz4").LZ4FrameDecompressor(),
}
