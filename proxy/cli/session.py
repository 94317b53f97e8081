"""`latchgate session …`: make, list, show and end native sessions, and end refresh families."""

from __future__ import annotations

import time
from typing import Annotated, Any

import typer

from proxy.cli import report
from proxy.cli.credentials import make_session
from proxy.cli.looking import looking_through
from proxy.cli.noting import COMMAND_LINE, noting
from proxy.cli.opening import load_or_fail, open_store_of
from proxy.cli.options import (
    DEFAULT_CONFIG,
    AsJson,
    Claims,
    ConfigFile,
    Email,
    FullName,
    Quiet,
    Roles,
    SchemeName,
    Scopes,
    Subject,
)
from proxy.cli.session_list import list_
from proxy.config.models import Config
from proxy.services.administration import (
    Administration,
    Ended,
    FamilyAdministration,
    details,
    family_details,
)
from proxy.services.choice import pick_session_scheme
from proxy.services.family_records import is_family_id
from proxy.services.issuing import open_family_records
from proxy.services.schemes.build import open_sessions
from proxy.services.sessions import Login

app = typer.Typer(no_args_is_help=True, help="Make, list, show and end sessions.")

SessionId = Annotated[
    str, typer.Argument(metavar="ID", help="The id that `list` shows, of a session or family.")
]


@app.command()
def new(
    subject: Subject,
    role: Roles = None,
    scope: Scopes = None,
    email: Email = None,
    name: FullName = None,
    claim: Claims = None,
    scheme: SchemeName = None,
    quiet: Quiet = False,
    config: ConfigFile = DEFAULT_CONFIG,
    as_json: AsJson = False,
) -> None:
    """Make a session and print its cookie, which is a credential."""
    settings = load_or_fail(config, runs_tests=False).config
    login = Login(
        subject,
        email=email,
        name=name,
        roles=role or (),
        scopes=scope or (),
        claims=report.parse_claims(claim),
    )

    made = report.complete(make_session(settings, login, scheme))
    if as_json:
        report.say_json(
            {
                "cookie": made.cookie,
                "id": made.digest,
                "subject": subject,
                "expires_at": made.expires_at,
            }
        )
    elif quiet:
        report.say(made.cookie)
    else:
        report.say(f"cookie:   {made.cookie}")
        report.say(f"id:       {made.digest}")
        report.say(f"expires:  {report.when(made.expires_at)}")


app.command("list")(list_)


@app.command()
def show(
    session_id: SessionId,
    scheme: SchemeName = None,
    config: ConfigFile = DEFAULT_CONFIG,
    as_json: AsJson = False,
) -> None:
    """Show one session, or refresh family, and what it says."""
    settings = load_or_fail(config, runs_tests=False).config

    async def work() -> dict[str, Any] | None:
        if is_family_id(session_id):
            async with open_store_of(settings) as store:
                records = open_family_records(settings, store)
                family = None if records is None else await records.show(session_id, time.time())
            return None if family is None else family_details(family)
        _, found = pick_session_scheme(settings, scheme)
        async with open_store_of(settings) as store:
            item = await open_sessions(settings, found, store).show(session_id, time.time())
        return None if item is None else details(item)

    shown = report.complete(work())
    if shown is None:
        report.fail(_none_of(session_id))
    if as_json:
        report.say_json(shown)
        return
    report.say_table(["", ""], ([name, _text(value)] for name, value in shown.items()))


@app.command()
def revoke(
    session_id: Annotated[str | None, typer.Argument(metavar="[ID]")] = None,
    subject: Annotated[
        str | None, typer.Option("--subject", metavar="S", help="All of this person's.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="All that there are.")] = False,
    scheme: SchemeName = None,
    config: ConfigFile = DEFAULT_CONFIG,
    as_json: AsJson = False,
) -> None:
    """End one session or refresh family, all of a person's, or all that there are."""
    if (session_id is not None) + (subject is not None) + every != 1:
        report.fail("name one of ID, --subject or --all", report.EXIT_USAGE)
    settings = load_or_fail(config, runs_tests=False).config

    if session_id is not None and is_family_id(session_id):
        _end_family(settings, session_id, as_json=as_json)
        return

    async def work() -> Ended:
        _, found = pick_session_scheme(settings, scheme)
        async with open_store_of(settings) as store, noting(settings, store) as audit:
            families = open_family_records(settings, store)
            room = Administration(open_sessions(settings, found, store), audit, families)
            now = time.time()
            if session_id is not None:
                return Ended(int(await room.end(session_id, COMMAND_LINE, now)), None)
            async with looking_through(store, "Ending sessions") as on_look:
                if subject is not None:
                    return await room.end_subject(subject, COMMAND_LINE, now, on_look=on_look)
                return await room.end_all(COMMAND_LINE, now, on_look=on_look)

    ended = report.complete(work())
    if not ended.total and not every:
        report.fail("there is no such session")
    if as_json:
        report.say_json(ended.document("revoked"))
        return
    count, families = ended.sessions, ended.families
    report.say("1 session ended" if count == 1 else f"{count} sessions ended")
    if families:
        report.say(
            "1 refresh family ended" if families == 1 else f"{families} refresh families ended"
        )


def _end_family(settings: Config, name: str, *, as_json: bool) -> None:
    async def work() -> bool:
        async with open_store_of(settings) as store, noting(settings, store) as audit:
            records = open_family_records(settings, store)
            if records is None:
                return False
            return await FamilyAdministration(records, audit).end(name, COMMAND_LINE, time.time())

    if not report.complete(work()):
        report.fail(_none_of(name))
    if as_json:
        report.say_json({"revoked": 1})
    else:
        report.say("1 refresh family ended")


def _none_of(name: str) -> str:
    return f"there is no such {'refresh family' if is_family_id(name) else 'session'}"


def _text(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return "" if value is None else str(value)
