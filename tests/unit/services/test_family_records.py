"""Refresh families as they are found and ended, on a real store: people, crashes, logins under way."""

from __future__ import annotations

import secrets
from dataclasses import replace

import pytest

from proxy.adapters.secrets import SecretBox
from proxy.adapters.store import StoreAddress, open_store
from proxy.core.refresh import Family, Holder, Spot, read_token
from proxy.core.session_search import Search
from proxy.errors import StoreUnavailable
from proxy.services import family_records
from proxy.services.family_records import FamilyRecords
from proxy.services.refresh import GrantRefused, Start
from proxy.services.session_index import YOUNG_S
from proxy.services.session_pages import Pages
from proxy.services.signing import SigningKeys
from proxy.services.tokens import RevokedMeanwhile
from tests.unit.services.test_refresh import ANN, ISSUER, KEEP_S, NOW, Bench, claims_of
from tests.unit.services.test_session_index import Crash, DyingStore

HOME = Spot("digest", "192.0.2.1", "phone/1")


@pytest.fixture
async def store(valkey):
    """Open the store."""
    store = open_store(StoreAddress(socket_path=str(valkey.socket_path)), timeout_s=5)
    yield store
    await store.close()


@pytest.fixture
async def bench(store):
    """Give families on a real store, with real keys."""
    keys = await SigningKeys.load(
        store, SecretBox([bytes(32)]), prefix="latchgate:", purpose="token", algorithm="EdDSA", now=NOW
    )  # fmt: skip
    return Bench(store, keys)


@pytest.fixture
def records(bench) -> FamilyRecords:
    """Give what finds and ends them."""
    return bench.families.records


@pytest.fixture
def admin(valkey):
    """Give a client that looks behind the service's back."""
    with valkey.client() as client:
        yield client


def records_on(store, bench) -> FamilyRecords:
    """Give records of the same families on another store."""
    made = FamilyRecords(
        store, bench.revocations, prefix="latchgate:", issuer=ISSUER, keep_s=KEEP_S
    )
    made._revocations = type(bench.revocations)(store, bench.revocations._keys)
    return made


def name_of(answer) -> str:
    return read_token(answer.refresh_token).family


def family(**members) -> Family:
    """Make a family of somebody."""
    said = {"holder": ANN, "client": "spa", "begun_at": int(NOW), "expires_at": int(NOW) + 3600}
    return Family(**{**said, "current": "0" * 64, **members})


async def theirs(records, subject="ann", now=NOW) -> list[str]:
    """Return the names of a person's families, the newest first."""
    return [item.digest async for _, item in records.of_subject(subject, now)]


def indexed(admin, records, subject="ann") -> set[str]:
    """Return what stands in the index, whether or not there is a family."""
    return {member.decode() for member in admin.zrange(records._index.key(subject), 0, -1)}


async def test_a_persons_families_are_found_without_a_scan(records, admin):
    """The newest first, nobody else's, and the server is never asked to go through its keys."""
    made = [secrets.token_hex(16) for _ in range(250)]
    for number, name in enumerate(made):
        await records.add(name, family(begun_at=int(NOW) - 1000 + number), NOW)
    await records.add(secrets.token_hex(16), family(holder=Holder("bob")), NOW)
    admin.config_resetstat()
    pages = Pages(records)
    first = await pages.page(Search("ann"), NOW, limit=100)
    second = await pages.page(Search("ann"), NOW, limit=500, after=first.next)

    assert made[::-1] == await theirs(records)
    assert made[::-1] == [item.digest for item in (*first.items, *second.items)]
    assert second.next is None
    assert "cmdstat_scan" not in admin.info("commandstats")


