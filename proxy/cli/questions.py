"""The questions of `latchgate init`: each answer is checked at once, by the rules of `check`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, cast, get_args

import typer

from proxy.adapters.telemetry.text import escape
from proxy.cli import report
from proxy.cli.draft import LOCAL, Auth, Draft, mistakes, read_place, read_server
from proxy.config.messages import did_you_mean

NOTHING: Final = "none"
FLAGS: Final = {
    "name": "--name",
    "upstream": "--upstream",
    "auth": "--auth",
    "issuer": "--issuer",
    "audience": "--audience",
    "public": "--public",
    "listen": "--listen",
    "login": "--login",
}
"""Field of the draft and the option that gives it, in the order in which they are looked at."""

_INTRODUCTION: Final = "Three questions; Enter takes what stands in brackets.\n"
_KEYS: Final = """
   session   people with a browser: a cookie, and a record that you can end at once
   token     programs and apps: a signed token in `Authorization: Bearer`
   either    both of them, on every path"""


def ask(draft: Draft, given: Mapping[str, Any]) -> Draft:
    """Return the draft with what is asked on the terminal; what is `given` is not asked.

    `given` are fields of `Draft`, as options gave them.
    """
    asked = _Asked(accept(draft, given), frozenset(given))
    typer.echo(_INTRODUCTION, err=True)
    asked.take("name", "1. What do you guard? A short name for it")
    asked.take("upstream", "2. Where is it? A server's address, or unix:/path", _read_server)
    if "auth" not in given:
        typer.echo(f"3. Who may in?{_KEYS}", err=True)
    asked.take("auth", "   Which", _read_auth)
    if asked.draft.auth != "session":
        question = "   Whose tokens? local (the gate's own), or the issuer's URL"
        asked.take("issuer", question, _read_issuer)
        if not asked.draft.has_local_tokens:
            asked.take("audience", "   What do they say in their `aud`")
    asked.take("public", "   What is public? Paths such as /static/** /healthz", _read_paths)
    return asked.draft


def accept(draft: Draft, given: Mapping[str, Any]) -> Draft:
    """Return the draft with what options gave; the first bad one ends the command (status 2)."""
    for field, flag in FLAGS.items():
        if field not in given:
            continue
        value: Any = given[field]
        if field in _READERS:
            try:
                value = _READERS[field](value)
            except ValueError as error:
                report.fail(f"{flag}: {error}", report.EXIT_USAGE)
        draft = replace(draft, **{field: value})
        if field in {"issuer", "audience"} and draft.auth == "session":
            report.fail(f"{flag} is about tokens: not with --auth session", report.EXIT_USAGE)
        if field == "login" and draft.auth == "token":
            report.fail(f"{flag} is about sessions: not with --auth token", report.EXIT_USAGE)
        if (reason := next(mistakes(draft), None)) is not None:
            report.fail(f"{flag}: {reason}", report.EXIT_USAGE)
    return draft


class _Asked:
    """A draft that grows by questions."""

    def __init__(self, draft: Draft, given: frozenset[str]) -> None:
        self.draft = draft
        self._given = given

    def take(self, field: str, question: str, read: Callable[[str], Any] = str) -> None:
        """Ask for one field until the answer is good, unless it is given."""
        if field in self._given:
            return

        def value_of(text: str) -> Any:
            try:
                value = read(text.strip())
            except ValueError as error:
                raise typer.BadParameter(str(error)) from None
            reason = next(mistakes(replace(self.draft, **{field: value})), None)
            if reason is not None:
                raise typer.BadParameter(escape(reason))
            return value

        value = typer.prompt(
            question, default=_shown(self.draft, field), value_proc=value_of, err=True
        )
        self.draft = replace(self.draft, **{field: value})


def _shown(draft: Draft, field: str) -> str | None:
    if field == "public":
        return " ".join(draft.public) or NOTHING
    if field == "audience":
        return draft.audience or draft.name
    return str(getattr(draft, field))


def _read_auth(text: str) -> Auth:
    found = [word for word in get_args(Auth) if text and word.startswith(text.lower())]
    if len(found) != 1:
        raise ValueError("session, token or either")
    return cast("Auth", found[0])


def _check_auth(text: str) -> Auth:
    if text not in get_args(Auth):
        guess = did_you_mean(text, frozenset(get_args(Auth)))
        raise ValueError(f"must be session, token or either{guess}")
    return cast("Auth", text)


def _read_issuer(text: str) -> str:
    if text != LOCAL and "://" not in text:
        raise ValueError("must be local, for the gate's own tokens, or the issuer's https:// URL")
    return text


def _read_paths(text: str) -> tuple[str, ...]:
    return () if text == NOTHING else tuple(text.replace(",", " ").split())


def _read_listen(text: str) -> str:
    return read_place(text, Path.cwd())


def _read_server(text: str) -> str:
    return read_server(text, Path.cwd())


_READERS: Final[Mapping[str, Callable[[str], Any]]] = {
    "upstream": _read_server,
    "auth": _check_auth,
    "issuer": _read_issuer,
    "listen": _read_listen,
}
"""How the text of an option becomes the field of a draft; `ValueError` where it is none."""
