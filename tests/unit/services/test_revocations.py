"""Revocations on a real store: what is written, how long it lives, how a loss is noticed."""

from __future__ import annotations

import asyncio

import pytest

from proxy.adapters.store import StoreAddress, open_store
from proxy.core.revocation import RevocationKeys, is_revoked
from proxy.errors import StoreUnavailable
from proxy.services.revocations import Revocations, RevocationWatch

NOW = 1_800_000_000.25
KEYS = RevocationKeys("latchgate:")


@pytest.fixture
def admin(valkey):
    """Give a client that reads what was written."""
    with valkey.client() as client:
        yield client


@pytest.fixture
async def store(valkey):
    """Open the store."""
    store = open_store(StoreAddress(socket_path=str(valkey.socket_path)), timeout_s=2)
    yield store
    await store.close()


@pytest.fixture
def revocations(store) -> Revocations:
    """Give what writes revocations."""
    return Revocations(store, KEYS)


@pytest.fixture
def alerts() -> list[str]:
    """Collect what operators are told."""
    return []


@pytest.fixture
def watch(store, alerts) -> RevocationWatch:
    """Give the watch of a gate."""
    return RevocationWatch(store, KEYS, keep_s=1000, on_alert=alerts.append)


def life_s(admin, key: str) -> float:
    """Return how long a key lives."""
    return admin.pttl(key) / 1000


async def answering(store) -> None:
    """Wait until a store that was away answers again."""
    async with asyncio.timeout(10):
        while True:
            try:
                await store.fetch(["x"])
                return
            except StoreUnavailable:
                await asyncio.sleep(0.01)


REVOKE = {
    "all": lambda it, now, **life: it.revoke_all(now, **life),
    "iss": lambda it, now, **life: it.revoke_issuer("i", now, **life),
    "sub": lambda it, now, **life: it.revoke_subject("i", "s", now, **life),
    "sid": lambda it, now, **life: it.revoke_session("i", "session", now, **life),
    "jti": lambda it, now, **life: it.revoke_token("i", "j", now, **life),
}
TOKEN = KEYS.for_token("i", {"sub": "s", "sid": "session"}, "j")


@pytest.mark.parametrize("what", REVOKE)
async def test_r3_a_revocation_reaches_the_tokens_that_it_names(store, revocations, what):
    """R3: each kind refuses the token, under the keys that a verified token is looked up by."""
    other = KEYS.for_token("other", {"sub": "s", "sid": "session"}, "j")
    await REVOKE[what](revocations, NOW, keep_s=100)
    assert what == is_revoked(await store.fetch(TOKEN), NOW - 10, 0)
    if what != "all":
        assert is_revoked(await store.fetch(other), NOW - 10, 0) is None


@pytest.mark.parametrize("what", ["all", "iss", "sub"])
async def test_r3_a_revocation_at_t_refuses_until_the_second_is_out(store, revocations, what):
    """R3: iat ≤ ceil(t) + leeway is refused, a token of the next second is good."""
    await REVOKE[what](revocations, NOW, keep_s=100)
    values = await store.fetch(TOKEN)
    assert what == is_revoked(values, 1_800_000_001, 0)
    assert is_revoked(values, 1_800_000_002, 0) is None
    assert what == is_revoked(values, 1_800_000_031, 30)


@pytest.mark.parametrize("what", REVOKE)
async def test_r3_a_marker_lives_as_long_as_it_is_told(admin, revocations, what):
    """R3: max_lifetime + 2 leeways, not for good and not shorter."""
    await REVOKE[what](revocations, NOW, keep_s=100)
    [marker] = [key for key in admin.scan_iter() if not key.endswith(b":count")]
    assert 99 < life_s(admin, marker) <= 100


