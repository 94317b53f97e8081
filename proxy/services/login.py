"""Signing in with a name and a password, and signing out (security.md, S1, S7, S8; R6).

Who asks, what they say and from where come in; a new session, or why there is none, goes out. What
never belongs here: HTTP, cookies, pages.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol

from proxy.adapters.passwords import Place
from proxy.config.client_models import CLIENT_SUBJECT
from proxy.config.login_models import BindConfig
from proxy.config.user_models import normal_name
from proxy.core.binding import Binding, bind, block_of
from proxy.core.freshness import PASSWORD, amr_with_code
from proxy.services.attempts import Attempts
from proxy.services.sessions import Beginning, Login, LoginRevoked, NewSession, Sessions
from proxy.services.subjects import Subjects
from proxy.services.users import User, Users

NETWORK_BITS = 24
"""Of the block whose attempts are counted together: /24 of IPv4, /48 of IPv6."""
MAX_AGENT = 256
"""Characters of a User-Agent that a session keeps for its owner to recognise it."""


Wanted = Literal["nothing", "code", "enrolment"]
"""What a sign-in wants after the password; `enrolment`: an app has to be set up first."""


class SecondFactor(Protocol):
    """What else somebody may have to prove; see services.second_step."""

    async def wanted(self, subject: str) -> Wanted:
        """Return what a sign-in of `subject` wants after the password. Raises `StoreUnavailable`."""
        ...

    async def is_enrolled(self, subject: str) -> bool:
        """Tell whether `subject` has a code, wherever it is asked for. Raises `StoreUnavailable`."""
        ...

    async def check(self, subject: str, code: str, now: float) -> bool:
        """Say whether `code` is right, and use it up. Does not count attempts."""
        ...

    async def confirm(self, subject: str, holder: str, code: str, now: float) -> bool:
        """Say whether `code` is of an app that `holder` is setting up, which then is in force."""
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
class Half:
    """A sign-in whose password was right, and that wants a code."""

    name: str
    """The account by which guesses are counted."""
    subject: str
    began: Beginning
    """Where the sign-in began, before the password was checked (R6)."""
    became: str
    """What the person was when the password was right (see `Users.become`)."""
    is_remembered: bool
    at: float
    """When that was, in epoch seconds."""


@dataclass(frozen=True, slots=True)
class NotSignedIn:
    """Why there is no session."""

    code: str
    """A row of proxy.codes: `login_failed`, `too_many_attempts`, `otp_required` (a code is wanted), or
    `otp_missing` (an app has to be set up first)."""
    wait_s: float = 0.0
    subject: str | None = None
    """Whose account was meant, where there is one: for the audit trail, never for an answer."""
    half: Half | None = field(default=None, compare=False)
    """What a second step can go on from."""


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
        with self.users.place(where.network) as place:  # what is not looked at is not counted
            half = await self._first(self.users, place, said, where, now)
        if isinstance(half, NotSignedIn):
            return half
        factor = self.second_factor
        wanted = "nothing" if factor is None else await factor.wanted(half.subject)
        if factor is None or wanted == "nothing":
            return await self._finish(half, PASSWORD, where, old, now)
        if wanted == "enrolment":
            return NotSignedIn("otp_missing", subject=half.subject, half=half)
        if not said.otp:
            return NotSignedIn("otp_required", subject=half.subject, half=half)
        wait_s = await self.attempts.take(half.name, where.network, now, is_second=True)
        otp = said.otp
        return await self._prove(
            half, lambda: factor.check(half.subject, otp, now), where, old, now, wait_s
        )

    async def _first(
        self, users: Users, place: Place, said: Credentials, where: Whereabouts, now: float
    ) -> Half | NotSignedIn:
        """Check the password."""
        account = normal_name(said.username)
        wait_s = await self.attempts.take(account, where.network, now)
        known = users.find(account)
        if wait_s > 0:
            return NotSignedIn("too_many_attempts", wait_s, known.subject if known else None)
        began = await self.sessions.begin(account if known is None else known.subject)
        user = await users.verify(account, said.password, place)
        if user is None or user.subject != began.subject:
            return NotSignedIn("login_failed", subject=known.subject if known else None)
        become = users.become(account)
        return Half(account, user.subject, began, become, said.is_remembered, now)

    async def second(
        self, half: Half, step: str, code: str, where: Whereabouts, old: str | None, now: float
    ) -> SignedIn | NotSignedIn:
        """Take the code that a sign-in has waited for: of the app, or the first of one set up now.

        `step` is the digest of this second step, in which alone that app may have been set up.
        """
        factor = self.second_factor
        if factor is None:
            return NotSignedIn("login_failed", subject=half.subject)
        wanted = await factor.wanted(half.subject)

        async def is_right() -> bool:
            if wanted == "enrolment":
                return await factor.confirm(half.subject, step, code, now)
            return await factor.check(half.subject, code, now)

        wait_s = await self.attempts.take(half.name, where.network, now)
        return await self._prove(half, is_right, where, old, now, wait_s)

    async def _prove(
        self,
        half: Half,
        is_right: Callable[[], Awaitable[bool]],
        where: Whereabouts,
        old: str | None,
        now: float,
        wait_s: float,
    ) -> SignedIn | NotSignedIn:
        """Check a code, which is an attempt of its own (S8): `wait_s` is what counting it said."""
        if wait_s > 0:
            return NotSignedIn("too_many_attempts", wait_s, half.subject)
        if not await is_right():
            return NotSignedIn("login_failed", subject=half.subject)
        return await self._finish(half, amr_with_code(), where, old, now)

    async def _finish(
        self, half: Half, amr: tuple[str, ...], where: Whereabouts, old: str | None, now: float
    ) -> SignedIn | NotSignedIn:
        """Make the session, unless the person is no longer who the password was right for (R6)."""
        user = await self._unchanged(half)
        if user is None:
            return NotSignedIn("login_failed", subject=half.subject)
        await self._forget_attempts(half, amr, where)
        lifetime_s = self.remember_s if half.is_remembered else None
        try:
            session = await self.sessions.rotate(
                old, self._login(user, where, amr, lifetime_s, now), now, began=half.began
            )
        except LoginRevoked:
            return NotSignedIn("login_failed", subject=half.subject)
        return SignedIn(session, user, lifetime_s)

    async def _forget_attempts(self, half: Half, amr: tuple[str, ...], where: Whereabouts) -> None:
        """S8: a password alone takes back itself, and no guess at a code that is asked elsewhere."""
        factor = self.second_factor
        is_last = amr != PASSWORD or factor is None or not await factor.is_enrolled(half.subject)
        forget = self.attempts.clear if is_last else self.attempts.give_back
        await forget(half.name, where.network)

    async def _unchanged(self, half: Half) -> User | None:
        users = self.users
        if users is None:
            return None
        await users.refresh()
        user = users.find(half.name)
        is_same = user is not None and user.subject == half.subject and not user.is_disabled
        return user if is_same and users.become(half.name) == half.became else None

    async def vouched(
        self,
        login: Login,
        where: Whereabouts,
        old: str | None,
        now: float,
        *,
        began_ago: Callable[[], float],
    ) -> NewSession | None:
        """Make a session for somebody whom a provider vouches for, in the place of `old`, a digest.

        `began_ago` tells how many seconds ago they went to the provider: who they are is known only
        now. `None`: everything of theirs was ended since (R6). Raises `ValueError` for what no record
        may say, a client's subject among it, and `StoreUnavailable`.
        """
        if login.subject.startswith(CLIENT_SUBJECT):
            raise ValueError("the subject is what a client is called")
        began = await self.sessions.begin(login.subject)
        if await self.sessions.ended_ago(login.subject) <= began_ago():
            return None
        placed = replace(
            login,
            address=where.address,
            agent=where.shown_agent,
            binding=bound_to(self.bind, where),
        )
        try:
            return await self.sessions.rotate(old, placed, now, began=began)
        except LoginRevoked:
            return None

    def _login(
        self,
        user: User,
        where: Whereabouts,
        amr: tuple[str, ...],
        lifetime_s: float | None,
        now: float,
    ) -> Login:
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
            binding=bound_to(self.bind, where),
        )

    async def sign_out(self, digest: str) -> bool:
        """End one session; return whether there was one. Raises `StoreUnavailable`."""
        return await self.sessions.revoke(digest)

    async def sign_out_everywhere(self, subject: str, now: float) -> int:
        """End everything that `subject` has been given; return how many sessions there were."""
        return await self.subjects.end(subject, now)


def bound_to(wanted: BindConfig | None, where: Whereabouts) -> Binding | None:
    """Return what a session is bound to that begins here, as `login.sessions.bind` wants it."""
    if wanted is None:
        return None
    return bind(where.address, where.agent, bits=wanted.bits, has_agent=wanted.agent)
