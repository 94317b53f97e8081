"""The end of everything that somebody has been given."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest

from proxy.adapters.store import StoreAddress, open_store
from proxy.core.revocation import RevocationKeys, is_revoked
from proxy.services.revocations import Revocations
from proxy.services.sessions import Login, Sessions
from proxy.services.subjects import Subjects

NOW = 1_800_000_000.0
FILE = Path("/etc/latchgate/users.yaml")
KEYS = RevocationKeys("latchgate:")


@pytest.fixture
async def store(valkey):
    store = open_store(StoreAddress(socket_path=str(valkey.socket_path)), timeout_s=2)
    yield store
    await store.close()


@pytest.fixture
def subjects(store):
    sessions = Sessions(store, prefix="latchgate:", idle_timeout_s=1800, lifetime_s=43_200)
    return Subjects(store, "latchgate:", sessions, Revocations(store, KEYS), "local", 60)


async def changed(subjects, become):
    """Tell of what alice has become; return what was done."""
    return [done async for done in subjects.end_changed({"alice": become}, NOW, file=FILE)]


async def test_r6_sessions_and_tokens_end_together(subjects, store):
    """R6: every session of the person, and every token that was issued until now."""
    mine = await subjects.sessions.create(Login("alice"), NOW)
    other = await subjects.sessions.create(Login("bob"), NOW)

    assert 1 == await subjects.end("alice", NOW)
    assert None is await subjects.sessions.show(mine.digest, NOW)
    assert await subjects.sessions.show(other.digest, NOW)
    values = await store.fetch(KEYS.for_token("local", {"sub": "alice"}, "j"))
    assert "sub" == is_revoked(values, NOW - 1, 0)


async def test_r6_a_change_is_seen_to_once(subjects):
    """R6: who signed in after the change was seen to keeps that session; a new change ends it."""
    assert [("alice", 0)] == await changed(subjects, "disabled")
    new = await subjects.sessions.create(Login("alice"), NOW)
    assert [] == await changed(subjects, "disabled")
    assert await subjects.sessions.show(new.digest, NOW)

    assert [("alice", 1)] == await changed(subjects, "admin")
    assert None is await subjects.sessions.show(new.digest, NOW)


async def test_r6_a_file_that_changes_later_ends_what_it_let_in(subjects, monkeypatch):
    """R6: whoever another host still let in, by its older copy of the file, is out when it has the new one."""
    await changed(subjects, "disabled")
    monkeypatch.setattr(platform, "node", lambda: "the-other-host")
    late = await subjects.sessions.create(Login("alice"), NOW)
    await changed(subjects, "disabled")
    assert None is await subjects.sessions.show(late.digest, NOW)
