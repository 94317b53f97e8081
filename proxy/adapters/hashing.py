"""argon2id itself: what a password's hash costs, and whether a password is behind it.

What never belongs here: where that is done, and what else happens meanwhile.
"""

from __future__ import annotations

from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

MEMORY_KIB, PASSES, LANES = 19 * 1024, 2, 1
"""What a new hash costs: the first of OWASP's choices for argon2id that needs no second thread."""
COST: Final = (MEMORY_KIB, PASSES, LANES)


def hasher(cost: tuple[int, int, int] = COST) -> PasswordHasher:
    """Return what hashes at `cost`: memory in KiB, passes, lanes."""
    memory, passes, lanes = cost
    return PasswordHasher(time_cost=passes, memory_cost=memory, parallelism=lanes)


def is_right(known: str, password: bytes) -> bool:
    """Say whether `password` is the one behind the hash `known`."""
    try:
        return hasher().verify(known, password)
    except (VerificationError, InvalidHashError):
        return False
