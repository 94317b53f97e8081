"""`/sessions`: where somebody is signed in, which programs are so for them, and ending it (security.md, S3).

A person sees and ends what is their own and nobody else's: whose they are is the visitor's
session's word alone, never the request's. An id of somebody else answers as one that is not there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

from proxy.core.formats.native import cookie_digest
from proxy.core.session_search import Search
from proxy.edge.portal.account import require_session, session_or_way
from proxy.edge.portal.language import pick_language, texts
from proxy.edge.portal.pages import PortalPages
from proxy.edge.portal.reply import Refused, Reply, json_reply, redirect
from proxy.edge.portal.session_rows import document_of, family_document_of, family_row_of, row_of
from proxy.services.administration import Actor, Ended

if TYPE_CHECKING:
    from proxy.edge.portal.portal import Endpoint
    from proxy.edge.portal.visit import Visit
    from proxy.model import Identity
    from proxy.services.administration import Administration
    from proxy.services.family_records import ListedFamily
    from proxy.services.own import OwnServices
    from proxy.services.session_pages import Page

PAGE: Final = 50
ONE: Final = Ended(1, None)
ONE_FAMILY: Final = Ended(0, 1)
"""What is told when one was named and ended."""
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
        theirs = Search(identity.subject)
        room = self._room
        try:
            page = await room.page(theirs, visit.now, limit=PAGE, after=asked.get("after"))
            families = await families_of(room, theirs, visit.now, asked.get("families_after"))
        except ValueError as error:
            raise Refused("bad_request", str(error)) from None
        if not visit.wants_page:
            shown = [document_of(item, current) for item in page.items]
            told = {"sessions": shown, "next": page.next, **families_document(families)}
            return json_reply(told, subject=identity.subject)
        language = _language(visit, asked)
        text = texts(language)
        rows = [row_of(item, text, visit.now, current) for item in page.items]
        programs = [] if families is None else families.items
        values = {
            "sessions": rows,
            "families": [family_row_of(item, text, visit.now) for item in programs],
            "families_next": None if families is None else families.next,
            "has_others": bool(programs)
            or page.next is not None
            or any(not row.is_current for row in rows),
            "next": page.next,
            "notice": ended_notice(asked, text),
            "signed_in_as": text["signed_in_as"].format(name=identity.name or identity.subject),
        }
        return self._pages.reply("sessions.html", language, values, subject=identity.subject)

    async def end(self, visit: Visit) -> Reply:
        """End one of the visitor's sessions (`id`) or families (`family`), or all but this (`others`)."""
        identity = await require_session(self._visitors, visit)
        asked = visit.input()
        current = self._current(visit)
        actor = actor_of(visit, _OWNER)
        subject = identity.subject
        if ("id" in asked) + ("family" in asked) + (asked.get("others") == "1") != 1:
            raise Refused("bad_request", "name one of id, family and others")
        if "family" in asked:
            await end_family(self._room, asked["family"], actor, visit.now, subject=subject)
            return self._ended(visit, asked, identity, ONE_FAMILY)
        if "id" not in asked:
            ended = await self._room.end_others(subject, current, actor, visit.now)
            return self._ended(visit, asked, identity, ended)
        if not await self._room.end(asked["id"], actor, visit.now, subject=subject):
            raise Refused("session_not_found", "no session of the visitor's")
        if asked["id"] != current:
            return self._ended(visit, asked, identity, ONE)
        headers = self._cookie.expire(visit.client)
        if not visit.wants_page:
            return json_reply({"ended": 1}, headers=headers, subject=subject)
        page = f"{self._path}/login?signed_out=1&lang={_language(visit, asked)}"
        return redirect(page, headers, subject=subject)

    def _ended(
        self, visit: Visit, asked: Mapping[str, str], identity: Identity, ended: Ended
    ) -> Reply:
        if not visit.wants_page:
            told = ended.document("ended") if "others" in asked else {"ended": ended.total}
            return json_reply(told, subject=identity.subject)
        query = {**ended_query(ended), "lang": _language(visit, asked)}
        page = f"{self._path}/sessions?{urlencode(query)}"
        return redirect(page, subject=identity.subject)

    def _current(self, visit: Visit) -> str:
        """Return the id of the session that the request carries."""
        found = self._visitors.find(visit.carried())
        return "" if found is None else cookie_digest(found.value)


async def families_of(
    room: Administration, search: Search, now: float, after: str | None
) -> Page[ListedFamily] | None:
    """Return a page of families; `None` where there can be none. Raises `ValueError`."""
    if room.families is None:
        return None
    return await room.families.page(search, now, limit=PAGE, after=after)


def families_document(page: Page[ListedFamily] | None) -> dict[str, Any]:
    """Return the members of an answer that tell of families; none where there can be no family."""
    if page is None:
        return {}
    shown = [family_document_of(item) for item in page.items]
    return {"families": shown, "families_next": page.next}


async def end_family(
    room: Administration, name: str, actor: Actor, now: float, *, subject: str | None = None
) -> None:
    """End one family, with `subject` only if it is theirs. Raises `Refused` where there is none."""
    families = room.families
    if families is None or not await families.end(name, actor, now, subject=subject):
        raise Refused("family_not_found", "no such family")


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


def ended_query(ended: Ended) -> dict[str, str]:
    """Return the parameters from which `ended_notice` says how many ended."""
    told = {"ended": str(ended.sessions)} if ended.sessions or not ended.families else {}
    return {**told, **({"programs": str(ended.families)} if ended.families else {})}


def ended_notice(asked: Mapping[str, str], text: Mapping[str, str]) -> str:
    """Say how many ended: numbers of at most six digits, and nothing else that a link could say."""
    said = []
    for name, message in (("ended", "sessions_ended"), ("programs", "families_ended")):
        count = asked.get(name, "")
        if count.isascii() and count.isdigit() and len(count) <= 6:
            said.append(text[message].format(count=int(count)))
    return " ".join(said)


def _language(visit: Visit, said: Mapping[str, str]) -> str:
    return pick_language(said.get("lang"), visit.view.first(b"accept-language"))
