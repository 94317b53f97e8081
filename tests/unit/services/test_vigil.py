"""The watch over open connections, with real decisions and a real store; nothing is connected."""

from __future__ import annotations

import asyncio
import json
import math
import time
import uuid
from dataclasses import replace

import jwt
import pytest

from proxy.core.revocation import RevocationKeys
from proxy.model import Peer, RequestView
from proxy.services.decision import Forward
from proxy.services.revocations import Revocations
from proxy.services.runtime import Runtime, load
from proxy.services.schemes.build import open_sessions
from proxy.services.sessions import Login
from proxy.services.vigil import PARALLEL

SECRET = "s" * 64
ISSUER = "https://id.test"
CONFIG = """
store: {{url: "{store}", timeout: 30s, max_staleness: 60s}}
upstreams: {{app: {{servers: ["http://127.0.0.1:1"]}}}}
schemes:
  web: {{type: session, format: native, cookie: sid, idle_timeout: 1000s}}
  shop: {{type: session, format: json, cookie: shop, prefix: "sess:", identity: {{subject: user.id, roles: user.roles}}}}
  api: {{type: jwt, issuer: "{issuer}", audience: [app], algorithms: [HS256], keys: {{secret: "{secret}"}}}}
routes:
  - {{match: {{path: /web}}, auth: web, upstream: app, cross_site: allow}}
  - {{match: {{path: /other}}, auth: web, upstream: app, cross_site: allow}}
  - {{match: {{path: /api}}, auth: api, upstream: app}}
  - {{match: {{path: /staff}}, auth: shop, upstream: app, cross_site: allow, require: {{roles: [staff]}}}}
  - {{match: {{path: /open}}, auth: none, upstream: app}}
  - {{name: tried, match: {{path: /tried}}, auth: web, upstream: app, mode: {{report: {{until: 2099-12-31}}}}}}
"""


async def until(condition):
    """Wait for what must come; the test's time-out is its bound."""
    while not condition():  # noqa: ASYNC110 - another process brings it about
        await asyncio.sleep(0.01)


def token():
    """Return the headers of a new token."""
    now = int(time.time())
    claims = {
        "iss": ISSUER, "aud": "app", "sub": "ada", "jti": uuid.uuid4().hex,
        "iat": now, "exp": now + 3000,
    }  # fmt: skip
    return [(b"Authorization", b"Bearer " + jwt.encode(claims, SECRET).encode())]


class Bench:
    """One worker's runtime, without listeners."""

    def __init__(self, runtime, admin):
        self.runtime = runtime
        self.admin = admin
        self.vigil = runtime.vigil
        self.counters = runtime.coherence.streams
        (tracked,) = runtime.coherence.tracked.values()
        self.source = tracked.source
        self.ended = []

    async def session(self, age_s=0.0):
        """Return the headers of a new session, and the keys of its record and its use."""
        config = self.runtime.config
        sessions = open_sessions(config, config.schemes["web"], self.runtime.store)
        made = await sessions.create(Login("ada"), time.time() - age_s)
        headers = [(b"Cookie", f"sid={made.cookie}".encode())]
        return headers, sessions.session_key(made.digest), sessions.seen_key(made.digest)

    async def decide(self, path, headers):
        view = RequestView(
            "GET", path, [(b"Host", b"gate"), *headers], Peer("127.0.0.1", 1, False, False)
        )
        decision = await self.runtime.gate.decide(view, time.time())
        assert isinstance(decision, Forward)
        return decision

    async def open(self, path, headers, activity=lambda: 0):
        decision = await self.decide(path, headers)
        return self.vigil.tunnel(decision, activity, self.ended.append)

    async def long_exchange(self, path, headers):
        """Begin a request that is watched at once."""
        self.vigil.after_s = 0.0
        self.vigil.exchange(await self.decide(path, headers), lambda: 0, self.ended.append)
        await until(lambda: self.counters.watched)

    async def settled(self):
        """Wait until nothing is decided any more."""
        await until(lambda: not self.vigil._working)


