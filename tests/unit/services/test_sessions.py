"""Native sessions on a real store: keys, lives, use, lists, ends."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import string

import pytest

from proxy.adapters.store import StoreAddress, open_store
from proxy.core.binding import Binding
from proxy.core.formats.native import decode, read
from proxy.core.session_search import Search
from proxy.errors import StoreUnavailable
from proxy.model import Absent, Identity
from proxy.services.session_reading import StoredSession
from proxy.services.sessions import Login, LoginRevoked, Sessions

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
    store = open_store(StoreAddress(socket_path=str(valkey.socket_path)), timeout_s=2)
    yield store
    await store.close()


@pytest.fixture
def sessions(store) -> Sessions:
    """Give the sessions with the defaults of the reference."""
    return Sessions(store, prefix="latchgate:", idle_timeout_s=IDLE_S, lifetime_s=LIFETIME_S)


def judge(stored: StoredSession, now: float) -> Identity | Absent:
    """Say whose session it is."""
    return decode(
        stored.record,
        stored.seen,
        now=now,
        idle_timeout=IDLE_S,
        lifetime=LIFETIME_S,
        scheme="web",
        origin="local",
    )


async def test_a_session_is_stored_as_the_reference_says(admin, sessions):
    """Key, members and life are those that other programs read and write."""
    new = await sessions.create(
        Login("alice", email="a@example.com", roles=["customer"], claims={"tenant": "acme"}), NOW
    )
    key = "latchgate:session:{" + hashlib.sha256(new.cookie.encode()).hexdigest() + "}"
    index = "latchgate:sessions:{" + hashlib.sha256(b"alice").hexdigest() + "}"
    assert {key.encode(), index.encode()} == set(admin.keys("*"))
    assert {
        "v": 1,
        "sub": "alice",
        "created_at": 1_800_000_000,
        "expires_at": 1_800_043_200,
        "auth_time": 1_800_000_000,
        "amr": [],
        "ver": 1,
        "email": "a@example.com",
        "roles": ["customer"],
        "claims": {"tenant": "acme"},
    } == json.loads(admin.get(key))
    assert 43_198_000 < admin.pttl(key) <= 43_200_000
    assert 1_800_043_200 == new.expires_at


async def test_s10_the_cookie_is_stored_nowhere(admin, sessions, caplog):
    """S10: the store and the logs have its digest only, and so has whatever prints the answer."""
    caplog.set_level(0)
    new = await sessions.create(Login("alice"), NOW)
    await sessions.touch(await sessions.look_up(new.cookie), NOW + 1)
    stored = b"".join(key + admin.dump(key) for key in admin.keys("*"))
    assert 3 == admin.dbsize()
    assert new.cookie.encode() not in stored
    assert new.cookie not in repr(new) + caplog.text
    assert new.digest.encode() in stored


async def test_s1_every_session_has_an_id_of_its_own(sessions):
    """256 random bits in characters that a cookie may hold."""
    cookies = {(await sessions.create(Login("alice"), NOW)).cookie for _ in range(50)}
    assert 50 == len(cookies)
    alphabet = set(string.ascii_letters + string.digits + "-_")
    assert all(len(cookie) == 43 and set(cookie) <= alphabet for cookie in cookies)


@pytest.mark.parametrize("login", [Login(""), Login(" "), Login("a", claims={"x": object()})])
async def test_what_no_record_may_say_is_not_written(admin, sessions, login):
    """A session that names nobody would be looked up as none: it is refused when made."""
    with pytest.raises(ValueError):
        await sessions.create(login, NOW)
    assert [] == admin.keys()


async def test_a_random_source_that_repeats_itself_is_a_bug():
    """An id that is taken already is never shared: better no login than somebody else's session."""

    class Full:
        """A store that has every key."""

        async def put(self, _key, _value, **_options):
            return False

        async def run(self, _script, _keys, _args):
            return []

    sessions = Sessions(Full(), prefix="p:", idle_timeout_s=1, lifetime_s=1)
    with pytest.raises(RuntimeError):
        await sessions.create(Login("alice"), NOW)


async def test_a_cookie_finds_its_session(sessions):
    """What was made is found, with everything that it says."""
    new = await sessions.create(Login("alice", roles=["a", "b"], scopes=["s"], amr=["pwd"]), NOW)
    identity = judge(await sessions.look_up(new.cookie.encode()), NOW + 1)
    assert isinstance(identity, Identity)
    assert ("alice", ("a", "b"), ("s",), ("pwd",)) == (
        identity.subject,
        identity.roles,
        identity.scopes,
        identity.amr,
    )


