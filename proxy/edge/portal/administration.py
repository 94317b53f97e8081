"""`/admin`: everybody's sessions and refresh families, for those who look after them (security.md, S3, S6).

Every visit wants a role of `login.administrators` and a factor that is not older than five minutes:
a session that was left open, or stolen, opens nothing here. A page load with an older one is sent to
prove one (`/step-up`), and comes back.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import quote, urlencode

from proxy.core.formats.native import cookie_digest
from proxy.core.freshness import Freshness
from proxy.core.session_search import MAX_TEXT, Search
from proxy.edge.portal.account import require_session, session_or_way
from proxy.edge.portal.apart import APART, check_form, form_token
from proxy.edge.portal.language import pick_language, texts
from proxy.edge.portal.pages import PortalPages
from proxy.edge.portal.reply import Refused, Reply, json_reply, redirect
from proxy.edge.portal.session_rows import document_of, family_row_of, row_of
from proxy.edge.portal.sessions import (
    ONE,
    ONE_FAMILY,
    actor_of,
    end_family,
    ended_notice,
    ended_query,
    families_document,
    families_of,
)
from proxy.services.session_pages import Page

if TYPE_CHECKING:
    from proxy.edge.portal.portal import Endpoint
    from proxy.edge.portal.visit import Visit
    from proxy.model import Identity
    from proxy.services.family_records import ListedFamily
    from proxy.services.own import OwnServices
    from proxy.services.session_reading import ListedSession

PAGE: Final = 50
FRESH: Final = Freshness(login_within=300.0)
"""S6: how old a factor may be."""
_SEARCHED: Final = ("subject", "address", "agent")
_ADMIN: Final = "by administrator"


def endpoints(services: OwnServices) -> Mapping[str, Endpoint]:
    """Return the endpoints of this part by name."""
    part = _AdminEndpoints(services)
    return {"admin": part.show, "admin_end": part.end}


class _Found(NamedTuple):
    """What was looked for."""

    sessions: Page[ListedSession]
    families: Page[ListedFamily] | None
    """`None` where none were looked for."""


_NOTHING: Final[Page[ListedSession]] = Page([], None)


class _AdminEndpoints:
    def __init__(self, services: OwnServices) -> None:
        self._visitors = services.visitors
        self._room = services.administration
        self._roles = services.administrators
        self._path = services.settings.path
        has_families = self._room.families is not None
        self._end_all = "admin_end_all_programs" if has_families else "admin_end_all"
        self._pages = PortalPages(services.settings.branding, services.settings.path)

    async def show(self, visit: Visit) -> Reply:
        """List, search and page through everybody's sessions; of one person, families as well."""
        visit.refuse_script()
        identity = await session_or_way(self._visitors, visit, self._path, "admin")
        if isinstance(identity, Reply):
            return identity
        self._require_role(identity)
        stale = staleness(identity, visit.now)
        if stale is not None:
            if not visit.wants_page:
                raise stale
            back = quote(f"{self._path}/admin", safe="")
            return redirect(f"{self._path}/step-up?next={back}", subject=identity.subject)
        asked = visit.parameters()
        given = {name: asked[name] for name in _SEARCHED if asked.get(name)}
        try:
            search = _search(given)
            found = await self._find(search, visit.now, asked)
        except ValueError as error:
            if not visit.wants_page or "after" in asked or "families_after" in asked:
                raise Refused("bad_request", str(error)) from None
            return self._page(visit, identity, asked, None)
        if visit.wants_page:
            return self._page(visit, identity, asked, found)
        current = self._current(visit)
        sessions = [document_of(item, current) for item in found.sessions.items]
        told = {
            "sessions": sessions,
            "next": found.sessions.next,
            **families_document(found.families),
        }
        return json_reply(told, subject=identity.subject)

    async def _find(self, search: Search, now: float, asked: Mapping[str, str]) -> _Found:
        """Return what is looked for. Raises `ValueError` for what is no place in a list.

        Families of everybody are looked for where that is asked (`families`): of a million keys
        a page without a person may look at some 20,000, and most visits are about sessions.
        """
        after, families_after = asked.get("after") or None, asked.get("families_after") or None
        sessions = await self._room.page(search, now, limit=PAGE, after=after)
        families = None
        if search.subject is not None or asked.get("families") == "1":
            families = await families_of(self._room, search, now, families_after)
        return _Found(sessions, families)

    async def end(self, visit: Visit) -> Reply:
        """End one session (`id`) or refresh family (`family`), or all of a person's (`subject`)."""
        visit.refuse_script()
        identity = await require_session(self._visitors, visit)
        self._require_role(identity)
        stale = staleness(identity, visit.now)
        if stale is not None:
            raise stale
        asked = visit.input()
        check_form(visit, asked, self._token(visit))
        actor = actor_of(visit, _ADMIN, identity.subject)
        if ("id" in asked) + ("family" in asked) + bool(asked.get("subject")) != 1:
            raise Refused("bad_request", "name one of id, family and subject")
        ended = ONE
        if "family" in asked:
            await end_family(self._room, asked["family"], actor, visit.now)
            ended = ONE_FAMILY
        elif "id" not in asked:
            ended = await self._room.end_subject(asked["subject"], actor, visit.now)
        elif not await self._room.end(asked["id"], actor, visit.now):
            raise Refused("session_not_found", "no session of that id")
        if not visit.wants_page:
            told = ended.document("ended") if asked.get("subject") else {"ended": ended.total}
            return json_reply(told, subject=identity.subject)
        query = {**ended_query(ended), "lang": _language(visit, asked)}
        subject = asked.get("back") or asked.get("subject")
        if subject:
            query["subject"] = subject
        elif "family" in asked:
            query["families"] = "1"
        return redirect(f"{self._path}/admin?{urlencode(query)}", subject=identity.subject)

    def _require_role(self, identity: Identity) -> None:
        if self._roles.isdisjoint(identity.roles):
            raise Refused("role_missing", "not one of login.administrators")

    def _page(
        self, visit: Visit, identity: Identity, asked: Mapping[str, str], found: _Found | None
    ) -> Reply:
        """Return the page; without a list it says that nothing can be searched for like that."""
        language = _language(visit, asked)
        text = texts(language)
        current = self._current(visit)
        given = {name: asked.get(name, "")[:MAX_TEXT] for name in _SEARCHED}
        searched = {name: value for name, value in given.items() if value}
        sessions = _NOTHING if found is None else found.sessions
        families = None if found is None else found.families
        values = {
            "csrf": self._token(visit),
            "asked": given,
            "sessions": [row_of(item, text, visit.now, current) for item in sessions.items],
            "next": _query({**searched, "after": sessions.next}, language),
            "families": families
            and [family_row_of(item, text, visit.now) for item in families.items],
            "families_next": families
            and _query({**searched, "families": "1", "families_after": families.next}, language),
            "families_query": None
            if self._room.families is None or families is not None
            else _query({**searched, "families": "1"}, language),
            "notice": ended_notice(asked, text),
            "error": text["admin_bad_search"] if found is None else "",
            "end_all": text[self._end_all].format(subject=given["subject"]),
        }
        return self._pages.reply(
            "admin.html",
            language,
            values,
            status=400 if found is None else 200,
            headers=(APART,),
            subject=identity.subject,
        )

    def _current(self, visit: Visit) -> str:
        found = self._visitors.find(visit.carried())
        return "" if found is None else cookie_digest(found.value)

    def _token(self, visit: Visit) -> str:
        found = self._visitors.find(visit.carried())
        return form_token(b"" if found is None else found.value)


def _query(parameters: Mapping[str, str | None], language: str) -> str | None:
    """Return the query of a link; `None` where one of the parameters leads nowhere."""
    if any(value is None for value in parameters.values()):
        return None
    return urlencode({**parameters, "lang": language})


def staleness(identity: Identity, now: float) -> Refused | None:
    """Return why what somebody has proved is not enough (S6), or `None`.

    A session that an operator vouched for (`session new`) proved nothing: its `amr` is empty.
    """
    if not identity.amr:
        return Refused("step_up_required", "amr says of no factor")
    refusal = FRESH.check(identity, now)
    return None if refusal is None else Refused(refusal.code, refusal.detail)


def _search(given: Mapping[str, str]) -> Search:
    return Search(given.get("subject"), given.get("address"), given.get("agent"))


def _language(visit: Visit, said: Mapping[str, str]) -> str:
    return pick_language(said.get("lang"), visit.view.first(b"accept-language"))
