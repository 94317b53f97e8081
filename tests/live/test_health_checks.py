"""Checks of servers: what says that it is unwell gets nothing, at once, until it says otherwise."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

LANES = ("off", "cold", "warm")
CONFIG = """
upstreams:
  app:
    servers: [{servers}]
    health: {{path: /healthz?deep, interval: 10ms, timeout: 500ms, failures: 2, status: [200, 204]}}
    eject: none
routes:
  - {{match: {{path: /**}}, auth: none, upstream: app}}
"""
GET = b"GET /a HTTP/1.1\r\nHost: gate\r\nCookie: sid=secret\r\nAuthorization: Bearer secret\r\n\r\n"
UNWELL = b"HTTP/1.1 503 Oh\r\nContent-Length: 0\r\n\r\n"
PATIENCE_S = 10


class Application:
    """A server with a place where it says how it is."""

    def __init__(self, name):
        self.name = name
        self.health = b"HTTP/1.1 204 No Content\r\n\r\n"
        """What it says; `None`: nothing."""
        self.slips = False
        """Every other check is bad."""
        self.asked = 0
        self.checks = []
        self.port = 0

    @property
    def url(self):
        return f'"http://127.0.0.1:{self.port}"'

    async def start(self):
        """Listen, at the port where it listened before."""
        loop = asyncio.get_running_loop()
        self.open = set()
        self._server = await loop.create_server(lambda: Talk(self), "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self):
        """Be gone, with every connection."""
        self._server.close()
        for transport in self.open:
            transport.abort()

    def say(self, head):
        """Return the answer to a request."""
        if head.startswith(b"GET /healthz"):
            self.checks.append(head)
            return UNWELL if self.slips and len(self.checks) % 2 else self.health or b""
        self.asked += 1
        told = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b"
        return told % (len(self.name), self.name)


class Talk(asyncio.Protocol):
    """One connection to an application."""

    def __init__(self, application):
        self.application, self.heard = application, b""

    def connection_made(self, transport):
        self.transport = transport
        self.application.open.add(transport)

    def data_received(self, data):
        self.heard += data
        while b"\r\n\r\n" in self.heard:
            head, _, self.heard = self.heard.partition(b"\r\n\r\n")
            self.transport.write(self.application.say(head))

    def connection_lost(self, _exc):
        self.application.open.discard(self.transport)


@pytest.fixture
async def before(start_gate):
    """Return a function that starts a gate before some servers."""
    async with contextlib.AsyncExitStack() as stack:

        async def start(*names):
            servers = [Application(name) for name in names]
            for server in servers:
                await server.start()
                stack.push_async_callback(server.stop)
            text = CONFIG.format(servers=", ".join(server.url for server in servers))
            return Asking(await start_gate(text), names), *servers

        yield start


class Asking:
    """A client with a connection to the gate, which asks again and again."""

    def __init__(self, gate, names):
        self.gate, self.names = gate, names

    async def __call__(self, times=1):
        """Return the answers: who gave them, or their status where it is not 200."""
        reader, writer = await self.gate.connect()
        answers = []
        for _ in range(times):
            writer.write(GET)
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
            body = await reader.readexactly(length)
            status = int(head.split()[1])
            answers.append(body if status == 200 else status)
            self.head = head
            await self.gate.next_record()
        writer.close()
        return answers

    async def until(self, *wanted):
        """Wait until the servers of these names, and no others, are to get requests."""
        servers = self.gate.runtime.upstreams["app"].servers
        async with asyncio.timeout(PATIENCE_S):
            while True:
                pairs = zip(self.names, servers, strict=True)
                if set(wanted) == {name for name, server in pairs if not server.standing.is_out}:
                    return
                await asyncio.sleep(0.002)


async def unwell(server, way):
    """Have a server be unwell."""
    if way == "gone":
        await server.stop()
    else:
        server.health = (
            b"HTTP/1.1 503 Oh\r\nContent-Length: 0\r\n\r\n" if way == "says so" else None
        )


async def well(server, way):
    """Have it be well again."""
    server.health = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    if way == "gone":
        await server.start()


@pytest.mark.parametrize("way", ["says so", "silent", "gone"])
async def test_the_only_server_is_503_until_it_is_well_again(before, way, caplog):
    """At once, with nothing sent on, though its connections stand; and it is back by itself."""
    ask, app = await before(b"one")
    assert [b"one"] * 5 == await ask(5)
    await unwell(app, way)
    await ask.until()
    asked = app.asked

    assert [503] * 5 == await ask(5)
    assert b"\r\nRetry-After: 1\r\n" in ask.head
    assert {"upstream_down"} == {record.code for record in ask.gate.records[-5:]}
    assert asked == app.asked
    await well(app, way)
    await ask.until(b"one")
    assert [b"one"] * 5 == await ask(5)
    said = [record.message for record in caplog.records if "of upstream app" in record.message]
    assert [" is out: ", " is back"] == [
        next(word for word in (" is out: ", " is back") if word in line) for line in said
    ]


@pytest.mark.parametrize("way", ["says so", "silent", "gone"])
async def test_the_other_server_gets_all_until_it_is_well_again(before, way):
    """Nobody notices that one of two is out; 503 when both are, and each is back by itself."""
    ask, one, two = await before(b"one", b"two")
    assert {b"one", b"two"} == set(await ask(50))
    await unwell(one, way)
    await ask.until(b"two")
    asked = one.asked

    assert [b"two"] * 30 == await ask(30)
    assert asked == one.asked
    await unwell(two, "says so")
    await ask.until()
    assert [503] * 5 == await ask(5)
    await well(one, way)
    await ask.until(b"one")
    assert [b"one"] * 10 == await ask(10)
    await well(two, "says so")
    await ask.until(b"one", b"two")
    assert {b"one", b"two"} == set(await ask(50))


async def test_a_check_is_nobodys_request(before):
    """It has a Host and no credentials of anybody; and its route, counters and log know nothing of it."""
    ask, app = await before(b"one")
    await ask(3)
    async with asyncio.timeout(PATIENCE_S):
        while len(app.checks) < 3:  # noqa: ASYNC110 - the application's own count
            await asyncio.sleep(0.005)

    assert {b"GET /healthz?deep HTTP/1.1\r\nHost: gate"} == {
        head.partition(b":%d\r" % app.port)[0].replace(b"127.0.0.1", b"gate") for head in app.checks
    }
    assert not [head for head in app.checks if b"secret" in head]
    assert 3 == len(ask.gate.records) == app.asked


async def test_a_slip_takes_nobody_out(before):
    """One bad answer between good ones, with `failures: 2`, leaves the server where it is."""
    ask, app = await before(b"one")
    app.slips = True
    async with asyncio.timeout(PATIENCE_S):
        while len(app.checks) < 10:
            assert [b"one"] * 3 == await ask(3)
    assert 0 == ask.gate.runtime.upstreams["app"].servers[0].standing.ejections


@pytest.mark.parametrize("change", ["a route", "its checks"])
async def test_a_reload_neither_forgets_nor_ends_checks(before, change, tmp_path):
    """A server that is out stays out under the next configuration, or is found out by its new checks."""
    ask, app = await before(b"one")
    await unwell(app, "says so")
    await ask.until()
    text = CONFIG.format(servers=app.url)
    if change == "a route":
        text += "  - {match: {path: /b}, auth: none, upstream: app}\n"
    else:
        text = text.replace("deep", "new").replace("failures: 2", "failures: 1")
    await ask.gate.reload(tmp_path / "next.yaml", text)
    if change == "a route":
        assert [503] * 3 == await ask(3)
    await ask.until()
    assert [503] * 3 == await ask(3)
    seen = len(app.checks)
    await well(app, "says so")
    await ask.until(b"one")
    assert [b"one"] * 3 == await ask(3)
    asked = {head.split()[1] for head in app.checks[seen:]}
    assert {b"/healthz?deep" if change == "a route" else b"/healthz?new"} == asked
