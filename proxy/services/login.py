"""Signing in with a name and a password, and signing out (security.md, S1, S7, S8; R6).

Who asks, what they say and from where come in; a new session, or why there is none, goes out. What
never belongs here: HTTP, cookies, pages.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from proxy.config.login_models import BindConfig
from proxy.config.user_models import normal_name
from proxy.core.binding import bind, block_of
from proxy.errors import LoginBusy
from proxy.services.attempts import Attempts
from proxy.services.sessions import Login, LoginRevoked, NewSession, Sessions
from proxy.services.subjects import Subjects
from proxy.services.users import User, Users

NETWORK_BITS = 24
"""Of the block whose attempts are counted together: /24 of IPv4, /48 of IPv6."""
MAX_AGENT = 256
"""Characters of a User-Agent that a session keeps for its owner to recognise it."""


class SecondFactor(Protocol):
    """What else somebody may have to prove; see services.otp."""

    async def is_wanted(self, subject: str) -> bool:
        """Tell whether a code is asked of `subject` at sign-in. Raises `StoreUnavailable`."""
        ...

    async def check(self, subject: str, code: str, now: float) -> bool:
        """Say whether `code` is right, and use it up. Does not count attempts."""
        ...


@dataclass(frozen=True, slots=True)
class Credentials:
    """What somebody says to sign in."""

    username: str
    password: str = field(repr=False)
    otp: str | None = field(default=None, repr=False)
    is_remembered: bool = False


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """From where."""

    address: str | None
    agent: bytes | None

    @property
    def network(self) -> str | None:
        """The block whose attempts are counted together."""
        return block_of(self.address, NETWORK_BITS)

    @property
    def shown_agent(self) -> str | None:
        """The User-Agent as a session keeps it."""
        text = (self.agent or b"").decode("utf-8", "replace")
        return "".join(filter(str.isprintable, text))[:MAX_AGENT] or None


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A new session, whose cookie may leave now."""

    session: NewSession
    user: User
    lifetime_s: float | None
    """Of a session that is remembered."""


@dataclass(frozen=True, slots=True)
class NotSignedIn:
    """Why there is no session."""

    code: str
    """A row of proxy.codes: `login_failed`, `otp_required` or `too_many_attempts`."""
    wait_s: float = 0.0
    subject: str | None = None
    """Whose account was meant, where there is one: for the audit trail, never for an answer."""


@dataclass(frozen=True, slots=True)
class LoginService:
    """Signs people in and out."""

    users: Users | None
    """`None` where nobody signs in with a password."""
    attempts: Attempts
    sessions: Sessions
    subjects: Subjects
    remember_s: float | None
    bind: BindConfig | None
    second_factor: SecondFactor | None = None

    async def sign_in(
        self, said: Credentials, where: Whereabouts, old: str | None, now: float
    ) -> SignedIn | NotSignedIn:
        """Check what somebody says, and make a session in the place of `old`, a digest.

        `now` is when they asked. Raises `LoginBusy`, and `StoreUnavailable`: what cannot be counted
        is not checked.
        """
        if self.users is None:
            return NotSignedIn("login_failed")
        if self.users.is_busy:  # before it is counted: it was not looked at
            raise LoginBusy("too many passwords wait to be checked")
        account = normal_name(said.username)
        wait_s = await self.attempts.take(account, where.network, now)
        known = self.users.find(account)
        if wait_s > 0:
            return NotSignedIn("too_many_attempts", wait_s, known.subject if known else None)
        began = await self.sessions.begin(account if known is None else known.subject)
        user = await self.users.verify(account, said.password)
        if user is None or user.subject != began.subject:
            return NotSignedIn("login_failed", subject=known.subject if known else None)
        amr = await self._second(user, account, said.otp, where, now)
        if isinstance(amr, NotSignedIn):
            return amr
        await self.attempts.clear(account, where.network)
        lifetime_s = self.remember_s if said.is_remembered else None
        try:
            session = await self.sessions.rotate(
                old, self._login(user, where, amr, lifetime_s, now), now, began=began
            )
        except LoginRevoked:
            return NotSignedIn("login_failed", subject=user.subject)
        return SignedIn(session, user, lifetime_s)

    async def _second(
        self, user: User, account: str, code: str | None, where: Whereabouts, now: float
    ) -> tuple[str, ...] | NotSignedIn:
        """Return how they have proved who they are (RFC 8176), with a second factor where one is wanted.

        Each code is an attempt of its own (S8).
        """
        factor = self.second_factor
        if factor is None or not await factor.is_wanted(user.subject):
            return ("pwd",)
        if not code:
            return NotSignedIn("otp_required", subject=user.subject)
        wait_s = await self.attempts.take(account, where.network, now)
        if wait_s > 0:
            return NotSignedIn("too_many_attempts", wait_s, user.subject)
        if not await factor.check(user.subject, code, now):
            return NotSignedIn("login_failed", subject=user.subject)
        return ("pwd", "otp", "mfa")

    def _login(
        self,
        user: User,
        where: Whereabouts,
        amr: tuple[str, ...],
        lifetime_s: float | None,
        now: float,
    ) -> Login:
        bound = self.bind
        return Login(
            subject=user.subject,
            email=user.email,
            name=user.name,
            roles=user.roles,
            scopes=user.scopes,
            amr=amr,
            address=where.address,
            agent=where.shown_agent,
            auth_time=now,
            lifetime_s=lifetime_s,
            binding=None
            if bound is None
            else bind(where.address, where.agent, bits=bound.bits, has_agent=bound.agent),
        )

    async def sign_out(self, digest: str) -> bool:
        """End one session; return whether there was one. Raises `StoreUnavailable`."""
        return await self.sessions.revoke(digest)

    async def sign_out_everywhere(self, subject: str, now: float) -> int:
        """End everything that `subject` has been given; return how many sessions there were."""
        return await self.subjects.end(subject, now)
