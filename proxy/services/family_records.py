"""Refresh families in the store as they are found and ended: by id, by person, or all that there are.

A family is called by the `sid` of its access tokens, which opens nothing. What never belongs here:
making tokens, which is the work of services.refresh.

Ended is said in this order: its access tokens are refused, then the record goes, then the entry of
the index. Whoever dies in between leaves a family that can still be found, and ended again.
"""

from __future__ import annotations

import logging
import re
import secrets
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Final

from proxy.adapters.store.port import Store
from proxy.core.refresh import Family
from proxy.core.revocation import RevocationKeys, revoked_since
from proxy.core.revocation import digest as digest_of
from proxy.core.session_search import EVERY, Search
from proxy.services.revocations import Revocations
from proxy.services.session_index import YOUNG_S, Entry, SessionIndex
from proxy.services.session_reading import BATCH, SCAN_STEP, OnLook

MAX_OF_ONE: Final = 1000
"""Families of one person: a further login ends the oldest, or one name and password filled the store."""
ENDED_LIFE_S: Final = 3600.0
"""How long it is remembered that somebody's families were ended: no login takes so long (R6)."""
_ID: Final = re.compile(r"[0-9a-f]{32}")

_log = logging.getLogger("latchgate.families")


@dataclass(frozen=True, slots=True)
class ListedFamily:
    """A refresh family as lists show it."""

    digest: str
    """What it is called: the `sid` of its access tokens."""
    family: Family
    is_revoked: bool
    """True where a revocation has ended it, which its next use will find."""

    @property
    def about(self) -> Family:
        """What a search asks about."""
        return self.family


@dataclass(frozen=True, slots=True)
class LoginBegun:
    """What the store said when a login began that will begin a family: see `FamilyRecords.login_of`."""

    subject: str
    marks: tuple[bytes | None, ...]


def is_family_id(text: str) -> bool:
    """Tell whether this may be what a family is called."""
    return _ID.fullmatch(text) is not None