@pytest.mark.parametrize("cookie", [b"", b"none", b"\xff\x00", b"}{*", b"x" * 5000])
async def test_any_other_cookie_finds_nothing(sessions, cookie):
    """Whatever stands in a cookie becomes a digest, and so no other key of the store."""
    await sessions.create(Login("alice"), NOW)
    stored = await sessions.look_up(cookie)
    assert (None, None) == (stored.record, stored.seen)


async def test_the_digest_is_no_cookie(sessions):
    """Whoever reads a list, or the store, cannot use what they see."""
    new = await sessions.create(Login("alice"), NOW)
    assert (await sessions.look_up(new.digest)).record is None


async def test_use_keeps_a_session_alive(admin, sessions):
    """The last use is written beside the session, with the idle timeout as its life."""
    new = await sessions.create(Login("alice"), NOW)
    later = NOW + IDLE_S - 1
    assert await sessions.touch(await sessions.look_up(new.cookie), later)
    key = "latchgate:seen:{" + new.digest + "}"
    assert later == float(admin.get(key))
    assert 1_799_000 < admin.pttl(key) <= 1_800_000
    stored = await sessions.look_up(new.cookie)
    assert isinstance(judge(stored, later + IDLE_S - 1), Identity)
    assert isinstance(judge(stored, later + IDLE_S + 1), Absent)


async def test_use_is_written_once_in_a_tenth_of_the_idle_timeout(sessions):
    """Not every request writes: the store is spared, and so are verdicts."""
    new = await sessions.create(Login("alice"), NOW)
    assert await sessions.touch(await sessions.look_up(new.cookie), NOW)
    step = IDLE_S / 10
    assert not sessions.is_touch_due(NOW, NOW + step - 1)
    assert sessions.is_touch_due(NOW, NOW + step)
    stored = await sessions.look_up(new.cookie)
    assert not await sessions.touch(stored, NOW + step - 1)
    assert await sessions.touch(stored, NOW + step)
    assert not await sessions.touch(stored, NOW + step)


async def test_a_hundred_requests_at_once_write_one_use(admin, sessions):
    """A page with a hundred parts is one use."""
    new = await sessions.create(Login("alice"), NOW)
    stored = await sessions.look_up(new.cookie)
    written = await asyncio.gather(*(sessions.touch(stored, NOW + 200) for _ in range(100)))
    assert 1 == sum(written)


@pytest.mark.parametrize("was_used", [False, True])
async def test_r6_use_does_not_bring_back_what_was_ended(admin, sessions, was_used):
    """R6: a request that was under way at the logout leaves nothing behind, its first one too."""
    new = await sessions.create(Login("alice"), NOW)
    if was_used:
        await sessions.touch(await sessions.look_up(new.cookie), NOW)
    stored = await sessions.look_up(new.cookie)
    await sessions.revoke(new.digest)
    assert not await sessions.touch(stored, NOW + 500)
    assert [] == admin.keys()


async def test_r6_use_does_not_bring_back_what_was_idle(admin, sessions):
    """R6: a request that was read in time, but writes late, does not start a new idle time."""
    new = await sessions.create(Login("alice"), NOW)
    await sessions.touch(await sessions.look_up(new.cookie), NOW)
    stored = await sessions.look_up(new.cookie)
    admin.delete(sessions.seen_key(new.digest))  # its life ran out meanwhile
    assert not await sessions.touch(stored, NOW + 500)
    assert (await sessions.look_up(new.cookie)).seen is None


@pytest.mark.parametrize("value", [str(NOW + 9999), "rubbish", ""])
async def test_a_last_use_that_cannot_be_is_put_right(sessions, admin, value):
    """A host whose clock was ahead, or rubbish, does not keep the next use from being written."""
    new = await sessions.create(Login("alice"), NOW)
    admin.set(sessions.seen_key(new.digest), value)
    assert await sessions.touch(await sessions.look_up(new.cookie), NOW + 1)
    assert NOW + 1 == float(admin.get(sessions.seen_key(new.digest)))


async def digests(sessions, now=NOW, **options):
    """List the digests of live sessions."""
    return [each.digest async for each in sessions.listed(now, Search(**options))]


async def test_a_list_has_every_live_session_once(sessions):
    """More sessions than one step reads, of several people, each once."""
    made = {(await sessions.create(Login(f"u{n % 3}"), NOW)).digest for n in range(250)}
    found = await digests(sessions)
    assert made == set(found)
    assert len(made) == len(found)
    assert 84 == len(await digests(sessions, subject="u0"))
    assert [] == await digests(sessions, subject="u")


