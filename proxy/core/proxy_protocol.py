"""The PROXY protocol, version 2: who is behind the proxy that connects (haproxy.org, proxy-protocol.txt).

Read strictly, as a header decides whose address counts: what leaves open who the client is, is refused.
Version 1 is refused like anything else that is no header. What never belongs here: whom to believe.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from typing import Final

SIGNATURE: Final = b"\r\n\r\n\x00\r\nQUIT\n"
FRONT: Final = 16
"""Bytes before the addresses: signature, version and command, family and transport, length."""
MAX_LENGTH: Final = 2048
"""Bytes of addresses and TLVs; proxies send some hundred (RFC: at most 65535)."""

_LOCAL: Final = 0x20
_PROXY: Final = 0x21
_ADDRESS_BYTES: Final = {0x11: 4, 0x21: 16}
"""By family and transport: TCP over IPv4, and over IPv6."""

Source = tuple[str, int]
"""Address and port of the client."""


def announced(front: bytes) -> int:
    """Return how many bytes follow the first 16. Raises ValueError where that is no header."""
    if len(front) != FRONT or not front.startswith(SIGNATURE):
        raise ValueError("no PROXY protocol header, version 2")
    if front[12] not in (_LOCAL, _PROXY):
        raise ValueError("another version or command")
    length = int.from_bytes(front[14:16], "big")
    if length > MAX_LENGTH:
        raise ValueError(f"longer than {MAX_LENGTH} bytes")
    if front[12] == _PROXY:
        size = _ADDRESS_BYTES.get(front[13])
        if size is None:
            raise ValueError("no TCP connection over IPv4 or IPv6")
        if length < 2 * size + 4:
            raise ValueError("too short for its addresses")
    return length


def source(front: bytes, rest: bytes) -> Source | None:
    """Return the client of a header, whose `front` `announced` the length of `rest`.

    `None`: the proxy connects for itself (LOCAL), as to see whether the gate is there. What stands
    behind the addresses (TLVs) is not looked at.
    """
    if front[12] == _LOCAL:
        return None
    size = _ADDRESS_BYTES[front[13]]
    raw, port = rest[:size], int.from_bytes(rest[2 * size : 2 * size + 2], "big")
    address = IPv4Address(raw) if size == 4 else IPv6Address(raw)
    return str(address), port
