"""`latchgate report`: what report mode let through, route by route, and which may be enforced."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Final

import typer

from proxy.cli import report as speaking
from proxy.cli.health import ask, listener, no_answer
from proxy.cli.options import DEFAULT_CONFIG, AsJson, ConfigFile
from proxy.cli.source import FromFile, find_source
from proxy.services.report_mode import report_states
from proxy.services.reported import MAX_LINE, Account

MAX_METRICS: Final = 16 * 1024 * 1024
"""Bytes that the gate's own numbers are read of."""

_READY: Final = {
    "ready": "ready: nothing would be refused",
    "not_yet": "not yet: see below",
    "unseen": "unknown: nobody came",
    "enforces": "enforces already",
}


def report(
    logs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[LOG]...",
            help="Access logs (log.format: json); - is standard input. Default: the running gate's counters.",
        ),
    ] = None,
    from_file: FromFile = False,
    config: ConfigFile = DEFAULT_CONFIG,
    as_json: AsJson = False,
) -> None:
    """Sum up what report mode let through, by route and code, and say what may be enforced."""
    source = find_source(config, from_file=from_file)
    account = _read(logs) if logs else _asked(config)
    states = report_states(source.loaded.config, time.time())
    found = account.sums(states)
    if as_json:
        speaking.say_json(
            {
                "configuration": source.to_json(),
                "from": "logs" if logs else "running",
                "since": account.since,
                "unread_lines": account.unread,
                "routes": found,
            }
        )
        return
    speaking.complain(str(source))
    if account.unread:
        speaking.complain(f"{account.unread} lines are no JSON: does the log have `format: json`?")
    _say(account, found)


# Where the numbers are from


def _read(logs: list[str]) -> Account:
    account = Account()
    for name in logs:
        if name == "-":
            _count(account, sys.stdin.buffer)
            continue
        try:
            with Path(name).open("rb") as file:
                _count(account, file)
        except OSError as error:
            speaking.fail(f"{name}: {error.strerror}", speaking.EXIT_USAGE)
    return account


def _count(account: Account, file: BinaryIO) -> None:
    for line in _lines(file):
        account.add(line)


def _lines(file: BinaryIO) -> Iterator[bytes]:
    """Yield lines; of one that is too long its begin alone, which is no JSON then."""
    while line := file.readline(MAX_LINE):
        whole = line
        while not line.endswith(b"\n") and (line := file.readline(MAX_LINE)):
            pass
        yield whole


def _asked(config: str) -> Account:
    """Return what the running gate has counted since it began."""
    # Only who asks a gate reads metrics.
    from prometheus_client.parser import text_string_to_metric_families  # noqa: PLC0415 - as above

    health = listener(config)
    if health is None:
        speaking.fail(
            "the configuration says `health: none`: give access logs", speaking.EXIT_USAGE
        )
    try:
        status, body = ask(health.listen, "/metrics", most=MAX_METRICS)
    except OSError as error:
        speaking.fail(f"{no_answer(health.listen, error)} Or give access logs")
    if status != b"200":
        speaking.fail(f"{health.listen}: no metrics; give access logs")
    families = text_string_to_metric_families(body.decode("utf-8", "replace"))
    return Account.from_samples(
        (sample.name, sample.labels, sample.value)
        for family in families
        for sample in family.samples
    )


# What people see


def _say(account: Account, found: list[dict[str, Any]]) -> None:
    if not found:
        speaking.say("no route is in report mode")
        return
    since = f" since {account.since}" if account.since else ""
    speaking.say(f"let through{since}:")
    speaking.say_table(
        ("ROUTE", "REPORTS UNTIL", "LET THROUGH", "OF THESE WOULD BE REFUSED", "TO BE ENFORCED?"),
        [
            (
                one["route"],
                one["until"],
                str(one["let_through"]),
                _share(one["would_be_refused"], one["let_through"]),
                _READY[one["readiness"]],
            )
            for one in found
        ],
    )
    for one in found:
        for code in one["codes"]:
            speaking.say("")
            speaking.say(f"{one['route']}: {code['count']} {code['code']}{_when(code)}")
            for example in code["examples"]:
                speaking.say(f"  {example}")
            speaking.say(f"  {code['advice']}")


def _share(part: int, whole: int) -> str:
    return f"{part} ({100 * part / whole:.1f} %)" if part and whole else str(part)


def _when(code: dict[str, Any]) -> str:
    if code["first"] is None:
        return ""
    return f", {code['first']} to {code['last']}"
