"""`/login` and `/logout`: the page, the form, and the same as JSON (security.md, S1, S4, S5, S8, H8)."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from proxy.codes import CODES
from proxy.core.cookies import Duplicate, find_cookie
from proxy.core.formats.native import cookie_digest
from proxy.core.own_cookies import STATE, STATE_LIFE_S, OwnCookie, is_insecure
from proxy.edge.portal.language import duration, pick_language, texts
from proxy.edge.portal.pages import PortalPages
from proxy.edge.portal.providers import origin_of
from proxy.edge.portal.reply import Refused, Reply, json_reply, redirect
from proxy.edge.portal.second_step import SecondStepPages
from proxy.edge.portal.trail import note_room
from proxy.errors import DependencyUnavailable, LoginBusy
from proxy.model import Authenticated, Header, Identity
from proxy.services.attempts import retry_after
from proxy.services.audit import Event
from proxy.services.login import Credentials, NotSignedIn, SignedIn, Whereabouts

if TYPE_CHECKING:
    from proxy.edge.portal.portal import Endpoint
    from proxy.edge.portal.visit import Visit
    from proxy.services.own import OwnServices

_STATE_VALUE: Final = re.compile(rb"[A-Za-z0-9_-]{43}")
_CLEAR: Final[Header] = (b"Clear-Site-Data", b'"cache"')
"""What the browser has kept of guarded pages is nobody's any more (H8)."""


def endpoints(services: OwnServices) -> Mapping[str, Endpoint]:
    """Return the endpoints of this part by name."""
    part = _LoginEndpoints(services)
    return {"login": part.login, "logout": part.logout}


@dataclass(frozen=True, slots=True)
class _Asked:
    """What a page is about to say."""

    language: str
    next: str
    username: str = ""
    error: str = ""
    notice: str = ""
    is_remembered: bool = False


