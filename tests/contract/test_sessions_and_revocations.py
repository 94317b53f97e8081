"""Sessions and revocations on every kind of store, with the rights that it gives."""

from __future__ import annotations

import asyncio
import time

import pytest

from proxy.core.formats.native import read
from proxy.core.refresh import Holder
from proxy.core.revocation import RevocationKeys, is_revoked
from proxy.errors import StoreUnavailable
from proxy.services.refresh import GrantRefused, RefreshFamilies, Reused
from proxy.services.revocations import Revocations, RevocationWatch
from proxy.services.sessions import Login, Sessions
from proxy.services.tokens import TokenIssuer

NOW = 1_800_000_000.0
KEYS = RevocationKeys("latchgate:")


@pytest.fixture
def sessions(store) -> Sessions:
    """Give sessions with the defaults of the reference."""
    return Sessions(store, prefix="latchgate:", idle_timeout_s=1800, lifetime_s=43_200)


async def answering(store) -> None:
    """Wait until the store is back."""
    end = time.monotonic() + 10
    while True:
        try:
            await store.fetch(["x"])
            return
        except StoreUnavailable:
            assert time.monotonic() < end, "it did not come back in time"
            await asyncio.sleep(0.01)


async def test_a_session_from_login_to_logout(sessions):
    """Made, found, used, listed, ended: each store lets us do all of it."""
    new = await sessions.create(Login("alice"), NOW)
    stored = await sessions.look_up(new.cookie)
    assert "alice" == read(stored.record).subject
    assert await sessions.touch(stored, NOW + 300)
    assert [new.digest] == [each.digest async for each in sessions.listed(NOW + 301)]
    assert [new.digest] == [it.digest async for _, it in sessions.of_subject("alice", NOW + 301)]
    assert 1 == await sessions.revoke_subject("alice")
    assert (None, None) == ((await sessions.look_up(new.cookie)).record, stored.seen)


async def test_r3_a_revocation_is_found_by_its_token(store):
    """R3: written by one script, read by one MGET."""
    await Revocations(store, KEYS).revoke_subject("i", "s", NOW, keep_s=60)
    values = await store.fetch(KEYS.for_token("i", {"sub": "s"}, "j"))
    assert "sub" == is_revoked(values, NOW - 1, 0)


class Unsigned:
    """Signs nothing."""

    def sign(self, claims, _typ, _now):
        return claims["jti"]


async def test_s9_a_refresh_family_from_login_to_theft(store):
    """S9: each store, with the rights that it gives, lets a family begin, rotate, repeat and end."""
    issuer = TokenIssuer(
        issuer="i",
        audience="a",
        lifetime_s=60,
        max_lifetime_s=60,
        signer=Unsigned(),
        store=store,
        revoked=KEYS,
    )
    families = RefreshFamilies(
        store,
        issuer,
        Revocations(store, KEYS),
        prefix="latchgate:",
        lifetime_s=3600,
        grace_s=10,
        keep_s=60,
    )
    first = await families.begin(Holder("alice"), "spa", NOW, since=NOW)
    second = await families.use(first.refresh_token, "spa", NOW + 1)
    assert second == await families.use(first.refresh_token, "spa", NOW + 2)
    third = await families.use(second.refresh_token, "spa", NOW + 3)
    with pytest.raises(Reused):
        await families.use(first.refresh_token, "spa", NOW + 4)
    with pytest.raises(GrantRefused):
        await families.use(third.refresh_token, "spa", NOW + 5)


async def test_r4_a_crash_is_a_loss_only_where_it_lost_something(backend):
    """R4: the embedded store comes back whole; a store that keeps nothing comes back suspect."""
    alerts = []
    watch = RevocationWatch(backend.store, KEYS, keep_s=60, on_alert=alerts.append)
    await Revocations(backend.store, KEYS).revoke_subject("i", "s", NOW, keep_s=60)
    assert "good" == await watch.look(NOW)
    await backend.crash_and_restart()
    await answering(backend.store)
    expected = "good" if backend.kind == "embedded" else "lost"
    assert expected == await watch.look(NOW + 1)
    values = await backend.store.fetch(KEYS.for_token("i", {"sub": "s"}, "j"))
    assert is_revoked(values, NOW - 1, 0) in ("sub", "all")
    assert (expected == "lost") == bool(alerts)
