"""`/start/{provider}`, `/callback/{provider}`, `/backchannel/{provider}`: sign-in with OpenID Connect."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from proxy.core.formats.native import cookie_digest
from proxy.core.freshness import CLOCK_SKEW_S
from proxy.core.oidc import CallbackInvalid
from proxy.core.own_cookies import is_insecure, is_plain_local
from proxy.edge.portal.reply import Refused, Reply, json_reply, redirect
from proxy.edge.portal.trail import note_room
from proxy.errors import ProxyError, TokenInvalid
from proxy.services.attempts import retry_after
from proxy.services.audit import Event
from proxy.services.exchanges import TooManyExchanges
from proxy.services.login import Whereabouts
from proxy.services.oidc_login import Finished, OidcLogin
from proxy.services.openid_provider import OpenIdProvider
from proxy.services.sessions import Login, NewSession

if TYPE_CHECKING:
    from proxy.edge.portal.portal import Endpoint
    from proxy.edge.portal.visit import Visit
    from proxy.model import ClientInfo
    from proxy.services.own import OwnServices

UNKNOWN_TIME: Final = 0.0
"""`auth_time` of a session whose provider does not say when it asked for a factor: long ago (S7)."""


def endpoints(services: OwnServices) -> Mapping[str, Endpoint]:
    """Return the endpoints of this part by name; none without providers."""
    if services.oidc is None:
        return {}
    part = _Providers(services, services.oidc)
    return {"start": part.start, "callback": part.callback, "backchannel": part.backchannel}


def origin_of(client: ClientInfo, public_url: str | None) -> str:
    """Return the origin that the browser sees: `public_url`, else what the request was sent to."""
    if public_url is not None:
        return public_url
    scheme = client.scheme or "https"
    has_port = client.host.rpartition(":")[2].isdigit() and not client.host.endswith("]")
    standard = 443 if scheme == "https" else 80
    if has_port or client.port in (None, standard) or not client.is_trusted_peer:
        return f"{scheme}://{client.host}"
    return f"{scheme}://{client.host}:{client.port}"


class _Providers:
    def __init__(self, services: OwnServices, oidc: OidcLogin) -> None:
        self._oidc = oidc
        self._service = services.login
        self._visitors = services.visitors
        self._destinations = services.destinations
        self._settings = services.settings
        self._audit = services.audit

    async def start(self, visit: Visit) -> Reply:
        """Send the browser to the provider. `next`: where to go afterwards; `fresh=1`: ask again."""
        provider = self._asked(visit)
        if not visit.wants_page:
            # A picture or a script of another page could begin logins without end.
            raise Refused("bad_request", "a login begins with a page load")
        said = visit.parameters()
        origin = origin_of(visit.client, self._settings.public_url)
        begun = await self._oidc.begin(
            provider,
            self._destinations.checked(said.get("next"), visit.host),
            redirect_uri=f"{origin}{self._settings.path}/callback/{provider.name}",
            cookies=visit.carried().cookies,
            is_secure=not is_plain_local(visit.client),
            now=visit.now,
            is_fresh=said.get("fresh") == "1",
        )
        return redirect(begun.location, begun.headers)

    async def callback(self, visit: Visit) -> Reply:
        """Take the provider's answer, and let in whoever it names."""
        provider = self._asked(visit)
        try:
            finished = await self._oidc.finish(
                provider,
                visit.query,
                cookies=visit.carried().cookies,
                is_secure=not is_plain_local(visit.client),
                network=_whereabouts(visit).network,
                now=visit.now,
            )
            session = await self._let_in(finished, visit)
        except CallbackInvalid as error:
            raise Refused("bad_request", f"callback: {error}") from None
        except TooManyExchanges as many:  # said in the log, and not once more for each in the trail
            wait = (b"Retry-After", retry_after(many.wait_s))
            raise Refused(many.code, many.detail, (wait,)) from None
        except ProxyError as error:
            self._note("login_failed", visit, None, f"provider {provider.name}: {error.code}")
            raise
        subject = finished.signed_in.person.subject
        self._note("login", visit, subject, f"provider {provider.name}")
        note_room(self._audit, visit, subject, session)
        cookie = self._settings.cookie.set(session.cookie, visit.client)
        target = self._destinations.checked(finished.next, visit.host)
        return redirect(target, (cookie, *finished.headers), subject=subject)

    async def backchannel(self, visit: Visit) -> Reply:
        """Take a logout token (Back-Channel Logout §2.5 to §2.8)."""
        provider = self._provider(visit)
        token = visit.form().get("logout_token")
        if token is None:
            return _logout_refused("logout_token is missing")
        try:
            ended = await self._oidc.log_out(provider, token, visit.now)
        except TokenInvalid:
            return _logout_refused("the logout token is not accepted")
        self._note("session_ended", visit, None, f"provider {provider.name}: {ended}")
        return Reply(200)

    async def _let_in(self, finished: Finished, visit: Visit) -> NewSession:
        """Make the session, and confirm that it can be ended by its provider. Raises `Refused`."""
        found = self._visitors.find(visit.carried())
        old = None if found is None else cookie_digest(found.value)
        try:
            session = await self._service.vouched(
                _login_of(finished, visit.now),
                _whereabouts(visit),
                old,
                visit.now,
                began_ago=lambda: time.time() - finished.begun_at,
            )
        except ValueError:
            raise Refused("provider_invalid", "the claims do not fit into a session") from None
        if session is None:
            raise Refused("login_expired", "everything of this person was ended just now")
        try:
            is_kept = await self._oidc.keep(session.digest, finished, session.expires_at, visit.now)
        except ProxyError:
            await self._service.sign_out(session.digest)
            raise
        if not is_kept:
            raise Refused("login_expired", "the provider has ended this session already")
        return session

    def _asked(self, visit: Visit) -> OpenIdProvider:
        """Return the provider of a browser's request. Raises `Refused` (405, S5, 404)."""
        provider = self._provider(visit)
        if visit.view.method != "GET":
            # Sent to look at a link, by a browser or a mail program: it would use the login up.
            raise Refused("method_not_allowed", "a login is no page", ((b"Allow", b"GET"),))
        if is_insecure(visit.client, self._settings.public_url):
            raise Refused("insecure_origin", "a session would travel in the clear")
        return provider

    def _provider(self, visit: Visit) -> OpenIdProvider:
        provider = self._oidc.providers.get(visit.segments[-1])
        if provider is None:
            raise Refused("route_not_found", "no provider has this name")
        return provider

    def _note(self, kind: str, visit: Visit, subject: str | None, detail: str) -> None:
        where = _whereabouts(visit)
        event = Event(
            kind, subject, where.address, where.shown_agent, visit.request_id, detail=detail
        )
        self._audit.note(event, visit.now)


def _whereabouts(visit: Visit) -> Whereabouts:
    return Whereabouts(visit.client.address, visit.view.first(b"user-agent"))


def _login_of(finished: Finished, now: float) -> Login:
    person = finished.signed_in.person
    return Login(
        subject=person.subject,
        email=person.email,
        name=person.name,
        roles=person.roles,
        scopes=person.scopes,
        claims=person.claims,
        amr=person.amr,
        auth_time=auth_time_of(person.auth_time, now),
    )


def auth_time_of(told: float | None, now: float) -> float:
    """Return when somebody signed in at the provider; what lies far ahead is no time, and never "just now"."""
    return UNKNOWN_TIME if told is None or not told <= now + CLOCK_SKEW_S else min(told, now)


def _logout_refused(reason: str) -> Reply:
    """Return the 400 of Back-Channel Logout §2.8."""
    content = {"error": "invalid_request", "error_description": reason}
    return json_reply(content, 400, code="token_invalid")
