"""Sessions as they are read: by id and all there are, by somebody who cannot write one."""

from __future__ import annotations

import pytest

from proxy.adapters.store import StoreAddress, open_store
from proxy.core.session_search import Search
from proxy.services.session_reading import SessionReader, is_id, session_key
from proxy.services.sessions import Login, Sessions

NOW = 1_000_000.0
LIVES = {"prefix": "latchgate:", "idle_timeout_s": 600, "lifetime_s": 3600}


@pytest.fixture
async def store(valkey):
    store = open_store(StoreAddress(socket_path=str(valkey.socket_path)), timeout_s=5)
    yield store
    await store.close()


@pytest.fixture
async def written(store):
    """Give three sessions of two people."""
    sessions = Sessions(store, **LIVES)
    return [await sessions.create(Login(name), NOW) for name in ("alice", "bob", "alice")]


@pytest.fixture
def reader(store):
    return SessionReader(store, **LIVES)


async def test_a_session_is_found_by_cookie_id_person_and_among_all(reader, written):
    """Each way of finding a session tells of the same record."""
    first, second, third = written
    found = await reader.look_up(first.cookie)
    theirs = {listed.digest async for _, listed in reader.of_subject("alice", NOW)}
    everybody = {listed.digest async for listed in reader.listed(NOW)}

    assert first.digest == found.digest
    assert "bob" == await reader.owner(second.digest)
    assert "alice" == (await reader.show(third.digest, NOW)).session.subject
    assert {first.digest, third.digest} == theirs
    assert {made.digest for made in written} == everybody


async def test_what_is_over_is_read_and_is_not_live(reader, written):
    """Whose it was is still told, to those who end what is left of somebody."""
    later = NOW + 601
    (listed,) = await reader.read([written[0].digest])

    assert reader.is_live(listed, NOW + 599)
    assert not reader.is_live(listed, later)
    assert await reader.show(written[0].digest, later) is None
    assert "alice" == await reader.owner(written[0].digest)


async def test_a_search_reads_no_more_than_it_asks_for(reader, written):
    """What does not match is not among the answer, whoever names it."""
    digests = [made.digest for made in written]
    found = await reader.read(digests, Search("bob"))

    assert [written[1].digest] == [listed.digest for listed in found]


@pytest.mark.parametrize("name", ["", "x" * 64, "A" * 64, "0" * 63, "0" * 65, "0" * 64 + "\n"])
async def test_what_is_no_id_names_no_session(reader, name):
    """An id goes into a key: nothing but 64 hexadecimal digits does."""
    assert not is_id(name)
    assert await reader.owner(name) is None
    assert await reader.show(name, NOW) is None


def test_what_stands_beside_a_session_shares_its_hash_tag(reader):
    """One node of a Cluster has all of a session (docs/store.md)."""
    digest = "0" * 64
    assert session_key("latchgate:", digest) == reader.session_key(digest)
    for key in (reader.seen_key(digest), reader.provider_key(digest)):
        assert key.endswith(f":{{{digest}}}")