@pytest.fixture
async def bench(tmp_path, valkey):
    path = tmp_path / "gate.yaml"
    path.write_text(CONFIG.format(store=valkey.url, issuer=ISSUER, secret=SECRET))
    runtime = await Runtime.start(load(path), watches_revocations=True)
    admin = valkey.client()
    yield Bench(runtime, admin)
    admin.close()
    await runtime.close()


class Told:
    """Stands behind the pins, and notes of what the store has told them."""

    def __init__(self):
        self.keys = []

    def invalidate(self, _source, store_key):
        self.keys.append(store_key)

    def dropped(self, source):
        """Loss and flush are not asked for here."""


async def session_deleted(bench):
    headers, key, _ = await bench.session()

    async def take_back():
        bench.admin.delete(key)

    return b"/web", headers, key, take_back


async def token_revoked(bench):
    keys = RevocationKeys(bench.runtime.config.store.prefix)

    async def take_back():
        revocations = Revocations(bench.runtime.store, keys)
        await revocations.revoke_issuer(ISSUER, time.time(), keep_s=100)

    return b"/api", token(), keys.for_issuer(ISSUER), take_back


async def role_lost(bench):
    def write(*roles):
        bench.admin.set("sess:abc", json.dumps({"user": {"id": 7, "roles": roles}}))

    async def take_back():
        write("cook")

    write("staff", "cook")
    return b"/staff", [(b"Cookie", b"shop=abc")], "sess:abc", take_back


@pytest.mark.parametrize("lost", [session_deleted, token_revoked, role_lost])
@pytest.mark.parametrize("kind", ["tunnel", "exchange"])
async def test_r7_a_push_alone_decides_again(bench, lost, kind):
    """R7: what the store takes back ends what is open at once; no periodic check comes to help."""
    bench.vigil.check_s = math.inf
    path, headers, key, take_back = await lost(bench)
    await (bench.open if kind == "tunnel" else bench.long_exchange)(path, headers)
    await bench.settled()
    bench.source.hold(told := Told())
    await take_back()
    await until(lambda: key.encode() in told.keys)
    await bench.settled()  # being told has begun it, in the same moment
    assert ["stream_revoked"] == [ending.code for ending in bench.ended]
    assert (1, 0) == (bench.counters.ended_revoked, bench.counters.watched)


async def test_r7_a_thousand_streams_of_one_session_are_one_look_up(bench):
    """They are decided again together, and all of them end."""
    headers, key, _ = await bench.session()
    decision = await bench.decide(b"/web", headers)
    for _ in range(1000):
        bench.vigil.tunnel(decision, lambda: 0, bench.ended.append)
    await bench.settled()
    assert (1000, 1) == (bench.counters.watched, bench.counters.decided_again)
    lookups = bench.source.counters.lookups
    bench.admin.delete(key)
    await until(lambda: len(bench.ended) == 1000)
    assert (1, 2) == (
        bench.source.counters.lookups - lookups, bench.counters.decided_again,
    )  # fmt: skip
    assert {"stream_revoked"} == {ending.code for ending in bench.ended}
    assert (0, 1000) == (bench.counters.watched, bench.counters.ended_revoked)


@pytest.mark.slow
async def test_r7_a_thousand_tokens_are_looked_up_in_turns(bench):
    """`revoke all`: one look-up for each, a bounded number at a time."""
    for _ in range(1000):
        await bench.open(b"/api", token())
    await bench.settled()
    lookups = bench.source.counters.lookups
    keys = RevocationKeys(bench.runtime.config.store.prefix)
    await Revocations(bench.runtime.store, keys).revoke_all(time.time(), keep_s=100)
    most = 0
    while len(bench.ended) < 1000:
        await asyncio.sleep(0)
        most = max(most, bench.vigil._working)
    assert 1000 == bench.source.counters.lookups - lookups
    assert 0 < most <= PARALLEL


async def test_routes_are_decided_for_themselves(bench):
    """One session on two routes: two decisions, and still one look-up."""
    headers, key, _ = await bench.session()
    for path in (b"/web", b"/other"):
        await bench.open(path, headers)
    await bench.settled()
    lookups = bench.source.counters.lookups
    bench.admin.delete(key)
    await until(lambda: len(bench.ended) == 2)
    assert 1 == bench.source.counters.lookups - lookups


