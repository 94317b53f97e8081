"""One-time passwords on a real store: enrolment, use, races, planted records."""

from __future__ import annotations

import asyncio
import base64
import logging

import pytest

from proxy.adapters.secrets import SecretBox
from proxy.adapters.store import StoreAddress, open_store
from proxy.core.otp import code_at
from proxy.errors import StoreUnavailable
from proxy.services.otp import PENDING_S, OneTimePasswords

NOW = 1_800_000_015.0
HERE = "ab" * 32
KEY, OLD_KEY = b"k" * 32, b"o" * 32


@pytest.fixture
def admin(valkey):
    """Give a client that looks behind the service's back."""
    with valkey.client() as client:
        yield client


@pytest.fixture
async def worker(valkey):
    """Give what makes one worker's service: a connection of its own, and the keys."""
    stores = []

    def make(*keys):
        store = open_store(StoreAddress(socket_path=str(valkey.socket_path)), timeout_s=5)
        stores.append(store)
        return OneTimePasswords(store, SecretBox(keys or (KEY,)), prefix="latchgate:", issuer="S")

    yield make
    for store in stores:
        await store.close()


@pytest.fixture
def otp(worker):
    """Give the service of one worker."""
    return worker()


def shown(enrolment, at=NOW):
    """Return what the app shows that has read the QR code."""
    return code_at(base64.b32decode(enrolment.secret), at)


async def enrolled(otp, subject="ada", at=NOW):
    """Enrol `subject` an hour before `at`; the code that confirmed is used."""
    before = at - 3600
    enrolment = await otp.begin(subject, HERE, before)
    assert await otp.confirm(subject, HERE, shown(enrolment, before), before)
    return enrolment


async def test_an_enrolment_counts_when_it_is_confirmed(otp):
    """Until then no code is asked, and none would be taken."""
    enrolment = await otp.begin("ada", HERE, NOW, account="ada@example.com")

    assert not await otp.is_enrolled("ada")
    assert not await otp.check("ada", shown(enrolment), NOW)
    assert not await otp.confirm("ada", HERE, "000000", NOW)
    assert not await otp.confirm("ada", HERE, enrolment.recovery_codes[0], NOW)
    assert await otp.confirm("ada", HERE, shown(enrolment), NOW)
    assert await otp.is_enrolled("ada")
    assert "/S:ada%40example.com?" in enrolment.uri
    state = await otp.state("ada")
    assert (NOW, 10) == (state.since, state.recovery_left)


async def test_the_code_that_confirms_is_used(otp):
    """It is not good for a step-up as well."""
    enrolment = await otp.begin("ada", HERE, NOW)
    assert await otp.confirm("ada", HERE, shown(enrolment), NOW)

    assert not await otp.check("ada", shown(enrolment), NOW)
    assert not await otp.confirm("ada", HERE, shown(enrolment, NOW + 30), NOW)
    assert await otp.check("ada", shown(enrolment, NOW + 30), NOW)


async def test_an_unconfirmed_enrolment_replaces_nothing(otp):
    """The app that was there goes on; the last that was begun is the one that can be confirmed."""
    first = await enrolled(otp)
    forgotten, pending = await otp.begin("ada", HERE, NOW), await otp.begin("ada", HERE, NOW)

    assert not await otp.confirm("ada", HERE, shown(forgotten), NOW)
    assert await otp.check("ada", shown(first), NOW)
    assert await otp.confirm("ada", HERE, shown(pending), NOW)
    assert not await otp.check("ada", shown(first, NOW + 30), NOW)
    assert not await otp.check("ada", first.recovery_codes[0], NOW)
    assert await otp.check("ada", pending.recovery_codes[0], NOW)


async def test_an_enrolment_that_nobody_confirms_is_forgotten(otp, admin):
    """By the store, and by the gate's own clock."""
    enrolment = await otp.begin("ada", HERE, NOW)
    life_ms = admin.pttl(otp.pending_key("ada"))

    assert 0 < life_ms <= PENDING_S * 1000
    assert enrolment.expires_at == NOW + PENDING_S
    late = NOW + PENDING_S
    assert await otp.pending("ada", HERE, late) is None
    assert not await otp.confirm("ada", HERE, shown(enrolment, late), late)


