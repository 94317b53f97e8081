"""Verdicts of the schemes, with a clock that the test moves and a real store."""

from __future__ import annotations

import asyncio
import json

import pytest

from proxy.adapters.store import StoreAddress, open_store
from proxy.config.models import Config
from proxy.core.binding import Binding
from proxy.core.coherence import Verdict
from proxy.core.formats.json import session_format
from proxy.core.jose import TokenVerifier
from proxy.core.keyset import KeySet
from proxy.core.mapping import compile_mapping
from proxy.errors import KeysUnavailable, StoreUnavailable
from proxy.model import Absent, Authenticated, Identity, Rejected
from proxy.services.coherence import Coherence, Kept
from proxy.services.schemes.foreign_records import ForeignRecords
from proxy.services.schemes.jwt import JwtScheme
from proxy.services.schemes.port import Found, Place
from proxy.services.schemes.records import NativeRecords
from proxy.services.schemes.session import SessionScheme
from proxy.services.sessions import Login, Sessions
from proxy.services.uses import Uses
from tests import token_workshop as workshop

NOW = 1_800_000_000.0
IDLE_S = 1000.0
STEP_S = IDLE_S / 10
BEARER, COOKIE = Place("bearer"), Place("cookie", "sid")


@pytest.fixture
def address(valkey):
    return StoreAddress(socket_path=str(valkey.socket_path))


@pytest.fixture
async def store(address):
    store = open_store(address, timeout_s=5)
    yield store
    await store.close()


@pytest.fixture
def sessions(store):
    return Sessions(store, prefix="latchgate:", idle_timeout_s=IDLE_S, lifetime_s=43_200.0)


class Worker:
    """One worker's session scheme."""

    def __init__(self, address, sessions):
        self.coherence = Coherence(Config(store={"timeout": 5.0}))
        tracked = self.coherence.track("store", address)
        self.source = tracked.source
        self.ledger = self.coherence.ledger("web", tracked)
        records = NativeRecords(
            self.ledger,
            sessions,
            Uses(sessions, self.ledger),
            "web",
            "local",
            IDLE_S,
            43_200.0,
            remember=86_400.0,
            is_bound=True,
        )
        self.scheme = SessionScheme("web", (COOKIE,), is_native=True, records=records)

    async def judge(self, cookie, now):
        return await self.scheme.judge(Found(COOKIE, cookie.encode()), now)

    def known(self, cookie, now):
        return self.scheme.known(Found(COOKIE, cookie.encode()), now)

    async def idle(self):
        """Wait until no use is being written any more."""
        others = {task for task in asyncio.all_tasks() if task.get_name() == "session in use"}
        if others:
            await asyncio.wait(others)


@pytest.fixture
async def workers(address, sessions):
    """Give two workers in front of one store."""
    made = [Worker(address, sessions) for _ in range(2)]
    yield made
    for worker in made:
        await worker.coherence.close()


async def test_a_hit_is_known_without_a_task(workers, sessions):
    """`known` says nothing before the first look-up, and everything after it."""
    worker, _ = workers
    new = await sessions.create(Login("ada"), NOW)
    assert worker.known(new.cookie, NOW) is None
    outcome = await worker.judge(new.cookie, NOW)
    assert isinstance(outcome, Authenticated)
    assert outcome == worker.known(new.cookie, NOW)
    assert (1, 1) == (worker.coherence.counters.misses, worker.coherence.counters.hits)


async def test_the_lifetime_ends_on_the_clock(workers, sessions):
    """A cached session is over when its record says so, though the store said nothing."""
    worker, _ = workers
    new = await sessions.create(Login("ada"), NOW)
    at = NOW
    while at < new.expires_at - 1:
        assert isinstance(await worker.judge(new.cookie, at), Authenticated)
        await worker.idle()
        at += IDLE_S * 0.9
    assert "session_expired" == (await worker.judge(new.cookie, new.expires_at)).code


async def test_use_is_written_at_most_once_in_a_step(workers, sessions, store):
    """A hit past a tenth of the idle timeout writes the use, and only such a hit."""
    worker, _ = workers
    new = await sessions.create(Login("ada"), NOW)
    seen = sessions.seen_key(new.digest)
    uses = []
    for at in (NOW, NOW + STEP_S - 1, NOW + STEP_S, NOW + STEP_S + 1):
        assert isinstance(await worker.judge(new.cookie, at), Authenticated)
        await worker.idle()
        uses.append(float((await store.fetch([seen]))[0]) - NOW)
    assert [0, 0, STEP_S, STEP_S] == uses