async def test_r3_a_tokens_marker_lives_until_the_token_is_over(admin, revocations):
    """R3: until exp + 2 leeways, and never longer than any token lives."""
    await revocations.revoke_token("i", "short", NOW, keep_s=100, expires_at=NOW + 20)
    await revocations.revoke_token("i", "long", NOW, keep_s=100, expires_at=NOW + 1e9)
    assert 19 < life_s(admin, KEYS.for_jti("i", "short")) <= 20
    assert 99 < life_s(admin, KEYS.for_jti("i", "long")) <= 100


async def test_r3_a_token_that_is_over_needs_no_marker(admin, revocations):
    """R3: what no gate accepts any more is not written down."""
    await revocations.revoke_token("i", "j", NOW, keep_s=100, expires_at=NOW - 1)
    assert [] == admin.keys()


async def test_r3_an_earlier_or_shorter_revocation_takes_nothing_back(admin, revocations):
    """R3: clocks of hosts differ, and two commands may name lives of two schemes."""
    await revocations.revoke_subject("i", "s", NOW, keep_s=100)
    await revocations.revoke_subject("i", "s", NOW - 50, keep_s=10)
    key = KEYS.for_subject("i", "s")
    assert str(NOW).encode() == admin.get(key)
    assert 99 < life_s(admin, key) <= 100


async def test_r3_a_later_revocation_counts(admin, revocations):
    """R3: revoking somebody again refuses what was issued meanwhile."""
    await revocations.revoke_subject("i", "s", NOW, keep_s=100)
    await revocations.revoke_subject("i", "s", NOW + 50, keep_s=200)
    key = KEYS.for_subject("i", "s")
    assert str(NOW + 50).encode() == admin.get(key)
    assert 199 < life_s(admin, key) <= 200


async def test_r3_a_marker_without_an_end_keeps_none(admin, revocations):
    """R3: a marker that somebody else wrote for good stays for good."""
    admin.set(KEYS.all, "5")
    await revocations.revoke_all(NOW, keep_s=100)
    assert (str(NOW).encode(), -1) == (admin.get(KEYS.all), admin.ttl(KEYS.all))


async def test_r4_every_revocation_raises_the_count(admin, revocations):
    """R4: whatever is revoked, the number that the watch looks at goes up, and has no end."""
    for number, revoke in enumerate(REVOKE.values(), start=1):
        await revoke(revocations, NOW, keep_s=100)
        assert number == int(admin.get(KEYS.count))
    assert -1 == admin.ttl(KEYS.count)


async def test_a_revocation_that_the_store_did_not_confirm_raises(tmp_path):
    """Nobody is told that something is revoked that may not be."""
    store = open_store(StoreAddress(socket_path=str(tmp_path / "none")), timeout_s=0.2)
    with pytest.raises(StoreUnavailable):
        await Revocations(store, KEYS).revoke_all(NOW, keep_s=1)
    await store.close()


async def test_r4_the_epoch_is_made_once(admin, store, watch):
    """R4: the first gate makes a random epoch that has no end, the others take it."""
    assert "good" == await watch.look(NOW)
    epoch = admin.get(KEYS.epoch)
    assert 32 == len(epoch)
    assert -1 == admin.ttl(KEYS.epoch)
    second = RevocationWatch(store, KEYS, keep_s=1)
    assert ("good", "good") == (await second.look(NOW), await watch.look(NOW))
    assert epoch == admin.get(KEYS.epoch)


async def test_r4_revocations_are_no_loss(revocations, watch, alerts):
    """R4: the count goes up, and all is well."""
    await watch.look(NOW)
    await revocations.revoke_all(NOW, keep_s=1)
    assert "good" == await watch.look(NOW + 1)
    assert [] == alerts


async def test_r4_a_lost_epoch_refuses_every_token(admin, revocations, watch, alerts):
    """R4: a store that was emptied has lost its revocations: all tokens until now are refused."""
    await revocations.revoke_subject("i", "s", NOW, keep_s=100)
    await watch.look(NOW)
    before = admin.get(KEYS.epoch)
    admin.flushall()
    assert "lost" == await watch.look(NOW + 1)
    assert str(NOW + 1).encode() == admin.get(KEYS.all)
    assert 999 < life_s(admin, KEYS.all) <= 1000
    assert admin.get(KEYS.epoch) not in (None, before)
    assert b"1" == admin.get(KEYS.count)
    assert 1 == len(alerts)
    assert "good" == await watch.look(NOW + 2)


