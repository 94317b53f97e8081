"""`latchgate init`: three questions, and a configuration that a person can read."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from proxy.cli import report
from proxy.cli.draft import Draft, parse, render
from proxy.cli.invocation import curl, shown_program
from proxy.cli.new_file import write_new
from proxy.cli.options import DEFAULT_CONFIG, AsJson
from proxy.cli.questions import accept, ask
from proxy.config.loader import LoadedConfig
from proxy.config.schema import json_schema
from proxy.errors import ConfigErrors

SCHEMA_FILE: Final = "latchgate.schema.json"
"""The name in the first line of the configuration, from where an editor takes it."""
STANDARD_OUTPUT: Final = "-"


def init(
    upstream: Annotated[
        str | None,
        typer.Option(
            metavar="SERVER",
            help="Where the application is: http://host:port, https://… or unix:/path. "
            "With it nothing is asked.",
        ),
    ] = None,
    name: Annotated[str | None, typer.Option(metavar="N", help="What to call it.")] = None,
    auth: Annotated[
        str | None, typer.Option(metavar="session|token|either", help="Which keys open.")
    ] = None,
    issuer: Annotated[
        str | None, typer.Option(metavar="URL", help="Whose tokens; local: the gate's own.")
    ] = None,
    audience: Annotated[
        str | None, typer.Option(metavar="TEXT", help="What the tokens say in `aud`.")
    ] = None,
    public: Annotated[
        list[str] | None,
        typer.Option(metavar="PATH", help="Open to anybody, such as /static/**. Repeatable."),
    ] = None,
    login: Annotated[
        bool,
        typer.Option("--login", help="People sign in at the gate: names and passwords in a file."),
    ] = False,
    listen: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Where the gate listens.")
    ] = None,
    output: Annotated[
        str, typer.Option("--output", "-o", metavar="FILE", help="- is standard output.")
    ] = DEFAULT_CONFIG,
    force: Annotated[bool, typer.Option("--force", help="Replace FILE if it is there.")] = False,
    schema: Annotated[
        bool, typer.Option("--schema", help=f"Also write {SCHEMA_FILE} beside it, for editors.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Write a commented configuration for one application, from three questions or from options."""
    answers = {
        "upstream": upstream,
        "name": name,
        "auth": auth,
        "issuer": issuer,
        "audience": audience,
        "public": tuple(public) if public else None,
        "listen": listen,
        "login": login or None,
    }
    given = {field: value for field, value in answers.items() if value is not None}
    target = None if output == STANDARD_OUTPUT else Path(output)
    if target is not None and target.exists() and not force:
        report.fail(f"{target} is there already; --force replaces it", report.EXIT_USAGE)
    draft = _drafted(given)
    text = render(draft)
    loaded = _checked(text, target or Path(DEFAULT_CONFIG))
    if target is None:
        typer.echo(text, nl=False)
        return
    _write(target, text, is_forced=force)
    if schema:
        beside = target.with_name(SCHEMA_FILE)
        _write(beside, json.dumps(json_schema(), indent=2) + "\n", is_forced=True)
    commands = next_commands(draft, loaded, target)
    if as_json:
        report.say_json({"file": str(target), "next": [line for line, _ in commands]})
        return
    _say_next(target, commands)


def next_commands(draft: Draft, loaded: LoadedConfig, target: Path) -> list[tuple[str, str]]:
    """Return the commands that come after `init`, each with what it is good for."""
    program = shown_program()
    suffix = "" if str(target) == DEFAULT_CONFIG else f" -c {shlex.quote(str(target))}"
    address = loaded.config.server.listen[0]
    added = [(f"{program} user add ada{suffix}", "somebody who may sign in")]
    commands = [
        *(added if draft.login else ()),
        (f"{program} check --connect{suffix}", "is everything in reach?"),
        (f"{program} serve{suffix}", "in a terminal of its own, until Ctrl-C"),
        (curl(address), "no key: 401, and why"),
    ]
    if draft.login:
        commands.append((curl(address, "/_auth/login"), "the page where people sign in"))
    if draft.auth != "token":
        made = f'"Cookie: $({program} session new --subject ada --quiet{suffix})"'
        commands.append((curl(address, header=made), "a session opens"))
    if draft.has_local_tokens:
        made = f'"Authorization: Bearer $({program} token mint --subject ada --quiet{suffix})"'
        commands.append((curl(address, header=made), "a token opens"))
    elif draft.auth != "session":
        made = '"Authorization: Bearer $(cat token)"'
        commands.append((curl(address, header=made), "a token of your issuer opens"))
    return commands


def _drafted(given: dict[str, Any]) -> Draft:
    if "upstream" not in given:
        if not sys.stdin.isatty():
            report.fail(
                "there is no terminal to ask at: give --upstream SERVER, and where the defaults do "
                "not fit --auth session|token|either, --issuer URL, --audience TEXT, "
                "--public PATH, --login, --listen ADDRESS, --name N",
                report.EXIT_USAGE,
            )
        try:
            return ask(Draft(), given)
        except typer.Abort:
            typer.echo(err=True)
            report.fail("nothing was written")
    draft = accept(Draft(), given)
    if draft.auth != "session" and not draft.has_local_tokens and "audience" not in given:
        report.fail("--issuer needs --audience: what its tokens say in `aud`", report.EXIT_USAGE)
    return draft


def _checked(text: str, target: Path) -> LoadedConfig:
    """Read the text as `check` will; what its questions did not find is told here."""
    try:
        return parse(text, file=str(target), base=target.absolute().parent)
    except ConfigErrors as errors:
        report.fail_config(errors)


def _write(path: Path, text: str, *, is_forced: bool) -> None:
    try:
        write_new(path, text, is_forced=is_forced)
    except FileExistsError:
        report.fail(f"{path} is there already; --force replaces it", report.EXIT_USAGE)
    except OSError as error:
        report.fail(f"{path}: {error.strerror}", report.EXIT_USAGE)


def _say_next(target: Path, commands: list[tuple[str, str]]) -> None:
    report.say(f"Wrote {target}. Read it, it explains itself. Next:")
    for line, purpose in commands:
        report.say("")
        report.say(f"  # {purpose}")
        report.say(f"  {line}")
