"""One-time passwords of people whom applications name, for the operator who knows them."""

from __future__ import annotations

import time

from proxy.cli import report
from proxy.cli.opening import open_store_of
from proxy.config.models import Config
from proxy.core.session_factors import person_of
from proxy.services.audit import Audit, Event
from proxy.services.compile import stepped_up_schemes
from proxy.services.foreign_people import open_foreign_otp
from proxy.services.otp import Enrolment


def check_scheme(settings: Config, scheme: str) -> None:
    """End with a usage error unless the gate asks for codes over sessions of `scheme`."""
    stepped = stepped_up_schemes(settings)
    if scheme not in stepped:
        names = ", ".join(sorted(stepped)) or "none"
        report.fail(
            f"no route with mfa_within takes an application's sessions of scheme {scheme};"
            f" those that have one: {names}",
            report.EXIT_USAGE,
        )


async def enrol(settings: Config, scheme: str, subject: str) -> Enrolment | None:
    """Set an app up for somebody; `None` where they have one. Raises `StoreUnavailable`."""
    async with open_store_of(settings) as store:
        otp = open_foreign_otp(settings, store)
        made = await otp.enrol(person_of(scheme, subject), time.time(), account=subject)
        if made is not None:
            await _note(Audit(store, prefix=settings.store.prefix), "otp_enrolled", scheme, subject)
        return made


async def remove(settings: Config, scheme: str, subject: str) -> bool:
    """Take somebody's app away, and with it what it has proved. Raises `StoreUnavailable`."""
    async with open_store_of(settings) as store:
        had_one = await open_foreign_otp(settings, store).remove(person_of(scheme, subject))
        if had_one:
            await _note(Audit(store, prefix=settings.store.prefix), "otp_removed", scheme, subject)
        return had_one


async def _note(audit: Audit, kind: str, scheme: str, subject: str) -> None:
    audit.note(Event(kind, subject, detail=f"by an operator, of scheme {scheme}"), time.time())
    await audit.close()
