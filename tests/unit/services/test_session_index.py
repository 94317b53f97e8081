"""The index of a person's sessions on a real store: crashes, other programs, limits, attacks."""

from __future__ import annotations

import asyncio
import json
import secrets

import pytest

from proxy.adapters.store import StoreAddress, open_store
from proxy.core.formats.native import cookie_digest
from proxy.errors import StoreUnavailable
from proxy.services.session_index import YOUNG_S, Entry, Made, SessionIndex, read_mark
from proxy.services.sessions import Login, Sessions

NOW = 1_800_000_000.75
IDLE_S = 1800.0
LIFETIME_S = 43_200.0


@pytest.fixture
def admin(valkey):
    """Give a client that looks behind the service's back."""
    with valkey.client() as client:
        yield client


@pytest.fixture
async def store(valkey):
    """Open the store."""
    store = open_store(StoreAddress(socket_path=str(valkey.socket_path)), timeout_s=5)
    yield store
    await store.close()


def open_sessions(store, **options) -> Sessions:
    """Give sessions with the defaults of the reference."""
    life = {"idle_timeout_s": IDLE_S, "lifetime_s": LIFETIME_S}
    return Sessions(store, **{"prefix": "latchgate:", **life, **options})


@pytest.fixture
def sessions(store) -> Sessions:
    """Give sessions without a limit."""
    return open_sessions(store)


async def theirs(sessions, subject="alice", now=NOW) -> list[str]:
    """Return the digests of a person's sessions, the newest first."""
    return [listed.digest async for _, listed in sessions.of_subject(subject, now)]


def indexed(admin, sessions, subject="alice") -> set[str]:
    """Return what stands in the index, whether or not there is a session."""
    return {member.decode() for member in admin.zrange(sessions._index.key(subject), 0, -1)}


def write_record(admin, subject="alice", **members) -> str:
    """Write a session as another program would; return its digest."""
    digest = cookie_digest(secrets.token_urlsafe())
    record = {"v": 1, "sub": subject, "created_at": int(NOW), "expires_at": int(NOW) + 3600}
    admin.set(f"latchgate:session:{{{digest}}}", json.dumps(record | members))
    return digest


async def test_a_persons_sessions_are_found_without_a_scan(sessions, admin):
    """The newest first, nobody else's, and the server is never asked to go through its keys."""
    made = [(await sessions.create(Login("alice"), NOW + n)).digest for n in range(250)]
    await sessions.create(Login("bob"), NOW)
    admin.config_resetstat()

    assert made[::-1] == await theirs(sessions)
    assert "cmdstat_scan" not in admin.info("commandstats")


async def test_an_index_lives_as_long_as_its_longest_session(store, admin):
    """It goes by itself with the last session, and a shorter one does not shorten it."""
    long, short = open_sessions(store, lifetime_s=7200), open_sessions(store, lifetime_s=60)
    await long.create(Login("alice"), NOW)
    await short.create(Login("alice"), NOW)

    assert 7_190_000 < admin.pttl(long._index.key("alice")) <= 7_200_000


class Crash(Exception):
    """The process died here."""


class DyingStore:
    """The real store for a process that dies before its write number `lives`."""

    def __init__(self, store, lives: int):
        self._store = store
        self._lives = lives

    def __getattr__(self, name):
        operation = getattr(self._store, name)
        if name not in ("put", "delete", "run"):
            return operation

        async def write(*args, **options):
            if not self._lives:
                raise Crash
            self._lives -= 1
            return await operation(*args, **options)

        return write


@pytest.mark.parametrize("lives", range(5))
@pytest.mark.parametrize("work", ["create", "revoke", "revoke_subject", "make_room"])
async def test_whoever_dies_between_two_writes_leaves_nothing_unfindable(
    store, sessions, admin, work, lives
):
    """Each session that there is is found by its subject, and what is none is soon forgotten."""
    old = [await sessions.create(Login("alice"), NOW - 2 + n) for n in range(2)]
    dying = open_sessions(DyingStore(store, lives), per_user=1 if work == "make_room" else None)
    try:
        if work in ("create", "make_room"):
            await dying.create(Login("alice"), NOW)
        elif work == "revoke":
            await dying.revoke(old[0].digest)
        else:
            await dying.revoke_subject("alice")
    except Crash:
        pass
    existing = {key.decode()[-65:-1] for key in admin.keys("latchgate:session:*")}

    assert existing == set(await theirs(sessions))
    assert existing == set(await theirs(sessions, now=NOW + YOUNG_S + 1))
    assert existing == indexed(admin, sessions)