class _LoginEndpoints:
    def __init__(self, services: OwnServices) -> None:
        settings = services.settings
        self._service = services.login
        self._visitors = services.visitors
        self._destinations = services.destinations
        self._settings = settings
        self._audit = services.audit
        self._cookie = settings.cookie
        self._state = OwnCookie(STATE)
        self._oidc = services.oidc
        # A form that signs out leads to the provider.
        elsewhere = () if self._oidc is None else (p.origin for p in self._oidc.providers.values())
        self._pages = PortalPages.from_settings(settings, tuple(elsewhere))
        steps = services.second_step
        self._second = None if steps is None else SecondStepPages(services, steps)
        self._administrators = services.administrators
        self._has_otp = services.step_up.otp is not None

    # Signing in

    async def login(self, visit: Visit) -> Reply:
        """Show the page, or take what was typed into it, or the same as JSON."""
        if is_insecure(visit.client, self._settings.public_url):  # S5
            raise Refused("insecure_origin", "a password would travel in the clear")
        if visit.view.method != "POST":
            return await self._show(visit)
        return await (self._take_json(visit) if visit.is_json else self._take_form(visit))

    async def _show(self, visit: Visit) -> Reply:
        asked = visit.parameters()
        language = _language(visit, asked)
        notice = texts(language)["signed_out"] if "signed_out" in asked else ""
        identity = None if notice else await self._signed_in(visit)
        wanted = self._checked(visit, asked.get("next"))
        return self._page(visit, _Asked(language, wanted, notice=notice), identity=identity)

    async def _take_form(self, visit: Visit) -> Reply:
        form = visit.form()
        language = _language(visit, form)
        asked = _Asked(
            language=language,
            next=self._checked(visit, form.get("next")),
            username=form.get("username", "")[:256],
            is_remembered=form.get("remember") == "1",
        )
        if not self._is_ours(visit, form.get("csrf", "")):
            return self._failed(visit, asked, "login_stale")
        said = Credentials(
            form.get("username", ""),
            form.get("password", ""),
            is_remembered=asked.is_remembered,
        )
        try:
            result = await self._sign_in(visit, said)
            if isinstance(result, NotSignedIn) and result.half is not None and self._second:
                return await self._second.begin(visit, language, asked.next, result.half)
        except DependencyUnavailable as down:
            wait_s = down.wait_s if isinstance(down, LoginBusy) else 1.0
            return self._failed(visit, asked, down.code, wait_s)
        if isinstance(result, NotSignedIn):
            return self._failed(visit, asked, result.code, result.wait_s)
        headers = (*self._cookies(visit, result), *self._state.expire(visit.client))
        return redirect(asked.next, headers, subject=result.user.subject)

    async def _take_json(self, visit: Visit) -> Reply:
        """Sign a program in, or a page's script: another site's cannot send JSON (Fetch, CORS)."""
        said = _credentials(visit.json())
        result = await self._sign_in(visit, said)
        if isinstance(result, NotSignedIn):
            raise Refused(result.code, "", self._why(result.code, result.wait_s))
        user = result.user
        told: dict[str, Any] = {
            "subject": user.subject,
            "email": user.email,
            "name": user.name,
            "roles": list(user.roles),
            "scopes": list(user.scopes),
            "expires_at": int(result.session.expires_at),
        }
        return json_reply(told, headers=self._cookies(visit, result), subject=user.subject)

    async def _sign_in(self, visit: Visit, said: Credentials) -> SignedIn | NotSignedIn:
        found = self._visitors.find(visit.carried())
        old = None if found is None else cookie_digest(found.value)
        where = Whereabouts(visit.client.address, visit.view.first(b"user-agent"))
        result = await self._service.sign_in(said, where, old, visit.now)
        if isinstance(result, SignedIn):
            self._note(
                "login", visit, result.user.subject, "remembered" if result.lifetime_s else ""
            )
            note_room(self._audit, visit, result.user.subject, result.session)
        elif result.half is None:
            why = "" if result.code == "login_failed" else result.code
            self._note("login_failed", visit, result.subject, why)
        else:  # a password that is known to somebody else shows here alone
            self._note("login_second_step", visit, result.subject, result.code)
        return result

    def _note(self, kind: str, visit: Visit, subject: str | None, detail: str = "") -> None:
        """Note what happened. Of an unknown name nothing is said: it may be a password."""
        where = Whereabouts(visit.client.address, visit.view.first(b"user-agent"))
        event = Event(
            kind, subject, where.address, where.shown_agent, visit.request_id, detail=detail
        )
        self._audit.note(event, visit.now)

    def _cookies(self, visit: Visit, result: SignedIn) -> tuple[Header, ...]:
        life_s = result.lifetime_s
        return (self._cookie.set(result.session.cookie, visit.client, max_age_s=life_s),)

    def _failed(self, visit: Visit, asked: _Asked, code: str, wait_s: float = 0.0) -> Reply:
        """Show the page again, and say why; of a name it says nothing (no enumeration)."""
        text = texts(asked.language)
        error = text[f"error_{code}"]
        shown = _Asked(
            asked.language,
            asked.next,
            asked.username,
            error.format(wait=duration(wait_s, text)),
            is_remembered=asked.is_remembered,
        )
        return self._page(
            visit,
            shown,
            status=CODES[code].status,
            headers=self._why(code, wait_s),
            code=code,
        )

    def _why(self, code: str, wait_s: float) -> tuple[Header, ...]:
        status = CODES[code].status
        if status == 401:
            return self._visitors.challenge
        if status in (429, 503):
            return ((b"Retry-After", retry_after(wait_s)),)
        return ()

    def _page(
        self,
        visit: Visit,
        asked: _Asked,
        *,
        identity: Identity | None = None,
        status: int = 200,
        headers: tuple[Header, ...] = (),
        code: str | None = None,
    ) -> Reply:
        state = self._state_of(visit) or secrets.token_urlsafe(32)
        text = texts(asked.language)
        name = "" if identity is None else identity.name or identity.subject
        values = {
            "csrf": _token(state),
            "next": asked.next,
            "username": asked.username,
            "error": asked.error,
            "notice": asked.notice,
            "is_remembered": asked.is_remembered,
            "signed_in_as": text["signed_in_as"].format(name=name) if name else "",
            "links": [] if identity is None else self._links(identity, text),
            "has_passwords": self._service.users is not None,
            "providers": [
                (provider.name, text["sign_in_with"].format(title=provider.title))
                for provider in (() if self._oidc is None else self._oidc.providers.values())
            ],
            "can_remember": self._settings.remember_s is not None,
        }
        cookie = self._state.set(state, visit.client, max_age_s=STATE_LIFE_S)
        return self._pages.reply(
            "login.html",
            asked.language,
            values,
            status=status,
            headers=(cookie, *headers),
            code=code,
        )

    def _links(self, identity: Identity, text: Mapping[str, str]) -> list[tuple[str, str]]:
        """Return the pages that somebody who is signed in may open: endpoint and title."""
        links = [("sessions", text["sessions_title"])]
        if self._has_otp:
            links.append(("otp", text["otp_title"]))
        if not self._administrators.isdisjoint(identity.roles):
            links.append(("admin", text["admin_title"]))
        return links

    async def _signed_in(self, visit: Visit) -> Identity | None:
        """Return whose live session the browser has; in an outage the page does without."""
        found = self._visitors.find(visit.carried())
        try:
            outcome = await self._visitors.judge(found, visit.now)
        except DependencyUnavailable:
            return None
        return outcome.identity if isinstance(outcome, Authenticated) else None

    # The form and the browser that asked for it

    def _state_of(self, visit: Visit) -> str | None:
        """Return the browser's login state; `None` for none, for two, and for what we do not make."""
        name = self._state.name_for(visit.client).encode()
        value = find_cookie(visit.carried().cookies, name)
        if value is None or isinstance(value, Duplicate) or not _STATE_VALUE.fullmatch(value):
            return None
        return value.decode("ascii")

    def _is_ours(self, visit: Visit, token: str) -> bool:
        """Tell whether a form was shown to this browser: nobody signs another's browser in."""
        state = self._state_of(visit)
        given = token.encode("utf-8", "surrogatepass")
        return state is not None and hmac.compare_digest(_token(state).encode(), given)

    def _checked(self, visit: Visit, wanted: str | None) -> str:
        return self._destinations.checked(wanted, visit.host)

    # Signing out

    async def logout(self, visit: Visit) -> Reply:
        """End this session, or with `everywhere=1` all that its owner has been given."""
        said = visit.input() if visit.body else {}
        everywhere = {**visit.parameters(), **said}.get("everywhere") == "1"
        found = self._visitors.find(visit.carried())
        outcome = await self._visitors.judge(found, visit.now)
        subject, ended, tokens, elsewhere = None, 0, None, None
        digest = None if found is None else cookie_digest(found.value)
        if isinstance(outcome, Authenticated) and digest is not None:
            subject = outcome.identity.subject
            if self._oidc is not None:
                tokens = await self._oidc.vault.read(digest)  # they go with the session
            if everywhere:
                ended = await self._service.sign_out_everywhere(subject, visit.now)
        if digest is not None:
            ended += int(await self._service.sign_out(digest))
        if subject is not None:
            self._note("logout", visit, subject, f"everywhere: {ended}" if everywhere else "")
        if self._oidc is not None and tokens is not None:
            elsewhere = await self._oidc.logout_url(tokens, self._after_logout(visit))
        headers = (*self._cookie.expire(visit.client), _CLEAR)
        if visit.wants_page:
            language = _language(visit, said)
            page = f"{self._settings.path}/login?signed_out=1&lang={language}"
            return redirect(elsewhere or page, headers, subject=subject)
        content: dict[str, Any] = {"ended": ended}
        if elsewhere is not None:
            content["provider_logout"] = elsewhere
        return json_reply(content, headers=headers, subject=subject)

    def _after_logout(self, visit: Visit) -> str:
        """Return where a provider leads back to: registered there, so it is always the same."""
        origin = origin_of(visit.client, self._settings.public_url)
        return f"{origin}{self._settings.path}/login?signed_out=1"


def _credentials(members: Mapping[str, Any]) -> Credentials:
    """Read a JSON sign-in. Raises `Refused` (400)."""
    texts_ = {name: members.get(name, "") for name in ("username", "password", "otp")}
    is_remembered = members.get("remember", False)
    if not all(isinstance(value, str) for value in texts_.values()):
        raise Refused("bad_request", "username, password and otp are texts")
    if not isinstance(is_remembered, bool):
        raise Refused("bad_request", "remember is true or false")
    return Credentials(
        texts_["username"], texts_["password"], texts_["otp"] or None, is_remembered=is_remembered
    )


def _language(visit: Visit, said: Mapping[str, str]) -> str:
    return pick_language(said.get("lang"), visit.view.first(b"accept-language"))


def _token(state: str) -> str:
    """Return what a form shows of the state: whoever sees the page does not learn the cookie."""
    return hashlib.sha256(b"latchgate sign-in form\0" + state.encode()).hexdigest()
