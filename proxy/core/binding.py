"""What a session is bound to: the address block and the browser in which it began (`login.sessions.bind`).

Pure: two texts and whether a request fits them. What becomes of one that does not is the business
of whoever asks.
"""

from __future__ import annotations

import hashlib
import ipaddress
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

MAX_BITS: Final = 32
"""Longest prefix of an IPv4 block; one of IPv6 is twice as long, so that /24 and /48 go together."""

UNKNOWN: Final = "unknown"
"""In the place of a block: the session began at an address that nobody could tell."""

_VERSION: Final = re.compile(rb"[0-9][0-9._]*")
"""What changes in a User-Agent when a browser is updated."""


@dataclass(frozen=True, slots=True)
class Binding:
    """Where a session may be used; `None` means wherever."""

    network: str | None = None
    """An address block as CIDR text (RFC 4632), or `UNKNOWN`."""
    agent: str | None = None
    """Digest of the User-Agent without its version numbers."""

    def broken_by(self, address: str | None, agent: bytes | None) -> str | None:
        """Return what of a request does not fit, for the log; `None` where all of it does.

        An address that is not known is in no block, and one that is known is not `UNKNOWN`.
        """
        if self.network is not None and not _is_in(address, self.network):
            return "another address block"
        if self.agent is not None and agent_digest(agent) != self.agent:
            return "another browser"
        return None


def bind(
    address: str | None, agent: bytes | None, *, bits: int | None, has_agent: bool
) -> Binding | None:
    """Return what a session that begins here is bound to; `None` where it is bound to nothing.

    `bits` is the prefix of an IPv4 block, as `block_of` takes it; `None` binds to no address. Where
    the address is not known, nobody with a known one may use the session: else it would be good
    everywhere.
    """
    network = None if bits is None else block_of(address, bits) or UNKNOWN
    bound = agent_digest(agent) if has_agent else None
    return None if network is None and bound is None else Binding(network, bound)


@lru_cache(maxsize=4096)
def block_of(address: str | None, bits: int) -> str | None:
    """Return the block of `address` as CIDR text: /`bits` for IPv4, twice that for IPv6.

    `None` for what is no address. An IPv4 address in IPv6's clothes (::ffff:…) is one of IPv4.
    """
    if address is None:
        return None
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return None
    if isinstance(found, ipaddress.IPv6Address):
        found = found.ipv4_mapped or found
    length = bits if found.version == 4 else 2 * bits
    return str(ipaddress.ip_network((found, length), strict=False))


@lru_cache(maxsize=4096)
def agent_digest(agent: bytes | None) -> str:
    """Return the digest of a browser's User-Agent; one that says nothing has one too."""
    return hashlib.sha256(_VERSION.sub(b"", agent or b"")).hexdigest()[:32]


def _is_in(address: str | None, network: str) -> bool:
    if network == UNKNOWN:
        return block_of(address, MAX_BITS) is None
    length = network.rpartition("/")[2]
    if not length.isdecimal():
        return False
    bits = int(length) if ":" not in network else int(length) // 2
    return 0 <= bits <= MAX_BITS and block_of(address, bits) == network
