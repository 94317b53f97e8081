"""Ending sessions for an administrator, and the note that is made of it, on a real store."""

from __future__ import annotations

import pytest

from proxy.adapters.store import StoreAddress, open_store
from proxy.core.session_search import EVERY
from proxy.services.administration import Actor, Administration, details, summary
from proxy.services.audit import Audit, AuditTrail
from proxy.services.sessions import Login, Sessions

NOW = 1_800_000_000.75
ROOT = Actor("by an administrator", "root", "192.0.2.1", "curl", "r-1")


class Room:
    """An administration, its sessions, and what was noted."""

    def __init__(self, store):
        self.sessions = Sessions(store, prefix="p:", idle_timeout_s=1800, lifetime_s=43_200)
        self.audit = Audit(store, prefix="p:")
        self.administration = Administration(self.sessions, self.audit)
        self._trail = AuditTrail(store, prefix="p:")

    async def noted(self):
        """Return what the trail says."""
        await self.audit.close(10)
        return [(e.event.kind, e.event.subject, e.event.detail) for e in await self._trail.last(99)]


@pytest.fixture
async def room(valkey):
    """Give an administration of an empty store."""
    store = open_store(StoreAddress(socket_path=str(valkey.socket_path)), timeout_s=5)
    yield Room(store)
    await store.close()


async def test_each_end_is_noted_once(room):
    """Whose session it was, how many, and who ended it; what ended nothing is no event."""
    made = [await room.sessions.create(Login(name), NOW) for name in ("ada", "bob", "bob", "eve")]
    them = room.administration
    assert await them.end(made[0].digest, ROOT, NOW)
    assert not await them.end(made[0].digest, ROOT, NOW)
    assert 2 == await them.end_subject("bob", ROOT, NOW)
    assert 0 == await them.end_subject("bob", ROOT, NOW)
    assert 1 == await them.end_all(ROOT, NOW)

    assert [
        ("session_ended", "ada", f"{made[0].digest[:8]}, by an administrator root"),
        ("session_ended", "bob", "all 2, by an administrator root"),
        ("session_ended", None, "all 1 of everybody, by an administrator root"),
    ] == await room.noted()


async def test_a_session_is_ended_for_its_owner_only(room):
    """Whoever names the subject ends nothing of anybody else's, and nothing is noted."""
    made = await room.sessions.create(Login("bob"), NOW)
    assert not await room.administration.end(made.digest, ROOT, NOW, subject="ada")

    assert await room.administration.show(made.digest, NOW) is not None
    assert [] == await room.noted()


async def test_s10_what_is_shown_holds_no_credential(room):
    """S10: lists and details say who, when, from where and how, and never the cookie."""
    made = await room.sessions.create(Login("ada", roles=["r"], address="192.0.2.1"), NOW)
    (item,) = (await room.administration.page(EVERY, NOW, limit=10)).sessions

    assert {"id", "subject", "created_at", "last_seen", "address", "agent"} == set(summary(item))
    assert summary(item).items() <= details(item).items()
    assert ["r"] == details(item)["roles"]
    assert made.cookie not in repr(details(item))
