"""The `session` scheme: a cookie, looked up in a store.

`native` records are the gate's own (reference.md §4); `json` reads a home-grown store of an
application. Nothing is written to a foreign store, nothing foreign is executed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from proxy.core.cookies import Duplicate, find_cookie
from proxy.model import Absent, Authenticated, Outcome
from proxy.services.schemes.port import Ambiguous, Carried, Found, Place

if TYPE_CHECKING:
    from proxy.services.schemes.records import SessionRecords


@dataclass(frozen=True, slots=True)
class SessionScheme:
    """One session entry of `schemes:`."""

    name: str
    places: tuple[Place, ...]
    is_native: bool
    records: SessionRecords
    issuer: str | None = None

    def find(self, carried: Carried) -> Found | None:
        """Return the cookie's value. Raises `Ambiguous` where it is there twice (S2)."""
        place = self.places[0]
        value = find_cookie(carried.cookies, place.name.encode())
        if isinstance(value, Duplicate):
            raise Ambiguous(place, value.names)
        return None if value is None else Found(place, value)

    async def judge(self, found: Found, now: float) -> Outcome:
        """Look the session up; what is merely unknown or expired is absent, never an error."""
        outcome = await self.records.look_up(found.value, now)
        if isinstance(outcome, Absent):
            return outcome
        return Authenticated(outcome, is_ambient=True)
