"""What the admin API does (docs/admin.md): paths and methods to the room where sessions are ended."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

from proxy.core.session_search import Search
from proxy.edge.admin.request import AdminRequest
from proxy.edge.portal.reply import Refused, Reply, json_reply
from proxy.services.administration import (
    Actor,
    Administration,
    FamilyAdministration,
    details,
    family_details,
    family_summary,
    summary,
)
from proxy.services.audit import Audit
from proxy.services.token_revocation import TokenRevocation

DEFAULT_LIMIT: Final = 50
_ONE: Final = re.compile(r"/(?:sessions/[0-9a-f]{64}|families/[0-9a-f]{32})")
"""A path that names one of a list; the id stands behind the last slash."""


OpenAdministration = Callable[[str | None], Administration]
"""Gives the sessions of the named scheme, or of the one that people sign in to.

Raises `ValueError` where no scheme, or several, could be meant.
"""


@dataclass(frozen=True, slots=True)
class AdminServices:
    """What the endpoints work with."""

    administration: OpenAdministration
    families: FamilyAdministration | None
    """`None` where the gate issues no tokens."""
    tokens: TokenRevocation
    audit: Audit


Work = Callable[[AdminRequest, Actor, float], Awaitable[Reply]]


class AdminEndpoints:
    """Answers requests that the guard has let in."""

    def __init__(self, services: AdminServices) -> None:
        self._services = services
        self._table: dict[str, dict[str, Work]] = {
            "/sessions": {"GET": self._list},
            "/sessions/revoke": {"POST": self._revoke_sessions},
            "/tokens/revoke": {"POST": self._revoke_tokens},
            "/sessions/{id}": {"GET": self._show, "DELETE": self._end},
            "/families": {"GET": self._list_families},
            "/families/{id}": {"GET": self._show_family, "DELETE": self._end_family},
        }

    async def answer(self, request: AdminRequest, actor: Actor, now: float) -> Reply:
        """Do what is asked. Raises `Refused` and `StoreUnavailable`."""
        path = request.path
        if _ONE.fullmatch(path) is not None:
            path = f"{path.rpartition('/')[0]}/{{id}}"
        elif "{" in path:
            raise Refused("route_not_found")
        methods = self._table.get(path)
        if methods is None:
            raise Refused("route_not_found")
        work = methods.get(request.method)
        if work is None:
            allowed = ", ".join(sorted(methods)).encode()
            raise Refused("method_not_allowed", headers=((b"Allow", allowed),))
        try:
            return await work(request, actor, now)
        except ValueError as error:
            raise Refused("bad_request", str(error)) from None

    async def _list(self, request: AdminRequest, _actor: Actor, now: float) -> Reply:
        asked = _known(
            request.parameters(), "subject", "address", "agent", "limit", "after", "scheme"
        )
        search = Search(asked.get("subject"), asked.get("address"), asked.get("agent"))
        room = self._services.administration(asked.get("scheme"))
        limit = _limit(asked.get("limit"))
        page = await room.page(search, now, limit=limit, after=asked.get("after"))
        return json_reply({"sessions": [summary(it) for it in page.items], "next": page.next})

    async def _show(self, request: AdminRequest, _actor: Actor, now: float) -> Reply:
        asked = _known(request.parameters(), "scheme")
        room = self._services.administration(asked.get("scheme"))
        item = await room.show(_id(request), now)
        if item is None:
            raise Refused("session_not_found")
        return json_reply(details(item), subject=item.session.subject)

    async def _end(self, request: AdminRequest, actor: Actor, now: float) -> Reply:
        asked = _known(request.parameters(), "scheme")
        room = self._services.administration(asked.get("scheme"))
        if not await room.end(_id(request), actor, now):
            raise Refused("session_not_found")
        return json_reply({"revoked": 1})

    async def _revoke_sessions(self, request: AdminRequest, actor: Actor, now: float) -> Reply:
        asked = _known(request.json(), "subject", "all", "scheme")
        room = self._services.administration(_text(asked, "scheme"))
        subject = _text(asked, "subject")
        _one_of(asked, "subject", "all")
        if subject is None:
            ended = await room.end_all(actor, now)
        else:
            ended = await room.end_subject(subject, actor, now)
        return json_reply(ended.document("revoked"))

    async def _list_families(self, request: AdminRequest, _actor: Actor, now: float) -> Reply:
        asked = _known(request.parameters(), "subject", "address", "agent", "limit", "after")
        search = Search(asked.get("subject"), asked.get("address"), asked.get("agent"))
        limit = _limit(asked.get("limit"))
        if self._services.families is None:
            return json_reply({"families": [], "next": None})
        page = await self._services.families.page(
            search, now, limit=limit, after=asked.get("after")
        )
        shown = [family_summary(item) for item in page.items]
        return json_reply({"families": shown, "next": page.next})

    async def _show_family(self, request: AdminRequest, _actor: Actor, now: float) -> Reply:
        _known(request.parameters())
        families = self._services.families
        item = None if families is None else await families.show(_id(request), now)
        if item is None:
            raise Refused("family_not_found")
        return json_reply(family_details(item), subject=item.family.subject)

    async def _end_family(self, request: AdminRequest, actor: Actor, now: float) -> Reply:
        _known(request.parameters())
        families = self._services.families
        if families is None or not await families.end(_id(request), actor, now):
            raise Refused("family_not_found")
        return json_reply({"revoked": 1})

    async def _revoke_tokens(self, request: AdminRequest, actor: Actor, now: float) -> Reply:
        asked = _known(request.json(), "jti", "subject", "issuer", "all", "scheme")
        _one_of(asked, "jti", "subject", "issuer", "all")
        scheme, jti, subject = (_text(asked, name) for name in ("scheme", "jti", "subject"))
        tokens = self._services.tokens
        if jti is not None:
            what = await tokens.revoke_jti(jti, now, scheme=scheme)
        elif subject is not None:
            what = await tokens.revoke_subject(subject, now, scheme=scheme)
        elif "issuer" in asked:
            what = await tokens.revoke_issuer(now, scheme=scheme)
        else:
            what = await tokens.revoke_all(now)
        self._services.audit.note(actor.event("token_revoked", subject, what), now)
        return json_reply({"revoked": what})


def _id(request: AdminRequest) -> str:
    return request.path.rpartition("/")[2]


def _known(asked: dict[str, Any], *names: str) -> dict[str, Any]:
    """Return `asked`; a mistyped name is a mistake, and not a request for everything."""
    if not asked.keys() <= {*names}:
        raise ValueError(f"known are {', '.join(names)}")
    return asked


def _one_of(asked: dict[str, Any], *names: str) -> None:
    """Demand exactly one of `names`; those that are no texts are `true`."""
    given = [name for name in names if name in asked]
    if len(given) != 1:
        raise ValueError(f"name one of {', '.join(names)}")
    if given[0] in ("all", "issuer") and asked[given[0]] is not True:
        raise ValueError(f"{given[0]} is true or left out")


def _text(asked: dict[str, Any], name: str) -> str | None:
    value = asked.get(name)
    if name in asked and (not isinstance(value, str) or not value):
        raise ValueError(f"{name} is a text")
    return value


def _limit(text: str | None) -> int:
    if text is None:
        return DEFAULT_LIMIT
    if not (text.isascii() and text.isdigit() and 0 < len(text) <= 4 and int(text) > 0):
        raise ValueError("limit is a number above 0")
    return int(text)
