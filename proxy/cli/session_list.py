"""`latchgate session list`: search, page through, or list all sessions."""

from __future__ import annotations

import json
import time
from typing import Annotated, Any, Final

import typer

from proxy.cli import report
from proxy.cli.looking import looking_through
from proxy.cli.opening import load_or_fail, open_store_of
from proxy.cli.options import DEFAULT_CONFIG, AsJson, ConfigFile, SchemeName
from proxy.config.models import Config
from proxy.core.session_search import Search
from proxy.services.administration import summary
from proxy.services.choice import pick_session_scheme
from proxy.services.schemes.build import open_sessions
from proxy.services.session_pages import MAX_LIMIT, Page, SessionPages

MAX_SHOWN: Final = 1000
"""Rows for a person; programs get all."""

Row = tuple[float, str, str]
"""When it was made, backwards; its id; and what is told of it, as JSON, which is small."""


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
    if limit is not None or after is not None:
        page = report.complete(_page(settings, scheme, search, limit or MAX_LIMIT, after))
        _say_page(page, as_json=as_json)
        return
    rows, count = report.complete(_all(settings, scheme, search, as_json=as_json))
    if as_json:
        typer.echo(f"[{', '.join(text for _, _, text in rows)}]")
        return
    _say_table([json.loads(text) for _, _, text in rows])
    if count > len(rows):
        report.complain(f"the newest {len(rows)} of {count}: search, or page with --limit")


async def _page(
    config: Config, scheme: str | None, search: Search, limit: int, after: str | None
) -> Page:
    _, found = pick_session_scheme(config, scheme)
    async with open_store_of(config) as store:
        pages = SessionPages(open_sessions(config, found, store))
        return await pages.page(search, time.time(), limit=limit, after=after)


async def _all(
    config: Config, scheme: str | None, search: Search, *, as_json: bool
) -> tuple[list[Row], int]:
    """Return what is shown, the newest first, and how many there are."""
    _, found = pick_session_scheme(config, scheme)
    rows: list[Row] = []
    count = 0
    async with open_store_of(config) as store, looking_through(store, "Looking") as on_look:
        sessions = open_sessions(config, found, store)
        async for item in sessions.listed(time.time(), search, on_look=on_look):
            count += 1
            rows.append((-item.session.created_at, item.digest, json.dumps(summary(item))))
            if not as_json and len(rows) >= 2 * MAX_SHOWN:
                rows = sorted(rows)[:MAX_SHOWN]
    rows.sort()
    return (rows if as_json else rows[:MAX_SHOWN]), count


def _say_page(page: Page, *, as_json: bool) -> None:
    items = [summary(item) for item in page.sessions]
    if as_json:
        report.say_json({"sessions": items, "next": page.next})
        return
    _say_table(items)
    if page.next is not None:
        report.complain(f"more: --after {page.next}")


def _say_table(items: list[dict[str, Any]]) -> None:
    report.say_table(
        ["ID", "SUBJECT", "CREATED", "LAST SEEN", "ADDRESS", "AGENT"],
        (
            [
                item["id"],
                item["subject"],
                report.when(item["created_at"]),
                report.when(item["last_seen"]),
                item["address"] or "",
                item["agent"] or "",
            ]
            for item in items
        ),
    )
