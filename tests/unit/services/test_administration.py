"""Ending sessions for an administrator, and the note that is made of it, on a real store."""

from __future__ import annotations

import pytest

from proxy.adapters.store import StoreAddress, open_store
from proxy.core.refresh import Family, Holder
from proxy.core.revocation import RevocationKeys
from proxy.core.session_search import EVERY
from proxy.services.administration import (
    Actor,
    Administration,
    Ended,
    details,
    family_details,
    family_summary,
    summary,
)
from proxy.services.audit import Audit, AuditTrail
from proxy.services.family_records import FamilyRecords
from proxy.services.revocations import Revocations
from proxy.services.sessions import Login, Sessions

NOW = 1_800_000_000.75
ROOT = Actor("by an administrator", "root", "192.0.2.1", "curl", "r-1")


class Room:
    """An administration, its sessions, and what was noted."""

    def __init__(self, store):
        self.records = FamilyRecords(
            store,
            Revocations(store, RevocationKeys("p:")),
            prefix="p:",
            issuer="i",
            keep_s=900,
        )
        self.sessions = Sessions(store, prefix="p:", idle_timeout_s=1800, lifetime_s=43_200)
        self.audit = Audit(store, prefix="p:")
        self.administration = Administration(self.sessions, self.audit)
        self._trail = AuditTrail(store, prefix="p:")

    @property
    def whole(self):
        """The administration of a gate that issues tokens."""
        return Administration(self.sessions, self.audit, self.records)

    async def begin_family(self, name, subject="ada", **members):
        """Write a refresh family."""
        life = {"begun_at": int(NOW), "expires_at": int(NOW) + 60, "current": "d" * 64}
        await self.records.add(name, Family(Holder(subject), "phone", **life, **members), NOW)

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
    assert (2, None) == await them.end_subject("bob", ROOT, NOW)
    assert (0, None) == await them.end_subject("bob", ROOT, NOW)
    assert (1, None) == await them.end_all(ROOT, NOW)

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
    (item,) = (await room.administration.page(EVERY, NOW, limit=10)).items

    assert {"id", "subject", "created_at", "last_seen", "address", "agent"} == set(summary(item))
    assert summary(item).items() <= details(item).items()
    assert ["r"] == details(item)["roles"]
    assert made.cookie not in repr(details(item))


async def test_who_is_ended_loses_families_too(room):
    """All of a person's, all but one session, everybody's: families go with them, and are counted."""
    made = [await room.sessions.create(Login("ada"), NOW) for _ in range(2)]
    for number in range(3):
        await room.begin_family(f"{number:032x}")
    await room.begin_family("f" * 32, "bob")
    them = room.whole

    assert await them.families.end("0" * 32, ROOT, NOW, subject="ada")
    assert not await them.families.end("0" * 32, ROOT, NOW)
    assert not await them.families.end("f" * 32, ROOT, NOW, subject="ada")
    assert (1, 2) == await them.end_others("ada", made[0].digest, ROOT, NOW)
    assert (1, 0) == await them.end_subject("ada", ROOT, NOW)
    assert (0, 1) == await them.end_all(ROOT, NOW)
    assert [
        ("token_revoked", f"refresh family {'0' * 8} of client phone"),
        ("session_ended", "1 and 2 refresh families others"),
        ("session_ended", "all 1"),
        ("session_ended", "all 1 refresh family of everybody"),
    ] == [(kind, detail.partition(",")[0]) for kind, _, detail in await room.noted()]


async def test_s10_what_is_shown_of_a_family_holds_no_credential(room):
    """S10: who, which program, when and from where; and nothing of its tokens, nor their hashes."""
    await room.begin_family("0" * 32, address="192.0.2.1", agent="phone/1", spent="e" * 64)
    (item,) = (await room.whole.families.page(EVERY, NOW, limit=9)).items

    assert {"id", "subject", "client", "created_at", "last_seen", "address", "agent"} == set(
        family_summary(item)
    )
    assert family_summary(item).items() <= family_details(item).items()
    assert not {"d" * 64, "e" * 64} & set(map(str, family_details(item).values()))


@pytest.mark.parametrize(
    ("ended", "document", "total"),
    [
        (Ended(2, None), {"n": 2}, 2),
        (Ended(2, 0), {"n": 2}, 2),
        (Ended(0, 3), {"n": 0, "families": 3}, 3),
    ],
    ids=str,
)
def test_what_ended_is_told_as_before_where_no_family_did(ended, document, total):
    """Programs that know of sessions alone are told what they were told before there were families."""
    assert (document, total) == (ended.document("n"), ended.total)
