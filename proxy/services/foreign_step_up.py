"""People with a session of an application, who are asked for the gate's one-time password.

What they prove is kept beside that session, never in it. Every guess is counted before it is checked
(security.md, S8), apart from those at the gate's own accounts. What never belongs here: pages, forms and
cookies, and the question which route wants a factor.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from proxy.adapters.store import Store
from proxy.config.models import BrandingConfig, Config
from proxy.core.destination import Destinations
from proxy.core.own_cookies import OwnCookie, factor_cookie
from proxy.core.session_factors import person_of
from proxy.model import Absent, Authenticated, Rejected
from proxy.services import compile as compiling
from proxy.services.attempts import Attempts
from proxy.services.audit import Audit
from proxy.services.foreign_people import foreign_prefix, open_foreign_otp
from proxy.services.login import Whereabouts
from proxy.services.otp import OneTimePasswords
from proxy.services.schemes.port import Carried, Scheme
from proxy.services.schemes.session import SessionScheme
from proxy.services.session_factors import NewFactor, SessionFactors
from proxy.services.step_up import Failure, Wait
from proxy.services.visitors import Visitors


@dataclass(frozen=True, slots=True)
class ForeignCaller:
    """Who asks, and from where; the application's session is live."""

    scheme: str
    session: str
    """What `Format.locate` says of its cookie."""
    subject: str
    """As the application calls them."""
    where: Whereabouts

    @property
    def person(self) -> str:
        """What one-time passwords know them by: nobody else is called so (K6)."""
        return person_of(self.scheme, self.subject)


class SteppedUp:
    """One scheme whose sessions can be stepped up."""

    def __init__(self, scheme: SessionScheme, factors: SessionFactors) -> None:
        self.name = scheme.name
        self.factors = factors
        self.visitors = Visitors(scheme)
        self.cookie: OwnCookie = factor_cookie(scheme.name)

    async def caller(
        self, carried: Carried, where: Whereabouts, now: float
    ) -> ForeignCaller | Absent | Rejected:
        """Return whose session a request carries, or what its scheme says instead.

        Raises `StoreUnavailable`, and `Ambiguous` (S2).
        """
        found = self.visitors.find(carried)
        outcome = await self.visitors.judge(found, now)
        if not isinstance(outcome, Authenticated):
            return outcome
        session = None if found is None else self.factors.form.locate(found.value)
        assert session is not None  # noqa: S101 - a session was found under it
        return ForeignCaller(self.name, session, outcome.identity.subject, where)


class ForeignStepUp:
    """Asks people with sessions of applications for a code. Methods raise `StoreUnavailable`."""

    def __init__(
        self, schemes: Mapping[str, SteppedUp], attempts: Attempts, otp: OneTimePasswords
    ) -> None:
        self.schemes = schemes
        self._attempts = attempts
        self.otp = otp

    async def is_enrolled(self, caller: ForeignCaller) -> bool:
        """Tell whether somebody has an app whose code can be asked."""
        return await self.otp.is_enrolled(caller.person)

    async def prove(self, caller: ForeignCaller, code: str, now: float) -> NewFactor | Failure:
        """Check a code, and keep what it proves beside the session that it was given in."""
        state = await self.otp.state(caller.person)
        if state is None:
            return "wrong"
        wait_s = await self._attempts.take(caller.person, caller.where.network, now)
        if wait_s > 0:
            return Wait(wait_s)
        if not await self.otp.check(caller.person, code, now):
            return "wrong"
        await self._attempts.clear(caller.person, caller.where.network)
        # Of the app that there was before the code was checked: what took its place proved nothing.
        return await self.schemes[caller.scheme].factors.give(
            caller.session, caller.subject, since=state.since, now=now
        )


@dataclass(frozen=True, slots=True)
class ForeignServices:
    """What the endpoints work with that are for people with sessions of applications."""

    step_up: ForeignStepUp
    destinations: Destinations
    """Where a browser may be sent on to (S4)."""
    audit: Audit
    base: str
    """`login.path`."""
    branding: BrandingConfig
    public_url: str | None


def open_foreign_services(
    config: Config,
    schemes: Mapping[str, Scheme],
    store: Store | None,
    destinations: Destinations,
    audit: Audit,
) -> ForeignServices | None:
    """Return them; `None` where no route with `mfa_within` takes an application's session.

    Raises `SecretsError`.
    """
    stepped = {
        name: SteppedUp(scheme, scheme.factors)
        for name, scheme in schemes.items()
        if isinstance(scheme, SessionScheme) and scheme.factors is not None
    }
    if not stepped or store is None:
        return None
    attempts = Attempts(store, prefix=foreign_prefix(config))
    return ForeignServices(
        step_up=ForeignStepUp(stepped, attempts, open_foreign_otp(config, store)),
        destinations=destinations,
        audit=audit,
        base=compiling.own_path(config),
        branding=config.branding,
        public_url=config.server.public_url,
    )
