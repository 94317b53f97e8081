"""Has this token been revoked? One look at the store for each verified token (security.md, R3, R4).

The store's epoch is read with the markers: where it is gone the deny-list is lost, and until the
supervisor has repaired that, no answer is *unavailable*, never *allowed*.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from proxy.adapters.store import Store
from proxy.core.jose import VerifiedToken
from proxy.core.revocation import RevocationKeys, is_revoked
from proxy.errors import StoreUnavailable
from proxy.model import Identity


@dataclass(frozen=True, slots=True)
class DenyList:
    """The revocations of one jwt scheme's tokens."""

    store: Store
    keys: RevocationKeys
    issuer: str
    leeway: float
    """Seconds; 0 for locally issued tokens, whose issuing waits a revocation's second out."""
    unfit: Callable[[], str | None]
    """Why the store may not be relied on (an eviction policy), or `None`."""

    async def find(self, token: VerifiedToken, identity: Identity) -> str | None:
        """Return the marker that revokes `token`, or `None`. Raises `StoreUnavailable`."""
        if (reason := self.unfit()) is not None:
            raise StoreUnavailable(reason)
        keys = self.keys.for_token(
            self.issuer, token.claims, token.jti_name, subject=identity.subject or None
        )
        epoch, *markers = await self.store.fetch([self.keys.epoch, *keys])
        if epoch is None:
            raise StoreUnavailable("the deny-list is lost and not yet repaired")
        return is_revoked(markers, token.issued_at, self.leeway)
