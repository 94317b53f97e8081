"""Has this token been revoked? Asked when its verdict is not cached (security.md, R3, R4).

The store's epoch is read with the markers: where it is gone the deny-list is lost, where it is another
one somebody has begun anew, and until the supervisor has repaired that, the answer is *unavailable*,
never *allowed*. Every verdict depends on
epoch, `all` and issuer, which are the scope's keys, and on the names of its own token.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from proxy.adapters.store.tracked_link import Command
from proxy.core.coherence import Finding, Key, Verdict
from proxy.core.jose import SESSION_CLAIM, VerifiedToken
from proxy.core.revocation import History, RevocationKeys, is_revoked
from proxy.errors import StoreUnavailable
from proxy.model import Rejected
from proxy.services.coherence import Kept, Ledger


def common_keys(keys: RevocationKeys, issuer: str) -> tuple[bytes, ...]:
    """Return the keys on which every verdict of a scheme's tokens depends."""
    return tuple(key.encode() for key in (keys.epoch, keys.all, keys.for_issuer(issuer)))


@dataclass(frozen=True, slots=True)
class DenyList:
    """The revocations of one jwt scheme's tokens."""

    ledger: Ledger
    keys: RevocationKeys
    history: History
    """One for all schemes of the worker."""
    issuer: str
    leeway: float
    """Seconds; 0 for locally issued tokens, whose issuing waits a revocation's second out."""
    unfit: Callable[[], str | None]
    """Why the store may not be relied on (an eviction policy), or `None`."""
    session_key: Callable[[str], str] | None = None
    """Of the gate's own tokens: where the session is whose digest one names, and dies with (S6)."""

    def check(self) -> None:
        """Raise `StoreUnavailable` where the store may not be relied on."""
        if (reason := self.unfit()) is not None:
            raise StoreUnavailable(reason)

    def look_up(
        self, key: Key, token: VerifiedToken, verdict: Verdict, size: int, now: float
    ) -> asyncio.Future[Finding]:
        """Ask whether `token` was revoked, in one step; then `verdict.refused` says so.

        `size` is what its verdict takes, `now` epoch seconds. The future fails with `StoreUnavailable`.
        """
        names = self.keys.for_token(
            self.issuer, token.claims, token.jti_name, subject=verdict.identity.subject or None
        )
        asked = [name.encode("utf-8", "surrogateescape") for name in names]
        common = set(common_keys(self.keys, self.issuer))
        session = self._session_of(token)
        own = tuple(dict.fromkeys(name for name in (*asked, *session) if name not in common))

        def fill(replies: list[Any], sent_at: float) -> Kept:
            epoch, *markers = replies[0]
            if epoch is None:
                raise StoreUnavailable("the deny-list is lost and not yet repaired")
            if not self.history.is_believed(epoch, markers[0], now=now, mono=sent_at):
                raise StoreUnavailable("the deny-list is another one and not yet adopted")
            marker = is_revoked(markers, token.issued_at, self.leeway)
            if marker is not None:
                verdict.refused = Rejected("token_revoked", f"revoked by {marker}")
            elif session and replies[1][0] is None:
                verdict.refused = Rejected("token_revoked", "its session has ended")
            return Kept(verdict, store_keys=own, size=size)

        commands: list[Command] = [("MGET", self.keys.epoch.encode(), *asked)]
        if session:  # under another hash tag than the markers
            commands.append(("MGET", *session))
        return self.ledger.look_up(key, commands, fill, own)

    def _session_of(self, token: VerifiedToken) -> tuple[bytes, ...]:
        """Return the key of the session that a token dies with, if it does with any."""
        if self.session_key is None or SESSION_CLAIM not in token.claims:
            return ()
        digest = token.claims[SESSION_CLAIM]
        name = digest if isinstance(digest, str) else ""
        return (self.session_key(name).encode("utf-8", "surrogateescape"),)