async def test_one_person_does_not_fill_the_store(records, admin, monkeypatch):
    """Beyond the limit each login ends the oldest family, for good; nobody else's is touched."""
    monkeypatch.setattr(family_records, "MAX_OF_ONE", 3)
    made = [secrets.token_hex(16) for _ in range(6)]
    await records.add(secrets.token_hex(16), family(holder=Holder("bob")), NOW)
    for number, name in enumerate(made):
        await records.add(name, family(begun_at=int(NOW) - 10 + number), NOW)

    assert made[:2:-1] == await theirs(records)
    assert 1 == len(await theirs(records, "bob"))
    assert 4 == len(admin.keys("latchgate:refresh:*"))
    revoked = [records._revoked.for_session(ISSUER, name) for name in made]
    assert [True] * 3 + [False] * 3 == [bool(admin.exists(key)) for key in revoked]


async def test_all_families_are_searched_and_paged(records):
    """By the address and program of their last use; each comes, and none of another kind of key."""
    made = {}
    for number in range(30):
        spot = replace(HOME, address=f"192.0.2.{number}", agent=f"phone/{number % 3}")
        name = secrets.token_hex(16)
        made[name] = family(holder=Holder(f"user{number % 4}")).seen_at(spot)
        await records.add(name, made[name], NOW)

    async def found(search):
        names, after = [], None
        while True:
            page = await Pages(records).page(search, NOW, limit=7, after=after)
            names += [item.digest for item in page.items]
            after = page.next
            if after is None:
                return sorted(names)

    assert sorted(made) == await found(Search())
    assert sorted(made) == sorted([item.digest async for item in records.listed(NOW)])
    assert [n for n, f in sorted(made.items()) if f.agent == "phone/1"] == await found(
        Search(agent="PHONE/1")
    )
    assert 8 == len(await found(Search(address="192.0.2.0/29")))


async def test_the_index_heals_and_decides_nothing(records, admin):
    """What is over is taken out; who plants another's family in a set shows and ends nothing."""
    gone, young, other = (secrets.token_hex(16) for _ in range(3))
    await records.add(gone, family(begun_at=int(NOW - YOUNG_S - 1)), NOW)
    await records.add(young, family(), NOW)
    await records.add(other, family(holder=Holder("bob")), NOW)
    admin.delete(records.family_key(gone), records.family_key(young))
    admin.zadd(records._index.key("ann"), {other: NOW, "x": NOW, "f" * 64: 1.0})

    assert [] == await theirs(records)
    assert 0 == await records.revoke_subject("ann", NOW)
    assert {young, "x"} == indexed(admin, records), "its record may still be on its way"
    assert [other] == await theirs(records, "bob")


async def test_a_set_without_readers_is_healed_by_each_login(bench, records, admin):
    """What is gone costs each new family a look at its oldest neighbours, and goes then."""
    for number in range(3):
        name = secrets.token_hex(16)
        await records.add(name, family(begun_at=int(NOW) - 1000 + number), NOW)
        admin.delete(records.family_key(name))
    answer = await bench.begin()

    assert {name_of(answer)} == indexed(admin, records)
    assert 3_590_000 < admin.pttl(records._index.key("ann")) <= 3_600_000


async def test_a_use_says_when_and_where_from(bench, records, admin):
    """The list tells of the last use, and a family that had lost its entry has it again."""
    first = await bench.begin(start=Start(HOME))
    (item,) = [item async for _, item in records.of_subject("ann", NOW)]
    assert (NOW // 1, "192.0.2.1", "phone/1") == (
        item.family.used_at,
        item.family.address,
        item.family.agent,
    )
    admin.delete(records._index.key("ann"))

    async def admit(family):
        return family.seen_at(Spot("other", "2001:db8::1", None))

    await bench.use(first.refresh_token, now=NOW + 60, admit=admit)
    (item,) = [item async for _, item in records.of_subject("ann", NOW)]

    assert (NOW + 60, "2001:db8::1", None) == (
        item.family.used_at,
        item.family.address,
        item.family.agent,
    )


