"""`/login/code`: the second step of a sign-in, for browsers: a code, or an app that is set up first.

The password was right; nothing of it is in the page, nor in the cookie. What never belongs here:
signing in by JSON, which says everything at once.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

from proxy.codes import CODES
from proxy.core.cookies import Duplicate, find_cookie
from proxy.core.formats.native import cookie_digest
from proxy.core.own_cookies import SECOND_STEP, OwnCookie, is_insecure
from proxy.edge.portal.apart import APART
from proxy.edge.portal.language import duration, pick_language, texts
from proxy.edge.portal.pages import PortalPages
from proxy.edge.portal.qr import in_groups, qr_data_uri
from proxy.edge.portal.reply import Refused, Reply, redirect
from proxy.edge.portal.trail import note, note_room, whereabouts
from proxy.model import Header
from proxy.services.attempts import retry_after
from proxy.services.login import Half, NotSignedIn, SignedIn
from proxy.services.otp import OneTimePasswords
from proxy.services.second_step import LIFE_S, PendingLogin, SecondStep

if TYPE_CHECKING:
    from proxy.edge.portal.portal import Endpoint
    from proxy.edge.portal.visit import Visit
    from proxy.services.own import OwnServices

_ID: Final = re.compile(rb"[A-Za-z0-9_-]{43}")


def endpoints(services: OwnServices) -> Mapping[str, Endpoint]:
    """Return the endpoints of this part by name."""
    if services.second_step is None:
        return {}
    return {"login-code": SecondStepPages(services, services.second_step).answer}


@dataclass(frozen=True, slots=True)
class _Asked:
    """A sign-in that goes on."""

    visit: Visit
    cookie: str
    pending: PendingLogin
    language: str

    @property
    def step(self) -> str:
        """The digest by which an app that is set up here is this sign-in's."""
        return cookie_digest(self.cookie)

    def text(self, name: str, **values: object) -> str:
        """Return a message in their language."""
        return texts(self.language)[name].format(**values)


