"""What an administrator does with sessions and refresh families, and the note that is made of it.

The command line, the admin API and the pages of `/_auth/admin` are three doors to this one room.
Who may enter is decided at each door.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from proxy.core.session_search import Search
from proxy.services.audit import Audit, Event
from proxy.services.family_records import FamilyRecords, ListedFamily
from proxy.services.session_pages import Page, Pages
from proxy.services.session_reading import ListedSession, OnLook
from proxy.services.sessions import Sessions


@dataclass(frozen=True, slots=True)
class Actor:
    """Who ends something, for the audit trail."""

    means: str
    """In the gate's own words: `on the command line`, `by the admin API`, `by an administrator`."""
    name: str | None = None
    """Who it was, where that is known."""
    address: str | None = None
    agent: str | None = None
    request_id: str = ""

    def event(self, kind: str, subject: str | None, detail: str = "") -> Event:
        """Return the event of what this actor did to `subject`."""
        who = f"{self.means} {self.name}" if self.name else self.means
        return Event(
            kind,
            subject,
            self.address,
            self.agent,
            self.request_id,
            f"{detail}, {who}" if detail else who,
        )


class Ended(NamedTuple):
    """How many ended."""

    sessions: int
    families: int | None
    """`None` where there can be none, because the gate issues no tokens."""

    @property
    def total(self) -> int:
        """All of them together."""
        return self.sessions + (self.families or 0)

    def document(self, name: str) -> dict[str, int]:
        """Return both, ready for JSON: the sessions as `name`, families where any ended."""
        if not self.families:
            return {name: self.sessions}
        return {name: self.sessions, "families": self.families}

    def words(self) -> str:
        """Return both for the audit trail; a count of nothing is left out."""
        families = _plural(self.families or 0, "refresh family", "refresh families")
        if not self.families:
            return str(self.sessions)
        return f"{self.sessions} and {families}" if self.sessions else families


class FamilyAdministration:
    """Lists, shows and ends refresh families. Every method raises `StoreUnavailable`."""

    def __init__(self, records: FamilyRecords, audit: Audit) -> None:
        self.records = records
        self._pages = Pages(records)
        self._audit = audit

    async def page(
        self, search: Search, now: float, *, limit: int, after: str | None = None
    ) -> Page[ListedFamily]:
        """Return a page of live families. Raises `ValueError` for what is no place in the list."""
        return await self._pages.page(search, now, limit=limit, after=after)

    async def show(self, name: str, now: float) -> ListedFamily | None:
        """Return one live family, or `None`."""
        return await self.records.show(name, now)

    async def end(self, name: str, actor: Actor, now: float, *, subject: str | None = None) -> bool:
        """End one family, with `subject` only if it is theirs; return whether there was one."""
        ended = await self.records.revoke(name, now, subject=subject)
        if ended is None:
            return False
        family = ended.family
        detail = f"refresh family {name[:8]} of client {family.client}"
        self._audit.note(actor.event("token_revoked", family.subject, detail), now)
        return True


class Administration:
    """Lists, shows and ends sessions, and refresh families with them.

    Constructor: `families` is `None` where the gate issues no tokens. Every method raises
    `StoreUnavailable`.
    """

    def __init__(
        self, sessions: Sessions, audit: Audit, families: FamilyRecords | None = None
    ) -> None:
        self._sessions = sessions
        self._pages = Pages(sessions)
        self.families = None if families is None else FamilyAdministration(families, audit)
        self._audit = audit

    async def page(
        self, search: Search, now: float, *, limit: int, after: str | None = None
    ) -> Page[ListedSession]:
        """Return a page of live sessions. Raises `ValueError` for what is no place in the list."""
        return await self._pages.page(search, now, limit=limit, after=after)

    async def show(self, digest: str, now: float) -> ListedSession | None:
        """Return one live session, or `None`."""
        return await self._sessions.show(digest, now)

    async def end(
        self, digest: str, actor: Actor, now: float, *, subject: str | None = None
    ) -> bool:
        """End one session, with `subject` only if it is theirs; return whether there was one."""
        owner = await self._sessions.owner(digest)
        if not await self._sessions.revoke(digest, subject=subject):
            return False
        self._audit.note(actor.event("session_ended", owner, digest[:8]), now)
        return True

    async def end_subject(
        self, subject: str, actor: Actor, now: float, *, on_look: OnLook | None = None
    ) -> Ended:
        """End every session and family of `subject`; return how many there were."""
        families = await self._end_families(subject, now)
        count = await self._sessions.revoke_subject(subject, on_look=on_look)
        ended = Ended(count, families)
        if ended.total:
            self._audit.note(actor.event("session_ended", subject, f"all {ended.words()}"), now)
        return ended

    async def end_others(self, subject: str, current: str, actor: Actor, now: float) -> Ended:
        """End what `end_subject` ends, as far as the gate knows of it, but for `current`; count it."""
        families = await self._end_families(subject, now)
        theirs = [
            listed.digest
            async for _, listed in self._sessions.of_subject(subject, now)
            if listed.digest != current
        ]
        gone = [digest for digest in theirs if await self._sessions.revoke(digest, subject=subject)]
        ended = Ended(len(gone), families)
        if ended.total:
            self._audit.note(actor.event("session_ended", subject, f"{ended.words()} others"), now)
        return ended

    async def end_all(self, actor: Actor, now: float, *, on_look: OnLook | None = None) -> Ended:
        """End every session and family that there is; return how many there were."""
        families = None
        if self.families is not None:
            families = await self.families.records.revoke_all(now, on_look=on_look)
        ended = Ended(await self._sessions.revoke_all(on_look=on_look), families)
        detail = f"all {ended.words()} of everybody"
        self._audit.note(actor.event("session_ended", None, detail), now)
        return ended

    async def _end_families(self, subject: str, now: float) -> int | None:
        if self.families is None:
            return None
        return await self.families.records.revoke_subject(subject, now)


def summary(item: ListedSession) -> dict[str, Any]:
    """Return what lists show of a session (reference.md §3), ready for JSON."""
    return {
        "id": item.digest,
        "subject": item.session.subject,
        "created_at": item.session.created_at,
        "last_seen": item.last_seen,
        "address": item.session.address,
        "agent": item.session.agent,
    }


def details(item: ListedSession) -> dict[str, Any]:
    """Return all that may be shown of one session, ready for JSON."""
    session = item.session
    return {
        **summary(item),
        "expires_at": session.expires_at,
        "auth_time": session.auth_time,
        "amr": list(session.amr),
        "email": session.email,
        "name": session.name,
        "roles": list(session.roles),
        "scopes": list(session.scopes),
        "claims": dict(session.claims),
    }


def family_summary(item: ListedFamily) -> dict[str, Any]:
    """Return what lists show of a refresh family, ready for JSON."""
    family = item.family
    return {
        "id": item.digest,
        "subject": family.subject,
        "client": family.client,
        "created_at": family.begun_at,
        "last_seen": family.used_at,
        "address": family.address,
        "agent": family.agent,
    }


def family_details(item: ListedFamily) -> dict[str, Any]:
    """Return all that may be shown of one refresh family, ready for JSON."""
    family, holder = item.family, item.family.holder
    return {
        **family_summary(item),
        "expires_at": family.expires_at,
        "auth_time": holder.auth_time,
        "amr": list(holder.amr),
        "email": holder.email,
        "name": holder.name,
        "roles": list(holder.roles),
        "scopes": list(holder.scopes),
        "claims": dict(holder.claims),
        "jkt": family.jkt,
    }


def _plural(count: int, one: str, several: str) -> str:
    return f"{count} {one if count == 1 else several}"