@pytest.mark.parametrize("count", [None, "1", "-5", "rubbish", "99999999999999999999"])
async def test_r4_a_count_that_went_back_refuses_every_token(
    admin, revocations, watch, alerts, count
):
    """R4: a replica that missed the last revocations became the master, or somebody meddled."""
    for _ in range(2):
        await revocations.revoke_subject("i", "s", NOW, keep_s=100)
    await watch.look(NOW)
    admin.delete(KEYS.count) if count is None else admin.set(KEYS.count, count)
    assert "lost" == await watch.look(NOW + 1)
    assert str(NOW + 1).encode() == admin.get(KEYS.all)
    assert (b"2", 1) == (admin.get(KEYS.count), len(alerts))
    assert "good" == await watch.look(NOW + 2)


async def test_r4_what_was_never_seen_is_not_missed(admin, watch, alerts):
    """R4: a gate that has seen no revocation finds none missing."""
    await watch.look(NOW)
    admin.delete(KEYS.count)
    assert "good" == await watch.look(NOW + 1)
    assert [] == alerts


async def test_r4_a_loss_may_be_accepted(admin, store, revocations, alerts):
    """R4: `on_loss: accept` refuses nothing, but is told, and the watch goes on."""
    watch = RevocationWatch(store, KEYS, keep_s=9, on_loss="accept", on_alert=alerts.append)
    await revocations.revoke_subject("i", "s", NOW, keep_s=100)
    await watch.look(NOW)
    admin.flushall()
    assert "lost" == await watch.look(NOW + 1)
    assert admin.get(KEYS.all) is None
    assert admin.get(KEYS.epoch) is not None
    assert "accept" in alerts[0]
    assert "good" == await watch.look(NOW + 2)
    admin.set(KEYS.epoch, "foreign")
    assert "foreign" == await watch.look(NOW + 3)
    assert admin.get(KEYS.all) is None
    assert "good" == await watch.look(NOW + 4)


async def test_r4_two_gates_repair_a_loss_once(admin, store, watch, alerts):
    """R4: the second gate adopts the first one's epoch and refuses nothing anew."""
    second = RevocationWatch(store, KEYS, keep_s=1000, on_alert=alerts.append)
    await watch.look(NOW)
    await second.look(NOW)
    admin.flushall()
    assert "lost" == await watch.look(NOW + 1)
    epoch = admin.get(KEYS.epoch)
    assert "foreign" == await second.look(NOW + 1.5)
    assert (epoch, str(NOW + 1).encode()) == (admin.get(KEYS.epoch), admin.get(KEYS.all))
    assert ("good", "good") == (await watch.look(NOW + 2), await second.look(NOW + 2))


async def test_r4_two_gates_at_the_same_moment(admin, store, watch, alerts):
    """R4: whoever is faster, one epoch and one refusal come out, and both are content."""
    second = RevocationWatch(store, KEYS, keep_s=1000, on_alert=alerts.append)
    await watch.look(NOW)
    await second.look(NOW)
    for turn in range(1, 20):
        admin.flushall()
        await asyncio.gather(watch.look(NOW + turn), second.look(NOW + turn))
        await asyncio.gather(watch.look(NOW + turn + 0.3), second.look(NOW + turn + 0.3))
        found = await asyncio.gather(watch.look(NOW + turn + 0.6), second.look(NOW + turn + 0.6))
        assert ["good", "good"] == found
        assert str(NOW + turn).encode() == admin.get(KEYS.all)


