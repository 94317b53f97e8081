"""How commands speak: results on standard output, complaints on standard error, exit statuses."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Coroutine, Iterable, Sequence
from pathlib import Path
from typing import Any, Final, NoReturn, TypeVar

import typer

from proxy.adapters.store import StoreMisconfigured
from proxy.adapters.telemetry.text import escape
from proxy.errors import ConfigErrors, ProxyError, SecretsError, StoreUnavailable
from proxy.run import loop

EXIT_REFUSED: Final = 1
"""Refused or not found."""
EXIT_USAGE: Final = 2
"""Configuration or usage."""
EXIT_STORE: Final = 3
"""Store out of reach."""

MAX_CREDENTIAL_BYTES: Final = 64 * 1024

T = TypeVar("T")


def say(text: str) -> None:
    """Print one line of the result; what came from the store cannot move the cursor."""
    typer.echo(escape(text))


def say_json(value: Any) -> None:
    """Print the result for programs, in ASCII."""
    typer.echo(json.dumps(value))


def say_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print the result for people."""
    # Most commands draw no table, and rich takes a while to import.
    from rich.console import Console  # noqa: PLC0415 - as above
    from rich.table import Table  # noqa: PLC0415 - as above
    from rich.text import Text  # noqa: PLC0415 - as above

    table = Table(*columns, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*(Text(escape(cell), overflow="fold") for cell in row))
    console = Console(file=sys.stdout, highlight=False)
    if not console.is_terminal:
        console.width = 10_000  # a pipe has no width to fold at
    console.print(table)


def complain(text: str) -> None:
    """Print one line to standard error."""
    typer.echo(escape(text), err=True)


def fail(text: str, status: int = EXIT_REFUSED) -> NoReturn:
    """Say why and end the command."""
    complain(f"latchgate: {text}")
    raise typer.Exit(status)


def complete(work: Coroutine[Any, Any, T]) -> T:
    """Run a command's work and return its result; errors become messages and exit statuses."""
    try:
        return loop.run(work)
    except ConfigErrors as errors:
        fail_config(errors)
    except StoreUnavailable as error:
        fail(f"the store is out of reach: {error.detail}", EXIT_STORE)
    except (StoreMisconfigured, SecretsError) as error:
        fail(error.detail, EXIT_USAGE)
    except ProxyError as error:
        fail(error.detail or error.code)
    except ValueError as error:
        fail(str(error), EXIT_USAGE)


def fail_config(errors: ConfigErrors) -> NoReturn:
    """Print every mistake of a configuration and end the command."""
    for error in errors.errors:
        complain(str(error))
    count = len(errors.errors)
    fail("1 mistake" if count == 1 else f"{count} mistakes", EXIT_USAGE)


def read_credential(text: str, *, is_stripped: bool = True) -> bytes:
    """Return the credential that `-` or `@file` names, without spaces around it if `is_stripped`.

    It is not taken from the command line itself, which other users of the machine can read, and
    which stays in the shell's history.
    """
    if text == "-":
        raw = sys.stdin.buffer.read(MAX_CREDENTIAL_BYTES)
    elif text.startswith("@"):
        try:
            with Path(text[1:]).open("rb") as file:
                raw = file.read(MAX_CREDENTIAL_BYTES)
        except OSError as error:
            fail(f"{text[1:]}: {error.strerror}", EXIT_USAGE)
    else:
        fail("give the credential as - (standard input) or @file", EXIT_USAGE)
    return raw.strip() if is_stripped else raw


def parse_claims(pairs: Sequence[str] | None) -> dict[str, Any]:
    """Read `--claim k=v` options."""
    claims: dict[str, Any] = {}
    for pair in pairs or ():
        name, equals, text = pair.partition("=")
        if not equals or not name or name in claims:
            fail("--claim takes name=value, each name once", EXIT_USAGE)
        try:
            claims[name] = json.loads(text)
        except (ValueError, RecursionError):
            claims[name] = text
    return claims


def when(at: float | None) -> str:
    """Return epoch seconds as local time for people."""
    return "" if at is None else time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))