async def test_a_use_that_another_worker_saw_keeps_a_session_alive(workers, sessions):
    """What seems idle here is looked up once more before it is refused."""
    here, there = workers
    new = await sessions.create(Login("ada"), NOW)
    await here.judge(new.cookie, NOW)
    await here.idle()
    await there.judge(new.cookie, NOW + 900)
    await there.idle()
    assert here.known(new.cookie, NOW + 1500) is None
    assert isinstance(await here.judge(new.cookie, NOW + 1500), Authenticated)
    await here.idle()
    assert "session_expired" == (await here.judge(new.cookie, NOW + 2600)).code


async def test_r6_a_use_resurrects_nothing(workers, sessions, store):
    """R6: a session whose record, or last use, is gone is not written to, and its verdict goes."""
    worker, _ = workers
    new = await sessions.create(Login("ada"), NOW)
    await worker.judge(new.cookie, NOW)
    await worker.idle()
    await store.delete(sessions.seen_key(new.digest))
    worker.known(new.cookie, NOW + STEP_S)
    await worker.idle()
    assert worker.known(new.cookie, NOW + STEP_S) is None
    assert [None] == await store.fetch([sessions.seen_key(new.digest)])
    assert await sessions.use(new.digest, NOW + 1, had_seen=True) is None
    assert (await sessions.use(new.digest, NOW + 1, had_seen=False)).is_written
    await sessions.revoke(new.digest)
    assert await sessions.use(new.digest, NOW + 2, had_seen=False) is None


class Shop:
    """One worker's scheme for an application's records, and the application that writes them."""

    def __init__(self, address, admin):
        self.coherence = Coherence(Config(store={"timeout": 5.0}))
        tracked = self.coherence.track("shop", address)
        self.source = tracked.source
        reader = compile_mapping(subject="sub", email=None, name=None, roles="roles", scopes=None)
        records = ForeignRecords(
            self.coherence.ledger("shop", tracked), "shop", session_format("sess:"), reader
        )
        self.scheme = SessionScheme("shop", (COOKIE,), is_native=False, records=records)
        self.admin = admin

    async def write(self, record):
        """Write the record over the old one, and wait until the worker was told."""
        told = self.source.counters.invalidations
        self.admin.set("sess:abc", json.dumps(record))
        async with asyncio.timeout(30):
            while self.source.counters.invalidations == told:  # noqa: ASYNC110 - the server brings it about
                await asyncio.sleep(0.005)

    async def identity(self):
        outcome = await self.scheme.judge(Found(COOKIE, b"abc"), NOW)
        return outcome.identity.subject, outcome.identity.roles


async def test_r6_a_foreign_record_with_other_bytes_is_read_anew(address, valkey):
    """R6: a record that was written over counts as it is now; only equal bytes restore a verdict."""
    with valkey.client() as admin:
        shop = Shop(address, admin)
        admin.set("sess:abc", json.dumps({"sub": "ada", "roles": ["staff", "cook"]}))
        assert ("ada", ("staff", "cook")) == await shop.identity()
        for record in ({"sub": "ada", "roles": ["cook"]}, {"sub": "eve", "roles": []}):
            await shop.write(record)
            assert (record["sub"], tuple(record["roles"])) == await shop.identity()
        assert 0 == shop.coherence.counters.restored
        await shop.write({"sub": "eve", "roles": []})
        assert ("eve", ()) == await shop.identity()
        assert 1 == shop.coherence.counters.restored
        await shop.coherence.close()


async def test_between_two_uses_a_hit_sends_nothing(workers, sessions, valkey):
    """What the server itself has counted: none in a tenth of the idle timeout, then the use and its index."""
    worker, _ = workers
    new = await sessions.create(Login("ada"), NOW)
    await worker.judge(new.cookie, NOW)
    await worker.idle()
    with valkey.client() as admin:

        async def sent_by(*hits):
            admin.config_resetstat()
            for at in hits:
                assert isinstance(worker.known(new.cookie, NOW + at), Authenticated)
                await worker.idle()
            told = admin.info("commandstats")
            calls = {name.removeprefix("cmdstat_"): one["calls"] for name, one in told.items()}
            return {
                name: calls[name] for name in calls.keys() - {"config|resetstat", "info", "ping"}
            }

        assert {} == await sent_by(*range(2, int(STEP_S), 2))
        sent = await sent_by(*range(int(STEP_S), int(2 * STEP_S), 2))
        assert (2, 1, 1) == (sent["evalsha"], sent["set"], sent["zadd"])


