"""`/admin`: everybody's sessions, for those who look after them (security.md, S3, S6).

Every visit wants a role of `login.administrators` and a factor that is not older than five minutes:
a session that was left open, or stolen, opens nothing here. A page load with an older one is sent to
prove one (`/step-up`), and comes back.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, urlencode

from proxy.core.formats.native import cookie_digest
from proxy.core.freshness import Freshness
from proxy.core.session_search import MAX_TEXT, Search
from proxy.edge.portal.account import require_session, session_or_way
from proxy.edge.portal.language import pick_language, texts
from proxy.edge.portal.pages import PortalPages
from proxy.edge.portal.reply import Refused, Reply, json_reply, redirect
from proxy.edge.portal.session_rows import document_of, row_of
from proxy.edge.portal.sessions import actor_of, ended_notice

if TYPE_CHECKING:
    from proxy.edge.portal.portal import Endpoint
    from proxy.edge.portal.visit import Visit
    from proxy.model import Identity
    from proxy.services.own import OwnServices
    from proxy.services.session_pages import Page

PAGE: Final = 50
FRESH: Final = Freshness(login_within=300.0)
"""S6: how old a factor may be."""
_SEARCHED: Final = ("subject", "address", "agent")
_ADMIN: Final = "by administrator"


def endpoints(services: OwnServices) -> Mapping[str, Endpoint]:
    """Return the endpoints of this part by name."""
    part = _AdminEndpoints(services)
    return {"admin": part.show, "admin_end": part.end}


class _AdminEndpoints:
    def __init__(self, services: OwnServices) -> None:
        self._visitors = services.visitors
        self._room = services.administration
        self._roles = services.administrators
        self._path = services.settings.path
        self._pages = PortalPages(services.settings.branding, services.settings.path)

    async def show(self, visit: Visit) -> Reply:
        """List, search and page through everybody's sessions."""
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
            page = await self._room.page(
                search, visit.now, limit=PAGE, after=asked.get("after") or None
            )
        except ValueError as error:
            if not visit.wants_page or "after" in asked:
                raise Refused("bad_request", str(error)) from None
            return self._page(visit, identity, asked, None)
        if visit.wants_page:
            return self._page(visit, identity, asked, page)
        current = self._current(visit)
        shown = [document_of(item, current) for item in page.sessions]
        return json_reply({"sessions": shown, "next": page.next}, subject=identity.subject)

    async def end(self, visit: Visit) -> Reply:
        """End one session (`id`), or all of a person's (`subject`)."""
        identity = await require_session(self._visitors, visit)
        self._require_role(identity)
        stale = staleness(identity, visit.now)
        if stale is not None:
            raise stale
        asked = visit.input()
        actor = actor_of(visit, _ADMIN, identity.subject)
        if ("id" in asked) == bool(asked.get("subject")):
            raise Refused("bad_request", "name one of id and subject")
        if "id" not in asked:
            count = await self._room.end_subject(asked["subject"], actor, visit.now)
        elif await self._room.end(asked["id"], actor, visit.now):
            count = 1
        else:
            raise Refused("session_not_found", "no session of that id")
        if not visit.wants_page:
            return json_reply({"ended": count}, subject=identity.subject)
        query = {"ended": count, "lang": _language(visit, asked)}
        subject = asked.get("back") or asked.get("subject")
        if subject:
            query["subject"] = subject
        return redirect(f"{self._path}/admin?{urlencode(query)}", subject=identity.subject)

    def _require_role(self, identity: Identity) -> None:
        if self._roles.isdisjoint(identity.roles):
            raise Refused("role_missing", "not one of login.administrators")

    def _page(
        self, visit: Visit, identity: Identity, asked: Mapping[str, str], page: Page | None
    ) -> Reply:
        """Return the page; without a list it says that nothing can be searched for like that."""
        language = _language(visit, asked)
        text = texts(language)
        current = self._current(visit)
        given = {name: asked.get(name, "")[:MAX_TEXT] for name in _SEARCHED}
        following = None if page is None else page.next
        values = {
            "asked": given,
            "sessions": [
                row_of(item, text, visit.now, current)
                for item in (() if page is None else page.sessions)
            ],
            "next": following
            and urlencode(
                {**{k: v for k, v in given.items() if v}, "after": following, "lang": language}
            ),
            "notice": ended_notice(asked, text),
            "error": text["admin_bad_search"] if page is None else "",
            "end_all": text["admin_end_all"].format(subject=given["subject"]),
        }
        return self._pages.reply(
            "admin.html",
            language,
            values,
            status=400 if page is None else 200,
            subject=identity.subject,
        )

    def _current(self, visit: Visit) -> str:
        found = self._visitors.find(visit.carried())
        return "" if found is None else cookie_digest(found.value)


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
