"""Verdicts through a real gate: a hit costs the store nothing, and a change is seen at once."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import signal
import time
import uuid

import aiohttp
import jwt
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from proxy.adapters.boot_clock import boot_time
from proxy.core.coherence import Attempts
from proxy.core.revocation import RevocationKeys
from proxy.services.revocations import Revocations
from proxy.services.schemes.build import open_sessions
from proxy.services.sessions import Login
from tests.chaos_proxy import ChaosProxy

SECRET = "s" * 64
STALENESS_S = 1.0

CONFIG = """
store: {{url: "{store}", {timing}{more}}}
upstreams: {{app: {{servers: ["{app}"]}}}}
schemes:
  web: {{type: session, format: native, cookie: sid}}
  shop: {{type: session, format: json, cookie: shop, prefix: "sess:", identity: {{subject: user.id, roles: user.roles}}}}
  api: {{type: jwt, issuer: "https://id.test", audience: [app], algorithms: [HS256], keys: {{secret: "{secret}"}}}}
routes:
  - {{match: {{path: /web}}, auth: web, upstream: app, cross_site: allow}}
  - {{match: {{path: /shop}}, auth: shop, upstream: app}}
  - {{match: {{path: /api}}, auth: api, upstream: app}}
  - {{match: {{path: /either}}, auth: [web, api], upstream: app, cross_site: allow}}
  - {{match: {{path: /both}}, auth: [web, api], both: same_subject, same_subjects: true, upstream: app, cross_site: allow}}
"""
TIMING = "timeout: 400ms, max_staleness: 1s"
PATIENT = "timeout: 30s, max_staleness: 60s"
"""For what has nothing to do with time: a busy machine is no outage."""
PATHS = ("/web", "/shop", "/api")


async def _ok(request: web.Request) -> web.Response:
    told = {name: request.headers.get(f"X-Auth-{name}") for name in ("Subject", "Roles")}
    return web.json_response(told)


@pytest.fixture
async def app():
    application = web.Application()
    application.router.add_route("*", "/{tail:.*}", _ok)
    async with TestServer(application) as server:
        yield f"http://127.0.0.1:{server.port}"


async def until(condition):
    """Wait for what must come; the test's time-out is its bound."""
    while not condition():  # noqa: ASYNC110 - another process, or time, brings it about
        await asyncio.sleep(0.01)


class Callers:
    """A gate, one good credential of each kind, and ways to take it back."""

    def __init__(self, gate, admin):
        self.gate = gate
        self.admin = admin
        self.sent = {}
        self.http = aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar())

    @property
    def counters(self):
        return self.gate.runtime.coherence.counters

    @property
    def source(self):
        (tracked,) = self.gate.runtime.coherence.tracked.values()
        return tracked.source

    async def sign_in(self):
        """Make one credential of each kind."""
        runtime = self.gate.runtime
        self.sessions = open_sessions(runtime.config, runtime.config.schemes["web"], runtime.store)
        self.made = await self.sessions.create(Login("ada"), time.time())
        now = int(time.time())
        self.claims = {
            "iss": "https://id.test", "aud": "app", "sub": "bo", "sid": "s1",
            "jti": uuid.uuid4().hex, "iat": now, "exp": now + 3000,
        }  # fmt: skip
        self.admin.set("sess:abc123", json.dumps({"user": {"id": 7}}))
        self.sent = {
            "/web": {"Cookie": f"sid={self.made.cookie}"},
            "/shop": {"Cookie": "shop=abc123"},
            "/api": {"Authorization": f"Bearer {jwt.encode(self.claims, SECRET)}"},
        }

    async def ask(self, path, headers=None, method="GET"):
        sent = self.sent[path] if headers is None else headers
        async with self.http.request(method, self.gate.url + path, headers=sent) as answer:
            await answer.read()
            return answer.status

    async def told(self, path):
        """Return subject and roles, as the application is told them."""
        async with self.http.get(self.gate.url + path, headers=self.sent[path]) as answer:
            return tuple((await answer.json()).values())

    async def ask_all(self):
        return [await self.ask(path) for path in PATHS]

    async def until(self, status, *paths):
        """Ask until every path gives `status`; the test's time-out is the bound."""
        for path in paths or PATHS:
            while await self.ask(path) != status:  # noqa: ASYNC110 - another process brings it about
                await asyncio.sleep(0.01)

    def store_commands(self):
        """Return how often each command was executed since the last CONFIG RESETSTAT."""
        stats = self.admin.info("commandstats")
        return {name.removeprefix("cmdstat_"): told["calls"] for name, told in stats.items()}

    def revocations(self):
        keys = RevocationKeys(self.gate.runtime.config.store.prefix)
        return Revocations(self.gate.runtime.store, keys)