class FamilyRecords:
    """The refresh families under one prefix of one store.

    Constructor: `issuer` is that of their tokens, `keep_s` how long access tokens must be refused
    when their family has ended. Every method raises `StoreUnavailable`: then it is not known what is
    left, and it should be repeated.
    """

    def __init__(
        self, store: Store, revocations: Revocations, *, prefix: str, issuer: str, keep_s: float
    ) -> None:
        self._store = store
        self._revocations = revocations
        self._prefix = prefix
        self._issuer = issuer
        self._keep_s = keep_s
        self._revoked = RevocationKeys(prefix)
        self._index = SessionIndex(store, prefix=prefix, of="families")

    def family_key(self, name: str) -> str:
        """Return the key of a family's record; it and `answer_key` share one hash tag."""
        return f"{self._prefix}refresh:{{{name}}}"

    def answer_key(self, name: str) -> str:
        """Return the key of the answer to the spent token."""
        return f"{self._prefix}refresh-answer:{{{name}}}"

    def ended_keys(self, subject: str) -> tuple[str, str]:
        """Return the keys that say when all of somebody's families, and all there are, were ended."""
        tag = digest_of(subject)
        return f"{self._prefix}families_ended:{{{tag}}}", f"{self._prefix}families_ended:all"

    # Begun and used

    async def login_of(self, subject: str) -> LoginBegun:
        """Note where a login of `subject` begins: before its factors are checked (R6)."""
        keys = self.ended_keys(subject)
        return LoginBegun(subject, tuple([(await self._store.fetch([key]))[0] for key in keys]))

    async def is_ended_since(self, login: LoginBegun) -> bool:
        """Tell whether the subject's families were ended since a login began.

        Asked after the new record is there: whoever ends them marks it first and looks for records
        then, so that one of both finds the other.
        """
        marks = (await self.login_of(login.subject)).marks
        return any(
            mark not in (None, before) for mark, before in zip(marks, login.marks, strict=True)
        )

    async def add(self, name: str, family: Family, now: float) -> None:
        """Write a new family, in the place of the oldest of a person who has very many.

        Raises `ValueError` for one that could not be read again.
        """
        record = family.encode()
        Family.decode(record)
        oldest = await self.enter(name, family, now)
        life_s = family.expires_at - now
        if not await self._store.put(self.family_key(name), record, ttl_s=life_s, only="new"):
            raise RuntimeError("128 random bits came twice")  # the random source is broken
        theirs = [item.digest for _, item in await self._known(family.subject, oldest, now)]
        over = await self._index.count(family.subject) - MAX_OF_ONE
        if over > 0:
            _log.warning("too many refresh families of one person: the oldest make room")
            await self.end([each for each in theirs if each != name][:over], family.subject, now)

    async def enter(self, name: str, family: Family, now: float) -> list[Entry]:
        """Have a family found by its subject; return their oldest entries. Repeating it changes nothing."""
        life_s = family.expires_at - now
        made_at = float(family.begun_at)
        return await self._index.add(family.subject, name, made_at=made_at, life_s=life_s)

    # Found

    async def of_subject(
        self, subject: str, now: float, *, after: Entry | None = None
    ) -> AsyncIterator[tuple[Entry, ListedFamily]]:
        """Go through the families of `subject`, the newest first, those that are revoked too.

        Entries without a family are taken out.
        """
        while entries := await self._index.page(subject, BATCH, after=after):
            for pair in await self._known(subject, entries, now):
                yield pair
            after = entries[-1]

    async def listed(
        self, now: float, search: Search = EVERY, *, on_look: OnLook | None = None
    ) -> AsyncIterator[ListedFamily]:
        """Go through the whole store for live families, in no order, each once."""
        done: set[str] = set()
        async for names in self._batches(on_look):
            fresh = [name for name in names if name not in done]
            done.update(fresh)
            for item in await self.read(fresh, search):
                if self.is_live(item, now):
                    yield item

    async def show(self, name: str, now: float) -> ListedFamily | None:
        """Return one live family, or `None`."""
        found = await self.read([name]) if is_family_id(name) else []
        return found[0] if found and self.is_live(found[0], now) else None

    def is_live(self, listed: ListedFamily, now: float) -> bool:
        """Tell whether a family is neither over nor revoked."""
        return not listed.is_revoked and now < listed.family.expires_at

    async def step(self, cursor: str, count: int) -> tuple[str, list[str]]:
        """Return what the next families of the store are called, and the cursor behind them.

        As `Store.scan_page`. Raises `ValueError` for what is no cursor.
        """
        start = f"{self._prefix}refresh:{{"
        following, keys = await self._store.scan_page(start, cursor, count)
        names = (key[len(start) : -1] for key in keys if key.endswith("}"))
        return following, [name for name in names if is_family_id(name)]

    async def read(self, digests: Sequence[str], search: Search = EVERY) -> list[ListedFamily]:
        """Return the families of these names that match, live or not, as far as they exist."""
        found: list[ListedFamily] = []
        for start in range(0, len(digests), BATCH):
            found += await self._read(digests[start : start + BATCH], search)
        return found

    # Ended

    async def end(self, names: Sequence[str], subject: str | None, now: float) -> int:
        """End families that were just read; return how many records there were.

        `subject`: whose they are; `None`: several people's, and their entries stay until a reader
        takes them out.
        """
        ended = 0
        for start in range(0, len(names), BATCH):
            batch = names[start : start + BATCH]
            await self._revocations.revoke_sessions(self._issuer, batch, now, keep_s=self._keep_s)
            ended += await self._store.delete(*map(self.family_key, batch))
            await self._store.delete(*map(self.answer_key, batch))
            if subject is not None:
                await self._index.remove(subject, batch)
        return ended

    async def revoke(
        self, name: str, now: float, *, subject: str | None = None
    ) -> ListedFamily | None:
        """End one live family, with `subject` only if it is theirs; return what it was."""
        item = await self.show(name, now)
        if item is None or subject not in (None, item.family.subject):
            return None
        return item if await self.end([name], item.family.subject, now) else None

    async def revoke_subject(self, subject: str, now: float) -> int:
        """End every family of `subject`; return how many live ones there were.

        A login of theirs that has begun begins none any more (R6).
        """
        await self._mark_ended(self.ended_keys(subject)[0])
        ended, after = 0, None
        while entries := await self._index.page(subject, BATCH, after=after):
            theirs = [item for _, item in await self._known(subject, entries, now)]
            live = [item.digest for item in theirs if self.is_live(item, now)]
            ended += await self.end(live, subject, now)
            dead = [item.digest for item in theirs if not self.is_live(item, now)]
            await self.end(dead, subject, now)
            after = entries[-1]
        return ended

    async def revoke_all(self, now: float, *, on_look: OnLook | None = None) -> int:
        """End every family, records that do not fit too; return how many there were.

        No login that has begun begins one any more (R6).
        """
        await self._mark_ended(self.ended_keys("")[1])
        ended = 0
        async for names in self._batches(on_look):
            ended += await self.end(names, None, now)
        await self._index.clear()
        return ended

    async def _mark_ended(self, key: str) -> None:
        await self._store.put(key, secrets.token_bytes(16), ttl_s=ENDED_LIFE_S)

    async def _read(self, names: Sequence[str], search: Search) -> list[ListedFamily]:
        found: list[tuple[str, Family]] = []
        for name, record in zip(
            names, await self._store.fetch([*map(self.family_key, names)]), strict=True
        ):
            if record is None or not search.may_match(record):
                continue
            try:
                family = Family.decode(record)
            except ValueError as error:
                _log.warning("refresh family %s: %s", name[:8], error)
                continue
            if search.matches(family):
                found.append((name, family))
        return await self._judged(found)

    async def _judged(self, found: Sequence[tuple[str, Family]]) -> list[ListedFamily]:
        """Say of each family whether it was revoked since it began, by one look at the deny-list."""
        if not found:
            return []
        keys = [
            self._revoked.for_token(self._issuer, {"sub": family.subject, "sid": name}, name)
            for name, family in found
        ]
        asked = list(dict.fromkeys(key for each in keys for key in each))
        values = dict(zip(asked, await self._store.fetch(asked), strict=True))
        return [
            ListedFamily(
                name,
                family,
                revoked_since([values[key] for key in each], float(family.begun_at)) is not None,
            )
            for (name, family), each in zip(found, keys, strict=True)
        ]

    async def _known(
        self, subject: str, entries: Sequence[Entry], now: float
    ) -> list[tuple[Entry, ListedFamily]]:
        """Return the families behind entries of `subject`; take out those that have none."""
        found = {item.digest: item for item in await self.read([e.digest for e in entries])}
        theirs, gone = [], []
        for entry in entries:
            item = found.get(entry.digest)
            if item is not None and item.family.subject == subject:
                theirs.append((entry, item))
            elif item is not None or entry.made_at < now - YOUNG_S:
                gone.append(entry.digest)
        await self._index.remove(subject, gone)
        return theirs

    async def _batches(self, on_look: OnLook | None = None) -> AsyncIterator[list[str]]:
        """Go through the names of all families that are there from beginning to end."""
        cursor, waiting = "", list[str]()
        while True:
            cursor, names = await self.step(cursor, SCAN_STEP)
            waiting += names
            while len(waiting) >= BATCH or (waiting and not cursor):
                yield waiting[:BATCH]
                waiting = waiting[BATCH:]
            if on_look is not None:
                on_look(SCAN_STEP)
            if not cursor:
                return
