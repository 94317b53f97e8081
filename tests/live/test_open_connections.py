"""R7: an open tunnel, event stream or download ends when what opened it is taken back or over."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import json
import math
import os
import signal
import time
import uuid

import aiohttp
import jwt
import pytest
import websockets
from aiohttp import web
from aiohttp.test_utils import TestServer

from proxy.core.revocation import RevocationKeys
from proxy.model import Refusal
from proxy.services.endings import Ending
from proxy.services.revocations import Revocations
from proxy.services.schemes.build import open_sessions
from proxy.services.sessions import Login

SECRET = "s" * 64
ISSUER = "https://id.test"

LANES = ("off", "warm")
"""Most of these are tunnels, which take no lane; they wait, and would wait three times."""

CONFIG = """
store: {{url: "{store}", {timing}{more}}}
upstreams: {{app: {{servers: ["{app}"]}}}}
schemes:
  web: {{type: session, format: native, cookie: sid, idle_timeout: {idle}, lifetime: {lifetime}}}
  shop: {{type: session, format: json, cookie: shop, prefix: "sess:", identity: {{subject: user.id}}}}
  api: {{type: jwt, issuer: "{issuer}", audience: [app], algorithms: [HS256], keys: {{secret: "{secret}"}}, leeway: 1s}}
  free:
    type: jwt
    issuer: "{issuer}"
    audience: [app]
    algorithms: [HS256]
    keys: {{secret: "{secret}"}}
    revocation: none
    max_lifetime: 10m
    leeway: 1s
