"""Which sessions, or refresh families, somebody looks for: whose, from where, with which program.

Pure; a list asks it about every record, so what cannot match is told before it is decoded.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from typing import Final, Protocol

MAX_TEXT: Final = 256
"""Characters of an address or a part of an agent."""

_Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Searched(Protocol):
    """What is asked about whatever is looked for."""

    @property
    def subject(self) -> str:
        """Whose it is."""
        ...

    @property
    def address(self) -> str | None:
        """From where."""
        ...

    @property
    def agent(self) -> str | None:
        """With which program."""
        ...


@dataclass(frozen=True, slots=True)
class Search:
    """What a session must be like; nothing given: every session.

    Raises `ValueError` for what can match nothing.
    """

    subject: str | None = None
    """Exactly this one."""
    address: str | None = None
    """An address, or a network of them (`10.0.0.0/8`)."""
    agent: str | None = None
    """A part of the User-Agent, whatever the case."""
    _network: _Network | None = field(init=False, default=None, repr=False)
    _agent: str | None = field(init=False, default=None, repr=False)

    def __post_init__(self) -> None:
        for name, value in (("address", self.address), ("agent", self.agent)):
            if value is not None and not 0 < len(value) <= MAX_TEXT:
                raise ValueError(f"{name}: 1 to {MAX_TEXT} characters")
        if self.address is not None:
            try:
                network = ipaddress.ip_network(self.address, strict=False)
            except ValueError:
                raise ValueError("address: an address or a network, such as 10.0.0.0/8") from None
            object.__setattr__(self, "_network", network)
        if self.agent is not None:
            object.__setattr__(self, "_agent", self.agent.casefold())

    @property
    def is_everything(self) -> bool:
        """True where every session matches."""
        return self.subject is None and self.address is None and self.agent is None

    def may_match(self, record: bytes) -> bool:
        """Tell whether a record has to be decoded to know whether it matches.

        Without a backslash a JSON text stands there as it is (RFC 8259 §7), and so does a whole
        number: a record in which the subject's bytes do not occur is not theirs.
        """
        if self.subject is None or b"\\" in record:
            return True
        return self.subject.encode("utf-8", "surrogatepass") in record

    def matches(self, session: Searched) -> bool:
        """Tell whether it is one of those."""
        if self.subject is not None and session.subject != self.subject:
            return False
        if self._agent is not None and self._agent not in (session.agent or "").casefold():
            return False
        return self._network is None or _is_within(session.address, self._network)


EVERY: Final = Search()
"""Every session."""


def _is_within(address: str | None, network: _Network) -> bool:
    try:
        found = ipaddress.ip_address(address or "")
    except ValueError:
        return False
    return found.version == network.version and found in network
