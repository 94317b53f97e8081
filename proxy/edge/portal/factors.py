"""`/step-up` and `/otp`: factors that are proved again, and one-time passwords that are set up.

A program sends and gets JSON, a person forms and pages. What never belongs here: what is right, and
who may (services.step_up).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from proxy.codes import CODES
from proxy.core.destination import START
from proxy.core.formats.native import cookie_digest
from proxy.core.freshness import amr_with_code, is_mfa
from proxy.core.own_cookies import is_insecure
from proxy.edge.portal.apart import APART, check_form, form_token
from proxy.edge.portal.language import duration, pick_language, texts
from proxy.edge.portal.pages import PortalPages
from proxy.edge.portal.qr import in_groups, qr_data_uri
from proxy.edge.portal.reply import Refused, Reply, json_reply, redirect
from proxy.edge.portal.trail import note, whereabouts
from proxy.model import Authenticated, Header
from proxy.services.attempts import retry_after
from proxy.services.otp import Enrolment, OneTimePasswords
from proxy.services.sessions import NewSession
from proxy.services.step_up import Caller, Factor, Failure, Wait, may_change

if TYPE_CHECKING:
    from proxy.edge.portal.portal import Endpoint
    from proxy.edge.portal.visit import Visit
    from proxy.services.own import OwnServices

FACTORS: Final[tuple[Factor, ...]] = ("code", "password")


def endpoints(services: OwnServices) -> Mapping[str, Endpoint]:
    """Return the endpoints of this part by name."""
    desk = _Desk(services)
    step_up, otp = _StepUp(desk), services.step_up.otp
    if otp is None:
        return {"step-up": step_up.answer}
    return {"step-up": step_up.answer, "otp": _Otp(desk, otp).answer}


@dataclass(frozen=True, slots=True)
class _Asked:
    """A visit by somebody who is signed in."""

    visit: Visit
    caller: Caller
    said: Mapping[str, str]
    """Of the query, or of what was sent."""
    language: str
    next: str
    """Where they want to go; checked (S4)."""
    is_moved: bool
    """True where the session is used elsewhere than it is bound to: whoever asks may be a thief."""
    token: str
    """What the forms of a page say that is shown to them (proxy.edge.portal.apart)."""

    @property
    def subject(self) -> str:
        """Who it is."""
        return self.caller.subject

    @property
    def is_post(self) -> bool:
        """True where something is to be done."""
        return self.visit.view.method == "POST"

    @property
    def wants_page(self) -> bool:
        """True where a person looks at the answer: programs send and ask for JSON."""
        return not self.visit.is_json and self.visit.wants_page

    def text(self, name: str, **values: object) -> str:
        """Return a message in their language."""
        return texts(self.language)[name].format(**values)


class _Desk:
    """What both endpoints do alike: who asks, and how they are answered."""

    def __init__(self, services: OwnServices) -> None:
        settings = services.settings
        self.step_up = services.step_up
        self.base = settings.path
        self._visitors = services.visitors
        self._destinations = services.destinations
        self._public_url = settings.public_url
        self._cookie = settings.cookie
        self._audit = services.audit
        self.pages = PortalPages.from_settings(settings)

    async def asked(self, visit: Visit, *, back: str = "", takes_moved: bool) -> _Asked | Reply:
        """Return who asks for what; for a page load without a session the way to the sign-in.

        `back` is the endpoint to which the sign-in leads then, by default to where they want to go.
        `takes_moved`: a session that is used elsewhere counts too, if it may prove a factor there.
        Raises `Refused`.
        """
        if is_insecure(visit.client, self._public_url):  # S5
            raise Refused("insecure_origin", "a factor would travel in the clear")
        if visit.view.method == "POST":
            visit.refuse_script()
        said = visit.input() if visit.view.method == "POST" else visit.parameters()
        wanted = self._destinations.checked(said.get("next"), visit.host)
        found = self._visitors.find(visit.carried())
        outcome = await self._visitors.judge(found, visit.now)
        caller, token = None, ""
        if found is not None and (
            isinstance(outcome, Authenticated)
            or (takes_moved and outcome.code == "step_up_required")
        ):
            digest, token = cookie_digest(found.value), form_token(found.value)
            caller = await self.step_up.caller(digest, whereabouts(visit), visit.now)
        if caller is None:
            if visit.view.method != "POST" and visit.wants_page:
                after = self.with_next(back, wanted) if back else wanted
                return redirect(f"{self.base}/login?next={quote(after, safe='')}")
            code = "session_unknown" if isinstance(outcome, Authenticated) else outcome.code
            detail = "" if isinstance(outcome, Authenticated) else outcome.detail
            raise Refused(code, detail, self._visitors.challenge)
        accepted = visit.view.first(b"accept-language")
        language = pick_language(said.get("lang"), accepted)
        is_moved = not isinstance(outcome, Authenticated)
        return _Asked(visit, caller, said, language, wanted, is_moved, token)

    def with_next(self, name: str, wanted: str) -> str:
        """Return the address of one of these endpoints, from where it goes on to `wanted`."""
        page = f"{self.base}/{name}"
        return page if wanted == START else f"{page}?next={quote(wanted, safe='')}"

    def note(self, asked: _Asked, kind: str, detail: str = "") -> None:
        """Note in the audit trail what was proved, or changed."""
        note(self._audit, asked.visit, kind, asked.subject, detail)

    def succeeded(self, asked: _Asked, made: NewSession) -> tuple[Header, ...]:
        """Return the headers that give somebody their new session."""
        session = asked.caller.session
        life_s = made.expires_at - asked.visit.now if session.is_remembered else None
        return (self._cookie.set(made.cookie, asked.visit.client, max_age_s=life_s),)

    def failed(self, failure: Failure) -> tuple[str, tuple[Header, ...]]:
        """Return the code of a failure, and the headers that go with it."""
        if isinstance(failure, Wait):
            return "too_many_attempts", ((b"Retry-After", retry_after(failure.seconds)),)
        if failure == "gone":
            return "session_unknown", self._visitors.challenge
        return "factor_wrong", ()

    def said_why(self, asked: _Asked, failure: Failure) -> str:
        """Return the words for a failure that a page is shown again for."""
        if isinstance(failure, Wait):
            wait = duration(failure.seconds, texts(asked.language))
            return asked.text("error_too_many_attempts", wait=wait)
        return asked.text("error_factor_wrong")


class _StepUp:
    """`/step-up`: prove a factor, and go back to where it was wanted."""

    def __init__(self, desk: _Desk) -> None:
        self._desk = desk

    async def answer(self, visit: Visit) -> Reply:
        """Ask for a factor, or take one."""
        asked = await self._desk.asked(visit, takes_moved=True)
        if isinstance(asked, Reply):
            return asked
        factors = await self._desk.step_up.factors(asked.subject)
        if asked.is_post:
            return await self._take(asked, factors)
        if asked.wants_page:
            return self._page(asked, factors)
        return json_reply({"factors": list(factors)}, subject=asked.subject)

    async def _take(self, asked: _Asked, factors: tuple[Factor, ...]) -> Reply:
        given = [factor for factor in FACTORS if asked.said.get(factor)]
        if len(given) != 1:
            raise Refused("bad_request", "a code or a password, one of the two")
        (factor,) = given
        made = await self._desk.step_up.prove(
            asked.caller, factor, asked.said[factor], asked.visit.now
        )
        if isinstance(made, NewSession):
            self._desk.note(asked, "step_up", factor)
            headers = self._desk.succeeded(asked, made)
            if asked.wants_page:
                return redirect(asked.next, headers, subject=asked.subject)
            told = {"expires_at": int(made.expires_at), "next": asked.next}
            return json_reply(told, headers=headers, subject=asked.subject)
        code, headers = self._desk.failed(made)
        self._desk.note(asked, "otp_failed" if factor == "code" else "login_failed", code)
        if made == "gone" or not asked.wants_page:
            raise Refused(code, "", headers)
        return self._page(
            asked, factors, error=self._desk.said_why(asked, made), code=code, headers=headers
        )

    def _page(
        self,
        asked: _Asked,
        factors: tuple[Factor, ...],
        *,
        error: str = "",
        code: str | None = None,
        headers: tuple[Header, ...] = (),
    ) -> Reply:
        wants_two = asked.said.get("want") == "code"
        wants_code = wants_two and "code" not in factors
        # A code would be their only factor, however often they prove it.
        is_alone = (
            wants_two and not wants_code and not is_mfa(amr_with_code(asked.caller.session.amr))
        )
        has_codes = self._desk.step_up.otp is not None
        values = {
            "factor": factors[0] if factors and not wants_code and not is_alone else None,
            "wants_code": wants_code and has_codes,
            "is_alone": is_alone,
            "next": asked.next,
            "error": error,
            "username": "" if asked.is_moved else self._desk.step_up.name_of(asked.subject) or "",
        }
        return self._desk.pages.reply(
            "step_up.html",
            asked.language,
            values,
            status=200 if code is None else CODES[code].status,
            headers=headers,
            subject=asked.subject,
            code=code,
        )


class _Otp:
    """`/otp`: set up, change and remove one's own one-time password."""

    def __init__(self, desk: _Desk, otp: OneTimePasswords) -> None:
        self._desk = desk
        self._otp = otp
        self._actions = {
            "begin": self._begin,
            "confirm": self._confirm,
            "renew": self._renew,
            "remove": self._remove,
        }

    async def answer(self, visit: Visit) -> Reply:
        """Show what there is, or change it."""
        asked = await self._desk.asked(visit, back="otp", takes_moved=False)
        if isinstance(asked, Reply):
            return asked
        if not asked.is_post:
            return await self._show(asked)
        action = self._actions.get(asked.said.get("action", ""))
        if action is None:
            raise Refused("bad_request", f"action is one of {', '.join(self._actions)}")
        check_form(visit, asked.said, asked.token)
        if not await self._may(asked):
            if not asked.wants_page:
                raise Refused("step_up_required", "S6: a factor within five minutes")
            here = quote(self._desk.with_next("otp", asked.next), safe="")
            return redirect(f"{self._desk.base}/step-up?next={here}")
        return await action(asked)

    async def _may(self, asked: _Asked) -> bool:
        """S6. What this session began with a fresh factor it confirms by a code: an app may take a while."""
        return asked.said["action"] == "confirm" or await self._is_fresh(asked)

    async def _is_fresh(self, asked: _Asked) -> bool:
        is_enrolled = await self._otp.is_enrolled(asked.subject)
        return may_change(asked.caller.session, asked.visit.now, is_enrolled=is_enrolled)

    async def _show(
        self,
        asked: _Asked,
        *,
        notice: str = "",
        error: str = "",
        codes: tuple[str, ...] = (),
        headers: tuple[Header, ...] = (),
        status: int = 200,
        code: str | None = None,
    ) -> Reply:
        state = await self._otp.state(asked.subject)
        is_enrolled = state is not None or await self._otp.is_enrolled(asked.subject)
        left = None if state is None else state.recovery_left
        if not asked.wants_page:
            told: dict[str, Any] = {"enrolled": is_enrolled, "recovery_left": left}
            if codes:
                told["recovery_codes"] = list(codes)
            return json_reply(told, headers=headers, subject=asked.subject)
        since = "" if state is None else _date(state.since)
        values = {
            "is_enrolled": is_enrolled,
            "state": asked.text("otp_state", date=since),
            "left": asked.text("otp_left", count=0 if left is None else left),
            "notice": notice,
            "error": error,
            "recovery_codes": codes,
        }
        return self._page(asked, values, headers=headers, status=status, code=code)

    async def _begin(self, asked: _Asked) -> Reply:
        session = asked.caller.session
        account = session.email or session.name
        begun = await self._otp.begin(
            asked.subject, asked.caller.digest, asked.visit.now, account=account
        )
        if asked.wants_page:
            return self._enrolment_page(asked, begun)
        told = {
            "uri": begun.uri,
            "secret": begun.secret,
            "recovery_codes": list(begun.recovery_codes),
            "expires_at": int(begun.expires_at),
        }
        return json_reply(told, subject=asked.subject)

    async def _confirm(self, asked: _Asked) -> Reply:
        code = asked.said.get("code", "")
        made = await self._desk.step_up.confirm(asked.caller, code, asked.visit.now)
        if isinstance(made, NewSession):
            self._desk.note(asked, "otp_enrolled")
            headers = self._desk.succeeded(asked, made)
            codes: tuple[str, ...] = ()
            if asked.wants_page:  # programs were told theirs with the secret
                codes = await self._otp.renew_recovery(asked.subject) or ()
            return await self._show(
                asked, notice=asked.text("otp_done"), codes=codes, headers=headers
            )
        code, headers = self._desk.failed(made)
        self._desk.note(asked, "otp_failed", f"setting up: {code}")
        if made == "gone" or not asked.wants_page:
            raise Refused(code, "", headers)
        session = asked.caller.session
        begun = await self._otp.pending(
            asked.subject,
            asked.caller.digest,
            asked.visit.now,
            account=session.email or session.name,
        )
        status = CODES[code].status
        if begun is None:
            why = asked.text("error_enrolment_over")
            return await self._show(asked, error=why, status=status, headers=headers, code=code)
        why = self._desk.said_why(asked, made)
        shown = begun if await self._is_fresh(asked) else None
        return self._enrolment_page(
            asked, shown, error=why, status=status, headers=headers, code=code
        )

    async def _renew(self, asked: _Asked) -> Reply:
        codes = await self._otp.renew_recovery(asked.subject)
        if codes is None:
            raise Refused("bad_request", "there is no one-time password")
        self._desk.note(asked, "otp_enrolled", "new recovery codes")
        return await self._show(asked, notice=asked.text("otp_renewed"), codes=codes)

    async def _remove(self, asked: _Asked) -> Reply:
        if await self._otp.remove(asked.subject):
            self._desk.note(asked, "otp_removed")
        return await self._show(asked, notice=asked.text("otp_removed"))

    def _enrolment_page(self, asked: _Asked, begun: Enrolment | None, **said: Any) -> Reply:
        """Ask for the first code; the secret is shown again only while it could be begun again (S6)."""
        values = {
            "enrolment": True,
            "qr": "" if begun is None else qr_data_uri(begun.uri),
            "secret": "" if begun is None else in_groups(begun.secret),
            "error": said.pop("error", ""),
        }
        return self._page(asked, values, **said)

    def _page(self, asked: _Asked, values: Mapping[str, Any], **said: Any) -> Reply:
        empty = {
            "is_enrolled": False,
            "enrolment": False,
            "recovery_codes": (),
            "notice": "",
            "error": "",
            "next": asked.next,
            "csrf": asked.token,
        }
        headers = (*said.pop("headers", ()), APART)
        return self._desk.pages.reply(
            "otp.html",
            asked.language,
            empty | dict(values),
            headers=headers,
            subject=asked.subject,
            **said,
        )


def _date(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d")