routes:
  - {{match: {{path: /web/**}}, auth: web, upstream: app, cross_site: allow, upgrades: [websocket, echo]}}
  - {{match: {{path: /staff/**}}, auth: web, upstream: app, cross_site: allow, require: {{roles: [staff]}}}}
  - {{match: {{path: /shop/**}}, auth: shop, upstream: app, cross_site: allow}}
  - {{match: {{path: /api/**}}, auth: api, upstream: app}}
  - {{match: {{path: /free/**}}, auth: free, upstream: app}}
  - {{match: {{path: /open/**}}, auth: none, upstream: app}}
  - {{match: {{path: /kept/web/**}}, auth: web, upstream: app, cross_site: allow, streams: {{on_expiry: keep}}}}
  - {{match: {{path: /kept/shop/**}}, auth: shop, upstream: app, cross_site: allow, streams: {{on_expiry: keep}}}}
  - {{match: {{path: /kept/api/**}}, auth: api, upstream: app, streams: {{on_expiry: keep}}}}
  - match: {{path: /both/**}}
    auth: [api, web]
    both: same_subject
    same_subjects: true
    upstream: app
    cross_site: allow
"""
TIMING = "timeout: 400ms, max_staleness: 1s"
PATIENT = "timeout: 30s, max_staleness: 60s"
"""For what has nothing to do with time: a busy machine is no outage."""


async def _echo(request):
    socket = web.WebSocketResponse(max_msg_size=0)
    await socket.prepare(request)
    async for message in socket:
        await socket.send_str(message.data)
    return socket


async def _events(request):
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    with contextlib.suppress(ConnectionError):
        while True:
            await response.write(b"data: x\n\n")
            await asyncio.sleep(0.05)
    return response


async def _download(request):
    response = web.StreamResponse()
    response.content_length = 1_000_000
    await response.prepare(request)
    with contextlib.suppress(ConnectionError):
        while True:
            await response.write(b"x")
            await asyncio.sleep(0.05)
    return response


async def _upload(request):
    response = web.StreamResponse()
    await response.prepare(request)
    await response.write(b"go on")
    with contextlib.suppress(ConnectionError, aiohttp.ClientError):
        await request.content.read()
    return response


@pytest.fixture
async def app():
    application = web.Application()
    for name, handler in {"ws": _echo, "events": _events, "download": _download}.items():
        application.router.add_get(f"/{{tail:.*}}/{name}", handler)
    application.router.add_post("/{tail:.*}/upload", _upload)
    async with TestServer(application) as server:
        yield f"http://127.0.0.1:{server.port}"


async def until(condition):
    """Wait for what must come; the test's time-out is its bound."""
    while not condition():  # noqa: ASYNC110 - another process, or time, brings it about
        await asyncio.sleep(0.01)


class Holders:
    """A gate, good credentials, and ways to take them back."""

    def __init__(self, gate, admin):
        self.gate = gate
        self.admin = admin

    @property
    def counters(self):
        return self.gate.runtime.coherence.streams

    @property
    def source(self):
        (tracked,) = self.gate.runtime.coherence.tracked.values()
        return tracked.source

    def revocations(self):
        keys = RevocationKeys(self.gate.runtime.config.store.prefix)
        return Revocations(self.gate.runtime.store, keys)

    async def sign_in(self, **login):
        """Return the headers of a new native session."""
        runtime = self.gate.runtime
        self.sessions = open_sessions(runtime.config, runtime.config.schemes["web"], runtime.store)
        self.made = await self.sessions.create(Login("ada", **login), time.time())
        self.session_key = self.sessions.session_key(self.made.digest)
        return {"Cookie": f"sid={self.made.cookie}"}

    def token(self, life_s=300.0, **claims):
        """Return the headers of a new token."""
        now = int(time.time())
        self.claims = {
            "iss": ISSUER, "aud": "app", "sub": "ada", "sid": "s1", "jti": uuid.uuid4().hex,
            "iat": now, "exp": int(now + life_s), **claims,
        }  # fmt: skip
        return {"Authorization": f"Bearer {jwt.encode(self.claims, SECRET)}"}

    def shop(self):
        """Return the headers of a new session of an application's own."""
        self.admin.set("sess:abc123", json.dumps({"user": {"id": 7}}))
        return {"Cookie": "shop=abc123"}

    def rewrite(self, **changes):
        """Change the native session's record, as another program would."""
        record = json.loads(self.admin.get(self.session_key))
        self.admin.set(self.session_key, json.dumps(record | changes), keepttl=True)

    def open(self, path, headers):
        url = f"ws://127.0.0.1:{self.gate.port}{path}/ws"
        return websockets.connect(
            url, additional_headers=headers, ping_interval=None, max_size=None, open_timeout=60,
            proxy=None,
        )  # fmt: skip

    async def settled(self, watched=1):
        """Wait until the open connections have been decided again once and are watched."""
        await until(lambda: self.counters.watched == watched and self.counters.decided_again)


@pytest.fixture
async def holders(start_gate, app):
    """Return a function that starts a gate in front of a Valkey."""
    started = []

    async def start(
        valkey, *, url=None, timing=PATIENT, more="", idle="30m", lifetime="12h", upstream=None
    ):
        text = CONFIG.format(
            store=url or valkey.url, timing=timing, more=more, app=upstream or app, secret=SECRET,
            issuer=ISSUER, idle=idle, lifetime=lifetime,
        )  # fmt: skip
        them = Holders(await start_gate(text), valkey.client())
        them.gate.runtime.vigil.check_s = math.inf  # what ends them is a push, or their time
        started.append(them)
        return them

    yield start
    for them in started:
        them.admin.close()


async def said(socket, text="hello"):
    """Send a message and return what comes back."""
    await socket.send(text)
    return await socket.recv()


async def end_of(socket):
    """Wait for the end of a WebSocket; return status and reason of its close frame."""
    with contextlib.suppress(websockets.ConnectionClosed):
        while True:
            await socket.recv()
    return socket.close_code, socket.close_reason


@contextlib.asynccontextmanager
async def listening(them, path, headers):
    """Give an event stream that goes on until somebody ends it."""
    async with (
        aiohttp.ClientSession() as client,
        client.get(f"{them.gate.url}{path}/events", headers=headers) as answer,
    ):
        yield answer


REVOKED, EXPIRED = (1008, "stream_revoked"), (1008, "stream_expired")
UNCONFIRMED = (1008, "stream_unconfirmed")


async def test_r7_a_tunnel_ends_with_its_session(holders, valkey):
    """Another program deletes the session: close frame 1008, and the log says why."""
    them = await holders(valkey)
    async with them.open("/web", await them.sign_in()) as socket:
        assert "hello" == await said(socket)
        await them.settled()
        them.admin.delete(them.session_key)
        assert REVOKED == await end_of(socket)
    record = await them.gate.next_record()
    assert (101, "stream_revoked") == (record.status, record.code)
    assert "session_unknown" in record.detail
    assert (1, 0, 0) == (
        them.counters.ended_revoked, them.counters.watched, them.counters.tunnels,
    )  # fmt: skip


@pytest.mark.parametrize("how", ["jti", "subject", "session", "issuer", "all"])
async def test_r7_a_tunnel_ends_when_its_token_is_revoked(holders, valkey, how):
    """By whichever of its names."""
    them = await holders(valkey)
    headers = them.token()
    revocations, now = them.revocations(), time.time()
    async with them.open("/api", headers) as socket:
        assert "hello" == await said(socket)
        await them.settled()
        match how:
            case "jti":
                await revocations.revoke_token(ISSUER, them.claims["jti"], now, keep_s=100)
            case "subject":
                await revocations.revoke_subject(ISSUER, "ada", now, keep_s=100)
            case "session":
                await revocations.revoke_session(ISSUER, "s1", now, keep_s=100)
            case "issuer":
                await revocations.revoke_issuer(ISSUER, now, keep_s=100)
            case "all":
                await revocations.revoke_all(now, keep_s=100)
        assert REVOKED == await end_of(socket)
    assert "token_revoked" in (await them.gate.next_record()).detail


async def test_r7_a_tunnel_ends_when_a_needed_role_is_lost(holders, valkey):
    """`require` is asked again, with the identity as it is now."""
    them = await holders(valkey)
    async with them.open("/staff", await them.sign_in(roles=("staff", "cook"))) as socket:
        assert "hello" == await said(socket)
        await them.settled()
        decided = them.counters.decided_again
        them.rewrite(roles=["staff"])
        await until(lambda: them.counters.decided_again > decided)
        assert "still" == await said(socket, "still"), "a role that nobody asks for"
        them.rewrite(roles=["cook"])
        assert REVOKED == await end_of(socket)
    assert "role_missing" in (await them.gate.next_record()).detail


async def test_r7_a_tunnel_ends_when_its_session_becomes_somebody_elses(holders, valkey):
    """The upstream was told who is there: nobody else takes the place."""
    them = await holders(valkey)
    async with them.open("/web", await them.sign_in()) as socket:
        assert "hello" == await said(socket)
        await them.settled()
        them.rewrite(sub="eve")
        assert REVOKED == await end_of(socket)


async def test_r7_an_applications_session_that_is_rewritten_keeps_its_tunnel(holders, valkey):
    """It is looked up again after each change, and ends when it is deleted."""
    them = await holders(valkey)
    async with them.open("/shop", them.shop()) as socket:
        for text in ("one", "two"):
            assert text == await said(socket, text)
            await them.settled()
            decided = them.counters.decided_again
            them.admin.expire("sess:abc123", 1000)
            await until(lambda: them.counters.decided_again > decided)  # noqa: B023 - waited for at once
        assert "three" == await said(socket, "three")
        them.admin.delete("sess:abc123")
        assert REVOKED == await end_of(socket)


@pytest.mark.parametrize("which", ["session", "token"])
async def test_r7_every_credential_that_counted_is_watched(holders, valkey, which):
    """`both: same_subject`: the loss of either ends the tunnel."""
    them = await holders(valkey)
    headers = await them.sign_in() | them.token()
    async with them.open("/both", headers) as socket:
        assert "hello" == await said(socket)
        await them.settled()
        if which == "session":
            them.admin.delete(them.session_key)
        else:
            await them.revocations().revoke_subject(ISSUER, "ada", time.time(), keep_s=100)
        assert REVOKED == await end_of(socket)


@pytest.mark.slow
async def test_r7_a_tunnel_ends_with_its_tokens_time(holders, valkey):
    """`exp` closes, with `revocation: none` too, which no revocation reaches."""
    them = await holders(valkey)
    headers = them.token(life_s=4)
    async with them.open("/api", headers) as one, them.open("/free", headers) as other:
        assert ["hello", "hello"] == [await said(one), await said(other)]
        assert [EXPIRED, EXPIRED] == [await end_of(one), await end_of(other)]
        assert time.time() >= them.claims["exp"]
    assert 2 == them.counters.ended_expired


async def test_r7_without_revocation_only_time_counts(holders, valkey):
    """`revocation: none`: no store is asked, and none is heard."""
    them = await holders(valkey)
    async with them.open("/free", them.token()) as socket:
        await them.settled()
        await them.revocations().revoke_all(time.time(), keep_s=100)
        them.admin.flushall()
        await until(lambda: them.source.counters.flushes)
        assert "hello" == await said(socket)
        assert 1 == them.counters.watched


@pytest.mark.slow
async def test_r7_keep_outlives_the_time_and_not_the_revocation(holders, valkey):
    """`streams: {on_expiry: keep}`: exp passes, the tunnel stays; a revocation closes it still."""
    them = await holders(valkey)
    headers = them.token(life_s=3)
    async with them.open("/kept/api", headers) as socket:
        await until(lambda: them.counters.kept == 1)
        assert time.time() >= them.claims["exp"]
        await asyncio.sleep(1.5)
        assert "still" == await said(socket, "still")
        await them.revocations().revoke_subject(ISSUER, "ada", time.time(), keep_s=100)
        assert REVOKED == await end_of(socket)


@pytest.mark.slow
async def test_r7_keep_outlives_idleness_and_not_the_deletion(holders, valkey):
    """An idle session's tunnel stays with `keep`, until the session is ended."""
    them = await holders(valkey, idle="2s")
    async with them.open("/kept/web", await them.sign_in()) as socket:
        await until(lambda: them.counters.kept == 1)
        await until(lambda: not them.admin.exists(them.sessions.seen_key(them.made.digest)))
        assert "still" == await said(socket, "still")
        them.admin.delete(them.session_key)
        assert REVOKED == await end_of(socket)


@pytest.mark.slow
@pytest.mark.parametrize("path", ["/web", "/kept/web"])
async def test_r7_a_session_reaches_its_end(holders, valkey, path):
    """The record goes with its time: that is an end by the clock, and no revocation."""
    them = await holders(valkey, lifetime="3s", idle="2s")
    headers = await them.sign_in()
    async with them.open(path, headers) as socket:
        await them.settled()
        if path == "/web":
            assert EXPIRED == await end_of(socket)
            return
        while them.counters.watched:
            assert "use" == await said(socket, "use")
            await asyncio.sleep(0.1)
        assert not them.admin.exists(them.session_key)
        assert "still" == await said(socket, "still")


@pytest.mark.slow
@pytest.mark.parametrize("path", ["/shop", "/kept/shop"])
async def test_r7_an_applications_session_reaches_its_end(holders, mortal_valkey, path):
    """The gate counts the life of a key for itself: the server may find its end much later."""
    them = await holders(mortal_valkey)
    them.admin.execute_command("DEBUG", "SET-ACTIVE-EXPIRE", "0")
    headers = them.shop()
    them.admin.pexpire("sess:abc123", 2500)
    async with them.open(path, headers) as socket:
        if path == "/shop":
            assert EXPIRED == await end_of(socket)
            return
        await until(lambda: them.counters.kept == 1)
        assert "still" == await said(socket, "still")


@pytest.mark.slow
async def test_r7_data_is_use_of_a_session_and_pings_are_not(holders, valkey):
    """A tunnel that is used outlives the idle time; pings and pongs keep nothing alive."""
    them = await holders(valkey, idle="3s")
    async with them.open("/web", await them.sign_in()) as socket:
        used_until = time.time() + 5
        while time.time() < used_until:
            assert "use" == await said(socket, "use")
            await asyncio.sleep(0.2)
        seen = float(them.admin.get(them.sessions.seen_key(them.made.digest)))
        assert seen > used_until - 3
        ending = asyncio.ensure_future(end_of(socket))  # noqa: TID251 - a test's own
        with contextlib.suppress(websockets.ConnectionClosed):
            while not ending.done():
                await socket.ping()
                await asyncio.sleep(0.2)
        assert EXPIRED == await ending
        assert not them.admin.exists(them.sessions.seen_key(them.made.digest))


async def test_r7_client_kill_ends_what_was_revoked_and_nothing_else(holders, valkey):
    """After a loss of the connection every tunnel is decided again."""
    them = await holders(valkey)
    headers = await them.sign_in()
    async with them.open("/web", headers) as lost, them.open("/api", them.token()) as good:
        await them.settled(2)
        await until(lambda: not them.gate.runtime.vigil._working)
        decided = them.counters.decided_again
        pipeline = them.admin.pipeline(transaction=True)  # the news dies with the connection
        pipeline.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        pipeline.delete(them.session_key)
        pipeline.execute()
        assert REVOKED == await end_of(lost)
        await until(lambda: them.counters.decided_again >= decided + 2)
        assert "hello" == await said(good)


async def test_r7_flushall_ends_every_session(holders, valkey):
    """Whoever is not known any more stays no longer."""
    them = await holders(valkey)
    async with them.open("/web", await them.sign_in()) as socket:
        await them.settled()
        them.admin.flushall()
        assert REVOKED == await end_of(socket)


@pytest.mark.slow
async def test_r7_a_killed_store_ends_tunnels_after_max_staleness(holders, mortal_valkey):
    """Not confirmed in time is closed; what hangs on no store stays."""
    them = await holders(mortal_valkey, timing=TIMING)
    headers = await them.sign_in()
    async with them.open("/web", headers) as one, them.open("/free", them.token()) as other:
        await them.settled(2)
        mortal_valkey.kill()
        killed_at = time.monotonic()
        assert UNCONFIRMED == await end_of(one)
        assert time.monotonic() - killed_at < 10
        assert "hello" == await said(other)
    assert 1 == them.counters.ended_unconfirmed


@pytest.mark.slow
async def test_r8_serve_cached_bridges_an_outage_for_answers_and_no_tunnel(holders, mortal_valkey):
    """R8: for an answer the grace counts from the last proof; what is said in a tunnel may change anything."""
    them = await holders(mortal_valkey, timing=TIMING, more=", on_outage: {serve_cached: 4s}")
    them.gate.runtime.vigil.after_s = 0.1
    headers = await them.sign_in()
    async with listening(them, "/web", headers) as events, them.open("/web", headers) as socket:
        await them.settled(2)
        mortal_valkey.kill()
        await until(lambda: them.source.counters.losses)
        assert "lost" == them.source.state
        proven_at, clock = them.source.proven_at, them.gate.runtime.coherence.clock
        assert UNCONFIRMED == await end_of(socket)
        assert clock() < proven_at + 3.5
        assert b"data: x" in await events.content.readline()
        with pytest.raises(aiohttp.ClientError):
            await events.content.read()
        assert clock() > proven_at + 4.0


@pytest.mark.slow
@pytest.mark.parametrize("how", ["killed", "stopped"])
async def test_r8_what_is_bridged_is_bridged_for_as_long_as_it_says(holders, mortal_valkey, how):
    """R8: session and token, killed store or silent one; the checks in between end nothing."""
    them = await holders(mortal_valkey, timing=TIMING, more=", on_outage: {serve_cached: 6s}")
    them.gate.runtime.vigil.check_s, them.gate.runtime.vigil.after_s = 1.0, 0.1
    headers = await them.sign_in()
    async with (
        listening(them, "/web", headers) as one,
        listening(them, "/api", them.token()) as other,
    ):
        await them.settled(2)
        if how == "killed":
            mortal_valkey.kill()
        else:
            os.kill(mortal_valkey.pid, signal.SIGSTOP)
        proven_at, clock = them.source.proven_at, them.gate.runtime.coherence.clock
        for each in (one, other):
            with pytest.raises(aiohttp.ClientError):
                await each.content.read()
        assert clock() > proven_at + 6.0
    assert 2 == them.counters.ended_unconfirmed
    if how == "stopped":
        os.kill(mortal_valkey.pid, signal.SIGCONT)


async def test_r7_r10_without_tracking_it_is_looked_up_in_intervals(holders, mortal_valkey):
    """Where the server may not tell, the gate asks."""
    with mortal_valkey.client() as admin:
        admin.execute_command(
            "ACL", "SETUSER", "poor", "reset", "on", ">pw", "~*", "+@all", "-client"
        )
    url = f"unix://poor@{mortal_valkey.socket_path}?password=pw"
    them = await holders(mortal_valkey, url=url, timing="timeout: 5s, max_staleness: 10s")
    async with them.open("/web", await them.sign_in()) as socket:
        await them.settled()
        assert "untracked" == them.source.state
        assert "hello" == await said(socket)
        them.admin.delete(them.session_key)
        assert REVOKED == await end_of(socket)


async def test_r7_nothing_is_watched_on_a_public_route(holders, valkey):
    """`auth: none`: open as long as it likes, and counted."""
    them = await holders(valkey)
    async with them.open("/open", {}) as socket:
        assert "hello" == await said(socket)
        assert (1, 0) == (them.counters.tunnels, them.counters.watched)


async def test_r7_many_tunnels_of_one_session_are_one_look_up(holders, valkey):
    """All of them end, and the store is asked once."""
    them = await holders(valkey)
    headers = await them.sign_in()
    async with contextlib.AsyncExitStack() as stack:
        sockets = [await stack.enter_async_context(them.open("/web", headers)) for _ in range(100)]
        await them.settled(100)
        await until(lambda: not them.gate.runtime.vigil._working)
        lookups = them.source.counters.lookups
        them.admin.delete(them.session_key)
        assert {REVOKED} == set(await asyncio.gather(*map(end_of, sockets)))
    assert 1 == them.source.counters.lookups - lookups
    assert 100 == them.counters.ended_revoked


# Frames, and what is no WebSocket

KEY = base64.b64encode(b"0123456789abcdef")
ACCEPT = base64.b64encode(
    hashlib.sha1(KEY + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11", usedforsecurity=False).digest()
)


@pytest.fixture
async def speaker():
    """Serve one upgraded connection: the test says what the server says."""
    opened = asyncio.get_running_loop().create_future()

    async def serve(reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        token = b"echo" if b"Upgrade: echo" in head else b"websocket"
        writer.write(
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: " + token
            + b"\r\nSec-WebSocket-Accept: " + ACCEPT + b"\r\n\r\n"
        )  # fmt: skip
        opened.set_result((reader, writer))

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", opened
    server.close()
    if opened.done():
        opened.result()[1].close()


async def switched(them, token=b"websocket"):
    """Open a tunnel by hand; return the client's reader and writer behind the 101."""
    headers = await them.sign_in()
    reader, writer = await them.gate.connect()
    writer.write(
        b"GET /web/ws HTTP/1.1\r\nHost: gate\r\nConnection: Upgrade\r\nUpgrade: " + token
        + b"\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + KEY
        + b"\r\nCookie: " + headers["Cookie"].encode() + b"\r\n\r\n"
    )  # fmt: skip
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
    return reader, writer


BIG = 300_000
FIRST = b"\x02\x7f" + BIG.to_bytes(8) + b"\x88" * BIG
"""The first piece of a fragmented message, longer than every buffer."""
SECOND = b"\x80\x7f" + BIG.to_bytes(8) + b"x" * BIG
CLOSE = b"\x88\x10\x03\xf0stream_revoked"


async def test_r7_a_frame_in_flight_ends_before_the_close_frame(holders, valkey, speaker):
    """Nothing stands within a frame, and of the frame behind it nothing is sent."""
    url, opened = speaker
    them = await holders(valkey, upstream=url)
    reader, writer = await switched(them)
    server_reader, server_writer = await opened
    server_writer.write(FIRST[:100_000])
    await them.settled()
    received = await reader.readexactly(100_000)
    them.admin.delete(them.session_key)
    await until(lambda: them.counters.ended_revoked)
    server_writer.write(FIRST[100_000:] + SECOND)
    writer.write(b"\x82\x81abcdx")  # a message that comes too late
    received += await reader.readexactly(len(FIRST) + len(CLOSE) - len(received))
    assert FIRST + CLOSE == received
    writer.write(b"\x88\x82abcd\x62\x8a")
    assert b"" == await reader.read()
    with contextlib.suppress(ConnectionError):
        assert b"" == await server_reader.read()
    writer.close()


@pytest.mark.slow
async def test_r7_a_frame_that_does_not_end_is_not_waited_for(holders, valkey, speaker):
    """After a second the connection just closes: a close frame would be read as payload."""
    url, opened = speaker
    them = await holders(valkey, upstream=url)
    reader, writer = await switched(them)
    _, server_writer = await opened
    server_writer.write(FIRST[:1000])
    await reader.readexactly(1000)
    await them.settled()
    them.admin.delete(them.session_key)
    assert b"" == await reader.read()
    writer.close()


@pytest.mark.slow
async def test_r7_a_client_that_does_not_read_is_not_waited_for(holders, valkey, speaker):
    """The tunnel ends although its bytes are stuck."""
    url, opened = speaker
    them = await holders(valkey, upstream=url)
    reader, writer = await switched(them)
    writer.transport.pause_reading()
    _, server_writer = await opened
    server_writer.write(SECOND * 50)
    await them.settled()
    await asyncio.sleep(0.3)  # the buffers fill
    them.admin.delete(them.session_key)
    assert "stream_revoked" == (await them.gate.next_record()).code
    await until(lambda: them.gate.server.connections == 0)
    writer.transport.abort()
    assert reader is not None


async def test_r7_a_tunnel_of_another_protocol_closes_plainly(holders, valkey, speaker):
    """Nobody knows how it says goodbye: TCP does."""
    url, opened = speaker
    them = await holders(valkey, upstream=url)
    reader, writer = await switched(them, b"echo")
    server_reader, server_writer = await opened
    server_writer.write(b"abc")
    assert b"abc" == await reader.readexactly(3)
    await them.settled()
    them.admin.delete(them.session_key)
    assert b"" == await reader.read()
    assert b"" == await server_reader.read()
    writer.close()


# Responses


def request(headers, path, *, version=b"1.1", method=b"GET", more=b""):
    lines = b"".join(b"%b: %b\r\n" % (n.encode(), v.encode()) for n, v in headers.items())
    return b"%b %b HTTP/%b\r\nHost: gate\r\n%b%b\r\n" % (method, path, version, lines, more)


async def all_of(reader):
    """Read to the end, whatever it is; return the bytes, and whether it was a reset."""
    received = bytearray()
    try:
        while data := await reader.read(65536):
            received += data
    except ConnectionResetError:
        return bytes(received), True
    return bytes(received), False


@pytest.mark.parametrize(
    ("what", "version", "end"),
    [
        (b"events", b"1.1", b"\r\n0\r\n\r\n"),
        (b"download", b"1.1", None),
        (b"events", b"1.0", None),
    ],
)
async def test_r7_f6_a_response_ends_with_its_session(holders, valkey, what, version, end):
    """It breaks off: no final chunk, no whole length, no orderly end of the connection."""
    them = await holders(valkey)
    them.gate.runtime.vigil.after_s = 0.1
    headers = await them.sign_in()
    reader, writer = await them.gate.connect()
    writer.write(request(headers, b"/web/" + what, version=version))
    await reader.readuntil(b"\r\n\r\n")
    await them.settled()
    them.admin.delete(them.session_key)
    received, is_reset = await all_of(reader)
    writer.close()
    assert is_reset
    assert end is None or not received.endswith(end)
    record = await them.gate.next_record()
    assert (200, "stream_revoked") == (record.status, record.code)
    assert 1 == them.counters.ended_revoked


async def test_r7_an_upload_ends_with_its_session(holders, valkey):
    """A response that has begun under a request which still runs."""
    them = await holders(valkey)
    them.gate.runtime.vigil.after_s = 0.1
    headers = await them.sign_in()
    reader, writer = await them.gate.connect()
    length = b"Content-Length: 1000000\r\n"
    writer.write(request(headers, b"/web/upload", method=b"POST", more=length) + b"x" * 1000)
    await reader.readuntil(b"go on")
    await them.settled()
    them.admin.delete(them.session_key)
    _, is_reset = await all_of(reader)
    writer.close()
    assert is_reset
    assert "stream_revoked" == (await them.gate.next_record()).code


@pytest.mark.slow
async def test_r7_a_response_is_watched_after_five_seconds(holders, valkey):
    """Short ones cost nothing; from the fifth second on a revocation ends it."""
    them = await holders(valkey)
    headers = await them.sign_in()
    async with (
        aiohttp.ClientSession() as client,
        client.get(f"{them.gate.url}/web/events", headers=headers) as answer,
    ):
        assert 0 == them.counters.watched
        await until(lambda: them.counters.watched == 1)
        them.admin.delete(them.session_key)
        with pytest.raises(aiohttp.ClientError):
            await answer.content.read()
    assert 0 == them.counters.watched


# Requests that are not answered yet


class Silent:
    """An application that answers nothing, and what it was sent."""

    def __init__(self):
        self.received = bytearray()
        self.has_begun = asyncio.Event()
        self.is_over = asyncio.Event()

    async def serve(self, reader, writer):
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                self.received += data
                self.has_begun.set()
        self.is_over.set()
        writer.close()


@pytest.fixture
async def silent():
    application = Silent()
    server = await asyncio.start_server(application.serve, "127.0.0.1", 0)
    application.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    yield application
    server.close()


CHUNKED = b"Transfer-Encoding: chunked\r\n", b"5\r\nhello\r\n", b"0\r\n\r\n"
LENGTH = b"Content-Length: 6\r\n", b"hello", b"!"
NOTHING = b"", b"", b""


async def held_open(them, silent, headers, path, body):
    """Send a request but for the last of its body, and wait until it is watched."""
    them.gate.runtime.vigil.after_s = 0.1
    more, first, _ = body
    reader, writer = await them.gate.connect()
    method = b"POST" if first else b"GET"
    writer.write(request(headers, path, method=method, more=more) + first)
    await silent.has_begun.wait()
    await them.settled()
    return reader, writer


async def refused(reader):
    """Return status and code of the answer that comes."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    return int(head.split()[1]), json.loads(await reader.readexactly(length))["code"], head


@pytest.mark.parametrize("body", [CHUNKED, LENGTH, NOTHING], ids=["chunked", "length", "long poll"])
async def test_r7_a_request_that_is_held_open_ends_with_its_session(holders, valkey, silent, body):
    """401, and the application never gets the end of it; a late last byte changes nothing."""
    them = await holders(valkey, upstream=silent.url)
    reader, writer = await held_open(them, silent, await them.sign_in(), b"/web/x", body)
    them.admin.delete(them.session_key)
    status, code, head = await refused(reader)
    assert (401, "session_unknown") == (status, code)
    assert b"www-authenticate:" in head.lower()
    with contextlib.suppress(ConnectionError):
        writer.write(body[2])
        await writer.drain()
    await silent.is_over.wait()
    assert not body[2] or not silent.received.endswith(body[2])
    writer.close()
    record = await them.gate.next_record()
    assert (401, "stream_revoked") == (record.status, record.code)
    assert (1, 0) == (them.counters.ended_revoked, them.counters.watched)


async def test_r7_the_last_byte_comes_too_late_by_nothing(holders, valkey, silent):
    """It is read in the same turn of the loop in which the session ends: it does not go on."""
    them = await holders(valkey, upstream=silent.url)
    _, writer = await held_open(them, silent, await them.sign_in(), b"/web/x", CHUNKED)
    (connection,) = them.gate.server._manager.connections
    (group,) = them.gate.runtime.vigil._groups.values()
    connection.data_received(CHUNKED[2])
    refusal = Refusal("session_unknown")
    them.gate.runtime.vigil._end(group, Ending("stream_revoked", "", refusal))
    await silent.is_over.wait()
    assert not silent.received.endswith(CHUNKED[2])
    assert 401 == (await them.gate.next_record()).status
    writer.close()


async def test_r7_a_request_that_is_held_open_ends_with_its_token(holders, valkey, silent):
    """The challenge says that the token is no good any more."""
    them = await holders(valkey, upstream=silent.url)
    reader, writer = await held_open(them, silent, them.token(), b"/api/x", CHUNKED)
    await them.revocations().revoke_subject(ISSUER, "ada", time.time(), keep_s=100)
    status, code, head = await refused(reader)
    assert (401, "token_revoked") == (status, code)
    assert b'error="invalid_token"' in head
    await silent.is_over.wait()
    writer.close()


async def test_r7_a_request_that_is_held_open_ends_with_a_needed_role(holders, valkey, silent):
    """403, as the same request would get now."""
    them = await holders(valkey, upstream=silent.url)
    headers = await them.sign_in(roles=("staff",))
    reader, writer = await held_open(them, silent, headers, b"/staff/x", LENGTH)
    them.rewrite(roles=["cook"])
    status, code, _ = await refused(reader)
    assert (403, "role_missing") == (status, code)
    await silent.is_over.wait()
    assert silent.received.endswith(b"hello")
    writer.close()


async def test_r7_a_request_that_nobody_vouches_for_is_unavailable(holders, mortal_valkey, silent):
    """The store is gone for longer than `max_staleness`: 503, and the upstream's part is over."""
    them = await holders(mortal_valkey, upstream=silent.url, timing=TIMING)
    reader, writer = await held_open(them, silent, await them.sign_in(), b"/web/x", CHUNKED)
    mortal_valkey.kill()
    status, code, _ = await refused(reader)
    assert (503, "store_unavailable") == (status, code)
    await silent.is_over.wait()
    writer.close()
    assert "stream_unconfirmed" == (await them.gate.next_record()).code


async def test_r7_a_request_that_is_over_in_time_is_not_watched(holders, valkey, app):
    """The ordinary one leaves nothing behind, and is decided once."""
    them = await holders(valkey, upstream=app)
    headers = await them.sign_in()
    async with aiohttp.ClientSession() as client:
        for _ in range(3):
            async with client.get(f"{them.gate.url}/web/none", headers=headers) as answer:
                assert 404 == answer.status
    assert 3 == len([await them.gate.next_record() for _ in range(3)])
    assert (0, 0) == (len(them.gate.runtime.vigil._young), them.counters.decided_again)
