"""Hosts: what stands in the Host header and in an absolute-form's authority (security.md, P3).

One host has one spelling here, so that routes, origins and cookies can compare text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import AddressValueError, IPv6Address
from typing import Final

from proxy.core.paths import BadTarget

MAX_NAME_LENGTH: Final = 253
"""Characters of a DNS name without its final dot (RFC 1035 §3.1 counts 255 octets)."""

# RFC 3986 §3.2.2 also allows percent-encoding, sub-delimiters and IPvFuture in a host. No server
# has such a name, and one that decodes or splits it would see another host than the gate.
_HOST: Final = re.compile(
    rb"(?:\[([0-9a-f:.]{2,45})\]|([a-z0-9_~-]+(?:\.[a-z0-9_~-]+)*)\.?)(?::([0-9]{0,5}))?",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Host:
    """A host and the port that was written behind it."""

    name: str
    """Lower case, without final dot; an IPv6 address is in brackets and in its short form."""
    port: int | None
    """`None` where no port was written; the scheme's default is not filled in."""


@lru_cache(maxsize=1024)
def parse_host(value: bytes) -> Host:
    """Read RFC 3986 host[:port] (RFC 9110 §7.2); raise `BadTarget` (`host_invalid`) otherwise."""
    found = _HOST.fullmatch(value)
    if found is None:
        raise BadTarget("host_invalid", "not a host with an optional port")
    address, name, digits = found.groups()
    port = int(digits) if digits else None
    if port is not None and port > 0xFFFF:
        raise BadTarget("host_invalid", "the port is above 65535")
    if address is not None:
        return Host(_ipv6_name(address.decode()), port)
    if len(name) > MAX_NAME_LENGTH:
        raise BadTarget("host_invalid", f"longer than {MAX_NAME_LENGTH} characters")
    return Host(name.decode().lower(), port)


def _ipv6_name(address: str) -> str:
    try:
        return f"[{IPv6Address(address).compressed}]"
    except AddressValueError:
        raise BadTarget("host_invalid", "not an IPv6 address in the brackets") from None