@pytest.fixture
async def callers(start_gate, app):
    """Return a function that starts a gate in front of a Valkey, with credentials at hand."""
    started = []

    async def start(valkey, *, url=None, timing=TIMING, more="", **options):
        text = CONFIG.format(
            store=url or valkey.url, app=app, secret=SECRET, timing=timing, more=more
        )
        made = Callers(await start_gate(text, **options), valkey.client())
        started.append(made)
        await made.sign_in()
        return made

    yield start
    for made in started:
        await made.http.close()
        made.admin.close()


async def test_a_hit_makes_no_store_command(callers, valkey):
    """After the first request of each credential the store hears heartbeats only."""
    them = await callers(valkey, timing=PATIENT, watches_revocations=False)
    them.admin.set("latchgate:{revoked}:epoch", "e")
    assert [200] * 3 == await them.ask_all()
    await them.until(200)  # the use of the session may still be on its way
    await asyncio.sleep(0.1)
    them.admin.config_resetstat()
    hits = them.counters.hits
    for _ in range(50):
        assert [200] * 3 == await them.ask_all()
    assert {"config|resetstat", "info", "ping"} >= set(them.store_commands())
    assert 150 == them.counters.hits - hits


async def test_concurrent_misses_make_one_look_up(callers, valkey):
    """Single flight: fifty first requests of a credential are one question to the store."""
    them = await callers(valkey, timing=PATIENT, watches_revocations=False)
    them.admin.set("latchgate:{revoked}:epoch", "e")
    await them.ask("/web", {"Cookie": "sid=nobody"})
    for path, command in (("/web", "mget"), ("/shop", "pttl"), ("/api", "mget")):
        already = them.counters.shared
        os.kill(valkey.pid, signal.SIGSTOP)
        asking = [asyncio.ensure_future(them.ask(path)) for _ in range(50)]  # noqa: TID251 - a test's own
        try:
            async with asyncio.timeout(20):
                while them.counters.shared < already + 49:  # noqa: ASYNC110 - a counter has no event
                    await asyncio.sleep(0.005)
        finally:
            os.kill(valkey.pid, signal.SIGCONT)
        assert [200] * 50 == await asyncio.gather(*asking), command
    assert 4 == them.counters.misses


@pytest.mark.parametrize("how", ["jti", "subject", "session", "issuer", "all"])
async def test_a_token_can_be_taken_back_in_every_way(callers, valkey, how):
    """Revocation of a cached token of another issuer, by each of its names."""
    them = await callers(valkey)
    await them.until(200, "/api")
    await them.until(200, "/api")
    revocations, now = them.revocations(), time.time()
    match how:
        case "jti":
            await revocations.revoke_token("https://id.test", them.claims["jti"], now, keep_s=100)
        case "subject":
            await revocations.revoke_subject("https://id.test", "bo", now, keep_s=100)
        case "session":
            await revocations.revoke_session("https://id.test", "s1", now, keep_s=100)
        case "issuer":
            await revocations.revoke_issuer("https://id.test", now, keep_s=100)
        case "all":
            await revocations.revoke_all(now, keep_s=100)
    await them.until(401, "/api")
    assert "token_revoked" == them.gate.records[-1].code
    misses = them.counters.misses
    assert 401 == await them.ask("/api")
    assert misses == them.counters.misses, "that it is revoked is remembered too"


