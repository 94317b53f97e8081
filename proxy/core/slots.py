"""To which of a Cluster's slots a key belongs (the hash tags of the Cluster specification)."""

from __future__ import annotations

import binascii
from typing import Final

SLOTS: Final = 16_384


def slot_of(key: bytes) -> int:
    """Return the slot of `key`: CRC-16/XMODEM of its hash tag, modulo 16384."""
    return binascii.crc_hqx(tag_of(key), 0) % SLOTS


def tag_of(key: bytes) -> bytes:
    """Return what of `key` decides about its slot: what stands in its first braces, or all of it."""
    _, opening, rest = key.partition(b"{")
    tag, closing, _ = rest.partition(b"}")
    return tag if opening and closing and tag else key
