"""Lists of sessions a page at a time: whoever asks holds the place, and the gate holds nothing.

A person's sessions come from the index, the newest first. All others come in the store's own order,
by bounded steps through its keys: a page that looks for something rare may be short, or empty, and
say where to go on all the same. A session that is there from the first page to the last is on one
of them; one may be on two.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from proxy.core.session_search import Search
from proxy.services.session_index import Entry, read_mark
from proxy.services.session_reading import SCAN_STEP, ListedSession, SessionReader

MAX_LIMIT: Final = 500
"""Sessions on one page."""
STEPS: Final = 40
"""Steps through the store for one page: some 20,000 keys, a fraction of a second."""
SPARE: Final = 16
"""What a step may find beyond the room on the page; the place that is told carries it."""
_PLACE: Final = re.compile(r"([0-9A-Za-z.:-]{0,64})((?:~[0-9a-f]{64}){0,200})")


class Page(NamedTuple):
    """A part of a list."""

    sessions: list[ListedSession]
    next: str | None
    """The place where the list goes on; `None` at its end."""


class SessionPages:
    """Pages of the sessions of one scheme.

    Every method raises `StoreUnavailable`, and `ValueError` for a place that no page named.
    """

    def __init__(self, sessions: SessionReader) -> None:
        self._sessions = sessions

    async def page(
        self, search: Search, now: float, *, limit: int, after: str | None = None
    ) -> Page:
        """Return at most `limit` live sessions behind the place `after`; `None` is the beginning.

        A place says where in the list, never whose list: that is `search`'s alone.
        """
        limit = max(1, min(limit, MAX_LIMIT))
        if search.subject is not None:
            return await self._of_subject(search.subject, search, now, limit, after)
        return await self._of_all(search, now, limit, after)

    async def _of_subject(
        self, subject: str, search: Search, now: float, limit: int, after: str | None
    ) -> Page:
        place = None if after is None else read_mark(after)
        found: list[ListedSession] = []
        last: Entry | None = None
        async for entry, listed in self._sessions.of_subject(subject, now, after=place):
            if not (search.matches(listed.session) and self._sessions.is_live(listed, now)):
                continue
            if last is not None and len(found) == limit:
                return Page(found, last.mark())
            found.append(listed)
            last = entry
        return Page(found, None)

    async def _of_all(self, search: Search, now: float, limit: int, after: str | None) -> Page:
        cursor, waiting = _read_place(after)
        found = await self._live(waiting, search, now)
        page, found = found[:limit], found[limit:]
        is_done = after is not None and not cursor
        count = limit
        for _ in range(STEPS):
            room = limit - len(page)
            if is_done or not room:
                break
            following, digests = await self._sessions.step(cursor, count)
            known = {item.digest for item in page}
            fresh = [each for each in dict.fromkeys(digests) if each not in known]
            found = await self._live(fresh, search, now)
            if len(found) > room + SPARE and count > 1:
                count, found = max(1, count // 8), []  # again, shorter: no step can be cut in two
                continue
            page, found = page + found[:room], found[room:]
            cursor, is_done = following, not following
            count = min(2 * count, SCAN_STEP)
        if is_done and not found:
            return Page(page, None)
        return Page(page, "~".join([cursor, *(item.digest for item in found)]))

    async def _live(self, digests: list[str], search: Search, now: float) -> list[ListedSession]:
        found = await self._sessions.read(digests, search)
        return [item for item in found if self._sessions.is_live(item, now)]


def _read_place(after: str | None) -> tuple[str, list[str]]:
    """Return the cursor of the store, and what was found before it and had no room."""
    place = _PLACE.fullmatch(after or "")
    if place is None:
        raise ValueError("no such place in the list")
    return place[1], place[2].split("~")[1:]
