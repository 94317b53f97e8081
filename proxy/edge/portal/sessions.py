"""`/sessions`: where somebody is signed in, and signing out there (security.md, S3).

A person sees and ends their own sessions and nobody else's: whose they are is the visitor's
session's word alone, never the request's. An id of somebody else answers as one that is not there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from proxy.core.formats.native import cookie_digest
from proxy.core.session_search import Search
from proxy.edge.portal.account import require_session, session_or_way
from proxy.edge.portal.language import pick_language, texts
from proxy.edge.portal.pages import PortalPages
from proxy.edge.portal.reply import Refused, Reply, json_reply, redirect
from proxy.edge.portal.session_rows import document_of, row_of
from proxy.services.administration import Actor

if TYPE_CHECKING:
    from proxy.edge.portal.portal import Endpoint
    from proxy.edge.portal.visit import Visit
    from proxy.model import Identity
    from proxy.services.own import OwnServices

PAGE: Final = 50
_OWNER: Final = "by its owner"


def endpoints(services: OwnServices) -> Mapping[str, Endpoint]:
    """Return the endpoints of this part by name."""
    part = _SessionEndpoints(services)
    return {"sessions": part.show, "sessions_end": part.end}


class _SessionEndpoints:
    def __init__(self, services: OwnServices) -> None:
        self._visitors = services.visitors
        self._room = services.administration
        self._path = services.settings.path
        self._cookie = services.settings.cookie
        self._pages = PortalPages(services.settings.branding, services.settings.path)

    async def show(self, visit: Visit) -> Reply:
        """Show where the visitor is signed in."""
        identity = await session_or_way(self._visitors, visit, self._path, "sessions")
        if isinstance(identity, Reply):
            return identity
        asked = visit.parameters()
        current = self._current(visit)
        try:
            page = await self._room.page(
                Search(identity.subject), visit.now, limit=PAGE, after=asked.get("after")
            )
        except ValueError as error:
            raise Refused("bad_request", str(error)) from None
        if not visit.wants_page:
            shown = [document_of(item, current) for item in page.sessions]
            return json_reply({"sessions": shown, "next": page.next}, subject=identity.subject)
        language = _language(visit, asked)
        text = texts(language)
        rows = [row_of(item, text, visit.now, current) for item in page.sessions]
        values = {
            "sessions": rows,
            "has_others": page.next is not None or any(not row.is_current for row in rows),
            "next": page.next,
            "notice": ended_notice(asked, text),
            "signed_in_as": text["signed_in_as"].format(name=identity.name or identity.subject),
        }
        return self._pages.reply("sessions.html", language, values, subject=identity.subject)

    async def end(self, visit: Visit) -> Reply:
        """End one of the visitor's sessions (`id`), or all but this one (`others`)."""
        identity = await require_session(self._visitors, visit)
        asked = visit.input()
        current = self._current(visit)
        actor = actor_of(visit, _OWNER)
        subject = identity.subject
        if ("id" in asked) == (asked.get("others") == "1"):
            raise Refused("bad_request", "name one of id and others")
        if "id" not in asked:
            count = await self._room.end_others(subject, current, actor, visit.now)
            return self._ended(visit, asked, identity, count)
        if not await self._room.end(asked["id"], actor, visit.now, subject=subject):
            raise Refused("session_not_found", "no session of the visitor's")
        if asked["id"] != current:
            return self._ended(visit, asked, identity, 1)
        headers = self._cookie.expire(visit.client)
        if not visit.wants_page:
            return json_reply({"ended": 1}, headers=headers, subject=subject)
        page = f"{self._path}/login?signed_out=1&lang={_language(visit, asked)}"
        return redirect(page, headers, subject=subject)

    def _ended(
        self, visit: Visit, asked: Mapping[str, str], identity: Identity, count: int
    ) -> Reply:
        if not visit.wants_page:
            return json_reply({"ended": count}, subject=identity.subject)
        page = f"{self._path}/sessions?ended={count}&lang={_language(visit, asked)}"
        return redirect(page, subject=identity.subject)

    def _current(self, visit: Visit) -> str:
        """Return the id of the session that the request carries."""
        found = self._visitors.find(visit.carried())
        return "" if found is None else cookie_digest(found.value)


def actor_of(visit: Visit, means: str, name: str | None = None) -> Actor:
    """Return who does something, as the audit trail has it."""
    agent = visit.view.first(b"user-agent")
    return Actor(
        means,
        name,
        visit.client.address,
        None if agent is None else agent.decode("utf-8", "backslashreplace"),
        visit.request_id,
    )


def ended_notice(asked: Mapping[str, str], text: Mapping[str, str]) -> str:
    """Say how many ended: a number of at most six digits, and nothing else that a link could say."""
    count = asked.get("ended", "")
    if not (count.isascii() and count.isdigit() and len(count) <= 6):
        return ""
    return text["sessions_ended"].format(count=int(count))


def _language(visit: Visit, said: Mapping[str, str]) -> str:
    return pick_language(said.get("lang"), visit.view.first(b"accept-language"))
