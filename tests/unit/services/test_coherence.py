"""Verdicts of the schemes, with a clock that the test moves and a real store."""

from __future__ import annotations

import asyncio
import json

import pytest

from proxy.adapters.store import StoreAddress, open_store
from proxy.config.models import Config
from proxy.core.binding import Binding
from proxy.core.coherence import Verdict
from proxy.core.jose import TokenVerifier
from proxy.core.keyset import KeySet
from proxy.core.mapping import compile_mapping
from proxy.errors import KeysUnavailable, StoreUnavailable
from proxy.model import Absent, Authenticated, Identity, Rejected
from proxy.services.coherence import Coherence, Kept
from proxy.services.schemes.jwt import JwtScheme
from proxy.services.schemes.port import Found, Place
from proxy.services.schemes.records import NativeRecords
from proxy.services.schemes.session import SessionScheme
from proxy.services.sessions import Login, Sessions
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