async def test_a_session_ends_when_anybody_deletes_it(callers, valkey):
    """A logout by whatever program: native and foreign; and a new one under the same key is seen."""
    them = await callers(valkey)
    await them.until(200)
    key = them.sessions.session_key(them.made.digest)
    record = them.admin.get(key)
    them.admin.delete(key, "sess:abc123")
    await them.until(401, "/web", "/shop")
    assert [401, 401] == [await them.ask("/web"), await them.ask("/shop")]
    them.admin.set(key, record)
    them.admin.set("sess:abc123", '{"user": {"id": 8}}')
    await them.until(200, "/web", "/shop")


async def test_a_foreign_session_that_is_touched_is_not_decoded_again(callers, valkey):
    """Its application extends it on every request: one look-up, and equal bytes restore it."""
    them = await callers(valkey)
    for _ in range(3):
        await them.until(200, "/shop")
        invalidations = them.source.counters.invalidations
        them.admin.expire("sess:abc123", 1000)
        await until(lambda: them.source.counters.invalidations > invalidations)  # noqa: B023 - waited for at once
    await them.until(200, "/shop")
    assert 3 == them.counters.restored


async def test_r6_a_foreign_session_that_is_written_over_counts_as_it_is_now(callers, valkey):
    """R6: its application writes other roles, and another person, over the record; nothing is deleted."""
    them = await callers(valkey, timing=PATIENT)
    await them.until(200, "/shop")
    for subject, roles in (("7", ["staff", "cook"]), ("7", ["cook"]), ("8", ["cook"])):
        invalidations = them.source.counters.invalidations
        them.admin.set("sess:abc123", json.dumps({"user": {"id": int(subject), "roles": roles}}))
        await until(lambda: them.source.counters.invalidations > invalidations)  # noqa: B023 - waited for at once
        assert (subject, ",".join(roles)) == await them.told("/shop")
    assert 0 == them.counters.restored


async def test_a_foreign_session_ends_with_its_keys_life(callers, mortal_valkey):
    """The server may find out much later that a key is over; the gate counts for itself."""
    them = await callers(mortal_valkey)
    them.admin.execute_command("DEBUG", "SET-ACTIVE-EXPIRE", "0")
    them.admin.pexpire("sess:abc123", 700)
    await them.until(200, "/shop")
    await asyncio.sleep(0.8)
    assert 401 == await them.ask("/shop")


async def test_r1_a_native_session_ends_with_its_keys_life(callers, mortal_valkey):
    """R1: whoever lets the key end earlier than the record says has ended the session."""
    them = await callers(mortal_valkey)
    them.admin.execute_command("DEBUG", "SET-ACTIVE-EXPIRE", "0")
    await them.until(200, "/web")
    them.admin.pexpire(them.sessions.session_key(them.made.digest), 700)
    await them.until(200, "/web")
    hits = them.counters.hits
    assert 200 == await them.ask("/web")
    assert 1 == them.counters.hits - hits, "until then it is kept"
    await asyncio.sleep(0.8)
    assert 401 == await them.ask("/web")


async def test_r9_many_small_values_count_as_what_they_take(callers, valkey):
    """R9: `verdicts.bytes` bounds memory, whatever a record, session or token looks like."""
    them = await callers(valkey, timing=PATIENT)
    await them.until(200)
    cache = them.gate.runtime.coherence.cache
    many, least = [[]] * 1000, 64 * 1000
    sizes = [cache.size]
    key = them.sessions.session_key(them.made.digest)
    them.admin.set(
        key, json.dumps(json.loads(them.admin.get(key)) | {"claims": {"many": many}}), keepttl=True
    )
    them.admin.set("sess:abc123", json.dumps({"user": {"id": 7}, "many": many}))
    them.sent["/api"] = {
        "Authorization": f"Bearer {jwt.encode(them.claims | {'many': many}, SECRET)}"
    }
    for path in PATHS:
        await them.until(200, path)
        await until(lambda: cache.size > sizes[-1] + least)
        sizes.append(cache.size)


async def test_r9_a_flood_of_random_cookies_evicts_nobody_and_is_refused(callers, valkey):
    """R9: distinct unknown sessions are slowed and refused; good credentials pass meanwhile."""
    them = await callers(valkey, timing=PATIENT)
    await them.until(200)
    coherence = them.gate.runtime.coherence
    kept = len(coherence.cache)
    coherence.guessed_sessions = Attempts(rate=20)  # this machine need not manage 400 a second

    async def guess():
        return await them.ask("/web", {"Cookie": f"sid={secrets.token_urlsafe(32)}"})

    statuses = set()
    good = set()
    for _ in range(20):
        statuses |= set(await asyncio.gather(*(guess() for _ in range(100))))
        good |= set(await them.ask_all())
        if 429 in statuses:
            break
    assert {200} == good
    assert {401, 429} == statuses
    assert kept == len(coherence.cache)
    assert them.counters.attempts_refused > 0