async def test_r4_another_stores_history_refuses_every_token(admin, watch, alerts):
    """R4: behind the address is another store now, whose last general refusal is an old one."""
    await watch.look(NOW)
    admin.flushall()
    admin.mset({KEYS.epoch: "foreign", KEYS.count: "7", KEYS.all: str(NOW - 100)})
    assert "foreign" == await watch.look(NOW + 1)
    assert (b"foreign", str(NOW + 1).encode()) == (admin.get(KEYS.epoch), admin.get(KEYS.all))
    assert b"8" == admin.get(KEYS.count)
    assert 1 == len(alerts)
    assert "good" == await watch.look(NOW + 2)


async def test_r4_a_loss_that_is_mended_meanwhile_is_left_alone(admin, store, watch):
    """R4: between look and repair another gate may have acted: the script looks again itself."""
    await watch.look(NOW)
    epoch = admin.get(KEYS.epoch)

    class Slow:
        """The same store, in which something happens between a look and the next script."""

        fetch = staticmethod(store.fetch)

        async def run(self, script, keys, args):
            admin.set(KEYS.epoch, epoch)
            return await store.run(script, keys, args)

    watch._store = Slow()
    admin.delete(KEYS.epoch)
    assert "lost" == await watch.look(NOW + 1)
    assert (epoch, None) == (admin.get(KEYS.epoch), admin.get(KEYS.all))
    assert "good" == await watch.look(NOW + 2)


async def test_r4_an_epoch_that_changes_once_more_is_not_adopted(admin, store, watch, alerts):
    """R4: what is adopted is the epoch that was seen, or nothing: the next look sees the newer one."""
    await watch.look(NOW)
    admin.set(KEYS.epoch, "foreign")

    class Slow:
        """The same store, in which something happens between a look and the next script."""

        fetch = staticmethod(store.fetch)

        async def run(self, script, keys, args):
            admin.set(KEYS.epoch, "newer")
            return await store.run(script, keys, args)

    watch._store = Slow()
    assert "foreign" == await watch.look(NOW + 1)
    assert (None, []) == (admin.get(KEYS.all), alerts)
    watch._store = store
    assert "foreign" == await watch.look(NOW + 2)
    assert "good" == await watch.look(NOW + 3)


async def test_r4_an_outage_is_no_loss(mortal_valkey, alerts, caplog):
    """R4: while the store is away the watch waits, says so once, and sees what is left then."""
    address = StoreAddress(socket_path=str(mortal_valkey.socket_path))
    store = open_store(address, timeout_s=0.3)
    watch = RevocationWatch(store, KEYS, keep_s=9, on_alert=alerts.append)
    await watch.look(NOW)
    await Revocations(store, KEYS).revoke_all(NOW, keep_s=9)
    await watch.look(NOW)
    mortal_valkey.kill()
    with pytest.raises(StoreUnavailable):
        await watch.look(NOW + 1)
    mortal_valkey.start()  # it keeps nothing on disk: now the revocations are lost
    await answering(store)
    assert "lost" == await watch.look(NOW + 2)
    assert 1 == len(alerts)
    await store.close()


async def test_r4_the_watch_goes_on_by_itself(monkeypatch, mortal_valkey, alerts, caplog):
    """R4: once a second, through an outage, which is logged at its beginning and end."""
    monkeypatch.setattr("proxy.services.revocations.LOOK_EVERY_S", 0.01)
    store = open_store(StoreAddress(socket_path=str(mortal_valkey.socket_path)), timeout_s=0.3)
    lost = asyncio.Event()
    watch = RevocationWatch(store, KEYS, keep_s=9, on_alert=lambda _text: lost.set())
    async with asyncio.timeout(20):
        task = asyncio.ensure_future(watch.run(lambda: NOW))  # noqa: TID251 - cancelled below
        await asyncio.sleep(0.05)
        mortal_valkey.kill()
        await asyncio.sleep(0.05)
        mortal_valkey.start()
        await lost.wait()
        await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    messages = [record.getMessage() for record in caplog.records]
    assert 1 == sum("cannot be watched" in message for message in messages)
    assert 1 == sum("watched again" in message for message in messages)
    await store.close()
