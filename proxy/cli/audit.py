"""`latchgate audit`: show the audit trail, and follow it."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Sequence
from typing import Annotated, Any, Final

import typer

from proxy.adapters.telemetry.text import escape
from proxy.cli import report
from proxy.cli.opening import load_or_fail, open_store_of
from proxy.cli.options import DEFAULT_CONFIG, AsJson, ConfigFile
from proxy.config.models import Config
from proxy.services.audit import AuditTrail, Entry

LOOK_EVERY_S: Final = 0.25
_BATCH: Final = 500


def audit(
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until Ctrl-C.")] = False,
    last: Annotated[
        int, typer.Option("--last", "-n", min=0, max=100_000, help="How many of the past.")
    ] = 50,
    config: ConfigFile = DEFAULT_CONFIG,
    as_json: AsJson = False,
) -> None:
    """Show what happened to credentials: one line, or one JSON object, for each event."""
    settings = load_or_fail(config, runs_tests=False).config
    with contextlib.suppress(KeyboardInterrupt):
        report.complete(_show(settings, last, follows=follow, as_json=as_json))


async def _show(config: Config, last: int, *, follows: bool, as_json: bool) -> None:
    async with open_store_of(config) as store:
        trail = AuditTrail(store, prefix=config.store.prefix)
        entries = await trail.last(max(last, 1))  # the last one says where to go on
        _print(entries if last else (), as_json=as_json)
        known = entries[-1].id if entries else "0"
        while follows:
            entries = await trail.after(known, _BATCH)
            if entries:
                known = entries[-1].id
                _print(entries, as_json=as_json)
            if len(entries) < _BATCH:
                await asyncio.sleep(LOOK_EVERY_S)


def _print(entries: Sequence[Entry], *, as_json: bool) -> None:
    for entry in entries:
        if as_json:
            report.say_json(_document(entry))
        else:
            typer.echo(_line(entry))
    sys.stdout.flush()


def _document(entry: Entry) -> dict[str, Any]:
    event = entry.event
    return {
        "id": entry.id,
        "at": entry.at,
        "kind": event.kind,
        "subject": event.subject,
        "address": event.address,
        "agent": event.agent,
        "request_id": event.request_id or None,
        "detail": event.detail or None,
    }


def _line(entry: Entry) -> str:
    event = entry.event
    words = [report.when(entry.at), f"{_safe(event.kind):<16}", _safe(event.subject or "-")]
    if event.address:
        words.append(f"from {_safe(event.address)}")
    if event.agent:
        words.append(f'"{_safe(event.agent)}"')
    if event.detail:
        words.append(f"({_safe(event.detail)})")
    if event.request_id:
        words.append(_safe(event.request_id))
    return "  ".join(words)


def _safe(text: str) -> str:
    """Return a word of the stream: escaped by the gate, or written there by who knows whom."""
    return text if text.isprintable() else escape(text)
