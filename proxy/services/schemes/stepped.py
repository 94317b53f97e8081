"""An application's sessions on a route with `mfa_within`: with the factor that was proved beside them.

Whose session it is says the scheme itself, as on every route; then a factor of the gate's own, beside it, says
when they last proved one. Without one the session says nothing of that, and opens no such route. What never
belongs here: asking for a factor.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from proxy.core.coherence import Finding, Key
from proxy.core.cookies import Duplicate, find_cookie
from proxy.core.own_cookies import OwnCookie, factor_cookie
from proxy.core.session_factors import is_token
from proxy.errors import StoreUnavailable
from proxy.model import Absent, Authenticated, Identity, Outcome, Rejected
from proxy.services.schemes.port import Ambiguous, Carried, Found, Holds, Place, Scheme
from proxy.services.schemes.session import SessionScheme

if TYPE_CHECKING:
    from proxy.services.session_factors import SessionFactors


@dataclass(frozen=True, slots=True)
class SteppedScheme:
    """A session scheme, and the factors beside its sessions. It is called what that is called."""

    inner: SessionScheme
    factors: SessionFactors
    cookie: OwnCookie

    @property
    def name(self) -> str:
        """The configured name."""
        return self.inner.name

    @property
    def places(self) -> tuple[Place, ...]:
        """Where the session's cookie is; that of the factor is the gate's own, as those of a sign-in."""
        return self.inner.places

    @property
    def is_native(self) -> bool:
        """False: the session is its application's, and travels on."""
        return self.inner.is_native

    @property
    def issuer(self) -> str | None:
        """`None`: it is no token."""
        return self.inner.issuer

    def find(self, carried: Carried) -> Found | None:
        """Return the session's cookie with the factor's. Raises `Ambiguous` for either (S2)."""
        found = self.inner.find(carried)
        if found is None:
            return None
        name = self.cookie.bare if carried.is_local else self.cookie.name
        beside = find_cookie(carried.cookies, name.encode())
        if isinstance(beside, Duplicate):
            raise Ambiguous(Place("cookie", name), beside.names)
        # A factor needs an answer of the store's, outage or not (R8).
        found = replace(found, may_be_stale=False)
        return found if beside is None or not is_token(beside) else replace(found, beside=beside)

    def known(self, found: Found, now: float) -> Outcome | None:
        """Return what cached verdicts say of both; `judge` ends the factor of a session that is over."""
        outcome = self.inner.known(found, now)
        if not found.beside:
            return outcome
        if not isinstance(outcome, Authenticated):
            return None
        finding = self.factors.known(found, outcome.identity)
        return None if finding is None else _stepped(outcome, finding)

    async def judge(self, found: Found, now: float) -> Outcome:
        """Look up whose session it is, then what they have proved beside it."""
        outcome = await self.inner.judge(found, now)
        if not found.beside:
            return outcome
        if isinstance(outcome, Absent):
            self._forget(found)
        if not isinstance(outcome, Authenticated):
            return outcome
        finding = self.factors.known(found, outcome.identity)
        if finding is None:
            finding = await self.factors.look_up(found, outcome.identity)
            if isinstance(finding, Absent):  # who sends many of these is trying ids (R9)
                key = self.factors.key(found, outcome.identity)
                if (refused := await self.factors.ledger.guessed(found, key)) is not None:
                    return refused
        return _stepped(outcome, finding)

    def begin(self, found: Found, now: float) -> None:
        """Begin nothing: one look-up says what the next one has to ask."""
        del found, now

    def meet(self, found: Found, now: float) -> None:
        """Begin nothing, likewise."""
        del found, now

    def recall(self, found: Found) -> Identity | None:
        """Return whom cached verdicts name, with what they have proved."""
        identity = self.inner.recall(found)
        if identity is None or not found.beside:
            return None
        vouched = self.factors.ledger.vouched(self.factors.key(found, identity))
        return None if vouched is None else _proved(identity, vouched.verdict.identity)

    def stand(self, found: Found) -> Holds | None:
        """Return what asks the verdicts on both."""
        identity, holds = self.inner.recall(found), self.inner.stand(found)
        if identity is None or holds is None or not found.beside:
            return None
        vouched = self.factors.ledger.vouched(self.factors.key(found, identity))
        if vouched is None:
            return None
        ends_at = vouched.verdict.not_after

        def both(now: float, mono: float, address: str | None) -> bool:
            return now < ends_at and vouched.holds(mono) and holds(now, mono, address)

        return both

    async def guessed(self, found: Found) -> Rejected | None:
        """Count an unknown session (R9)."""
        return await self.inner.guessed(found)

    def key(self, found: Found) -> Key:
        """Return what the session's verdict is kept under."""
        return self.inner.key(found)

    def use(self, found: Found, now: float) -> bool:
        """Do nothing: its application counts what is a use."""
        return self.inner.use(found, now)

    def factor_key(self, found: Found) -> Key | None:
        """Return what the verdict on the factor is kept under; `None` where none is known."""
        identity = self.inner.recall(found)
        if identity is None or not found.beside:
            return None
        return self.factors.key(found, identity)

    def _forget(self, found: Found) -> None:
        """Forget a factor with its session: an application may take the same id for another one."""
        session = self.factors.form.locate(found.value)
        if session is not None and found.is_request:
            self.factors.ledger.behind(
                self._try_to_forget(session), name="factor of a session that is over"
            )

    async def _try_to_forget(self, session: str) -> None:
        with contextlib.suppress(StoreUnavailable):
            await self.factors.forget(session)


def stepped(scheme: Scheme) -> Scheme:
    """Return the scheme as a route with `mfa_within` asks it."""
    if not isinstance(scheme, SessionScheme) or scheme.factors is None:
        return scheme
    return SteppedScheme(scheme, scheme.factors, factor_cookie(scheme.name))


def keys_of(scheme: Scheme, found: Found) -> tuple[Key, ...]:
    """Return every key that an open connection hangs on (R7)."""
    factor = scheme.factor_key(found) if isinstance(scheme, SteppedScheme) else None
    return (scheme.key(found),) if factor is None else (scheme.key(found), factor)


def _stepped(outcome: Authenticated, finding: Finding) -> Authenticated:
    if isinstance(finding, Absent):
        return outcome
    return replace(outcome, identity=_proved(outcome.identity, finding.identity))


def _proved(identity: Identity, factor: Identity) -> Identity:
    return replace(identity, auth_time=factor.auth_time, amr=factor.amr)
