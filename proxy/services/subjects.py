"""The end of everything that the gate has given to one person (security.md, R6)."""

from __future__ import annotations

import platform
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from proxy.adapters.store.port import Store
from proxy.core.revocation import digest
from proxy.services.revocations import Revocations
from proxy.services.sessions import Sessions

TOLD_LIFE_S: Final = 3600.0
"""How long it is remembered which change of a user was seen to."""


@dataclass(frozen=True, slots=True)
class Subjects:
    """Ends sessions and revokes local tokens by subject.

    Every method raises `StoreUnavailable`: then it is not known what is left, and it should be
    repeated.
    """

    store: Store
    prefix: str
    sessions: Sessions
    revocations: Revocations | None
    """`None` where the gate issues no tokens."""
    origin: str
    """Of native sessions and local tokens (K6)."""
    keep_s: float
    """How long a revocation is kept."""

    async def end(self, subject: str, now: float) -> int:
        """Refuse every token issued until `now` and end every session; return how many there were."""
        if self.revocations is not None:
            await self.revocations.revoke_subject(self.origin, subject, now, keep_s=self.keep_s)
        return await self.sessions.revoke_subject(subject)

    async def end_changed(
        self, changes: Mapping[str, str], now: float, *, file: Path
    ) -> AsyncIterator[tuple[str, int]]:
        """End what contradicts `changes` of a users file: subjects, and what each of them has become.

        Yields each subject with whom something was done, and how many sessions ended.

        Whoever else has seen to the same change of the same file (another worker, a command) has
        told so; then nothing is done, and a login since then is left alone. A gate on another host
        reads a file of its own, which may have changed later: until then it let in whom the old one
        let in, so what it has done is never told by others.
        """
        for subject, become in changes.items():
            (told,) = await self.store.fetch([self._key(subject, file)])
            if told != become.encode():
                ended = await self.end(subject, now)
                await self.tell(subject, become, file=file)
                yield subject, ended

    async def tell(self, subject: str, become: str, *, file: Path) -> None:
        """Tell that everything was ended which contradicts what `subject` has become in `file`."""
        await self.store.put(self._key(subject, file), become.encode(), ttl_s=TOLD_LIFE_S)

    def _key(self, subject: str, file: Path) -> str:
        # By its path, and not by where a link leads: with every change of a ConfigMap that is elsewhere.
        place = digest(platform.node(), str(file))
        return f"{self.prefix}changed:{{{digest(subject)}}}:{place}"