async def test_a_record_on_its_way_keeps_its_entry(sessions, admin):
    """A reader between the two writes of a login does not make its session unfindable."""
    await sessions._index.add("alice", "a" * 64, made_at=NOW, life_s=60)

    assert [] == await theirs(sessions, now=NOW + YOUNG_S - 1)
    assert {"a" * 64} == indexed(admin, sessions)


async def test_sessions_that_expired_or_were_deleted_are_forgotten_when_read(sessions, admin):
    """The index heals: whatever ended a session, its entry goes."""
    gone = await sessions.create(Login("alice"), NOW - YOUNG_S - 1)
    kept = await sessions.create(Login("alice"), NOW)
    admin.delete(sessions.session_key(gone.digest))

    assert [kept.digest] == await theirs(sessions)
    assert {kept.digest} == indexed(admin, sessions)


async def test_logins_alone_keep_an_index_small(sessions, admin):
    """A person whose sessions nobody ever lists does not gather entries without end."""
    for number in range(60):
        new = await sessions.create(Login("robot"), NOW + number * (YOUNG_S + 1))
        admin.delete(sessions.session_key(new.digest))

    assert len(indexed(admin, sessions, "robot")) <= 2


async def test_a_session_of_another_program_is_found_from_its_first_use_on(sessions, admin):
    """Noted again it stays where it was, by the time at which it was made."""
    digest = write_record(admin)
    assert [] == await theirs(sessions)
    for at in (NOW + 1, NOW + 2):
        await sessions.index_many([Made("alice", digest, NOW, NOW + 60 - at)])

    assert [digest] == await theirs(sessions)
    assert NOW == admin.zscore(sessions._index.key("alice"), digest)


async def test_logging_somebody_out_everywhere_finds_what_the_index_does_not(sessions, admin):
    """Sessions that other programs wrote and nobody used yet end with the others."""
    await sessions.create(Login("alice"), NOW)
    unknown = {write_record(admin) for _ in range(3)}
    other = write_record(admin, "bob")

    assert 4 == await sessions.revoke_subject("alice")
    assert not admin.exists(*map(sessions.session_key, unknown))
    assert admin.exists(sessions.session_key(other))


async def test_an_entry_that_was_planted_shows_and_ends_nobody_elses_session(sessions, admin):
    """What is whose stands in the record alone: the index is a finding aid and no authority."""
    victim = await sessions.create(Login("bob"), NOW)
    admin.zadd(sessions._index.key("alice"), {victim.digest: NOW, "rubbish": 1, "b" * 64: -1})

    assert [] == await theirs(sessions)
    assert 0 == await sessions.revoke_subject("alice")
    assert not await sessions.revoke(victim.digest, subject="alice")
    assert await sessions.show(victim.digest, NOW) is not None
    assert await sessions.revoke(victim.digest, subject="bob")


async def test_a_person_has_at_most_so_many_sessions(store):
    """The oldest make room for the newest, and only this person's."""
    sessions = open_sessions(store, per_user=3)
    await sessions.create(Login("bob"), NOW - 100)
    made = [await sessions.create(Login("alice"), NOW + number) for number in range(5)]

    assert [(), (), (), (made[0].digest,), (made[1].digest,)] == [new.ended for new in made]
    assert [new.digest for new in made[:1:-1]] == await theirs(sessions, now=NOW + 5)
    assert 1 == len(await theirs(sessions, "bob"))


async def test_a_new_id_for_a_session_ends_no_other(store, admin):
    """Who has as many sessions as there may be, and rises in one of them, keeps the others."""
    sessions = open_sessions(store, per_user=3)
    made = [await sessions.create(Login("alice"), NOW + number) for number in range(3)]
    risen = await sessions.rotate(made[1].digest, Login("alice"), NOW + 3)

    assert () == risen.ended
    assert [risen.digest, made[2].digest, made[0].digest] == await theirs(sessions)
    assert 3 == len(indexed(admin, sessions))


async def test_a_session_that_is_remembered_is_never_idle(store):
    """It counts and is kept, however long it was not used, until its own end."""
    sessions = open_sessions(store, per_user=2, remember_s=30 * 86_400.0)
    kept = await sessions.create(Login("alice", lifetime_s=30 * 86_400.0), NOW)
    later = NOW + 20 * 86_400.0
    new = await sessions.create(Login("alice"), later)

    assert [new.digest, kept.digest] == await theirs(sessions, now=later)
    assert (kept.digest,) == (await sessions.create(Login("alice"), later + 1)).ended