async def test_a_list_shows_what_people_know_their_sessions_by(sessions):
    """When it was made, when it was used, from where and with what."""
    new = await sessions.create(Login("alice", address="192.0.2.1", agent="Browser/1"), NOW)
    await sessions.touch(await sessions.look_up(new.cookie), NOW + 5)
    [listed] = [each async for each in sessions.listed(NOW + 10)]
    assert (new.digest, "alice", "192.0.2.1", "Browser/1") == (
        listed.digest,
        listed.session.subject,
        listed.session.address,
        listed.session.agent,
    )
    assert (1_800_000_000, NOW + 5) == (listed.session.created_at, listed.last_seen)
    assert listed == await sessions.show(new.digest, NOW + 10)


async def test_sessions_that_are_over_are_not_listed(sessions):
    """An idle session is nobody's, though its key is there until its absolute end."""
    new = await sessions.create(Login("alice"), NOW)
    for later in (NOW + IDLE_S, NOW + LIFETIME_S):
        assert [] == await digests(sessions, later)
        assert await sessions.show(new.digest, later) is None


async def test_records_that_do_not_fit_are_said_and_left_out(admin, sessions, caplog):
    """Rubbish of another program spoils no list; the log names the session by its beginning."""
    new = await sessions.create(Login("alice"), NOW)
    admin.set("latchgate:session:{" + "a" * 64 + "}", b"\xff not json")
    admin.lpush("latchgate:session:{" + "b" * 64 + "}", "x")
    admin.set("latchgate:session:{short}", "{}")
    admin.set("latchgate:session:" + "c" * 64, "{}")
    assert [new.digest] == await digests(sessions)
    assert re.search(r"session aaaaaaaa: record cannot be read: ", caplog.text)
    assert "not json" not in caplog.text


@pytest.mark.parametrize("digest", ["", "x", "A" * 64, "*", "a" * 63, "a" * 64 + "\n", "é" * 64])
async def test_what_is_no_id_names_no_session(sessions, digest):
    """An id is 64 hexadecimal digits; nothing else reaches the store as a key."""
    await sessions.create(Login("alice"), NOW)
    assert await sessions.show(digest, NOW) is None
    assert not await sessions.revoke(digest)


async def test_ending_one_session(admin, sessions):
    """The session and its last use go at once; the others stay."""
    first = await sessions.create(Login("alice"), NOW)
    second = await sessions.create(Login("alice"), NOW)
    await sessions.touch(await sessions.look_up(first.cookie), NOW)
    assert await sessions.revoke(first.digest)
    assert not await sessions.revoke(first.digest)
    assert [second.digest] == await digests(sessions)
    assert {sessions.session_key(second.digest), sessions._index.key("alice")} == {
        key.decode() for key in admin.keys("*")
    }


async def test_ending_all_sessions_of_a_person(admin, sessions):
    """Logging somebody out everywhere takes idle sessions too, and nobody else's."""
    for subject in ("alice", "alicia", "alice", "bob"):
        await sessions.create(Login(subject), NOW)
    assert 2 == await sessions.revoke_subject("alice")
    assert 0 == await sessions.revoke_subject("alice")
    assert {"alicia", "bob"} == {each.session.subject async for each in sessions.listed(NOW)}


async def test_ending_all_sessions(admin, sessions):
    """All means all, records that do not fit too; other keys stay."""
    for number in range(120):
        await sessions.create(Login(f"u{number}"), NOW)
    admin.set("latchgate:session:{" + "a" * 64 + "}", "rubbish")
    admin.set("latchgate:{revoked}:epoch", "e")
    admin.set("elsewhere:session:{" + "a" * 64 + "}", "somebody else's")
    assert 121 == await sessions.revoke_all()
    assert {
        b"latchgate:{revoked}:epoch",
        b"latchgate:ended:all",
        b"elsewhere:session:{" + b"a" * 64 + b"}",
    } == set(admin.keys())


async def test_prefixes_keep_gates_apart(store, sessions):
    """Two gates on one store see their own sessions only, glob characters or not."""
    other = Sessions(store, prefix="l*:", idle_timeout_s=IDLE_S, lifetime_s=LIFETIME_S)
    new = await sessions.create(Login("alice"), NOW)
    assert [] == await digests(other)
    assert 0 == await other.revoke_all()
    assert (await other.look_up(new.cookie)).record is None


