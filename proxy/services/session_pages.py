"""Lists of sessions, or refresh families, a page at a time: whoever asks holds the place, the gate nothing.

Those of a person come from the index, the newest first. All others come in the store's own order,
by bounded steps through its keys: a page that looks for something rare may be short, or empty, and
say where to go on all the same. One that is there from the first page to the last is on one
of them; one may be on two.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Sequence
from typing import Final, Generic, NamedTuple, Protocol, TypeVar

from proxy.core.session_search import EVERY, Search, Searched
from proxy.services.session_index import Entry, read_mark
from proxy.services.session_reading import SCAN_STEP, OnLook

MAX_LIMIT: Final = 500
"""What one page shows."""
STEPS: Final = 40
"""Steps through the store for one page: some 20,000 keys, a fraction of a second."""
SPARE: Final = 16
"""What a step may find beyond the room on the page; the place that is told carries it."""
_PLACE: Final = re.compile(r"([0-9A-Za-z.:-]{0,64})((?:~(?:[0-9a-f]{64}|[0-9a-f]{32})){0,200})")


class Listed(Protocol):
    """What stands in a list."""

    @property
    def digest(self) -> str:
        """What it is called."""
        ...

    @property
    def about(self) -> Searched:
        """What a search asks about."""
        ...


T = TypeVar("T", bound=Listed)


class Listing(Protocol[T]):
    """What can be listed; see services.session_reading. Every method may raise `StoreUnavailable`."""

    def of_subject(
        self, subject: str, now: float, *, after: Entry | None = None
    ) -> AsyncIterator[tuple[Entry, T]]:
        """Go through those of `subject` that are in the index, the newest first."""
        ...

    def listed(
        self, now: float, search: Search = EVERY, *, on_look: OnLook | None = None
    ) -> AsyncIterator[T]:
        """Go through the whole store for live ones, in no order, each once."""
        ...

    def is_live(self, listed: T, now: float) -> bool:
        """Tell whether it is neither over nor ended."""
        ...

    async def step(self, cursor: str, count: int) -> tuple[str, list[str]]:
        """Return what the next ones of the store are called, and the cursor behind them."""
        ...

    async def read(self, digests: Sequence[str], search: Search = EVERY) -> list[T]:
        """Return those of these that match, as far as they exist."""
        ...


class Page(NamedTuple, Generic[T]):
    """A part of a list."""

    items: list[T]
    next: str | None
    """The place where the list goes on; `None` at its end."""


class Pages(Generic[T]):
    """Pages of one listing.

    Every method raises `StoreUnavailable`, and `ValueError` for a place that no page named.
    """

    def __init__(self, listing: Listing[T]) -> None:
        self._listing = listing

    async def page(
        self, search: Search, now: float, *, limit: int, after: str | None = None
    ) -> Page[T]:
        """Return at most `limit` live ones behind the place `after`; `None` is the beginning.

        A place says where in the list, never whose list: that is `search`'s alone.
        """
        limit = max(1, min(limit, MAX_LIMIT))
        if search.subject is not None:
            return await self._of_subject(search.subject, search, now, limit, after)
        return await self._of_all(search, now, limit, after)

    async def _of_subject(
        self, subject: str, search: Search, now: float, limit: int, after: str | None
    ) -> Page[T]:
        place = None if after is None else read_mark(after)
        found: list[T] = []
        last: Entry | None = None
        async for entry, listed in self._listing.of_subject(subject, now, after=place):
            if not (search.matches(listed.about) and self._listing.is_live(listed, now)):
                continue
            if last is not None and len(found) == limit:
                return Page(found, last.mark())
            found.append(listed)
            last = entry
        return Page(found, None)

    async def _of_all(self, search: Search, now: float, limit: int, after: str | None) -> Page[T]:
        cursor, waiting = _read_place(after)
        found = await self._live(waiting, search, now)
        page, found = found[:limit], found[limit:]
        is_done = after is not None and not cursor
        count = limit
        for _ in range(STEPS):
            room = limit - len(page)
            if is_done or not room:
                break
            following, digests = await self._listing.step(cursor, count)
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

    async def _live(self, digests: list[str], search: Search, now: float) -> list[T]:
        found = await self._listing.read(digests, search)
        return [item for item in found if self._listing.is_live(item, now)]


def _read_place(after: str | None) -> tuple[str, list[str]]:
    """Return the cursor of the store, and what was found before it and had no room."""
    place = _PLACE.fullmatch(after or "")
    if place is None:
        raise ValueError("no such place in the list")
    return place[1], place[2].split("~")[1:]
