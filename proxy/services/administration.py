"""What an administrator does with sessions, and the note that is made of it.

The command line, the admin API and the pages of `/_auth/admin` are three doors to this one room.
Who may enter is decided at each door.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from proxy.core.session_search import Search
from proxy.services.audit import Audit, Event
from proxy.services.session_pages import Page, SessionPages
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


class Administration:
    """Lists, shows and ends sessions. Every method raises `StoreUnavailable`."""

    def __init__(self, sessions: Sessions, audit: Audit) -> None:
        self._sessions = sessions
        self._pages = SessionPages(sessions)
        self._audit = audit

    async def page(
        self, search: Search, now: float, *, limit: int, after: str | None = None
    ) -> Page:
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
    ) -> int:
        """End every session of `subject`; return how many there were."""
        count = await self._sessions.revoke_subject(subject, on_look=on_look)
        if count:
            self._audit.note(actor.event("session_ended", subject, f"all {count}"), now)
        return count

    async def end_others(self, subject: str, current: str, actor: Actor, now: float) -> int:
        """End every session of `subject` that the gate knows of, but for `current`; count them."""
        theirs = [
            listed.digest
            async for _, listed in self._sessions.of_subject(subject, now)
            if listed.digest != current
        ]
        ended = [
            digest for digest in theirs if await self._sessions.revoke(digest, subject=subject)
        ]
        if ended:
            self._audit.note(actor.event("session_ended", subject, f"{len(ended)} others"), now)
        return len(ended)

    async def end_all(self, actor: Actor, now: float, *, on_look: OnLook | None = None) -> int:
        """End every session that there is; return how many there were."""
        count = await self._sessions.revoke_all(on_look=on_look)
        self._audit.note(actor.event("session_ended", None, f"all {count} of everybody"), now)
        return count


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
