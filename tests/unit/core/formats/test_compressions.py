from __future__ import annotations

import gzip
import importlib
import json
import lzma
import resource
import sys
import zlib

import lz4.frame
import pytest

from proxy.config.foreign_formats import COMPRESSOR_MODULES
from proxy.core.formats.compressions import decompress
from proxy.core.formats.refusal import BadSession
from tests.bounds import little_memory

BOUND = 1 << 20
zstd = importlib.import_module(COMPRESSOR_MODULES["zstd"][sys.version_info < (3, 14)])
RAW = json.dumps({"_auth_user_id": "42", "roles": ["a", "é"], "cart": {"7": 1.5}}).encode()
PACKED = {
    "zlib": zlib.compress,
    "gzip": gzip.compress,
    "lzma": lzma.compress,
    "zstd": zstd.compress,
    "lz4": lz4.frame.compress,
}


@pytest.mark.parametrize("compressor", PACKED)
def test_what_was_compressed_is_unpacked(compressor):
    """Short values that were left as they are, too (django-redis)."""
    raw = RAW
    assert raw == decompress(PACKED[compressor](raw), compressor, max_bytes=BOUND)
    assert raw == decompress(raw, compressor, max_bytes=BOUND)
    assert raw == decompress(raw, "none", max_bytes=BOUND)


@pytest.mark.parametrize("compressor", PACKED)
def test_s12_a_bomb_is_not_unpacked(compressor):
    """S12: a gigabyte in a few bytes takes no more than the bound."""
    bomb = PACKED[compressor](b"\0" * 50_000_000)
    with little_memory(), pytest.raises(BadSession, match="when it is unpacked"):
        decompress(bomb, compressor, max_bytes=BOUND)


@pytest.mark.parametrize("compressor", PACKED)
def test_what_is_cut_off_is_refused(compressor):
    """The beginning of a session is no session."""
    packed = PACKED[compressor](RAW)
    for end in range(6, len(packed) - 8, 3):
        with pytest.raises(BadSession):
            decompress(packed[:end], compressor, max_bytes=BOUND)


@pytest.mark.parametrize("compressor", PACKED)
def test_s12_what_stands_behind_it_is_refused(compressor):
    """S12: two readers of one value would not agree about what it says."""
    for behind in (b"x", PACKED[compressor](RAW)):
        with pytest.raises(BadSession, match="something behind"):
            decompress(PACKED[compressor](RAW) + behind, compressor, max_bytes=BOUND)


@pytest.mark.parametrize("compressor", PACKED)
def test_s12_damage_of_every_byte_is_a_refusal_or_what_was_written(compressor):
    """S12: no library's own exception comes out, nor a crash of it."""
    packed = PACKED[compressor](RAW)
    for place in range(len(packed)):
        for value in (0x00, 0xFF, packed[place] ^ 0x80, packed[place] ^ 0x01):
            damaged = packed[:place] + bytes((value,)) + packed[place + 1 :]
            try:
                found = decompress(damaged, compressor, max_bytes=BOUND)
            except BadSession:
                continue
            assert isinstance(found, bytes)


def test_s12_a_frame_that_wants_a_large_window_is_refused():
    """S12: Zstandard would take a hundred megabytes for the few bytes of such a frame."""
    levels = {zstd.CompressionParameter.window_log: 27}
    writer = zstd.ZstdCompressor(options=levels)
    large = writer.compress(RAW) + writer.flush()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(BadSession, match="not what zstd has made"):
        decompress(large, "zstd", max_bytes=BOUND)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024  # KiB