async def test_idle_sessions_do_not_count_and_do_not_pile_up(store, admin):
    """A session that nobody can use takes nobody's place, and the next login clears it away."""
    sessions = open_sessions(store, per_user=2)
    idle = [await sessions.create(Login("alice"), NOW - IDLE_S - n) for n in range(3)]
    used = await sessions.create(Login("alice"), NOW - IDLE_S)
    await sessions.use(used.digest, NOW - 1, had_seen=False)
    new = await sessions.create(Login("alice"), NOW)

    assert () == new.ended
    assert {used.digest, new.digest} == indexed(admin, sessions)
    assert not admin.exists(*(sessions.session_key(each.digest) for each in idle))


async def test_a_session_that_another_scheme_still_takes_is_not_cleared_away(store):
    """Where a scheme waits longer for the next use, this one's idle time ends nothing."""
    sessions = open_sessions(store, per_user=2, longest_idle_s=4 * IDLE_S)
    other = await sessions.create(Login("alice"), NOW - 2 * IDLE_S)
    new = await sessions.create(Login("alice"), NOW)

    assert [new.digest, other.digest] == await theirs(sessions)


async def test_logins_at_once_leave_exactly_as_many_as_there_may_be(store):
    """Parallel logins, of one moment too, agree on who is the oldest: none ends them all."""
    sessions = open_sessions(store, per_user=3)
    made = await asyncio.gather(*(sessions.create(Login("alice"), NOW) for _ in range(12)))

    assert 3 == len(await theirs(sessions))
    assert set(await theirs(sessions)) == set(sorted(new.digest for new in made)[-3:])


async def test_pages_of_one_moment_lose_and_repeat_nothing(store):
    """Entries of the same time have an order of their own."""
    index = SessionIndex(store, prefix="p:")
    digests = [f"{number:064x}" for number in range(250)]
    for digest in digests:
        await index.add("alice", digest, made_at=NOW, life_s=60)
    found, after = [], None
    while page := await index.page("alice", 30, after=after):
        found += page
        after = read_mark(page[-1].mark())

    assert digests[::-1] == [entry.digest for entry in found]


@pytest.mark.parametrize("made_at", [0.0, NOW, 1_800_000_000.123456, 1e11 + 0.5])
def test_a_mark_names_its_entry(made_at):
    """A place in a list survives being written down."""
    entry = Entry("0a" * 32, made_at)

    assert entry == read_mark(entry.mark())


@pytest.mark.parametrize(
    "mark",
    ["", "1", "~", "1~a", "-1~" + "a" * 64, "1e9~" + "a" * 64, "inf~" + "a" * 64, "1~" + "A" * 64],
)
def test_what_is_no_mark_is_refused(mark):
    """Nothing else reaches a script."""
    with pytest.raises(ValueError, match="no such place"):
        read_mark(mark)


async def test_an_outage_is_no_empty_index(tmp_path):
    """A store that is away has not said that there is nothing."""
    store = open_store(StoreAddress(socket_path=str(tmp_path / "none")), timeout_s=0.2)
    index = SessionIndex(store, prefix="p:")
    for call in (
        lambda: index.page("alice", 1),
        lambda: index.remove("alice", ["a" * 64]),
        lambda: index.add("alice", "a" * 64, made_at=NOW, life_s=1),
        index.clear,
    ):
        with pytest.raises(StoreUnavailable):
            await call()
    await store.close()


class OneSlotStore:
    """The real store, with a Cluster's rule for scripts: their keys carry one hash tag."""

    def __init__(self, store):
        self._store = store

    def __getattr__(self, name):
        return getattr(self._store, name)

    async def run(self, script, keys, args=()):
        """Run `script` where a Cluster would."""
        assert 1 == len({key.partition("{")[2].partition("}")[0] for key in keys})
        assert all(key.count("{") == 1 for key in keys)
        return await self._store.run(script, keys, args)


async def test_no_script_needs_two_nodes_of_a_cluster(store):
    """A login, a list, a use and an end run scripts on keys of one hash tag each."""
    sessions = open_sessions(OneSlotStore(store), per_user=1)
    new = [await sessions.create(Login("alice"), NOW + number) for number in range(3)][-1]
    await sessions.use(new.digest, NOW + 3, had_seen=False)
    assert [new.digest] == await theirs(sessions)
    assert 1 == await sessions.revoke_subject("alice")
