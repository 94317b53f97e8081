"""`latchgate session list`: search, page through, or list all sessions or refresh families."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Annotated, Any, Final, NamedTuple

import typer

from proxy.adapters.store import Store
from proxy.cli import report
from proxy.cli.looking import looking_through
from proxy.cli.opening import load_or_fail, open_store_of
from proxy.cli.options import DEFAULT_CONFIG, AsJson, ConfigFile, SchemeName
from proxy.config.models import Config
from proxy.core.session_search import Search
from proxy.services.administration import family_summary, summary
from proxy.services.choice import pick_session_scheme
from proxy.services.issuing import open_family_records
from proxy.services.schemes.build import open_sessions
from proxy.services.session_pages import MAX_LIMIT, Listing, Pages, T
from proxy.services.session_reading import OnLook

MAX_SHOWN: Final = 1000
"""Rows for a person; programs get all."""

_COLUMNS: Final = ("CREATED", "LAST SEEN", "ADDRESS", "AGENT")

Row = tuple[float, str, str]
"""When it was made, backwards; its id; and what is told of it, as JSON, which is small."""
Part = tuple[list[dict[str, Any]], str | None]
"""A page, ready for JSON, and the place of the next."""


def list_(
    subject: Annotated[
        str | None, typer.Option("--subject", metavar="S", help="Only this person's.")
    ] = None,
    address: Annotated[
        str | None,
        typer.Option("--address", metavar="A", help="Only from this address or network."),
    ] = None,
    agent: Annotated[
        str | None,
        typer.Option("--agent", metavar="TEXT", help="Only where the User-Agent contains it."),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option("--limit", min=1, max=MAX_LIMIT, help="One page of so many at most."),
    ] = None,
    after: Annotated[
        str | None,
        typer.Option("--after", metavar="PLACE", help="The page behind the one that named it."),
    ] = None,
    families: Annotated[
        bool,
        typer.Option("--families", help="What programs have: refresh families, not sessions."),
    ] = False,
    scheme: SchemeName = None,
    config: ConfigFile = DEFAULT_CONFIG,
    as_json: AsJson = False,
) -> None:
    """List the live sessions, the newest first; with --limit or --after a page of them."""
    settings = load_or_fail(config, runs_tests=False).config
    try:
        search = Search(subject, address, agent)
    except ValueError as error:
        report.fail(str(error), report.EXIT_USAGE)
    kind = _open_families if families else _open_sessions(scheme)
    if limit is not None or after is not None:
        part, following = report.complete(_page(settings, kind, search, limit or MAX_LIMIT, after))
        if as_json:
            name = "families" if families else "sessions"
            report.say_json({name: part, "next": following})
            return
        _say_table(part)
        if following is not None:
            report.complain(f"more: --after {following}")
        return
    rows, count = report.complete(_all(settings, kind, search, as_json=as_json))
    if as_json:
        typer.echo(f"[{', '.join(text for _, _, text in rows)}]")
        return
    _say_table([json.loads(text) for _, _, text in rows])
    if count > len(rows):
        report.complain(f"the newest {len(rows)} of {count}: search, or page with --limit")
    if subject is not None and not families and settings.tokens is not None:
        _say_programs_too(settings, search)


def _say_programs_too(settings: Config, search: Search) -> None:
    """Show a person's refresh families below their sessions; programs ask for them by name."""
    part, following = report.complete(_page(settings, _open_families, search, MAX_LIMIT, None))
    if part:
        report.say("")
        _say_table(part)
    if following is not None:
        report.complain("there are more refresh families: --families")


class _Kind(NamedTuple):
    """What is listed, and what is said of each."""

    page: Callable[[Search, float, int, str | None], Awaitable[Part]]
    listed: Callable[[Search, float, OnLook], AsyncIterator[dict[str, Any]]]


OpenKind = Callable[[Config, Store], _Kind]


def _kind(items: Listing[T], describe: Callable[[T], dict[str, Any]]) -> _Kind:
    async def page(search: Search, now: float, limit: int, after: str | None) -> Part:
        found = await Pages(items).page(search, now, limit=limit, after=after)
        return [describe(item) for item in found.items], found.next

    async def listed(search: Search, now: float, on_look: OnLook) -> AsyncIterator[dict[str, Any]]:
        async for item in items.listed(now, search, on_look=on_look):
            yield describe(item)

    return _Kind(page, listed)


def _open_sessions(scheme: str | None) -> OpenKind:
    def opened(config: Config, store: Store) -> _Kind:
        _, found = pick_session_scheme(config, scheme)
        return _kind(open_sessions(config, found, store), summary)

    return opened


def _open_families(config: Config, store: Store) -> _Kind:
    records = open_family_records(config, store)
    if records is None:
        raise ValueError("the configuration has no `tokens:`, so that there are no families")
    return _kind(records, family_summary)


async def _page(
    config: Config, kind: OpenKind, search: Search, limit: int, after: str | None
) -> Part:
    async with open_store_of(config) as store:
        return await kind(config, store).page(search, time.time(), limit, after)


async def _all(
    config: Config, kind: OpenKind, search: Search, *, as_json: bool
) -> tuple[list[Row], int]:
    """Return what is shown, the newest first, and how many there are."""
    rows: list[Row] = []
    count = 0
    async with open_store_of(config) as store, looking_through(store, "Looking") as on_look:
        async for item in kind(config, store).listed(search, time.time(), on_look):
            count += 1
            rows.append((-item["created_at"], item["id"], json.dumps(item)))
            if not as_json and len(rows) >= 2 * MAX_SHOWN:
                rows = sorted(rows)[:MAX_SHOWN]
    rows.sort()
    return (rows if as_json else rows[:MAX_SHOWN]), count


def _say_table(items: list[dict[str, Any]]) -> None:
    has_clients = any("client" in item for item in items)
    report.say_table(
        ["ID", "SUBJECT", *(["CLIENT"] if has_clients else []), *_COLUMNS],
        (
            [
                item["id"],
                item["subject"],
                *([item["client"]] if has_clients else []),
                report.when(item["created_at"]),
                report.when(item["last_seen"]),
                item["address"] or "",
                item["agent"] or "",
            ]
            for item in items
        ),
    )
