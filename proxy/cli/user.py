"""`latchgate user …`: the people of `login.users`.

A password comes from a prompt, standard input or a file: what stands on a command line can be read
by other users of the machine, and stays in the shell's history.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from proxy.adapters.passwords import hash_password, is_weaker
from proxy.adapters.users_file import edit_users
from proxy.cli import report
from proxy.cli.noting import COMMAND_LINE, noting
from proxy.cli.opening import load_or_fail, open_store_of
from proxy.cli.options import (
    DEFAULT_CONFIG,
    AsJson,
    ConfigFile,
    Email,
    FullName,
    Roles,
    Scopes,
)
from proxy.config.models import Config
from proxy.config.user_models import UserConfig, UsersFile, normal_name, read_users
from proxy.errors import ConfigErrors
from proxy.services.schemes.build import open_subjects
from proxy.services.users import become

app = typer.Typer(no_args_is_help=True, help="Add, change, disable and list who may sign in.")

UserName = Annotated[str, typer.Argument(metavar="NAME", help="What they sign in with.")]
Password = Annotated[
    str | None,
    typer.Option(
        "--password",
        metavar="-|@FILE",
        help="- (standard input) or @file: never the password itself. Default: ask for it.",
    ),
]


@app.command()
def add(
    name: UserName,
    subject: Annotated[
        str | None, typer.Option("--subject", metavar="S", help="Default: the name.")
    ] = None,
    role: Roles = None,
    scope: Scopes = None,
    email: Email = None,
    full_name: FullName = None,
    password: Password = None,
    config: ConfigFile = DEFAULT_CONFIG,
    as_json: AsJson = False,
) -> None:
    """Add somebody; the file is made where there is none."""
    name = normal_name(name)
    file = _file_of(_settings(config))
    secret = _read_password(password, config)
    said = {
        "subject": subject,
        "email": email,
        "name": full_name,
        "roles": role,
        "scopes": scope,
    }

    def change(users: dict[str, Any]) -> bool:
        if name in users:
            return False
        users[name] = {
            "password": _hashed(secret),
            **{key: value for key, value in said.items() if value},
        }
        return True

    if not _edit(file, change):
        report.fail(f"{name} is there already: `latchgate user passwd` changes the password")
    _say(as_json, {"added": name, "file": str(file)}, f"added: {name}, to {file}")


@app.command()
def passwd(
    name: UserName,
    password: Password = None,
    config: ConfigFile = DEFAULT_CONFIG,
    as_json: AsJson = False,
) -> None:
    """Change somebody's password, and end their sessions and tokens."""
    settings = _settings(config)
    secret = _read_password(password, config)
    _change(settings, name, {"password": lambda: _hashed(secret)}, as_json, "password changed")


@app.command()
def disable(
    name: UserName,
    config: ConfigFile = DEFAULT_CONFIG,
    as_json: AsJson = False,
) -> None:
    """Let somebody sign in no more, and end their sessions and tokens."""
    _change(_settings(config), name, {"disabled": lambda: True}, as_json, "disabled")


@app.command()
def enable(
    name: UserName,
    config: ConfigFile = DEFAULT_CONFIG,
    as_json: AsJson = False,
) -> None:
    """Let somebody who was disabled sign in again."""
    _change(_settings(config), name, {"disabled": lambda: False}, as_json, "enabled")


@app.command("list")
def list_(config: ConfigFile = DEFAULT_CONFIG, as_json: AsJson = False) -> None:
    """List who may sign in, by name."""
    file = _file_of(_settings(config))
    found = [_summary(name, entry) for name, entry in sorted(_read(file).users.items())]
    if as_json:
        report.say_json(found)
        return
    report.say_table(
        ["NAME", "SUBJECT", "EMAIL", "ROLES", "SCOPES", ""],
        (
            [
                item["name"],
                item["subject"],
                item["email"] or "",
                ", ".join(item["roles"]),
                ", ".join(item["scopes"]),
                "disabled" if item["disabled"] else "",
            ]
            for item in found
        ),
    )


def _summary(name: str, entry: UserConfig) -> dict[str, Any]:
    return {
        "name": name,
        "subject": entry.subject or name,
        "email": entry.email,
        "full_name": entry.name,
        "roles": list(entry.roles),
        "scopes": list(entry.scopes),
        "disabled": entry.disabled,
        "outdated": is_weaker(entry.password.cost),
    }


def _change(
    settings: Config,
    name: str,
    members: dict[str, Callable[[], Any]],
    as_json: bool,  # noqa: FBT001 - the command's option, passed on
    done: str,
) -> None:
    """Change what the file says of somebody, then end what that contradicts (R6)."""
    name = normal_name(name)
    file = _file_of(settings)

    def change(users: dict[str, Any]) -> bool:
        if name not in users:
            return False
        for member, value in members.items():
            users[name][member] = value()
        return True

    if not _edit(file, change):
        report.fail(f"there is no user called {name}")
    entry = _read(file).users[name]
    ended = report.complete(_end(settings, entry.subject or name, entry, done))
    count = "1 session" if ended == 1 else f"{ended} sessions"
    _say(as_json, {"user": name, "ended": ended}, f"{name}: {done}; {count} ended")


async def _end(settings: Config, subject: str, entry: UserConfig, done: str) -> int:
    """End the subject's sessions, note it, and tell a running gate that this was done."""
    async with open_store_of(settings) as store, noting(settings, store) as audit:
        subjects, now = open_subjects(settings, store), time.time()
        ended = await subjects.end(subject, now)
        await subjects.tell(subject, become(entry), file=_file_of(settings))
        audit.note(COMMAND_LINE.event("user_changed", subject, f"{done}: {ended} ended"), now)
    return ended


def _say(as_json: bool, found: dict[str, Any], text: str) -> None:  # noqa: FBT001 - as above
    if as_json:
        report.say_json(found)
    else:
        report.say(text)


def _settings(config: str) -> Config:
    return load_or_fail(config, runs_tests=False).config


def _file_of(settings: Config) -> Path:
    if settings.login is None or settings.login.users is None:
        report.fail("the configuration has no `login: {users: …}`", report.EXIT_USAGE)
    return settings.login.users.file


def _read(file: Path) -> UsersFile:
    try:
        return read_users(file)
    except FileNotFoundError:
        return UsersFile()
    except ConfigErrors as errors:
        report.fail_config(errors)


def _edit(file: Path, change: Callable[[dict[str, Any]], bool]) -> bool:
    try:
        return edit_users(file, change)
    except ConfigErrors as errors:
        report.fail_config(errors)
    except ValueError as error:
        report.fail(str(error), report.EXIT_USAGE)
    except OSError as error:
        report.fail(f"{file}: {error.strerror}")


def _hashed(password: str) -> str:
    return hash_password(password).text


def _read_password(given: str | None, config: str) -> str:
    if given == config == "-":
        report.fail("standard input cannot be both password and configuration", report.EXIT_USAGE)
    if given is not None:
        raw = report.read_credential(given, is_stripped=False)
        try:
            return raw.removesuffix(b"\n").removesuffix(b"\r").decode()
        except UnicodeDecodeError:
            report.fail("a password is text in UTF-8", report.EXIT_USAGE)
    if not sys.stdin.isatty():
        report.fail("without a terminal give --password - or @file", report.EXIT_USAGE)
    answer: str = typer.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    return answer