async def test_an_unknown_session_is_asked_for_once(workers, store, sessions):
    """Keys that do not exist are tracked too: a login under that key is seen."""
    worker, _ = workers
    assert "session_unknown" == (await worker.judge("x" * 43, NOW)).code
    assert "session_unknown" == worker.known("x" * 43, NOW).code
    key = sessions.session_key(worker.ledger.key(b"x" * 43)[2].hex())
    record = {"v": 1, "sub": "ada", "created_at": NOW, "expires_at": NOW + 60}
    await store.put(key, json.dumps(record).encode())
    async with asyncio.timeout(30):
        while worker.known("x" * 43, NOW) is not None:  # noqa: ASYNC110 - the server brings it about
            await asyncio.sleep(0.005)
    assert isinstance(await worker.judge("x" * 43, NOW), Authenticated)


def test_r1_every_configuration_has_verdicts_of_its_own():
    """R1: scheme, configuration and credential make the key, whatever keeps what stands under it."""
    keys = {
        Coherence(Config(), generation=generation).ledger(scheme, None).key(credential)
        for generation in (0, 1)
        for scheme in ("web", "api")
        for credential in (b"a", b"b")
    }
    assert 8 == len(keys)


async def test_a_look_up_that_is_over_is_not_joined(workers):
    """A change may have overtaken it: between its end and the next turn of the loop nobody joins."""
    worker, _ = workers
    key = worker.ledger.key(b"c")

    def fill(_replies, _sent_at):
        return Kept(Absent("session_unknown"))

    flight = worker.ledger.look_up(key, (("MGET", b"k"),), fill, (b"k",))
    assert flight is worker.ledger.flight(key)
    await asyncio.wait([flight])
    worker.coherence.flights[key] = flight
    assert worker.ledger.flight(key) is None


async def test_a_look_up_that_is_over_leaves_the_next_one_alone(workers):
    """One that began between the other's end and the next turn of the loop is still shared."""
    worker, _ = workers
    key = worker.ledger.key(b"c")
    seconds, shared = [], []

    def fill(_replies, _sent_at):
        return Kept(Absent("session_unknown"))

    def ask():
        return worker.ledger.look_up(key, (("MGET", b"k"),), fill, (b"k",))

    first = ask()
    first.add_done_callback(lambda _first: shared.append(worker.ledger.flight(key)))
    finish = worker.ledger._tracked.finish

    def finish_and_ask(link, question):
        finish(link, question)
        if not seconds:  # in the same moment, before the first one's end was told
            seconds.append(ask())

    worker.ledger._tracked.finish = finish_and_ask
    await asyncio.wait([first])
    assert seconds == shared
    await asyncio.wait(seconds)
    await asyncio.sleep(0)
    assert {} == worker.coherence.flights


async def test_who_leaves_does_not_take_the_look_up_along(workers, sessions):
    """A cancelled request leaves the look-up to the others that wait for it."""
    worker, _ = workers
    new = await sessions.create(Login("ada"), NOW)
    async with asyncio.TaskGroup() as group:
        first = group.create_task(worker.judge(new.cookie, NOW))
        second = group.create_task(worker.judge(new.cookie, NOW))
        await asyncio.sleep(0)
        first.cancel()
    assert isinstance(second.result(), Authenticated)
    assert (1, 1) == (worker.coherence.counters.misses, worker.coherence.counters.shared)
    await worker.idle()


class Keys:
    """Keys that a test takes away; `None`: the provider is out."""

    def __init__(self):
        self.keys = KeySet.from_jwks({"keys": [workshop.jwk("RSA", kid="a")]}, algorithms=["RS256"])

    def current(self):
        if self.keys is None:
            raise KeysUnavailable("the keys are older than max_stale")
        return self.keys

    async def refreshed(self, _kid):
        return None


class CountingVerifier(TokenVerifier):
    """Counts how often a signature is checked."""

    verified = 0

    def verify(self, token, keys, now):
        self.verified += 1
        return super().verify(token, keys, now)


@pytest.fixture
def keys():
    return Keys()


@pytest.fixture
def api(keys):
    """Give a jwt scheme with `revocation: none`, which needs no store."""
    verifier = CountingVerifier(
        issuer=workshop.ISSUER,
        audiences=frozenset({workshop.AUDIENCE}),
        algorithms=["RS256"],
    )
    reader = compile_mapping(subject="sub", email=None, name=None, roles=None, scopes=None)
    return JwtScheme(
        "api", (BEARER,), is_native=False, issuer=workshop.ISSUER, verifier=verifier, keys=keys,
        reader=reader, is_email_trusted=True, deny_list=None,
        ledger=Coherence(Config()).ledger("api", None),
    )  # fmt: skip