async def test_r9_a_flood_of_random_cookies_does_not_fill_the_tracking_table(callers, valkey):
    """R9: beyond the rate an unknown id is asked for untracked; a good one passes, never seen or not."""
    them = await callers(valkey, timing=PATIENT)
    await them.until(200)
    them.gate.runtime.coherence.guessed_sessions = Attempts(rate=0)
    made = await them.sessions.create(Login("bo"), time.time())
    tracked, began_at = them.admin.info("stats")["tracking_total_keys"], time.monotonic()
    for _ in range(100):
        assert 429 == await them.ask("/web", {"Cookie": f"sid={secrets.token_urlsafe(32)}"})
    grown = them.admin.info("stats")["tracking_total_keys"] - tracked
    assert 200 == await them.ask("/web", {"Cookie": f"sid={made.cookie}"})
    assert grown <= 2 * (time.monotonic() - began_at + 2), "the first of each second is looked up"


@pytest.mark.parametrize("path", ["/either", "/both"])
async def test_r9_a_good_token_beside_an_unknown_cookie_is_no_guess(callers, valkey, path):
    """R9: every scheme is asked before an address that guesses is slowed or refused."""
    them = await callers(valkey, timing=PATIENT)
    await them.until(200)
    coherence = them.gate.runtime.coherence
    coherence.guessed_sessions = Attempts(rate=1)

    def unknown():
        return {"Cookie": f"sid={secrets.token_urlsafe(32)}"}

    good = them.sent["/api"]
    assert [200] * 5 == [await them.ask(path, unknown() | good) for _ in range(5)]
    assert 0 == len(coherence.guessed_sessions)
    guesses = await asyncio.gather(*(them.ask(path, unknown()) for _ in range(3)))
    assert [401, 401, 429] == sorted(guesses)
    slowed = them.counters.attempts_slowed
    assert [200] * 5 == [await them.ask(path, unknown() | good) for _ in range(5)]
    assert slowed == them.counters.attempts_slowed


async def test_r9_a_forged_token_is_checked_once(callers, valkey):
    """R9: the same bad signature costs no second check, and no look-up."""
    them = await callers(valkey, timing=PATIENT)
    await them.until(200)
    misses = them.counters.misses
    forged = {"Authorization": f"Bearer {jwt.encode(them.claims, 'x' * 64)}"}
    assert [401, 401] == [await them.ask("/api", forged), await them.ask("/api", forged)]
    assert (misses, 1) == (them.counters.misses, them.counters.refusal_hits)


async def test_client_kill_and_flushall_heal_by_themselves(callers, valkey):
    """What was deleted while the connection was down, or by FLUSHALL, opens nothing afterwards."""
    them = await callers(valkey)
    await them.until(200)
    them.admin.delete(them.sessions.session_key(them.made.digest))
    them.admin.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    await them.until(401, "/web")
    await them.until(200, "/shop", "/api")
    them.admin.flushall()
    await them.until(401)


async def nothing_passes_after_staleness(them, out):
    """Ask everything while the store is out: nothing is let through once `max_staleness` is over."""
    out_at = boot_time()
    late = []
    while boot_time() < out_at + 3 * STALENESS_S:
        for path in PATHS:
            asked_at = boot_time()
            status = await them.ask(path)
            if asked_at > out_at + STALENESS_S:
                late.append(status)
    assert late
    assert {503} == set(late), out


@pytest.mark.slow
async def test_r2_a_killed_store_lets_nothing_through_and_heals(callers, mortal_valkey):
    """R2: kill -9. The server had no log: afterwards nobody is known, and everything answers."""
    them = await callers(mortal_valkey)
    await them.until(200)
    mortal_valkey.kill()
    await nothing_passes_after_staleness(them, "killed")
    mortal_valkey.start()
    await them.until(401)


