"""What a request in the express lane must not leave to the next one, nor take from it (design.md §8).

Each of these goes on on one client connection, as a proxy before the gate keeps one for many users.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import io
import json
import time

import jwt
import pytest

from proxy.adapters.telemetry.access import AccessLog
from proxy.adapters.telemetry.clock import Clock
from proxy.config.models import SessionSchemeConfig
from proxy.edge import lane as lanes
from proxy.model import Identity
from proxy.services.schemes.build import open_sessions
from proxy.services.sessions import Login
from tests.byte_server import REQUEST, ByteServer, Close, Say, Until, Wait
from tests.lanes import forget_people, is_whole

SECRET = "0123456789abcdef0123456789abcdef"
DATED = b"HTTP/1.1 200 OK\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\nContent-Length: 1\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

CONFIG = """
server: {{id: here, limits: {limits}, trusted_proxies: [{trusted}]}}
store: {{url: "{store}"}}
secrets: {{key: "{key}"}}
upstreams:
  app: {{servers: ["{server}"], timeouts: {timeouts}}}
schemes:
  web: {{type: session, format: native, cookie: sid}}
  api:
    type: jwt
    issuer: https://id.test
    audience: [app]
    algorithms: [HS256]
    keys: {{secret: {secret}}}
    revocation: none
    max_lifetime: 15m