async def test_what_was_begun_is_shown_again_without_its_recovery_codes(otp):
    """Who has mistyped a code scans no second one; recovery codes are told once."""
    begun = await otp.begin("ada", HERE, NOW, account="Ada")
    again = await otp.pending("ada", HERE, NOW + 1, account="Ada")

    assert (begun.uri, begun.secret, begun.expires_at) == (
        again.uri,
        again.secret,
        again.expires_at,
    )
    assert () == again.recovery_codes
    assert await otp.confirm("ada", HERE, shown(begun), NOW)
    assert await otp.pending("ada", HERE, NOW) is None


async def test_s8_of_two_workers_with_one_code_one_wins(worker):
    """S8: the same code on many workers at the same moment is taken by exactly one of them."""
    workers = [worker() for _ in range(8)]
    enrolment = await enrolled(workers[0])
    for at in (NOW, NOW + 60, NOW + 120):
        code = shown(enrolment, at)
        taken = await asyncio.gather(
            *(one.check("ada", code, at) for one in workers for _ in range(4))
        )

        assert taken.count(True) == 1


async def test_s8_of_two_workers_with_one_recovery_code_one_wins(worker):
    """S8: so is a recovery code; different ones at the same moment are all taken."""
    workers = [worker() for _ in range(4)]
    codes = (await enrolled(workers[0])).recovery_codes

    same = await asyncio.gather(*(one.check("ada", codes[0], NOW) for one in workers))
    different = await asyncio.gather(
        *(one.check("ada", code, NOW) for one, code in zip(workers, codes[1:], strict=False))
    )

    assert same.count(True) == 1
    assert different == [True] * 4
    assert (await workers[0].state("ada")).recovery_left == 5


async def test_a_used_code_is_refused_by_every_worker(worker):
    """What one has taken the next refuses, and so does it any earlier one."""
    first, second = worker(), worker()
    enrolment = await enrolled(first)

    assert await first.check("ada", shown(enrolment), NOW)
    for text in (shown(enrolment), shown(enrolment, NOW - 30)):
        assert not await second.check("ada", text, NOW + 1)


async def test_somebody_elses_code_is_refused(otp):
    """A code belongs to a person, and whoever has enrolled nothing has none."""
    of_bob = await enrolled(otp, "bob")
    await enrolled(otp, "ada")

    assert not await otp.check("ada", shown(of_bob), NOW)
    assert not await otp.check("ada", of_bob.recovery_codes[0], NOW)
    assert not await otp.check("eve", shown(of_bob), NOW)
    assert not await otp.is_enrolled("eve")


async def test_s10_nothing_usable_is_in_the_store(otp, admin):
    """S10: neither a secret nor a recovery code nor a name is in the dump, pending or not."""
    enrolments = [await enrolled(otp), await otp.begin("ada", HERE, NOW)]
    dump = b"".join(key + admin.get(key) for key in admin.keys("*"))

    for enrolment in enrolments:
        secret = enrolment.secret.encode()
        wanted = [secret, base64.b32decode(secret), b"ada"]
        wanted += [code.encode() for code in enrolment.recovery_codes]
        wanted += [code.replace("-", "").encode() for code in enrolment.recovery_codes]
        assert not [one for one in wanted if one in dump]