async def test_what_was_closed_is_not_ended(bench):
    """Closed twice is closed; nothing stays pinned behind the last of them."""
    headers, key, _ = await bench.session()
    first, second = [await bench.open(b"/web", headers) for _ in range(2)]
    await bench.settled()
    first.close()
    first.close()
    assert (1, 1) == (bench.counters.watched, len(bench.runtime.coherence.cache._pins))
    second.close()
    assert (0, 0) == (bench.counters.watched, len(bench.runtime.coherence.cache._pins))
    bench.admin.delete(key)
    await until(lambda: bench.source.counters.invalidations)
    assert [] == bench.ended


async def test_a_public_route_is_not_watched(bench):
    """`auth: none`: no credential is evaluated, so none can be lost."""
    stream = await bench.open(b"/open", [])
    decision = await bench.decide(b"/open", [])
    other = bench.vigil.exchange(decision, lambda: 0, bench.ended.append)
    assert bench.counters.watched == 0
    assert not bench.vigil._young
    stream.close()
    other.close()
    assert not bench.vigil._open


async def test_a_short_response_is_never_watched(bench):
    """It leaves the line of the young ones, and costs no decision."""
    headers, _, _ = await bench.session()
    stream = bench.vigil.exchange(
        await bench.decide(b"/web", headers), lambda: 0, bench.ended.append
    )
    assert 1 == len(bench.vigil._young)
    stream.close()
    assert (0, 0) == (len(bench.vigil._young), bench.counters.decided_again)


async def test_r7_what_changed_before_it_was_watched_is_noticed(bench):
    """The session is deleted, and even looked up again, between the decision and the 101."""
    headers, key, _ = await bench.session()
    decision = await bench.decide(b"/web", headers)
    bench.admin.delete(key)
    await until(lambda: bench.source.counters.invalidations)
    assert not isinstance(
        await bench.runtime.gate.decide(
            RequestView("GET", b"/web", [(b"Host", b"gate"), *headers], Peer("127.0.0.1", 1, False, False)),
            time.time(),
        ),
        Forward,
    )  # fmt: skip
    bench.vigil.tunnel(decision, lambda: 0, bench.ended.append)
    await until(lambda: bench.ended)
    assert "stream_revoked" == bench.ended[0].code


async def test_r7_being_watched_is_no_use_and_activity_is(bench):
    """Deciding again touches nothing; what a client does is written, once in a tenth of idle."""
    headers, key, seen_key = await bench.session(age_s=600)
    activity = [0]
    await bench.open(b"/web", headers, lambda: activity[0])
    await bench.settled()
    writing = [task for task in asyncio.all_tasks() if task.get_name() == "session in use"]
    await asyncio.gather(*writing)  # the use of the request itself
    long_ago = time.time() - 500
    bench.admin.set(seen_key, repr(long_ago), px=500_000)
    decided = bench.counters.decided_again
    bench.admin.set(key, bench.admin.get(key), keepttl=True)
    await until(lambda: bench.counters.decided_again > decided)
    await bench.settled()
    assert long_ago == float(bench.admin.get(seen_key))
    activity[0] += 1
    await until(lambda: float(bench.admin.get(seen_key)) > long_ago)
    assert [] == bench.ended


async def test_closing_ends_nobody(bench):
    """A worker that stops has drained its connections before: nothing is left behind."""
    headers, _, _ = await bench.session()
    await bench.open(b"/web", headers)
    await bench.vigil.close()
    assert (0, []) == (bench.counters.watched, bench.ended)


async def test_r7_an_answer_that_took_long_waits_for_what_was_taken_back(bench):
    """Nobody has looked at the clocks yet: the head's arrival is when it is decided again."""
    headers, key, _ = await bench.session()
    bench.vigil.after_s = 0.0
    stream = bench.vigil.exchange(
        await bench.decide(b"/web", headers), lambda: 0, bench.ended.append
    )
    bench.vigil._timer.cancel()
    bench.admin.delete(key)
    await until(lambda: bench.source.counters.invalidations)
    await stream.settled()
    assert ["session_unknown"] == [ending.refusal.code for ending in bench.ended]


