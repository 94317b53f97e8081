"""Lists a page at a time on a real store: nothing lost, nothing of anybody else's."""

from __future__ import annotations

import pytest

from proxy.adapters.store import StoreAddress, open_store
from proxy.core.session_search import EVERY, Search
from proxy.services.session_pages import MAX_LIMIT, STEPS, Pages
from proxy.services.sessions import Login, Sessions

NOW = 1_800_000_000.75
IDLE_S = 1800.0


@pytest.fixture
async def sessions(valkey):
    """Open the sessions of an empty store."""
    store = open_store(StoreAddress(socket_path=str(valkey.socket_path)), timeout_s=5)
    yield Sessions(store, prefix="latchgate:", idle_timeout_s=IDLE_S, lifetime_s=43_200.0)
    await store.close()


@pytest.fixture
def pages(sessions) -> Pages:
    """Give the pages of these sessions."""
    return Pages(sessions)


async def make(sessions, count, subject="alice", **members) -> list[str]:
    """Make sessions; return their digests."""
    logins = (Login(subject, **members) for _ in range(count))
    return [(await sessions.create(login, NOW + n)).digest for n, login in enumerate(logins)]


async def walk(pages, search, limit, *, between=None, now=NOW + 1000) -> list[str]:
    """Page through a list to its end; return every digest in the order in which it came."""
    found, after = [], None
    while True:
        page = await pages.page(search, now, limit=limit, after=after)
        assert len(page.items) <= limit
        found += [item.digest for item in page.items]
        if page.next is None:
            return found
        after = page.next
        if between is not None:
            await between()


@pytest.mark.slow
@pytest.mark.parametrize("limit", [1, 7, 50, MAX_LIMIT])
async def test_pages_of_a_person_are_in_order_and_complete(sessions, pages, limit):
    """The newest first, each once, whatever the size of the page."""
    made = await make(sessions, 120)
    await make(sessions, 5, "bob")

    assert made[::-1] == await walk(pages, Search("alice"), limit)


@pytest.mark.slow
@pytest.mark.parametrize("limit", [1, 3, 50, MAX_LIMIT])
async def test_pages_of_all_are_complete(sessions, pages, limit):
    """Every session of everybody is on a page."""
    made = [digest for n in range(60) for digest in await make(sessions, 10, f"u{n}")]
    found = await walk(pages, EVERY, limit)

    assert set(made) == set(found)
    assert len(made) == len(found)


async def test_pages_stay_complete_while_the_store_changes(sessions, pages):
    """What is there from the first page to the last is on one, while keys come and go around it."""
    made = await make(sessions, 300)
    passing: list[str] = []

    async def between() -> None:
        for digest in passing:
            await sessions.revoke(digest)
        passing[:] = await make(sessions, 200 if not passing else 3, "passing")

    assert set(made) <= set(await walk(pages, EVERY, 40, between=between))
    assert made[::-1] == await walk(pages, Search("alice"), 40, between=between)


async def test_a_search_narrows_every_list(sessions, pages):
    """Address and agent are looked for among all and among one person's."""
    await make(sessions, 30, agent="Firefox", address="192.0.2.1")
    wanted = await make(sessions, 3, agent="curl/8", address="10.1.2.3")
    others = await make(sessions, 3, "bob", agent="curl/8", address="10.1.2.4")

    assert set(wanted + others) == set(await walk(pages, Search(agent="CURL"), 2))
    assert wanted[::-1] == await walk(pages, Search("alice", agent="curl"), 2)
    assert set(others) == set(await walk(pages, Search(address="10.1.2.4/32"), 2))


async def test_idle_sessions_are_on_no_page(sessions, pages):
    """A session that nobody can use any more is not shown as one."""
    await make(sessions, 3)

    assert [] == await walk(pages, EVERY, 10, now=NOW + IDLE_S + 10)
    assert [] == await walk(pages, Search("alice"), 10, now=NOW + IDLE_S + 10)


async def test_a_page_looks_at_a_bounded_part_of_the_store(sessions, pages, valkey):
    """A search for something rare answers in time with an empty page, and says where to go on."""
    with valkey.client() as client, client.pipeline() as pipeline:
        for number in range(30_000):
            pipeline.set(f"elsewhere:{number}", "x")
        pipeline.execute()
        client.config_resetstat()
        page = await pages.page(Search(agent="nothing"), NOW, limit=10)
        stats = client.info("commandstats")

    assert ([], True) == (page.items, page.next is not None)
    assert STEPS == stats["cmdstat_scan"]["calls"]
    assert [] == await walk(pages, Search(agent="nothing"), 10)


async def test_a_place_in_one_list_shows_nothing_of_another(sessions, pages):
    """A place says where, never whose: with somebody else's a person sees their own sessions only."""
    mine = set(await make(sessions, 5, "alice"))
    await make(sessions, 5, "bob")
    theirs = await pages.page(Search("bob"), NOW, limit=2)
    page = await pages.page(Search("alice"), NOW, limit=10, after=theirs.next)

    assert {item.digest for item in page.items} <= mine


async def test_what_a_place_carries_is_searched_like_everything_else(sessions, pages):
    """Ids that somebody writes into a place are not shown unless the search finds them."""
    (digest,) = await make(sessions, 1, "bob")
    page = await pages.page(Search(agent="curl"), NOW, limit=10, after=f"~{digest}")

    assert ([], None) == page


@pytest.mark.parametrize(
    "after",
    ["x y", "~", "~abc", "5~" + "a" * 63, "*", "a" * 65, "99999999999999999999", "1;FLUSHALL"],
)
async def test_what_is_no_place_is_refused(sessions, pages, after):
    """Nothing that a page has not named reaches the store."""
    for search in (EVERY, Search("alice")):
        with pytest.raises(ValueError, match="no such place"):
            await pages.page(search, NOW, limit=10, after=after)
