"""What the admin API does (docs/admin.md): paths and methods to the room where sessions are ended."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

from proxy.core.session_search import Search
from proxy.edge.admin.request import AdminRequest
from proxy.edge.portal.reply import Refused, Reply, json_reply
from proxy.services.administration import Actor, Administration, details, summary
from proxy.services.audit import Audit
from proxy.services.token_revocation import TokenRevocation

DEFAULT_LIMIT: Final = 50
_SESSION: Final = re.compile(r"/sessions/([0-9a-f]{64})")


OpenAdministration = Callable[[str | None], Administration]
"""Gives the sessions of the named scheme, or of the one that people sign in to.

Raises `ValueError` where no scheme, or several, could be meant.
"""


@dataclass(frozen=True, slots=True)
class AdminServices:
    """What the endpoints work with."""

    administration: OpenAdministration
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
        }

    async def answer(self, request: AdminRequest, actor: Actor, now: float) -> Reply:
        """Do what is asked. Raises `Refused` and `StoreUnavailable`."""
        is_one = _SESSION.fullmatch(request.path) is not None
        methods = self._table.get("/sessions/{id}" if is_one else request.path)
        if methods is None or request.path == "/sessions/{id}":
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
        return json_reply({"sessions": [summary(it) for it in page.sessions], "next": page.next})

    async def _show(self, request: AdminRequest, _actor: Actor, now: float) -> Reply:
        asked = _known(request.parameters(), "scheme")
        room = self._services.administration(asked.get("scheme"))
        item = await room.show(request.path[-64:], now)
        if item is None:
            raise Refused("session_not_found")
        return json_reply(details(item), subject=item.session.subject)

    async def _end(self, request: AdminRequest, actor: Actor, now: float) -> Reply:
        asked = _known(request.parameters(), "scheme")
        room = self._services.administration(asked.get("scheme"))
        if not await room.end(request.path[-64:], actor, now):
            raise Refused("session_not_found")
        return json_reply({"revoked": 1})

    async def _revoke_sessions(self, request: AdminRequest, actor: Actor, now: float) -> Reply:
        asked = _known(request.json(), "subject", "all", "scheme")
        room = self._services.administration(_text(asked, "scheme"))
        subject = _text(asked, "subject")
        _one_of(asked, "subject", "all")
        if subject is None:
            return json_reply({"revoked": await room.end_all(actor, now)})
        return json_reply({"revoked": await room.end_subject(subject, actor, now)})

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