async def test_a_good_answer_is_let_go_at_once(bench):
    """Young, or confirmed: there is nothing to wait for."""
    headers, _, _ = await bench.session()
    stream = bench.vigil.exchange(
        await bench.decide(b"/web", headers), lambda: 0, bench.ended.append
    )
    await stream.settled()
    assert 0 == bench.counters.decided_again
    bench.vigil.after_s = 0.0
    await stream.settled()
    assert (1, []) == (bench.counters.decided_again, bench.ended)
    stream.close()
    await stream.settled()


class Broken:
    """A scheme with a bug."""

    name = "broken"

    def __init__(self, number):
        self.number = number

    def key(self, found):
        return (self.name, self.number, found.value)

    def known(self, _found, _now):
        return None

    async def judge(self, _found, _now):
        raise TypeError("a bug")


async def test_r7_a_bug_confirms_nothing_and_stops_nobody_else(bench):
    """It counts as no answer, and who waits behind it is decided all the same."""
    headers, key, _ = await bench.session()
    decision = await bench.decide(b"/web", headers)
    (held,) = decision.held
    for number in range(PARALLEL):
        broken = replace(held, scheme=Broken(number))
        bench.vigil.tunnel(replace(decision, held=(broken,)), lambda: 0, bench.ended.append)
    bench.vigil.tunnel(decision, lambda: 0, bench.ended.append)
    bench.admin.delete(key)
    await until(lambda: bench.ended)
    await bench.settled()
    assert ["stream_revoked"] == [ending.code for ending in bench.ended]
    assert PARALLEL == bench.counters.watched
    assert PARALLEL < bench.counters.decided_again <= PARALLEL + 2, (
        "the others are not asked all the time"
    )


class Breaking:
    """A scheme that gets a bug while connections are open."""

    def __init__(self, scheme):
        self._scheme = scheme
        self.is_broken = False

    def __getattr__(self, name):
        return getattr(self._scheme, name)

    def known(self, found, now):
        return None if self.is_broken else self._scheme.known(found, now)

    async def judge(self, found, now):
        if self.is_broken:
            raise TypeError("a bug")
        return await self._scheme.judge(found, now)


async def test_r7_what_a_bug_keeps_from_being_decided_is_closed(bench):
    """R7: a session whose time is over is not kept open by the answer from before there was a bug."""
    bench.vigil._max_staleness_s = 0.5
    headers, _, _ = await bench.session()
    decision = await bench.decide(b"/web", headers)
    (held,) = decision.held
    scheme = Breaking(held.scheme)
    decision = replace(decision, held=(replace(held, scheme=scheme),))
    bench.vigil.tunnel(decision, lambda: 0, bench.ended.append)
    await until(lambda: bench.counters.decided_again)
    await bench.settled()
    assert (1, []) == (bench.counters.watched, bench.ended)
    scheme.is_broken = True
    bench.vigil._clock = lambda: time.time() + 2000.0  # it has been idle for too long
    bench.vigil._look()
    async with asyncio.timeout(30):
        await until(lambda: bench.ended)

    assert ["stream_unconfirmed"] == [ending.code for ending in bench.ended]
    assert 0 == bench.counters.watched


async def test_s14_report_mode_ends_no_connection_until_it_is_over(bench):
    """What is taken back is reported; when the route enforces, what it would refuse ends by itself."""
    reported = []
    bench.vigil.on_reported = lambda route, code: reported.append((route, code))
    headers, key, _ = await bench.session()
    known, _, _ = await bench.session()
    await bench.open(b"/tried", headers)
    await bench.open(b"/tried", known)
    await bench.open(b"/tried", [])
    left = await bench.open(b"/tried", [])
    left.close()
    await bench.settled()
    bench.admin.delete(key)
    await until(lambda: reported)
    assert ([("tried", "session_unknown")], []) == (reported, bench.ended)
    bench.vigil._look()
    assert [] == bench.ended
    bench.vigil._clock = lambda: 2**32 + 0.0  # in 2106
    bench.vigil._look()
    over = [(ending.code, ending.refusal.code) for ending in bench.ended]
    assert [
        ("stream_expired", "credential_missing"), ("stream_expired", "session_unknown"),
    ] == sorted(over)[:2]  # fmt: skip
    assert not bench.vigil._reported
