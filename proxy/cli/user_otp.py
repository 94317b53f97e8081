"""`latchgate user add-otp` and `remove-otp`: an app for somebody, and for who has lost theirs."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from proxy.cli import foreign_otp, report
from proxy.cli.opening import load_or_fail, open_store_of
from proxy.cli.options import DEFAULT_CONFIG, AsJson, ConfigFile, ForeignScheme
from proxy.cli.user import UserName, app
from proxy.config.models import Config
from proxy.config.user_models import normal_name, read_users
from proxy.errors import ConfigErrors
from proxy.services.audit import Audit, Event
from proxy.services.factors import open_otp
from proxy.services.schemes.build import open_subjects

__all__ = ["app"]


@app.command("add-otp")
def add_otp(
    subject: Annotated[str, typer.Argument(metavar="SUBJECT", show_default=False)],
    scheme: Annotated[str, typer.Option("--scheme", metavar="NAME", help="Of the application.")],
    config: ConfigFile = DEFAULT_CONFIG,
    as_json: AsJson = False,
) -> None:
    """Set an app up for somebody whom an application names; print its secret and recovery codes, once.

    The gate asks them for its codes on routes with mfa_within. Give both to nobody else.
    """
    settings = load_or_fail(config, runs_tests=False).config
    foreign_otp.check_scheme(settings, scheme)
    made = report.complete(foreign_otp.enrol(settings, scheme, subject))
    if made is None:
        report.fail(f"{subject} has a one-time password already: remove-otp takes it away")
    if as_json:
        codes = list(made.recovery_codes)
        report.say_json({"subject": subject, "scheme": scheme, "uri": made.uri, "codes": codes})
        return
    told = [f"{subject}, of scheme {scheme}. Their app takes", f"  {made.uri}"]
    told += ["or, typed,", f"  {made.secret}", "Recovery codes, each good once:"]
    for line in (*told, *(f"  {code}" for code in made.recovery_codes)):
        report.say(line)


@app.command("remove-otp")
def remove_otp(
    name: UserName,
    scheme: ForeignScheme = None,
    config: ConfigFile = DEFAULT_CONFIG,
    as_json: AsJson = False,
) -> None:
    """Take somebody's one-time password and recovery codes away, and end their sessions and tokens.

    Somebody of a provider is named by their subject, and somebody of an application by --scheme and
    their subject: their sessions are the application's, and what they have proved beside them is gone.
    """
    settings = load_or_fail(config, runs_tests=False).config
    if scheme is not None:
        foreign_otp.check_scheme(settings, scheme)
        if not report.complete(foreign_otp.remove(settings, scheme, name)):
            report.fail(f"{name}, of scheme {scheme}, has no one-time password")
        if as_json:
            report.say_json({"subject": name, "scheme": scheme})
            return
        report.say(f"{name}, of scheme {scheme}: one-time password removed")
        return
    if settings.login is None:
        report.fail("the configuration has no `login:`", report.EXIT_USAGE)
    subject = _subject_of(settings, name)
    has_removed, ended = report.complete(_remove(settings, subject))
    if not has_removed:
        report.fail(f"{subject} has no one-time password")
    if as_json:
        report.say_json({"subject": subject, "ended": ended})
        return
    count = "1 session" if ended == 1 else f"{ended} sessions"
    report.say(f"{subject}: one-time password removed; {count} ended")


async def _remove(settings: Config, subject: str) -> tuple[bool, int]:
    """End the sessions before the codes are gone, and those that were begun with them after it.

    A store that fails between the two leaves codes to take away, so that the command can be repeated.
    """
    async with open_store_of(settings) as store:
        otp = open_otp(settings, store)
        if otp is None:
            raise ValueError("without `secrets` there are no one-time passwords")
        if not await otp.is_enrolled(subject):
            return False, 0
        subjects = open_subjects(settings, store)
        ended = await subjects.end(subject, time.time())
        await otp.remove(subject)
        ended += await subjects.end(subject, time.time())
        audit = Audit(store, prefix=settings.store.prefix)
        audit.note(Event("otp_removed", subject, detail="by an operator"), time.time())
        await audit.close()
        return True, ended


def _subject_of(settings: Config, name: str) -> str:
    """Return the subject of a user of the file; whoever is not in it is named by the subject itself."""
    users = None if settings.login is None else settings.login.users
    if users is None:
        return name
    try:
        entry = read_users(users.file).users.get(normal_name(name))
    except FileNotFoundError:
        return name
    except ConfigErrors as errors:
        report.fail_config(errors)
    return name if entry is None else entry.subject or normal_name(name)