class SecondStepPages:
    """Shows the second step, and takes it."""

    def __init__(self, services: OwnServices, steps: SecondStep) -> None:
        settings = services.settings
        self._steps = steps
        self._service = services.login
        self._visitors = services.visitors
        self._destinations = services.destinations
        self._audit = services.audit
        self._public_url = settings.public_url
        self._base = settings.path
        self._cookie = settings.cookie
        self._step = OwnCookie(SECOND_STEP)
        self._pages = PortalPages.from_settings(settings)

    async def begin(self, visit: Visit, language: str, wanted: str, half: Half) -> Reply:
        """Let a sign-in wait whose password was right, and lead to the page that asks for the rest."""
        cookie = await self._steps.begin(PendingLogin(half, wanted), visit.now)
        headers = (self._step.set(cookie, visit.client, max_age_s=LIFE_S),)
        return redirect(f"{self._base}/login/code?lang={language}", headers, subject=half.subject)

    async def answer(self, visit: Visit) -> Reply:
        """Show what is wanted, or take the code."""
        if is_insecure(visit.client, self._public_url):  # S5
            raise Refused("insecure_origin", "a code would travel in the clear")
        visit.refuse_script()  # the page as well: it may show the secret of an app
        is_post = visit.view.method == "POST"
        said = visit.form() if is_post else visit.parameters()
        language = pick_language(said.get("lang"), visit.view.first(b"accept-language"))
        cookie = self._cookie_of(visit)
        pending = None if cookie is None else await self._steps.find(cookie, visit.now)
        if cookie is None or pending is None:
            return redirect(f"{self._base}/login?lang={language}")
        asked = _Asked(visit, cookie, pending, language)
        if is_post and hmac.compare_digest(_token(cookie), said.get("csrf", "").encode()):
            return await self._take(asked, said.get("code", ""))
        return await self._show(asked)

    async def _take(self, asked: _Asked, code: str) -> Reply:
        visit, half = asked.visit, asked.pending.half
        sets_up = await self._steps.wanted(half.subject) == "enrolment"
        found = self._visitors.find(visit.carried())
        old = None if found is None else cookie_digest(found.value)
        result = await self._service.second(
            half, asked.step, code, whereabouts(visit), old, visit.now
        )
        if isinstance(result, NotSignedIn):
            return await self._failed(asked, result)
        if not await self._steps.end(asked.cookie):  # somebody else has finished this sign-in (S1)
            await self._service.sign_out(result.session.digest)
            return redirect(f"{self._base}/login?lang={asked.language}")
        return await self._signed_in(asked, result, sets_up=sets_up)

    async def _signed_in(self, asked: _Asked, result: SignedIn, *, sets_up: bool) -> Reply:
        visit, subject = asked.visit, result.user.subject
        wanted = self._destinations.checked(asked.pending.next, visit.host)
        headers: tuple[Header, ...] = (
            self._cookie.set(result.session.cookie, visit.client, max_age_s=result.lifetime_s),
            *self._step.expire(visit.client),
        )
        note(self._audit, visit, "login", subject, "remembered" if result.lifetime_s else "")
        note_room(self._audit, visit, subject, result.session)
        if not sets_up:
            return redirect(wanted, headers, subject=subject)
        note(self._audit, visit, "otp_enrolled", subject, "at sign-in")
        values = {"recovery_codes": await self._otp().renew_recovery(subject) or (), "next": wanted}
        return self._pages.reply(
            "recovery.html", asked.language, values, headers=(*headers, APART), subject=subject
        )

    async def _failed(self, asked: _Asked, result: NotSignedIn) -> Reply:
        if result.code == "too_many_attempts":
            wait = duration(result.wait_s, texts(asked.language))
            error = asked.text("error_too_many_attempts", wait=wait)
            headers: tuple[Header, ...] = ((b"Retry-After", retry_after(result.wait_s)),)
        else:
            error, headers = asked.text("error_factor_wrong"), self._visitors.challenge
        note(self._audit, asked.visit, "otp_failed", result.subject, f"at sign-in: {result.code}")
        return await self._show(asked, error=error, headers=headers, code=result.code)

    async def _show(
        self,
        asked: _Asked,
        *,
        error: str = "",
        headers: tuple[Header, ...] = (),
        code: str | None = None,
    ) -> Reply:
        visit, half = asked.visit, asked.pending.half
        values: dict[str, Any] = {
            "csrf": _token(asked.cookie).decode(),
            "error": error,
            "next": asked.pending.next,
            "enrolment": False,
        }
        if await self._steps.wanted(half.subject) == "enrolment":
            otp, account = self._otp(), half.name
            whose = half.subject, asked.step, visit.now
            begun = await otp.pending(*whose, account=account)
            begun = begun or await otp.begin(*whose, account=account)
            headers = (*headers, APART)
            values |= {
                "enrolment": True,
                "qr": qr_data_uri(begun.uri),
                "secret": in_groups(begun.secret),
            }
        return self._pages.reply(
            "second_step.html",
            asked.language,
            values,
            status=200 if code is None else CODES[code].status,
            headers=headers,
            subject=half.subject,
            code=code,
        )

    def _otp(self) -> OneTimePasswords:
        assert self._steps.otp is not None  # noqa: S101 - without them nothing is set up
        return self._steps.otp

    def _cookie_of(self, visit: Visit) -> str | None:
        """Return the name of the sign-in; `None` for none, for two, and for what we do not make."""
        value = find_cookie(visit.carried().cookies, self._step.name_for(visit.client).encode())
        if value is None or isinstance(value, Duplicate) or not _ID.fullmatch(value):
            return None
        return value.decode("ascii")


def _token(cookie: str) -> bytes:
    """Return what the form shows of the sign-in: whoever sees the page does not learn the cookie."""
    return sha256(b"latchgate second step\0" + cookie.encode()).hexdigest().encode()