async def test_s10_a_planted_record_is_not_accepted(otp, worker, admin, caplog):
    """S10: neither one under other keys, nor another person's, nor a pending one, opens anything."""
    mine = await enrolled(otp)
    eves = await enrolled(otp, "eve")
    begun = await otp.begin("ada", HERE, NOW)
    foreign = worker(b"x" * 32)
    forged = await enrolled(foreign, "mallory")
    key = otp.record_key("ada")
    caplog.set_level(logging.CRITICAL)
    plants = [
        (admin.get(foreign.record_key("mallory")), forged),
        (admin.get(otp.record_key("eve")), eves),
        (admin.get(otp.pending_key("ada")), begun),
        (b"", mine),
        (b'{"v":1}', mine),
    ]
    for number, (planted, enrolment) in enumerate(plants, start=1):
        admin.set(key, planted)

        assert not await otp.check("ada", shown(enrolment), NOW)
        assert not await otp.check("ada", enrolment.recovery_codes[0], NOW)
        assert await otp.is_enrolled("ada"), "a spoilt record must not end the question"
        assert await otp.state("ada") is None
        assert admin.get(key) == planted
        assert len(caplog.records) == 3 * number


async def test_s10_a_planted_enrolment_cannot_be_confirmed(otp, admin):
    """S10: a pending record of somebody else, or the one in force, is none of this person's."""
    mine = await enrolled(otp)
    eves = await otp.begin("eve", HERE, NOW)
    for planted, enrolment in (
        (admin.get(otp.pending_key("eve")), eves),
        (admin.get(otp.record_key("ada")), mine),
    ):
        admin.set(otp.pending_key("ada"), planted)

        assert not await otp.confirm("ada", HERE, shown(enrolment), NOW)


async def test_records_move_to_the_first_key_as_they_are_used(worker):
    """`secrets.key` is rotated without anybody enrolling again."""
    enrolment = await enrolled(worker(OLD_KEY))

    assert await worker(KEY, OLD_KEY).check("ada", shown(enrolment), NOW)
    assert await worker(KEY).check("ada", shown(enrolment, NOW + 60), NOW + 60)
    assert not await worker(OLD_KEY).check("ada", shown(enrolment, NOW + 120), NOW + 120)


async def test_r6_a_removed_one_time_password_stays_removed(otp, admin):
    """R6: neither a check under way nor an enrolment that was begun brings it back."""
    enrolment = await enrolled(otp)
    begun = await otp.begin("ada", HERE, NOW)
    store, key = otp._store, otp.record_key("ada")
    fetch = store.fetch

    async def fetch_and_lose(keys):
        found = await fetch(keys)
        admin.delete(key)  # between look and use
        return found

    store.fetch = fetch_and_lose
    assert not await otp.check("ada", shown(enrolment), NOW)
    store.fetch = fetch
    assert not await otp.is_enrolled("ada")
    assert not await otp.remove("ada")
    assert not await otp.confirm("ada", HERE, shown(begun), NOW)


async def test_removal_takes_secret_and_recovery_codes(otp):
    """Nothing that was enrolled is good afterwards."""
    enrolment = await enrolled(otp)

    assert await otp.remove("ada")
    assert not await otp.is_enrolled("ada")
    assert not await otp.check("ada", shown(enrolment), NOW)
    assert not await otp.check("ada", enrolment.recovery_codes[0], NOW)


async def test_new_recovery_codes_take_the_place_of_the_old(otp):
    """They are told once, and who has enrolled nothing gets none."""
    old = (await enrolled(otp)).recovery_codes
    new = await otp.renew_recovery("ada")

    assert len(set(new)) == 10
    assert not await otp.check("ada", old[0], NOW)
    assert await otp.check("ada", new[0], NOW)
    assert await otp.renew_recovery("eve") is None


async def test_a_store_that_is_out_is_no_answer():
    """An outage is neither "not enrolled" nor a wrong code."""
    gone = OneTimePasswords(
        open_store(StoreAddress(socket_path="/nonexistent/s"), timeout_s=0.2),
        SecretBox([KEY]),
        prefix="latchgate:",
        issuer="S",
    )
    for ask in (
        gone.is_enrolled("ada"),
        gone.check("ada", "123456", NOW),
        gone.begin("ada", HERE, NOW),
        gone.confirm("ada", HERE, "123456", NOW),
        gone.remove("ada"),
    ):
        with pytest.raises(StoreUnavailable):
            await ask
