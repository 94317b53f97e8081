"""What may change between two equal requests: the memo is warm, and yet nothing old is believed (R1).

Three gates share a store and are asked the same, before a change and after it; see
test_one_behaviour.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import time

import jwt
import pytest

from proxy.core.binding import Binding, bind
from proxy.core.keyset import KeySet
from proxy.core.revocation import RevocationKeys
from proxy.services.revocations import Revocations
from proxy.services.schemes.build import open_sessions
from proxy.services.sessions import Login
from tests.lanes import COMPARED, MODES
from tests.trio import OK, PROBE, Mirror, is_over, trio

SECRET = "s" * 64
CONFIG = """
server: {id: here, trusted_proxies: [127.0.0.2]}
store: {url: "@store@", timeout: 2s, max_staleness: @staleness@@more@}
secrets: {key: "@key@"}
tokens: {issuer: "https://gate.test", audience: app}
login: {users: {file: @users@}, scheme: web, sessions: {bind: {on_change: end}}}
upstreams:
  app: {servers: ["@app@"], audience: app}
  other: {servers: ["@app@"], audience: other}
schemes:
  web: {type: session, format: native, cookie: sid}
  shop:
    type: session
    format: json
    cookie: shop
    prefix: "sess:"
    identity: {subject: user.id, roles: user.roles}
  api:
    type: jwt
    issuer: https://id.test
    audience: [app]
    algorithms: [HS256]
    keys: {secret: @secret@}
    max_lifetime: 1h
    leeway: 0s