routes:
  - {{match: {{path: /**}}, auth: none, upstream: app}}
  - {{match: {{path: /web}}, auth: web, upstream: app}}
  - {{match: {{path: /api}}, auth: api, upstream: app}}
"""


@pytest.fixture
async def before(start_gate, valkey, monkeypatch):
    """Return a function that starts a gate before a server that plays `scripts`."""
    monkeypatch.setattr(lanes, "SWEEP_S", 0.02)
    async with contextlib.AsyncExitStack() as stack:

        async def start(*scripts, limits="{}", timeouts="{}", trusted="", store=None, more=""):
            server = ByteServer(scripts)
            await server.start()
            stack.push_async_callback(server.stop)
            text = CONFIG.format(
                server=server.address,
                limits=limits,
                timeouts=timeouts,
                trusted=trusted,
                store=store or valkey.url,
                key="00" * 32,
                secret=SECRET,
            )
            return await start_gate(text + more), server

        yield start


def get(path=b"/", *lines, method=b"GET"):
    head = (b"%b %b HTTP/1.1" % (method, path), b"Host: gate", *lines)
    return b"\r\n".join(head) + b"\r\n\r\n"


def bearer(subject="ann"):
    now = int(time.time())
    claims = {"iss": "https://id.test", "aud": "app", "sub": subject, "iat": now, "exp": now + 600}
    return b"Authorization: Bearer " + jwt.encode(claims, SECRET, "HS256").encode()


async def cookie_of(gate, subject="ann"):
    """Return the Cookie line of a new session, and what ends it."""
    scheme = gate.runtime.config.schemes["web"]
    assert isinstance(scheme, SessionSchemeConfig)
    sessions = open_sessions(gate.runtime.config, scheme, gate.runtime.store)
    created = await sessions.create(Login(subject), time.time())

    async def end():
        await sessions.end(created.digest, subject)

    return b"Cookie: sid=" + created.cookie.encode(), end


class Line:
    """A client connection."""

    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer

    async def hear(self, *methods):
        """Return the answers to `methods`; what comes behind them is not read."""
        raw = b""
        async with asyncio.timeout(10):
            while not is_whole(raw, *methods):
                data = await self.reader.read(65536)
                if not data:
                    return raw
                raw += data
        return raw

    async def ask(self, raw):
        self.writer.write(raw)
        return await self.hear(raw.partition(b" ")[0])


@pytest.fixture
async def connect():
    """Return a function that opens a client connection to a gate."""
    async with contextlib.AsyncExitStack() as stack:

        async def opened(gate):
            reader, writer = await gate.connect()
            stack.callback(writer.close)
            return Line(reader, writer)

        yield opened


async def until(condition):
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - what is waited for happens in another connection
            await asyncio.sleep(0.002)


async def test_f3_no_request_is_sent_in_the_place_of_another(before, connect):
    """A server that closes a new connection without an answer gets nothing else instead."""
    over = asyncio.Event()
    first = [
        REQUEST,
        DATED + b"1",
        REQUEST,
        DATED + b"1",
        REQUEST,
        DATED + b"1",
        Say(over),
        Close(),
    ]
    gate, server = await before(first, [REQUEST, Close()], [REQUEST, OK])
    line = await connect(gate)
    for _ in range(3):
        assert (await line.ask(get(b"/mine", bearer("ann")))).endswith(b"\r\n\r\n1")
    await server.seen[0].over.wait()
    await until(lambda: not gate.runtime.upstreams["app"].servers[0].idle)
    raw = await line.ask(get(b"/other", bearer("bob")))

    assert raw.startswith(b"HTTP/1.1 502 ")
    assert [b"/other"] == [bytes(seen.received).split(b" ")[1] for seen in server.seen[1:]]


async def test_a_connection_that_comes_late_carries_no_other_request(before, connect):
    """Whoever waited for it was refused meanwhile: the next request waits for its own."""
    gate, server = await before(*[[REQUEST, OK]] * 3)
    gate.runtime.vigil.after_s = 0.05
    (upstream,) = gate.runtime.upstreams["app"].servers
    opened, turns = upstream.connect, [asyncio.Event(), asyncio.Event()]
    waiting = iter(turns)

    async def late(loop):
        await next(waiting).wait()
        return await opened(loop)

    upstream.connect = late
    cookie, end = await cookie_of(gate)
    line = await connect(gate)
    line.writer.write(get(b"/web", cookie))
    await until(lambda: gate.runtime.vigil.counters.watched == 1)
    await end()
    refused = await line.hear(b"GET")
    line.writer.write(get(b"/other"))
    await asyncio.sleep(0.05)  # it waits for its connection: nothing says so
    turns[0].set()
    await asyncio.sleep(0.05)  # for what must not happen
    turns[1].set()
    raw = await line.hear(b"GET")
    sent = b"".join(bytes(seen.received) for seen in server.seen)

    assert (b"401", b"200") == (refused[9:12], raw[9:12])
    assert (b"GET /other", 1) == (sent[:10], sent.count(b"GET "))


async def test_what_follows_a_look_up_is_answered(before, connect):
    """Also where the request that waited for it is refused: none of them is forgotten."""
    gate, _ = await before([REQUEST, OK, REQUEST, OK])
    line = await connect(gate)
    line.writer.write(get(b"/web", b"Cookie: sid=unknown") + get(b"/a") + get(b"/b"))
    raw = await line.hear(b"GET", b"GET", b"GET")

    assert [b"401", b"200", b"200"] == [part[:3] for part in raw.split(b"HTTP/1.1 ")[1:]]


async def test_a_client_that_sends_no_more_gets_all_its_answers(before, connect):
    """A FIN behind several requests: each of them came before it. Half a request is none."""
    gate, _ = await before([REQUEST, OK, REQUEST, OK, REQUEST, OK])
    cookie, _ = await cookie_of(gate)
    line = await connect(gate)
    line.writer.write(get(b"/web", cookie) + get(b"/a") + get(b"/b") + b"GET /c HTTP/1.1\r\nHo")
    line.writer.write_eof()
    async with asyncio.timeout(10):
        raw = await line.reader.read()

    assert 3 == raw.count(b"HTTP/1.1 200 ")
    assert raw.endswith(b"ok")


async def test_a_failure_is_not_told_as_another_client_would_have_it(before, connect):
    """The page or the document: by what this request says it takes, not one that looked like it."""
    go = asyncio.Event()
    scripts = [[REQUEST, OK, REQUEST, OK, REQUEST, OK, Wait(go), Close()]]
    gate, server = await before(*scripts)
    page = (b"Accept: text/html", b"Sec-Fetch-Mode: navigate")
    line = await connect(gate)
    for _ in range(3):
        await line.ask(get(b"/a", *page))
    go.set()
    await server.seen[0].over.wait()
    await server.stop()
    await until(lambda: not gate.runtime.upstreams["app"].servers[0].idle)
    document = await line.ask(get(b"/a", b"Accept: application/json"))
    shown = await line.ask(get(b"/a", *page))

    assert b"\r\nContent-Type: application/problem+json\r\n" in document
    assert b"\r\nContent-Type: text/html" in shown


async def test_a_failure_is_not_charged_with_the_answer_before_it(before, connect):
    """Its log line and the counters have its own status and bytes."""
    gate, server = await before([REQUEST, DATED + b"1", REQUEST, DATED + b"1", REQUEST, Close()])
    line = await connect(gate)
    await line.ask(get())
    await line.ask(get())
    await server.stop()
    raw = await line.ask(get(method=b"POST"))
    await until(lambda: len(gate.records) == 3)
    body = raw.partition(b"\r\n\r\n")[2]

    assert (502, len(raw)) == (gate.records[2].status, gate.records[2].bytes_out)
    assert 2 + len(raw) == gate.server.counters.bytes_out
    assert b"upstream_unreachable" in body


async def test_r7_what_has_failed_is_watched_no_more(before, connect):
    """Its credential's end is not the next request's, which may be somebody else's."""
    fail = asyncio.Event()
    gate, _ = await before(
        [REQUEST, Wait(fail), Close()], [REQUEST, Until(b"never")], [REQUEST, OK]
    )
    gate.runtime.vigil.after_s = 0.05
    cookie, end = await cookie_of(gate)
    line = await connect(gate)
    line.writer.write(get(b"/web", cookie))
    await until(lambda: gate.runtime.vigil.counters.watched == 1)
    fail.set()
    assert (await line.hear(b"GET")).startswith(b"HTTP/1.1 502 ")

    assert 0 == gate.runtime.vigil.counters.watched
    line.writer.write(get(b"/public"))
    await asyncio.sleep(0.05)
    await end()
    await asyncio.sleep(0.1)  # for what must not happen
    assert 1 == len(gate.records)


async def test_r7_a_client_that_leaves_keeps_nobody_else_from_being_ended(before, connect):
    """All that hang on a credential end with it, though one of them is just leaving."""
    gate, _ = await before(*[[REQUEST, Until(b"never")]] * 3)
    gate.runtime.vigil.after_s = 0.05
    cookie, end = await cookie_of(gate)
    lines = [await connect(gate) for _ in range(3)]
    for line in lines:
        line.writer.write(get(b"/web", cookie))
    await until(lambda: gate.runtime.vigil.counters.watched == 3)
    leaving = gate.server._manager.connections[1]
    peers = {line.writer.get_extra_info("sockname")[1]: line for line in lines}
    left = peers.pop(leaving.peer.port)
    release = gate.runtime.vigil._release

    def released(group):
        release(group)
        leaving.transport.abort()  # and the loop has not said so yet

    gate.runtime.vigil._release = released
    await end()
    told = [await line.hear(b"GET") for line in peers.values()]
    await until(lambda: len(gate.records) == 3)

    assert [b"401"] * 2 == [raw[9:12] for raw in told]
    assert b"" == await left.hear(b"GET")


async def test_r7_a_drain_does_not_end_the_watch(before, connect):
    """What still runs while the gate shuts down ends with its credential."""
    began = asyncio.Event()
    gate, _ = await before([REQUEST, b"HTTP/1.1 200 OK\r\n\r\nabc", Say(began), Until(b"never")])
    gate.runtime.vigil.after_s = 0.3
    cookie, end = await cookie_of(gate)
    line = await connect(gate)
    line.writer.write(get(b"/web", cookie))
    await line.reader.readuntil(b"abc")
    draining = asyncio.get_running_loop().create_task(gate.server.drain(8.0))
    await until(lambda: gate.runtime.vigil.counters.watched == 1)
    await end()
    async with asyncio.timeout(5):
        await draining
    record = await gate.next_record()

    assert "stream_revoked" == record.code


async def test_a_look_up_that_the_drain_does_not_wait_for_is_told_so(before, connect):
    """503 `draining`, and one log line, like any other request in progress."""
    gate, _ = await before([REQUEST, OK])
    cookie, _ = await cookie_of(gate)
    (tracked,) = gate.runtime.coherence.tracked.values()
    ask, waiting = tracked.ask, asyncio.get_running_loop().create_future()
    tracked.ask = lambda *_args, **_options: waiting
    line = await connect(gate)
    line.writer.write(get(b"/web", cookie))
    await until(lambda: bool(gate.runtime.coherence.flights))
    await gate.server.drain(0.05)
    raw = await line.hear(b"GET")
    tracked.ask = ask
    waiting.cancel()
    record = await gate.next_record()

    assert raw.startswith(b"HTTP/1.1 503 ")
    assert (503, "draining") == (record.status, record.code)


@pytest.mark.parametrize("subject", ["bob", None], ids=["known", "unknown"])
async def test_f1_whoever_was_looked_up_first_is_closed_when_idle(before, connect, subject):
    """Though the timer ran out meanwhile: it is set anew for every answer, whoever gives it."""
    gate, _ = await before([REQUEST, OK] * 2, [REQUEST, OK], limits="{keepalive: 200ms}")
    if gate.server.lane is not None:
        forget_people(gate.server.lane)
    cookie, _ = await cookie_of(gate)
    first = await connect(gate)
    await first.ask(get(b"/web", cookie))
    (tracked,) = gate.runtime.coherence.tracked.values()
    ask, loop = tracked.ask, asyncio.get_running_loop()

    async def late(asked):
        await asyncio.sleep(0.3)  # until the timer has run out
        return await asked

    tracked.ask = lambda *args, **options: loop.create_task(late(ask(*args, **options)))
    line = await connect(gate)
    other = (await cookie_of(gate, subject))[0] if subject else b"Cookie: sid=" + b"x" * 43
    raw = await line.ask(get(b"/web", other))
    async with asyncio.timeout(5):
        rest = await line.reader.read()

    assert (b"200" if subject else b"401", b"") == (raw[9:12], rest)


async def test_an_answer_that_the_client_does_not_take_is_no_success(before, connect):
    """Whoever leaves before the end of it has left: logged once, when that is known."""
    big = b"HTTP/1.1 200 OK\r\nContent-Length: 8000000\r\n\r\n" + b"x" * 8_000_000
    gate, _ = await before([REQUEST, big])
    line = await connect(gate)
    line.writer.write(get())
    await line.reader.readuntil(b"xxx")
    await asyncio.sleep(0.2)  # nothing says that the server has said all
    assert [] == gate.records
    line.writer.transport.abort()
    record = await gate.next_record()

    assert (499, "client_left") == (record.status, record.code)


async def test_an_answer_larger_than_the_buffers_is_whole_and_the_next_one_too(before, connect):
    """A client that takes it slowly gets all of it; the connection goes on afterwards."""
    size = 3_000_000
    big = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size
    gate, _ = await before([REQUEST, big, REQUEST, OK])
    line = await connect(gate)
    line.writer.write(get())
    await asyncio.sleep(0.1)  # the buffers fill
    raw = await line.hear(b"GET")

    assert size == len(raw.partition(b"\r\n\r\n")[2])
    assert (await line.ask(get())).endswith(b"ok")
    assert [200, 200] == [(await gate.next_record()).status for _ in range(2)]


async def test_f1_requests_that_are_not_served_yet_wait_at_the_client(before, connect):
    """However many it sends before the first answer, and however many are answered meanwhile."""
    count = 60
    gate, _ = await before([step for _ in range(count) for step in (REQUEST, DATED + b"1")])
    line = await connect(gate)
    line.writer.transport.set_write_buffer_limits(high=1)
    flood = asyncio.get_running_loop().create_task(_flood(line.writer, get() * 20_000))
    raw, most = b"", 0
    async with asyncio.timeout(20):
        while raw.count(b"HTTP/1.1 200 ") < count:
            data = await line.reader.read(65536)
            assert data
            raw += data
            (connection,) = gate.server._manager.connections
            most = max(most, len(connection._behind))
    flood.cancel()

    assert most < 600_000  # what is read at a time comes on top of what the gate waits with


async def test_the_memo_keeps_nobody_whose_verdict_made_room(before, connect):
    """What an application says of people may be large: `verdicts` bounds it, and nothing goes past that."""
    callers, path = [bearer(f"caller-{number}") for number in range(120)], b"/api"
    script = [step for _ in range(6 * len(callers)) for step in (REQUEST, DATED + b"1")]
    gate, _ = await before(script, more="verdicts: {bytes: 64KiB}\n")
    line = await connect(gate)
    for _ in range(3):
        for caller in callers:  # a request without a credential's route is remembered beside it
            assert (await line.ask(get(path, caller))).endswith(b"\r\n\r\n1")
            assert (await line.ask(get(b"/public", caller))).endswith(b"\r\n\r\n1")
    gc.collect()
    known = {
        one.subject
        for one in gc.get_objects()
        if isinstance(one, Identity) and (one.subject or "").startswith("caller-")
    }

    assert len(gate.runtime.coherence.cache) < 40
    assert len(known) <= 2 * len(gate.runtime.coherence.cache) + 10


async def _flood(writer, raw):
    while True:
        writer.write(raw)
        await writer.drain()


async def test_s15_an_id_that_a_trusted_peer_chose_stays_text_in_the_log(before, connect):
    """Whatever it is, the line is one JSON object that says who it was."""
    gate, _ = await before([REQUEST, OK, REQUEST, OK], trusted="127.0.0.0/8")
    written = io.BytesIO()
    log = AccessLog(
        lambda data: written.write(data) and None, Clock(time.time), "test", is_json=True
    )
    serving = gate.server._serving
    serving._access_log = serving._json_log = log
    chosen = 'a","subject":"root"'
    line = await connect(gate)
    await line.ask(get(b"/api", bearer(), b"X-Request-Id: " + chosen.encode()))
    said = json.loads(written.getvalue())

    assert (chosen, "ann") == (said["request_id"], said["subject"])


async def test_a_log_that_fails_costs_no_request(before, connect, caplog):
    """The answer was sent; the connection goes on."""
    gate, _ = await before([REQUEST, DATED + b"1"] * 3)
    if gate.lane == "off":
        pytest.skip("there the connection ends, with the answer sent")

    def broken(_record):
        raise OSError("no space left")

    gate.server._serving._access_log = broken
    line = await connect(gate)
    for _ in range(3):
        assert (await line.ask(get())).startswith(b"HTTP/1.1 200 ")
    assert "could not be logged" in caplog.text
