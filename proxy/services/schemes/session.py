"""The `session` scheme: a cookie, looked up in a store.

`native` records are the gate's own (reference.md §4); all others are those of an application. Nothing is written to a foreign store, nothing foreign is executed.
"""

from __future__ import annotations

from asyncio import Future
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from proxy.core.coherence import Key
from proxy.core.cookies import Duplicate, Folding, find_cookie
from proxy.model import Absent, Authenticated, Identity, Outcome, Rejected
from proxy.services.schemes.port import Ambiguous, Carried, Found, Fresh, Holds, Place

if TYPE_CHECKING:
    from proxy.services.schemes.records import SessionRecords
    from proxy.services.session_factors import SessionFactors


@dataclass(frozen=True, slots=True)
class SessionScheme:
    """One session entry of `schemes:`."""

    name: str
    places: tuple[Place, ...]
    is_native: bool
    records: SessionRecords
    issuer: str | None = None
    local_place: Place | None = None
    """Where the cookie of a sign-in is besides on http://localhost (S5)."""
    factors: SessionFactors | None = None
    """What was proved beside an application's sessions; `None` where no route asks (see `stepped`)."""
    folding: Folding = "exact"
    """What its application makes of the cookie's name."""

    def find(self, carried: Carried) -> Found | None:
        """Return the cookie's value. Raises `Ambiguous` where it is there twice (S2)."""
        found = _find(self.places[0], carried, self.folding)
        if self.local_place is None or not carried.is_local:
            return found
        local = _find(self.local_place, carried, self.folding)
        if found is None or local is None or found.value == local.value:
            return local or found
        raise Ambiguous(
            self.local_place, (found.place.name.encode(), self.local_place.name.encode())
        )

    def known(self, found: Found, now: float) -> Outcome | None:
        """Return what a cached verdict says."""
        return _outcome(self.records.known(found, self.records.ledger.key(found.value), now))

    def begin(self, found: Found, now: float) -> Future[Any] | None:
        """Begin to look the session up."""
        return self.records.begin(found, self.key(found), now)

    def recall(self, found: Found) -> Identity | None:
        """Return whom a cached verdict names."""
        vouched = self.records.ledger.vouched(self.key(found))
        return None if vouched is None else vouched.verdict.identity

    def meet(self, found: Found, now: float) -> Fresh | None:
        """Begin to look up a session that nobody has asked for."""
        key = self.key(found)
        flight = None if self.records.ledger.has(key) else self.records.begin(found, key, now)
        return None if flight is None else (key, flight)

    def stand(self, found: Found) -> Holds | None:
        """Return what compares the verdict with clock, client and source."""
        return self.records.stand(found, self.key(found))

    async def guessed(self, found: Found) -> Rejected | None:
        """Count an unknown session; hold its answer back, or refuse who sends too many (R9)."""
        return await self.records.ledger.guessed(found, self.key(found))

    def key(self, found: Found) -> Key:
        """Return what the session's verdict is kept under."""
        return self.records.ledger.key(found.value)

    def use(self, found: Found, now: float) -> bool:
        """Count a use of the session; False: what is known of it is not good enough to do so."""
        return self.records.use(found, self.key(found), now)

    async def judge(self, found: Found, now: float) -> Outcome:
        """Look the session up; what is merely unknown or expired is absent, never an error."""
        ledger = self.records.ledger
        key = ledger.key(found.value)
        told = self.records.known(found, key, now)
        if told is None:
            told = await self.records.look_up(found, key, now)
            if isinstance(told, Absent) and told.code == "session_unknown":
                return replace(told, is_guess=True)
        return Authenticated(told, is_ambient=True) if isinstance(told, Identity) else told


def _find(place: Place, carried: Carried, folding: Folding) -> Found | None:
    value = find_cookie(carried.cookies, place.name.encode(), folding=folding)
    if isinstance(value, Duplicate):
        raise Ambiguous(place, value.names)
    return None if value is None else carried.found(place, value)


def _outcome(told: Identity | Absent | None) -> Outcome | None:
    return Authenticated(told, is_ambient=True) if isinstance(told, Identity) else told
