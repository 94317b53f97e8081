"""Native sessions in the store as they are read: by cookie, by id, by subject, or all that there are.

This module knows keys and the index; what makes, uses and ends sessions is services.sessions. What
never belongs here: writing a record.
"""

from __future__ import annotations

import logging
import re
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Final

from proxy.adapters.store.port import Store
from proxy.core.formats.native import NativeSession, cookie_digest, end_of, last_seen, read
from proxy.core.session_search import EVERY, Search
from proxy.services.session_index import YOUNG_S, Entry, Made, SessionIndex

BATCH: Final = 100
"""Sessions that one look-up of a list reads."""
SCAN_STEP: Final = 500
"""Keys of the store that one step of a list looks at."""
_ID: Final = re.compile(r"[0-9a-f]{64}")

OnLook = Callable[[int], None]
"""Told how many keys of the store were looked at since the last time."""

_log = logging.getLogger("latchgate.sessions")


@dataclass(frozen=True, slots=True)
class StoredSession:
    """What the store holds for one cookie value; nothing is decoded."""

    digest: str
    record: bytes | None
    seen: bytes | None


@dataclass(frozen=True, slots=True)
class ListedSession:
    """A session as lists show it."""

    digest: str
    session: NativeSession
    last_seen: float

    @property
    def about(self) -> NativeSession:
        """What a search asks about."""
        return self.session


def session_key(prefix: str, digest: str) -> str:
    """Return the key of the session record whose cookie has this digest."""
    return f"{prefix}session:{{{digest}}}"


def is_id(digest: str) -> bool:
    """Tell whether this may be a session's digest."""
    return _ID.fullmatch(digest) is not None