async def test_an_outage_is_no_answer(tmp_path):
    """A store that is away neither knows nor denies a session."""
    store = open_store(StoreAddress(socket_path=str(tmp_path / "none")), timeout_s=0.2)
    sessions = Sessions(store, prefix="p:", idle_timeout_s=1, lifetime_s=1)
    for call in (
        lambda: sessions.create(Login("a"), NOW),
        lambda: sessions.look_up("c"),
        lambda: sessions.revoke("a" * 64),
        lambda: sessions.revoke_subject("a"),
        sessions.revoke_all,
        lambda: anext(sessions.listed(NOW)),
        lambda: sessions.touch(StoredSession("d", b"{}", None), NOW),
    ):
        with pytest.raises(StoreUnavailable):
            await call()
    await store.close()


async def test_s1_a_new_session_takes_the_place_of_the_old_one(sessions):
    """S1: the old record is gone when the new cookie is told, and nothing of it goes on."""
    old = await sessions.create(Login("alice", roles=["customer"]), NOW)
    new = await sessions.rotate(old.digest, Login("alice"), NOW)

    assert (await sessions.look_up(old.cookie)).record is None
    assert "alice" == judge(await sessions.look_up(new.cookie), NOW).subject
    assert new.cookie != old.cookie


async def test_s1_without_a_confirmed_end_of_the_old_there_is_no_new_session(admin, sessions):
    """S1: where the old record may still be there no cookie is told, and no record is left."""
    old = await sessions.create(Login("alice"), NOW)

    async def unconfirmed(*_keys):
        sessions._store.delete = delete
        raise StoreUnavailable("no answer")

    delete, sessions._store.delete = sessions._store.delete, unconfirmed  # a lost answer
    with pytest.raises(StoreUnavailable):
        await sessions.rotate(old.digest, Login("alice"), NOW)

    assert [sessions.session_key(old.digest).encode()] == admin.keys("latchgate:session:*")


@pytest.mark.parametrize("is_all", [False, True])
async def test_r6_no_login_outlives_the_end_of_all_sessions(admin, sessions, is_all):
    """R6: who began to sign in before somebody's sessions were ended gets none."""
    began = await sessions.begin("alice")
    await (sessions.revoke_all() if is_all else sessions.revoke_subject("alice"))

    with pytest.raises(LoginRevoked):
        await sessions.rotate(None, Login("alice"), NOW, began=began)
    assert [] == admin.keys("*session:*")
    again = await sessions.begin("alice")
    assert await sessions.rotate(None, Login("alice"), NOW, began=again)


async def test_r6_the_end_of_somebody_elses_sessions_stops_no_login(sessions):
    """R6: the mark is a person's own."""
    began = await sessions.begin("alice")
    await sessions.revoke_subject("bob")

    assert await sessions.rotate(None, Login("alice"), NOW, began=began)


async def test_a_remembered_session_lives_on_unused(admin, store):
    """It ends at its own time, neither idle nor with the lifetime of its scheme."""
    sessions = Sessions(
        store,
        prefix="latchgate:",
        idle_timeout_s=IDLE_S,
        lifetime_s=LIFETIME_S,
        remember_s=30 * LIFETIME_S,
    )
    new = await sessions.create(Login("alice", lifetime_s=20 * LIFETIME_S), NOW)

    assert await sessions.show(new.digest, NOW + 19 * LIFETIME_S)
    assert None is await sessions.show(new.digest, NOW + 20 * LIFETIME_S)
    use = await sessions.use(new.digest, NOW + 5, had_seen=True, is_remembered=True)
    assert use.is_written
    assert 29 * LIFETIME_S < admin.pttl(sessions.seen_key(new.digest)) / 1000


async def test_a_session_is_not_remembered_where_the_gate_does_not_do_that(sessions):
    """A record that says so is as good as another one, and no better."""
    new = await sessions.create(Login("alice", lifetime_s=20 * LIFETIME_S), NOW)

    assert None is await sessions.show(new.digest, NOW + IDLE_S)


async def test_a_record_says_when_the_last_factor_was_given_and_where_it_is_bound(sessions):
    """S7: `auth_time` is that of the factor; the binding is read as it was written."""
    binding = Binding("192.0.2.0/24", "abc")
    new = await sessions.create(Login("alice", auth_time=NOW - 900, binding=binding), NOW)
    session = read((await sessions.look_up(new.cookie)).record)

    assert (1_799_999_100, binding) == (session.auth_time, session.binding)