@pytest.mark.slow
async def test_r2_a_stopped_store_lets_nothing_through_and_heals(callers, mortal_valkey):
    """R2: SIGSTOP. Afterwards the same credentials are good again."""
    them = await callers(mortal_valkey)
    await them.until(200)
    os.kill(mortal_valkey.pid, signal.SIGSTOP)
    try:
        await nothing_passes_after_staleness(them, "stopped")
    finally:
        os.kill(mortal_valkey.pid, signal.SIGCONT)
    await them.until(200)


@pytest.mark.slow
@pytest.mark.parametrize("directions", [("up", "down"), ("up",), ("down",)], ids="+".join)
async def test_r2_a_cut_network_lets_nothing_through_and_heals(callers, valkey, directions):
    """R2: whichever direction is dead. What was revoked meanwhile opens nothing afterwards."""
    async with ChaosProxy(valkey.port) as chaos:
        url = f"redis://127.0.0.1:{chaos.port}/0"
        them = await callers(valkey, url=url)
        await them.until(200)
        chaos.cut(*directions)
        them.admin.delete(them.sessions.session_key(them.made.digest))
        await nothing_passes_after_staleness(them, directions)
        chaos.heal()
        await them.until(200, "/shop", "/api")
        await them.until(401, "/web")
        assert 401 == await them.ask("/web")
        await them.gate.runtime.close()


@pytest.mark.slow
async def test_r8_serve_cached_bridges_an_outage_for_safe_requests(callers, mortal_valkey):
    """R8: GET goes on until the grace is over, POST does not, and nobody new gets in."""
    them = await callers(mortal_valkey, more=", on_outage: {serve_cached: 3s}")
    await them.until(200)
    mortal_valkey.kill()
    out_at = boot_time()
    await until(lambda: them.source.counters.losses)
    assert "lost" == them.source.state
    statuses = await them.ask_all()
    posted = await them.ask("/web", method="POST")
    unknown = await them.ask("/web", {"Cookie": "sid=other"})
    assert boot_time() < out_at + 2.9, "the machine is too slow for this test"
    assert ([200] * 3, 503, 503) == (statuses, posted, unknown)
    assert them.counters.served_stale >= 3
    await until(lambda: boot_time() > out_at + 3.1)
    assert [503] * 3 == await them.ask_all()
    mortal_valkey.start()
    await them.until(401)


async def test_r10_a_user_that_may_not_track_is_looked_up_every_time(callers, mortal_valkey):
    """R10: everything works, nothing is kept, and a revocation counts with the next request."""
    with mortal_valkey.client() as admin:
        rules = ["on", ">pw", "~*", "+@all", "-client"]
        admin.execute_command("ACL", "SETUSER", "poor", "reset", *rules)
    url = f"unix://poor@{mortal_valkey.socket_path}?password=pw"
    them = await callers(mortal_valkey, url=url)
    await them.until(200)
    for _ in range(3):
        assert [200] * 3 == await them.ask_all()
    assert (0, "untracked") == (them.counters.hits, them.source.state)
    them.admin.delete(them.sessions.session_key(them.made.digest))
    assert 401 == await them.ask("/web")


async def test_r10_without_pttl_foreign_sessions_are_looked_up_every_time(
    callers, mortal_valkey, caplog
):
    """R10: a user who may not ask for the life of an application's key; a warning says so."""
    with mortal_valkey.client() as admin:
        rules = ["on", ">pw", "~*", "+@all", "-pttl", "(~latchgate:* +pttl)"]
        admin.execute_command("ACL", "SETUSER", "poor", "reset", *rules)
    url = f"unix://poor@{mortal_valkey.socket_path}?password=pw"
    them = await callers(mortal_valkey, url=url)
    hits = them.counters.hits
    assert [200] * 2 == [await them.ask("/web") for _ in range(2)]
    assert 1 == them.counters.hits - hits, "the gate's own records say when they end"
    them.counters.hits = 0
    assert [200] * 3 == [await them.ask("/shop") for _ in range(3)]
    assert (0, 3) == (them.counters.hits, them.counters.unkept)
    assert "PTTL" in caplog.text
