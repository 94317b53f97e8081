"""Factors that people who are signed in prove again, and what they get for it: a session of a new id.

Every guess is counted before it is checked (security.md, S8). What never belongs here: pages, forms
and cookies, and the question which route wants a factor.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, Literal

from proxy.config.login_models import BindConfig
from proxy.core.formats.native import NativeSession
from proxy.core.freshness import CODE, PASSWORD, Freshness, amr_with_code, is_mfa
from proxy.services.attempts import Attempts
from proxy.services.login import Whereabouts, bound_to
from proxy.services.otp import OneTimePasswords
from proxy.services.sessions import Follow, LoginRevoked, NewSession, Proof, Sessions
from proxy.services.users import Users

CHANGE_WITHIN_S: Final = 300.0
"""S6: how old the factor of somebody may be who changes how they sign in."""

Factor = Literal["code", "password"]


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, and from where; the session is live."""

    digest: str
    """Of the session's cookie."""
    session: NativeSession
    where: Whereabouts

    @property
    def subject(self) -> str:
        """Whose session it is."""
        return self.session.subject


@dataclass(frozen=True, slots=True)
class Wait:
    """Too many guesses: the next one may come in so many seconds."""

    seconds: float


Failure = Wait | Literal["wrong", "gone"]
"""`gone`: the session ended meanwhile, or another request was given its successor."""


class StepUp:
    """Asks for factors. Every method raises `StoreUnavailable`, and `LoginBusy` for passwords."""

    def __init__(
        self,
        *,
        sessions: Sessions,
        attempts: Attempts,
        otp: OneTimePasswords | None,
        users: Users | None,
        bind: BindConfig | None,
        follow: Follow | None = None,
    ) -> None:
        self._sessions = sessions
        self._follow = follow
        self._attempts = attempts
        self.otp = otp
        self._users = users
        self._bind = bind

    async def caller(self, digest: str, where: Whereabouts, now: float) -> Caller | None:
        """Return whose live session this is, as the store has it now, wherever it is bound to."""
        listed = await self._sessions.show(digest, now)
        return None if listed is None else Caller(digest, listed.session, where)

    async def is_enrolled(self, subject: str) -> bool:
        """Tell whether a code is asked of `subject`."""
        return self.otp is not None and await self.otp.is_enrolled(subject)

    async def factors(self, subject: str) -> tuple[Factor, ...]:
        """Return what `subject` can prove: a code where one is enrolled, else their password."""
        if await self.is_enrolled(subject):
            return ("code",)
        return () if self.name_of(subject) is None else ("password",)

    async def prove(
        self, caller: Caller, factor: Factor, given: str, now: float
    ) -> NewSession | Failure:
        """Check a factor and give the session a new id, with what was proved.

        A password counts where no code is enrolled: else it would be a way around the code.
        """
        if factor not in await self.factors(caller.subject):
            return "wrong"
        if factor == "code":
            otp = self._otp()
            return await self._prove_code(
                caller, lambda: otp.check(caller.subject, given, now), now
            )
        name = self.name_of(caller.subject)
        assert name is not None  # noqa: S101 - they have a password: it is among their factors
        users = self._users
        assert users is not None  # noqa: S101 - where there is a name there are users

        with users.place(caller.where.network) as place:  # what is not looked at is not counted

            async def is_right() -> bool:
                found = await users.verify(name, given, place)
                return found is not None and found.subject == caller.subject

            return await self._prove(caller, is_right, PASSWORD, now)

    async def confirm(self, caller: Caller, code: str, now: float) -> NewSession | Failure:
        """Put an enrolment that this session began in force; its first code is a factor as any other.

        Another session of the same person has not proved what this one had when it began (S6).
        """
        otp = self._otp()
        return await self._prove_code(
            caller, lambda: otp.confirm(caller.subject, caller.digest, code, now), now
        )

    async def _prove_code(
        self, caller: Caller, is_right: Callable[[], Awaitable[bool]], now: float
    ) -> NewSession | Failure:
        return await self._prove(caller, is_right, amr_with_code(caller.session.amr), now)

    async def _prove(
        self,
        caller: Caller,
        is_right: Callable[[], Awaitable[bool]],
        amr: tuple[str, ...],
        now: float,
    ) -> NewSession | Failure:
        account = self.name_of(caller.subject) or caller.subject
        began = await self._sessions.begin(caller.subject)
        wait_s = await self._attempts.take(account, caller.where.network, now)
        if wait_s > 0:
            return Wait(wait_s)
        if not await is_right():
            return "wrong"
        await self._attempts.clear(account, caller.where.network)
        proof = Proof(
            amr=amr,
            binding=bound_to(self._bind, caller.where),
            address=caller.where.address,
            agent=caller.where.shown_agent,
        )
        try:
            made = await self._sessions.succeed(
                caller.digest, proof, now, began=began, follow=self._follow
            )
        except LoginRevoked:
            made = None
        return made or "gone"

    def _otp(self) -> OneTimePasswords:
        assert self.otp is not None  # noqa: S101 - nobody is asked for a code where there are none
        return self.otp

    def name_of(self, subject: str) -> str | None:
        """Return the name that `subject` signs in with; `None` for somebody without a password."""
        return None if self._users is None else self._users.name_of(subject)


def may_change(session: NativeSession, now: float, *, is_enrolled: bool) -> bool:
    """Tell whether somebody may change how they sign in (security.md, S6).

    Where a code is enrolled it takes one: who knows the password alone must not get rid of the code.
    A code is enough, also of somebody whose session says of no other factor: they could never prove two.
    """
    if is_enrolled and CODE not in session.amr and not is_mfa(session.amr):
        return False
    return Freshness(login_within=CHANGE_WITHIN_S).check(session, now) is None
