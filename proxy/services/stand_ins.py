"""What the password of a name that is not there is compared with, so that no time tells.

Where hashes of a users file cost differently a wrong password takes as long as its name's hash. So a
name that is not there has a cost too, always the same, and each cost is as frequent among such names
as among those that are there. What never belongs here: who somebody is.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from hashlib import blake2b

from proxy.adapters.hashing import COST
from proxy.adapters.passwords import dummy_hash
from proxy.config.user_models import PasswordHash

Cost = tuple[int, int, int]

_WEIGHT_BYTES = 8


class StandIns:
    """Hashes of nothing that anybody knows, one of each cost that a file has."""

    def __init__(self, known: Iterable[PasswordHash]) -> None:
        """Prepare; `known` are all hashes of the file."""
        salts: dict[Cost, list[str]] = {}
        for one in known:
            salts.setdefault(one.cost, []).append(one.salt)
        if not salts:
            salts[COST] = [""]
        # The key is one person's salt: no stranger knows it, every worker has it, and it stays as it is
        # until this person has another password. Else names would change their cost with the file, and
        # those that are there would not.
        self._choices = [
            (dummy_hash(cost), min(several).encode(), len(several))
            for cost, several in salts.items()
        ]

    def of(self, name: str) -> PasswordHash:
        """Return the hash for a name, which is the same each time."""
        text = name.encode("utf-8", "surrogatepass")
        return min(self._choices, key=lambda choice: _rank(choice[1], text, choice[2]))[0]


def _rank(key: bytes, name: bytes, weight: int) -> float:
    """Return where a choice stands; each is the first of all as often as its weight says.

    Weighted rendezvous hashing: to add or take away one choice moves no name between two others.
    """
    digest = blake2b(name, key=key[:64], digest_size=_WEIGHT_BYTES).digest()
    part = (int.from_bytes(digest) + 1) / (1 << 8 * _WEIGHT_BYTES)
    return -math.log(part) / weight