HERE = Binding("192.0.2.0/24")


async def test_r1_a_session_used_elsewhere_is_ended_on_a_hit_too(workers, sessions):
    """R1: the binding is compared with every request, and what does not fit ends the session."""
    worker, _ = workers
    new = await sessions.create(Login("alice", binding=HERE), NOW)
    here = Found(COOKIE, new.cookie.encode(), "192.0.2.7")
    there = Found(COOKIE, new.cookie.encode(), "198.51.100.7")
    assert isinstance(await worker.scheme.judge(here, NOW), Authenticated)
    await worker.idle()

    assert isinstance(worker.scheme.known(here, NOW), Authenticated)
    held = there.held()
    assert "session_moved" == worker.scheme.known(held, NOW).code  # no request: nothing is ended
    assert await sessions.show(new.digest, NOW)
    assert "session_moved" == worker.scheme.known(there, NOW).code
    ending = {task for task in asyncio.all_tasks() if task.get_name() == "session used elsewhere"}
    await asyncio.wait(ending)
    assert None is await sessions.show(new.digest, NOW)


async def test_a_remembered_session_is_not_idle(workers, sessions):
    """It is looked up once, and then neither its last use nor the lack of one ends it."""
    worker, _ = workers
    new = await sessions.create(Login("alice", lifetime_s=86_400.0), NOW)

    assert isinstance(await worker.judge(new.cookie, NOW + 50_000), Authenticated)
    assert isinstance(worker.known(new.cookie, NOW + 86_000), Authenticated)
    await worker.idle()
    assert "session_expired" == (await worker.judge(new.cookie, NOW + 86_400)).code


TOKEN = Found(BEARER, workshop.token(exp=workshop.NOW + 100, header={"kid": "a"}))


async def test_a_token_is_verified_once(api):
    """A hit checks the clock, not the signature, and needs no store."""
    assert api.known(TOKEN, workshop.NOW) is None
    for _ in range(3):
        assert isinstance(await api.judge(TOKEN, workshop.NOW), Authenticated)
    assert isinstance(api.known(TOKEN, workshop.NOW), Authenticated)
    assert 1 == api.verifier.verified


async def test_exp_is_compared_at_every_hit(api):
    """A cached token ends when its time is over, and is not good before it begins."""
    await api.judge(TOKEN, workshop.NOW)
    assert isinstance(await api.judge(TOKEN, workshop.NOW + 129.9), Authenticated)
    assert api.known(TOKEN, workshop.NOW - 3600) is None
    assert "token_expired" == (await api.judge(TOKEN, workshop.NOW + 130)).code
    assert "token_invalid" == (await api.judge(TOKEN, workshop.NOW - 3600)).code


async def test_k3_a_verdict_dies_when_its_key_leaves_the_set(api, keys):
    """K3: another set that holds the key keeps it; one without it does not; no set is unavailable."""
    await api.judge(TOKEN, workshop.NOW)
    keys.keys = Keys().keys
    assert isinstance(api.known(TOKEN, workshop.NOW), Authenticated)
    held, keys.keys = keys.keys, None
    assert api.known(TOKEN, workshop.NOW) is None
    with pytest.raises(KeysUnavailable):
        await api.judge(TOKEN, workshop.NOW)
    keys.keys = held
    assert isinstance(api.known(TOKEN, workshop.NOW), Authenticated)
    keys.keys = KeySet([])
    assert isinstance(await api.judge(TOKEN, workshop.NOW), Rejected)
    keys.keys = held
    assert api.known(TOKEN, workshop.NOW) is None


async def test_r8_after_a_failed_look_up_the_last_word_serves_safe_requests_only(workers):
    """R8: the fallback is asked when the look-up fails, and only for requests that change nothing."""
    worker, _ = workers
    worker.source.grace_s = 30.0
    key = worker.ledger.key(b"c")
    worker.source.tracked(worker.coherence.clock())
    verdict = Verdict(Identity("o", "s", "web"))
    worker.coherence.cache.keep(key, verdict, worker.ledger._scope)

    def failed():
        flight = asyncio.get_running_loop().create_future()
        flight.set_exception(StoreUnavailable("out"))
        return flight

    safe = Found(COOKIE, b"c", may_be_stale=True)
    assert verdict is await worker.ledger.wait_for(failed(), safe, key)
    with pytest.raises(StoreUnavailable):
        await worker.ledger.wait_for(failed(), Found(COOKIE, b"c"), key)
