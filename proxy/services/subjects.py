"""The end of everything that the gate has given to one person (security.md, R6)."""

from __future__ import annotations

from dataclasses import dataclass

from proxy.services.revocations import Revocations
from proxy.services.sessions import Sessions


@dataclass(frozen=True, slots=True)
class Subjects:
    """Ends sessions and revokes local tokens by subject."""

    sessions: Sessions
    revocations: Revocations | None
    """`None` where the gate issues no tokens."""
    origin: str
    """Of native sessions and local tokens (K6)."""
    keep_s: float
    """How long a revocation is kept."""

    async def end(self, subject: str, now: float) -> int:
        """Refuse every token issued until `now` and end every session; return how many there were.

        Raises `StoreUnavailable`: then it is not known what is left, and it should be repeated.
        """
        if self.revocations is not None:
            await self.revocations.revoke_subject(self.origin, subject, now, keep_s=self.keep_s)
        return await self.sessions.revoke_subject(subject)