@pytest.mark.parametrize("how", ["one", "subject", "all"])
async def test_r6_what_is_ended_gives_nothing_any_more(bench, records, admin, how):
    """R6: refresh token and access tokens are refused at once, and everybody else's go on."""
    mine, other = await bench.begin(), await bench.begin(Holder("bob"))
    if how == "one":
        assert await records.revoke(name_of(mine), NOW, subject="bob") is None
        assert (await records.revoke(name_of(mine), NOW, subject="ann")).family.client == "spa"
        assert await records.revoke(name_of(mine), NOW) is None
    elif how == "subject":
        assert (1, 0) == (
            await records.revoke_subject("ann", NOW),
            await records.revoke_subject("ann", NOW),
        )
    else:
        assert 2 == await records.revoke_all(NOW)

    assert await bench.is_refused(claims_of(mine))
    with pytest.raises(GrantRefused):
        await bench.use(mine.refresh_token)
    assert set() == indexed(admin, records)
    assert (how == "all") == await bench.is_refused(claims_of(other))
    if how != "all":
        assert await bench.use(other.refresh_token)


async def test_what_a_revocation_has_ended_is_not_listed_as_alive(bench, records):
    """Who was logged out everywhere has no programs, though their records wait for their next use."""
    answer = await bench.begin()
    await bench.revocations.revoke_subject(ISSUER, "ann", NOW + 1, keep_s=3600)

    assert [] == (await Pages(records).page(Search("ann"), NOW + 2, limit=9)).items
    assert await records.show(name_of(answer), NOW + 2) is None
    assert await records.show("x", NOW) is None
    assert 0 == await records.revoke_subject("ann", NOW + 2)
    assert [None] == await bench.store.fetch([records.family_key(name_of(answer))])


@pytest.mark.parametrize("everybody", [False, True])
async def test_r6_a_login_that_was_under_way_begins_no_family(bench, records, everybody):
    """R6: whoever had given the password before the end gets nothing afterwards."""
    before = await records.login_of("ann")
    other = await records.login_of("bob")
    await (records.revoke_all(NOW) if everybody else records.revoke_subject("ann", NOW))

    with pytest.raises(RevokedMeanwhile):
        await bench.begin(start=Start(login=before))
    assert [] == await theirs(records)
    if not everybody:
        assert await bench.begin(Holder("bob"), start=Start(login=other))
    assert await bench.begin(start=Start(login=await records.login_of("ann")))


async def test_a_family_whose_login_nobody_can_judge_is_ended(bench, records, monkeypatch):
    """R6: its tokens were told to nobody, and nothing of it stays in a list."""
    login = await records.login_of("ann")

    async def fail(_login):
        raise StoreUnavailable("gone for a moment")

    monkeypatch.setattr(records, "is_ended_since", fail)
    with pytest.raises(StoreUnavailable):
        await bench.begin(start=Start(login=login))

    assert [] == await theirs(records)


@pytest.mark.parametrize("lives", range(6))
@pytest.mark.parametrize("work", ["add", "revoke", "revoke_subject"])
async def test_whoever_dies_between_two_writes_leaves_no_family_unfindable(
    bench, records, store, admin, work, lives
):
    """Each record that there is has its entry; what is no longer there is refused everywhere."""
    old = await bench.begin()
    dying = records_on(DyingStore(store, lives), bench)
    new = secrets.token_hex(16)
    try:
        if work == "add":
            await dying.add(new, family(), NOW)
        elif work == "revoke":
            await dying.revoke(name_of(old), NOW)
        else:
            await dying.revoke_subject("ann", NOW)
    except Crash:
        pass
    there = {name for name in (name_of(old), new) if admin.exists(records.family_key(name))}

    assert there <= indexed(admin, records)
    if name_of(old) not in there:
        assert await bench.is_refused(claims_of(old))
    assert there == {*await theirs(records)}


@pytest.mark.parametrize("record", [b"", b"{}", b"[]", b'{"v": 1, "sub": "ann"}', b"\xff"])
async def test_a_record_that_does_not_fit_is_no_family(records, admin, record):
    """It is said in the log, breaks no list, and "all" takes it away."""
    name = secrets.token_hex(16)
    admin.set(records.family_key(name), record)
    admin.zadd(records._index.key("ann"), {name: NOW})

    assert [] == await theirs(records)
    assert [] == [item async for item in records.listed(NOW)]
    assert 1 == await records.revoke_all(NOW)
