"""`/start/{provider}`, `/callback/{provider}`, `/backchannel/{provider}`: login with OpenID Connect."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from proxy.core.cookies import parse_cookies
from proxy.core.oidc import CallbackInvalid
from proxy.edge.portal.reply import Refused, Reply, json_reply, redirect
from proxy.errors import ProxyError, TokenInvalid
from proxy.services.oidc_login import Finished, OidcLogin
from proxy.services.openid_provider import OpenIdProvider
from proxy.services.sessions import Login

if TYPE_CHECKING:
    from proxy.core.cookies import Cookie
    from proxy.edge.portal.portal import Endpoint
    from proxy.edge.portal.visit import Visit
    from proxy.services.entrance import Entrance
    from proxy.services.own import OwnServices

UNKNOWN_TIME: Final = 0.0
"""`auth_time` of a session whose provider does not say when it asked for a factor: long ago (S7)."""


def endpoints(services: OwnServices) -> Mapping[str, Endpoint]:
    """Return the endpoints of this part by name; none without providers."""
    if services.oidc is None or services.entrance is None:
        return {}
    part = _Providers(services.oidc, services.entrance)
    return {"start": part.start, "callback": part.callback, "backchannel": part.backchannel}


class _Providers:
    def __init__(self, oidc: OidcLogin, entrance: Entrance) -> None:
        self._oidc = oidc
        self._entrance = entrance

    async def start(self, visit: Visit) -> Reply:
        """Send the browser to the provider. `next`: where to go afterwards; `fresh=1`: ask again."""
        provider = self._provider(visit)
        _refuse_head(visit)
        if not visit.wants_page:
            # A picture or a script of another page could begin logins without end.
            raise Refused("bad_request", "a login begins with a page load")
        asked = visit.parameters()
        origin = self._entrance.origin(visit.client)
        begun = await self._oidc.begin(
            provider,
            self._entrance.target(asked.get("next"), visit.client),
            redirect_uri=f"{origin}{self._entrance.own_path}/callback/{provider.name}",
            cookies=_cookies(visit),
            is_secure=_is_secure(origin),
            now=visit.now,
            is_fresh=asked.get("fresh") == "1",
        )
        return redirect(begun.location, begun.headers)

    async def callback(self, visit: Visit) -> Reply:
        """Take the provider's answer, and let in whoever it names."""
        provider = self._provider(visit)
        _refuse_head(visit)
        is_secure = _is_secure(self._entrance.origin(visit.client))
        try:
            finished = await self._oidc.finish(
                provider, visit.query, cookies=_cookies(visit), is_secure=is_secure, now=visit.now
            )
        except CallbackInvalid as error:
            raise Refused("bad_request", f"callback: {error}") from None
        try:
            opened = await self._entrance.let_in(
                _login_of(finished, visit), _cookies(visit), visit.now, is_secure=is_secure
            )
        except ValueError:
            raise Refused("provider_invalid", "the claims do not fit into a session") from None
        session = opened.session
        try:
            is_kept = await self._oidc.keep(session.digest, finished, session.expires_at, visit.now)
        except ProxyError:
            await self._entrance.turn_away(opened)
            raise
        if not is_kept:
            raise Refused("login_expired", "the provider has ended this session already")
        person = finished.signed_in.person
        target = self._entrance.target(finished.next, visit.client)
        headers = (*opened.headers, *finished.headers)
        return redirect(target, headers, subject=person.subject)

    async def backchannel(self, visit: Visit) -> Reply:
        """Take a logout token (Back-Channel Logout §2.5 to §2.8)."""
        provider = self._provider(visit)
        token = visit.form().get("logout_token")
        if token is None:
            return _logout_refused("logout_token is missing")
        try:
            await self._oidc.log_out(provider, token, visit.now)
        except TokenInvalid:
            return _logout_refused("the logout token is not accepted")
        return Reply(200)

    def _provider(self, visit: Visit) -> OpenIdProvider:
        provider = self._oidc.providers.get(visit.segments[-1])
        if provider is None:
            raise Refused("route_not_found", "no provider has this name")
        return provider


def _refuse_head(visit: Visit) -> None:
    """Refuse what a browser or a mail program sends to look at a link: it would use the login up."""
    if visit.view.method != "GET":
        raise Refused("method_not_allowed", "a login is no page", ((b"Allow", b"GET"),))


def _login_of(finished: Finished, visit: Visit) -> Login:
    person = finished.signed_in.person
    agent = visit.view.first(b"user-agent")
    return Login(
        subject=person.subject,
        email=person.email,
        name=person.name,
        roles=person.roles,
        scopes=person.scopes,
        claims=person.claims,
        amr=person.amr,
        address=visit.client.address,
        agent=None if agent is None else agent[:512].decode("utf-8", "replace"),
        auth_time=UNKNOWN_TIME if person.auth_time is None else min(person.auth_time, visit.now),
    )


def _cookies(visit: Visit) -> list[Cookie]:
    return parse_cookies(visit.view.values(b"cookie"))


def _is_secure(origin: str) -> bool:
    return origin.startswith("https://")


def _logout_refused(reason: str) -> Reply:
    """Return the 400 of Back-Channel Logout §2.8."""
    content = {"error": "invalid_request", "error_description": reason}
    return json_reply(content, 400, code="token_invalid")
