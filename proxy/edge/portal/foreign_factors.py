"""`/step-up/{scheme}`: a one-time code of somebody who has a session of an application.

A program sends and gets JSON, a person a form and a page. What never belongs here: what is right, and who
may (services.foreign_step_up).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from proxy.codes import CODES
from proxy.core.own_cookies import is_insecure
from proxy.edge.portal.language import duration, pick_language, texts
from proxy.edge.portal.pages import PortalPages
from proxy.edge.portal.reply import Refused, Reply, json_reply, redirect
from proxy.edge.portal.trail import note, whereabouts
from proxy.model import Header
from proxy.services.attempts import retry_after
from proxy.services.foreign_step_up import ForeignCaller, ForeignServices, SteppedUp
from proxy.services.session_factors import NewFactor
from proxy.services.step_up import Failure, Wait

if TYPE_CHECKING:
    from proxy.edge.portal.portal import Endpoint
    from proxy.edge.portal.visit import Visit

_PAGE: Final = "foreign_step_up.html"


def endpoints(services: ForeignServices) -> Mapping[str, Endpoint]:
    """Return the endpoints of this part by name."""
    return {"foreign-step-up": _ForeignStepUp(services).answer}


@dataclass(frozen=True, slots=True)
class _Asked:
    """A visit by somebody who is signed in to the application."""

    visit: Visit
    stepped: SteppedUp
    caller: ForeignCaller
    said: Mapping[str, str]
    """Of the query, or of what was sent."""
    language: str
    next: str
    """Where they want to go; checked (S4)."""

    @property
    def wants_page(self) -> bool:
        """True where a person looks at the answer: programs send and ask for JSON."""
        return not self.visit.is_json and self.visit.wants_page

    def text(self, name: str, **values: object) -> str:
        """Return a message in their language."""
        return texts(self.language)[name].format(**values)


class _ForeignStepUp:
    """Asks for a code, and goes back to where it was wanted."""

    def __init__(self, services: ForeignServices) -> None:
        self._services = services
        self._step_up = services.step_up
        self._pages = PortalPages(services.branding, services.base)

    async def answer(self, visit: Visit) -> Reply:
        """Ask for a code, or take one."""
        asked = await self._asked(visit)
        is_enrolled = await self._step_up.is_enrolled(asked.caller)
        if visit.view.method == "POST":
            return await self._take(asked, is_enrolled=is_enrolled)
        if asked.wants_page:
            return self._page(asked, is_enrolled=is_enrolled)
        factors = ["code"] if is_enrolled else []
        return json_reply({"factors": factors}, subject=asked.caller.subject)

    async def _asked(self, visit: Visit) -> _Asked:
        services = self._services
        stepped = self._step_up.schemes.get(visit.segments[-1])
        if stepped is None:
            raise Refused("route_not_found", "no scheme of this name asks for a factor")
        if is_insecure(visit.client, services.public_url):  # S5
            raise Refused("insecure_origin", "a factor would travel in the clear")
        is_post = visit.view.method == "POST"
        if is_post:
            visit.refuse_script()
        said = visit.input() if is_post else visit.parameters()
        caller = await stepped.caller(visit.carried(), whereabouts(visit), visit.now)
        if not isinstance(caller, ForeignCaller):
            raise Refused(caller.code, caller.detail, stepped.visitors.challenge)
        return _Asked(
            visit,
            stepped,
            caller,
            said,
            pick_language(said.get("lang"), visit.view.first(b"accept-language")),
            services.destinations.checked(said.get("next"), visit.host),
        )

    async def _take(self, asked: _Asked, *, is_enrolled: bool) -> Reply:
        code = asked.said.get("code")
        if not code:
            raise Refused("bad_request", "a code is to be given")
        made = await self._step_up.prove(asked.caller, code, asked.visit.now)
        if isinstance(made, NewFactor):
            self._note(asked, "step_up", "code")
            return self._succeeded(asked, made)
        why, headers = _failed(made)
        self._note(asked, "otp_failed", why)
        if not asked.wants_page:
            raise Refused(why, "", headers)
        return self._page(
            asked,
            is_enrolled=is_enrolled,
            error=_said_why(asked, made),
            code=why,
            headers=headers,
        )

    def _succeeded(self, asked: _Asked, made: NewFactor) -> Reply:
        visit, subject = asked.visit, asked.caller.subject
        life_s = made.expires_at - visit.now
        headers = (asked.stepped.cookie.set(made.cookie, visit.client, max_age_s=life_s),)
        if asked.wants_page:
            return redirect(asked.next, headers, subject=subject)
        told = {"expires_at": int(made.expires_at), "next": asked.next}
        return json_reply(told, headers=headers, subject=subject)

    def _page(
        self,
        asked: _Asked,
        *,
        is_enrolled: bool,
        error: str = "",
        code: str | None = None,
        headers: tuple[Header, ...] = (),
    ) -> Reply:
        values = {
            "scheme": asked.stepped.name,
            "is_enrolled": is_enrolled,
            "next": asked.next,
            "error": error,
        }
        return self._pages.reply(
            _PAGE,
            asked.language,
            values,
            status=200 if code is None else CODES[code].status,
            headers=headers,
            subject=asked.caller.subject,
            code=code,
        )

    def _note(self, asked: _Asked, kind: str, detail: str) -> None:
        told = f"{detail}, of scheme {asked.stepped.name}"
        note(self._services.audit, asked.visit, kind, asked.caller.subject, told)


def _failed(failure: Failure) -> tuple[str, tuple[Header, ...]]:
    """Return the code of a failure, and the headers that go with it."""
    if isinstance(failure, Wait):
        return "too_many_attempts", ((b"Retry-After", retry_after(failure.seconds)),)
    return "factor_wrong", ()


def _said_why(asked: _Asked, failure: Failure) -> str:
    """Return the words for a failure that the page is shown again for."""
    if isinstance(failure, Wait):
        wait = duration(failure.seconds, texts(asked.language))
        return asked.text("error_too_many_attempts", wait=wait)
    return asked.text("error_factor_wrong")