class SessionReader:
    """The native sessions under one prefix of one store, to be read.

    Every method raises `StoreUnavailable`.
    """

    def __init__(
        self,
        store: Store,
        *,
        prefix: str,
        idle_timeout_s: float,
        lifetime_s: float,
        remember_s: float | None = None,
    ) -> None:
        """Prepare; `remember_s`: the longest life of a remembered session, if there are any."""
        self._store = store
        self._prefix = prefix
        self._idle_timeout_s = idle_timeout_s
        self._lifetime_s = lifetime_s
        self._remember_s = remember_s
        self._index = SessionIndex(store, prefix=prefix)

    def session_key(self, digest: str) -> str:
        """Return the key of the record; it and `seen_key` share one hash tag."""
        return session_key(self._prefix, digest)

    def seen_key(self, digest: str) -> str:
        """Return the key of the last use."""
        return f"{self._prefix}seen:{{{digest}}}"

    def provider_key(self, digest: str) -> str:
        """Return the key of the tokens of the provider that the session came from."""
        return f"{self._prefix}provider:{{{digest}}}"

    async def index_many(self, made: Sequence[Made]) -> None:
        """Have sessions found by their subjects that another program may have made."""
        await self._index.add_many(made)

    async def look_up(self, cookie: bytes | str) -> StoredSession:
        """Read record and last use of the session that a cookie names, by one MGET."""
        digest = cookie_digest(cookie)
        record, seen = await self._store.fetch([self.session_key(digest), self.seen_key(digest)])
        return StoredSession(digest, record, seen)

    async def is_there(self, digest: str) -> bool:
        """Tell whether there is a record of this name, by one MGET."""
        (record,) = await self._store.fetch([self.session_key(digest)])
        return record is not None

    async def listed(
        self, now: float, search: Search = EVERY, *, on_look: OnLook | None = None
    ) -> AsyncIterator[ListedSession]:
        """Go through the whole store for live sessions, in no order, each once.

        A record that does not fit is said in the log and left out.
        """
        done: set[str] = set()
        async for digests in self._batches(on_look):
            fresh = [digest for digest in digests if digest not in done]
            done.update(fresh)
            for listed in await self.read(fresh, search):
                if self.is_live(listed, now):
                    yield listed

    async def of_subject(
        self, subject: str, now: float, *, after: Entry | None = None
    ) -> AsyncIterator[tuple[Entry, ListedSession]]:
        """Go through the sessions of `subject` that are in the index, the newest first.

        Those that are over or idle for too long come too (`is_live`). Entries without a session are
        taken out.
        """
        while entries := await self._index.page(subject, BATCH, after=after):
            for pair in await self._known(subject, entries, now):
                yield pair
            after = entries[-1]

    async def show(self, digest: str, now: float) -> ListedSession | None:
        """Return one live session, or `None`."""
        if not is_id(digest):
            return None
        listed = await self.read([digest])
        return listed[0] if listed and self.is_live(listed[0], now) else None

    async def owner(self, digest: str) -> str | None:
        """Return whose session it is, live or not; `None` where there is none that can be read."""
        found = await self.read([digest]) if is_id(digest) else []
        return found[0].session.subject if found else None

    async def read(self, digests: Sequence[str], search: Search = EVERY) -> list[ListedSession]:
        """Return the sessions with these digests that match, live or not, as far as they exist."""
        found: list[ListedSession] = []
        for start in range(0, len(digests), BATCH):
            found += await self._read(digests[start : start + BATCH], search)
        return found

    def is_live(self, listed: ListedSession, now: float) -> bool:
        """Tell whether a session is neither over nor idle for too long."""
        return not self._is_over(listed, now, self._idle_timeout_s)

    def _is_over(self, listed: ListedSession, now: float, idle_timeout_s: float) -> bool:
        session = listed.session
        is_remembered = session.is_remembered and self._remember_s is not None
        if not is_remembered and now >= listed.last_seen + idle_timeout_s:
            return True
        return now >= end_of(session, lifetime=self._lifetime_s, remember=self._remember_s)

    async def step(self, cursor: str, count: int) -> tuple[str, list[str]]:
        """Return the digests of the next sessions of the store, and the cursor behind them.

        As `Store.scan_page`. Raises `ValueError` for what is no cursor.
        """
        start = f"{self._prefix}session:{{"
        following, keys = await self._store.scan_page(start, cursor, count)
        names = (key[len(start) : -1] for key in keys if key.endswith("}"))
        return following, [name for name in names if is_id(name)]

    async def _read(self, digests: Sequence[str], search: Search) -> list[ListedSession]:
        records = await self._store.fetch([*map(self.session_key, digests)])
        found: list[tuple[str, NativeSession]] = []
        for digest, record in zip(digests, records, strict=True):
            if record is None or not search.may_match(record):
                continue
            session = read(record)
            if not isinstance(session, NativeSession):
                _log.warning("session %s: %s", digest[:8], session.detail)
            elif search.matches(session):
                found.append((digest, session))
        seen = await self._store.fetch([self.seen_key(digest) for digest, _ in found])
        return [
            ListedSession(digest, session, last_seen(session, at))
            for (digest, session), at in zip(found, seen, strict=True)
        ]

    async def _known(
        self, subject: str, entries: Sequence[Entry], now: float
    ) -> list[tuple[Entry, ListedSession]]:
        """Return the sessions behind entries of `subject`; take out those that have none."""
        found = {listed.digest: listed for listed in await self.read([e.digest for e in entries])}
        theirs, gone = [], []
        for entry in entries:
            listed = found.get(entry.digest)
            if listed is not None and listed.session.subject == subject:
                theirs.append((entry, listed))
            elif listed is not None or entry.made_at < now - YOUNG_S:
                gone.append(entry.digest)
        await self._index.remove(subject, gone)
        return theirs

    async def _batches(self, on_look: OnLook | None = None) -> AsyncIterator[list[str]]:
        """Go through the digests of all sessions that are there from beginning to end."""
        cursor, waiting = "", list[str]()
        while True:
            cursor, digests = await self.step(cursor, SCAN_STEP)
            waiting += digests
            while len(waiting) >= BATCH or (waiting and not cursor):
                yield waiting[:BATCH]
                waiting = waiting[BATCH:]
            if on_look is not None:
                on_look(SCAN_STEP)
            if not cursor:
                return
