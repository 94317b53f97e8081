"""Where a session scheme's records are: the gate's own store, or an application's."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Final, Protocol

from proxy.adapters.store import Store
from proxy.adapters.tasks import spawn
from proxy.core.formats import json as json_format
from proxy.core.formats import native
from proxy.core.mapping import IdentityReader
from proxy.errors import StoreUnavailable
from proxy.model import Absent, Identity
from proxy.services.sessions import Sessions, StoredSession

MAX_COOKIE_BYTES: Final = 4096
"""What a browser keeps of one cookie (RFC 6265bis §5.6); longer ones are nobody's session."""


class SessionRecords(Protocol):
    """Finds the identity behind a session cookie."""

    async def look_up(self, cookie: bytes, now: float) -> Identity | Absent:
        """Return whose session `cookie` names at `now`. Raises `StoreUnavailable`."""
        ...


@dataclass(frozen=True, slots=True)
class JsonRecords:
    """Records that an application keeps as JSON; they are only ever read (S12)."""

    store: Store
    scheme: str
    prefix: str
    reader: IdentityReader

    async def look_up(self, cookie: bytes, now: float) -> Identity | Absent:
        """Return whose session it is; the life of the key is the life of the session."""
        del now
        key = json_format.cookie_to_key(cookie, self.prefix)
        if key is None:
            return Absent("session_unknown", "the cookie cannot be a session's id")
        (record,) = await self.store.fetch([key])
        return json_format.decode(record, self.reader, scheme=self.scheme)


@dataclass(frozen=True, slots=True)
class NativeRecords:
    """The gate's own sessions (reference.md §4)."""

    sessions: Sessions
    scheme: str
    origin: str
    idle_timeout: float
    lifetime: float

    async def look_up(self, cookie: bytes, now: float) -> Identity | Absent:
        """Return whose session it is, and note its use (at most once in a tenth of idle)."""
        if len(cookie) > MAX_COOKIE_BYTES:
            return Absent("session_unknown", "the cookie cannot be a session's id")
        stored = await self.sessions.look_up(cookie)
        outcome = native.decode(
            stored.record,
            stored.seen,
            now=now,
            idle_timeout=self.idle_timeout,
            lifetime=self.lifetime,
            scheme=self.scheme,
            origin=self.origin,
        )
        if isinstance(outcome, Identity):
            seen_at = native.read_time(stored.seen)
            if seen_at is None or self.sessions.is_touch_due(seen_at, now):
                spawn(self._touch(stored, now), name="session in use")
        return outcome

    async def _touch(self, stored: StoredSession, now: float) -> None:
        """Write the last use behind the request: its failure is not the request's."""
        with contextlib.suppress(StoreUnavailable):
            await self.sessions.touch(stored, now)
