"""TLS handshakes that are under way: whoever begins many and ends none takes room like anybody else.

asyncio tells of a connection once its handshake is over; until then it would be in no count, and one
client could take every descriptor. What never belongs here: how many are too many.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from proxy.core.coherence.attempts import network_of


@dataclass(slots=True, eq=False)
class Handshake:
    """One of them."""

    number: int
    """The socket's descriptor."""
    network: str
    """The client's, as `network_of` names it."""
    is_counted: bool = True


class Handshakes:
    """Those of one server."""

    def __init__(self, admits: Callable[[str | None], bool]) -> None:
        """`admits`: whether one more connection is taken from an address; it is counted by then."""
        self._admits = admits
        self._under_way: dict[int, Handshake] = {}
        self._networks: Counter[str] = Counter()

    def __len__(self) -> int:
        return self._networks.total()

    def of_network(self, network: str) -> int:
        """Return how many are under way with a network, as `network_of` names it."""
        return self._networks[network]

    def begin(self, number: int, address: str | None) -> Handshake | None:
        """Count one in; `None` where it is one too many. `number`: its socket's descriptor."""
        handshake = Handshake(number, network_of(address))
        self._networks[handshake.network] += 1
        self._under_way[number] = handshake
        if self._admits(address):
            return handshake
        self.end(handshake)
        return None

    def arrived(self, number: int) -> None:
        """Count one out that has become a connection, which is counted from then on."""
        handshake = self._under_way.get(number)
        if handshake is not None:
            self.end(handshake)

    def end(self, handshake: Handshake) -> None:
        """Count one out, if it still is in."""
        if not handshake.is_counted:
            return
        handshake.is_counted = False
        self._networks[handshake.network] -= 1
        if not self._networks[handshake.network]:
            del self._networks[handshake.network]
        if self._under_way.get(handshake.number) is handshake:
            del self._under_way[handshake.number]