routes:
  - {match: {path: /**}, auth: none, upstream: app}
  - {match: {path: /web}, auth: web, upstream: app}
  - {match: {path: /shop}, auth: shop, upstream: app}
  - {match: {path: /shop/admin}, auth: shop, require: {roles: [admin]}, upstream: app}
  - {match: {path: /api}, auth: api, upstream: app}
  - {match: {path: /any}, auth: [api, web], upstream: app, same_subjects: true}
  - {match: {path: /turned}, auth: [web, api], upstream: app, same_subjects: true}
  - {match: {path: /mfa}, auth: api, require: {mfa_within: 3s}, upstream: app}
  - {match: {path: /signed}, auth: [api, web], same_subjects: true, identity: {assertion: true}, upstream: app}
  - {match: {path: /bearer}, auth: web, identity: {bearer: true}, upstream: other}
"""


class World:
    """Three gates, their store, and who has what."""

    def __init__(self, gates, admin):
        self.gates, self.admin = gates, admin
        runtime = gates["off"].runtime
        self.sessions = open_sessions(runtime.config, runtime.config.schemes["web"], runtime.store)
        self.revocations = Revocations(runtime.store, RevocationKeys(runtime.config.store.prefix))
        self.digest = ""

    async def cookie(self, subject="ann", **said):
        made = await self.sessions.create(Login(subject, **said), time.time())
        self.digest = made.digest
        return b"Cookie: sid=" + made.cookie.encode()

    def shop(self, *roles):
        self.admin.set("sess:abc123", json.dumps({"user": {"id": 7, "roles": roles}}))
        return b"Cookie: shop=abc123"

    def token(self, **said):
        now = int(time.time())
        claims = {"iss": "https://id.test", "aud": "app", "sub": "ann", "jti": "j1"}
        text = jwt.encode(claims | {"iat": now, "exp": now + 600} | said, SECRET, "HS256")
        return b"Authorization: Bearer " + text.encode()

    async def ask(self, path, *lines, address=None, count=4, method=b"GET", body=b""):
        """Ask all three the same; return the statuses that each had, and compare all else."""
        lines += (b"Content-Length: %d" % len(body),) if body else ()
        head = b"\r\n".join((b"%b %b HTTP/1.1" % (method, path), b"Host: gate", *lines))

        async def talk(gate):
            heard, client = [], await gate.connect(address)
            for _ in range(count):
                await client.say(head + b"\r\n\r\n" + body)
                heard.append(await client.hear(method))
                if is_over(heard[-1]):
                    await client.close()
                    client = await gate.connect(address)
            await client.close()
            return heard

        heard = await self.gates.same(talk, f"{path} {lines}")
        await self.written()
        return [int(raw[9:12]) for raw in heard]

    async def written(self):
        """Wait until each gate has written what it writes behind answers, as uses of sessions.

        Where a session ends meanwhile the write finds it gone, and what is known of it is looked up
        once more: by one gate, and not by the next.
        """
        for gate in self.gates:
            while behind := set(gate.runtime.coherence._behind):
                await asyncio.wait(behind)

    async def until(self, status, path, *lines):
        """Wait until each gate answers with `status`: from then on it may never say anything else."""
        head = b"\r\n".join((b"GET %b HTTP/1.1" % path, b"Host: gate", *lines)) + b"\r\n\r\n"
        for gate in self.gates:
            client = await gate.connect()
            async with asyncio.timeout(10):
                while True:
                    await client.say(head)
                    raw = await client.hear(b"GET")
                    if int(raw[9:12]) == status:
                        break
                    if is_over(raw):
                        client = await gate.connect()
            await client.close()


@pytest.fixture
async def world(tmp_path, valkey):
    """Return a function that starts three gates on one store."""
    async with contextlib.AsyncExitStack() as stack:

        async def start(store=valkey, staleness="30s", more="", url=None, modes=COMPARED):
            (tmp_path / "users.yaml").write_text("{}")
            gates = await stack.enter_async_context(
                trio(
                    tmp_path, CONFIG, {}, modes=modes, store=url or store.url,
                    staleness=staleness, more=more, key="00" * 32, secret=SECRET,
                    users=str(tmp_path / "users.yaml"),
                )
            )  # fmt: skip
            admin = store.client()
            stack.callback(admin.close)
            return World(gates, admin)

        yield start


async def test_r1_an_ended_session_opens_nothing(world):
    """However often it opened the route before."""
    them = await world()
    cookie = await them.cookie()
    before = await them.ask(b"/web", cookie)
    await them.sessions.end(them.digest, "ann")
    await them.until(401, b"/web", cookie)

    assert ([200] * 4, [401] * 4) == (before, await them.ask(b"/web", cookie))


async def test_r1_an_application_that_deletes_or_changes_its_session_is_heard(world):
    """Roles, for whoever requires them; a record that is written anew; one that is gone."""
    them = await world()
    cookie = them.shop("admin")
    before = await them.ask(b"/shop/admin", cookie)
    them.shop("customer")
    await them.until(403, b"/shop/admin", cookie)
    after, still = await them.ask(b"/shop/admin", cookie), await them.ask(b"/shop", cookie)
    them.shop("admin")
    await them.until(200, b"/shop/admin", cookie)
    again = await them.ask(b"/shop/admin", cookie)
    them.admin.delete("sess:abc123")
    await them.until(401, b"/shop", cookie)

    assert ([200] * 4, [403] * 4, [200] * 4) == (before, after, still)
    assert ([200] * 4, [401] * 4) == (again, await them.ask(b"/shop", cookie))


async def test_r1_a_session_whose_key_dies_is_over_at_its_time(world):
    """Nobody tells when: the gate counts for itself."""
    them = await world()
    cookie = them.shop()
    them.admin.pexpire("sess:abc123", 700)
    before = await them.ask(b"/shop", cookie)
    await asyncio.sleep(0.75)

    assert ([200] * 4, [401] * 4) == (before, await them.ask(b"/shop", cookie))


@pytest.mark.parametrize("how", ["jti", "subject", "all"])
async def test_r3_a_revoked_token_opens_nothing(world, how):
    """By its id, its subject, or with all others."""
    them = await world()
    token = them.token(iat=int(time.time()) - 5)
    before = await them.ask(b"/api", token)
    now = time.time()
    match how:
        case "jti":
            await them.revocations.revoke_token("https://id.test", "j1", now, keep_s=3600)
        case "subject":
            await them.revocations.revoke_subject("https://id.test", "ann", now, keep_s=3600)
        case _:
            await them.revocations.revoke_all(now, keep_s=3600)
    await them.until(401, b"/api", token)

    assert ([200] * 4, [401] * 4) == (before, await them.ask(b"/api", token))


async def test_k2_a_token_that_is_over_opens_nothing(world):
    """Its time is compared at each use."""
    them = await world()
    token = them.token(exp=int(time.time()) + 2)
    before = await them.ask(b"/api", token)
    await asyncio.sleep(2.05)

    assert ([200] * 4, [401] * 4) == (before, await them.ask(b"/api", token))


async def test_mfa_within_runs_out(world):
    """A factor grows old between two equal requests."""
    them = await world()
    token = them.token(auth_time=int(time.time()) - 1, amr=["mfa"])
    before = await them.ask(b"/mfa", token)
    await asyncio.sleep(2.1)

    assert ([200] * 4, [403] * 4) == (before, await them.ask(b"/mfa", token))


async def test_r1_a_bound_session_opens_nothing_elsewhere(world):
    """From another address, with another browser; and from then on nowhere."""
    them = await world()
    here = bind("127.0.0.1", b"Mine", bits=32, has_agent=True)
    cookie = await them.cookie(binding=here)
    mine = b"User-Agent: Mine"
    before = await them.ask(b"/web", cookie, mine)
    elsewhere = await them.ask(b"/web", cookie, mine, address="127.0.0.3", count=1)
    await them.until(401, b"/web", cookie, mine)
    cookie = await them.cookie(binding=Binding("127.0.0.0/8", here.agent))
    everywhere = await them.ask(b"/web", cookie, mine, address="127.0.0.3")
    through = await them.ask(b"/web", cookie, mine, address="127.0.0.2")
    another = await them.ask(b"/web", cookie, b"User-Agent: Other", count=1)

    assert ([200] * 4, [401], [200] * 4) == (before, elsewhere, everywhere)
    assert ([200] * 4, [401]) == (through, another)


async def test_k3_a_token_of_a_key_that_left_the_set_opens_nothing(world):
    """With the next set of keys, not with the next restart."""
    them = await world()
    token = them.token()
    before = await them.ask(b"/api", token)
    for gate in them.gates:
        (scheme,) = {
            scheme
            for route in gate.runtime.gate.routes
            for scheme in route.schemes
            if scheme.name == "api"
        }
        scheme.keys._keys = KeySet.from_secret(
            b"another secret of at least 32 bytes", algorithms=["HS256"]
        )
    assert ([200] * 4, [401] * 4) == (before, await them.ask(b"/api", token))


async def test_two_users_on_one_connection_stay_two(world):
    """As a proxy before the gate sends them: by turns, and with each other's cookies and tokens."""
    them = await world()
    ann, bob = await them.cookie("ann"), await them.cookie("bob")
    tokens = [them.token(sub="ann"), them.token(sub="bob", jti="j2")]
    heads = [
        b"\r\n".join((b"GET %b HTTP/1.1" % path, b"Host: gate", *lines)) + b"\r\n\r\n"
        for path in (b"/any", b"/turned", b"/web", b"/api", b"/signed", b"/bearer", b"/")
        for lines in (
            *((ann,), (bob,), (tokens[0],), (tokens[1],), ()),
            *((ann, tokens[1]), (bob, tokens[0]), (ann, bob), (b"Cookie: a=1", ann)),
        )
    ]

    async def talk(gate):
        heard, client = [], await gate.connect()
        for head in [*heads, *heads, *heads[::-1], *heads]:
            await client.say(head)
            heard.append(await client.hear(b"GET"))
            if is_over(heard[-1]):
                await client.close()
                client = await gate.connect()
        await client.close()
        return heard

    await them.gates.same(talk)
    told = {
        (request.split(b" ")[1], *re.findall(rb"X-Auth-Subject: (\w+)", request))
        for gate in them.gates
        for request in gate.mirror.received
    }
    assert {(b"/web", b"ann"), (b"/web", b"bob"), (b"/",)} <= told


async def test_a_session_in_use_is_kept_alive_by_hits(world):
    """A hit is a use of the session, as any other request is (reference.md §4)."""
    them = await world(modes=MODES)
    cookie = await them.cookie()
    assert [200] * 4 == await them.ask(b"/web", cookie)
    seen = [gate.runtime.coherence.counters.hits for gate in them.gates]
    assert 1 == len(set(seen))


async def test_r10_where_nothing_may_be_kept_each_request_is_looked_up_once(world, mortal_valkey):
    """One look-up goes with one request, whichever way it takes, and whatever is kept of it."""
    with mortal_valkey.client() as admin:
        rules = ["on", ">pw", "~*", "+@all", "-client"]
        admin.execute_command("ACL", "SETUSER", "poor", "reset", *rules)
    url = f"unix://poor@{mortal_valkey.socket_path}?password=pw"
    them = await world(mortal_valkey, url=url)
    credentials = {b"/web": await them.cookie(), b"/api": them.token(), b"/shop": them.shop()}
    for path, line in credentials.items():
        before = them.gates["cold"].runtime.coherence.counters.misses
        assert [200] * 4 == await them.ask(path, line)
        assert 4 == them.gates["cold"].runtime.coherence.counters.misses - before
    unknown = await them.ask(b"/web", b"Cookie: sid=unknown")

    assert [401] * 4 == unknown


@pytest.mark.slow
@pytest.mark.parametrize("grace", ["", "30s"])
async def test_r2_r8_a_lost_store_is_noticed(world, mortal_valkey, grace):
    """After `max_staleness` nothing is believed, but what `serve_cached` lets serve: safe requests."""
    more = f", on_outage: {{serve_cached: {grace}}}" if grace else ""
    them = await world(mortal_valkey, staleness="1s", more=more, modes=MODES)
    credentials = {b"/web": await them.cookie(), b"/api": them.token(), b"/shop": them.shop()}
    before = [await them.ask(path, line) for path, line in credentials.items()]
    mortal_valkey.kill()
    await asyncio.sleep(1.3)
    after = [await them.ask(path, line, count=3) for path, line in credentials.items()]
    posted = await them.ask(b"/api", credentials[b"/api"], method=b"POST", count=2)
    public = await them.ask(b"/")

    assert ([[200] * 4] * 3, [200] * 4) == (before, public)
    assert [[200 if grace else 503] * 3] * 3 == after
    assert [503] * 2 == posted


async def test_a_drain_is_told_with_the_answer_that_is_under_way(world):
    """The last answer says that the connection closes, memo warm or not."""
    them = await world()
    them.gates["off"].mirror.answers = {}
    for gate in them.gates:
        gate.mirror.answers = {b"/slow": [0.3, OK]}

    async def talk(gate):
        client, idle = await gate.connect(), await gate.connect()
        heard = []
        for _ in range(3):
            await client.say(PROBE)
            heard.append(await client.hear(b"GET"))
        await client.say(b"GET /slow HTTP/1.1\r\nHost: gate\r\n\r\n")
        async with asyncio.timeout(10):
            while b" /slow " not in gate.mirror.received[-1]:  # noqa: ASYNC110 - it is the mirror's
                await asyncio.sleep(0)
        draining = asyncio.get_running_loop().create_task(gate.server.drain(5.0))
        heard += [await client.reader.read(), await idle.reader.read()]
        await draining
        await client.close()
        await idle.close()
        return heard

    heard = await them.gates.same(talk)
    assert b"\r\nConnection: close\r\n" in heard[3]


HASHED = """
server: {id: here}
upstreams:
  app: {servers: ["@one@", "@two@", "@three@"], balance: {hash: @by@}}
  ailing: {servers: ["@one@", "http://127.0.0.1:9"]}
schemes:
  api:
    type: jwt
    issuer: https://id.test
    audience: [app]
    algorithms: [HS256]
    keys: {secret: @secret@}
    revocation: none
    max_lifetime: 15m
routes:
  - {match: {path: /**}, auth: none, upstream: app}
  - {match: {path: /api}, auth: api, upstream: app}
  - {match: {path: /ailing}, auth: none, upstream: ailing}
"""


@pytest.fixture
async def mirrors():
    """Start three applications."""
    started = [Mirror({}), Mirror({}), Mirror({})]
    for mirror in started:
        await mirror.start()
    yield started
    for mirror in started:
        await mirror.stop()


def places(mirrors, **values):
    names = ("one", "two", "three")
    urls = (f"http://127.0.0.1:{mirror.port}" for mirror in mirrors)
    return dict(zip(names, urls, strict=True)) | values | {"secret": SECRET}


@pytest.mark.parametrize("by", ["subject", "address", "{cookie: c}"])
async def test_a_hashed_choice_is_the_same_in_every_lane(tmp_path, mirrors, by):
    """By this request's subject, address or cookie, wherever the memo has the rest from."""
    world = World.__new__(World)
    lines = [
        *((b"Cookie: c=%d" % number,) for number in range(5)),
        *((b"Cookie: a=1; c=2", b"Accept: */*"), (), (b"Accept: text/html",)),
        *((world.token(sub=f"user{number}"), b"Cookie: c=1") for number in range(5)),
    ]
    async with trio(tmp_path, HASHED, {}, **places(mirrors, by=by)) as gates:
        chosen = {gate.mode: [] for gate in gates}
        for gate in gates:
            for address in ("127.0.0.1", "127.0.0.5", "127.0.0.9"):
                client = await gate.connect(address)
                for line in lines * 3:
                    path = b"/api" if len(line) == 2 and line[0].startswith(b"Auth") else b"/x"
                    head = b"\r\n".join((b"GET %b HTTP/1.1" % path, b"Host: gate", *line))
                    before = [len(mirror.received) for mirror in mirrors]
                    await client.say(head + b"\r\n\r\n")
                    assert (await client.hear(b"GET")).startswith(b"HTTP/1.1 200 ")
                    after = [len(mirror.received) for mirror in mirrors]
                    chosen[gate.mode].append([b - a for a, b in zip(before, after, strict=True)])
                await client.close()
    if by == "address":  # without a key the less busy of two random ones is chosen
        chosen = {mode: choice[: len(lines)] for mode, choice in chosen.items()}
    else:
        kept = [
            n for n, line in enumerate(lines) if any(b"c=" in one or b"Auth" in one for one in line)
        ]
        kept = [n for n in kept if by != "subject" or n >= 8]
        chosen = {mode: [choice[n] for n in kept] for mode, choice in chosen.items()}
    assert chosen["off"] == chosen["cold"] == chosen["warm"]


async def test_f3_a_server_that_is_down_costs_no_request_twice(tmp_path, mirrors):
    """Each request reaches an application once, or is told that it did not."""
    async with trio(tmp_path, HASHED, {}, **places(mirrors, by="address")) as gates:
        for gate in gates:
            mirrors[0].received.clear()
            client, statuses = await gate.connect(), []
            for _ in range(30):
                await client.say(b"GET /ailing HTTP/1.1\r\nHost: gate\r\n\r\n")
                statuses.append((await client.hear(b"GET"))[9:12])
            await client.close()
            assert {b"200", b"502"} >= set(statuses)
            assert statuses.count(b"200") == len(mirrors[0].received) >= 20
