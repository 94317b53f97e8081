"""A configuration takes the place of another under way: nothing is dropped, nothing is decided by halves."""

from __future__ import annotations

import asyncio
import time

import aiohttp
import jwt
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from proxy.adapters.tasks import spawn
from proxy.config.models import SessionSchemeConfig
from proxy.edge import lane as lanes
from proxy.services.schemes.build import open_sessions
from proxy.services.sessions import Login
from tests.chaos_proxy import ChaosProxy

SECRET = "s" * 64
OTHER = "t" * 64
CONFIG = """
store: {{url: "{store}", timeout: 5s}}
upstreams: {{app: {{servers: ["{app}"]{upstream}}}}}
schemes:
  api: {{type: jwt, issuer: "https://id.test", audience: [app], algorithms: [HS256], keys: {{secret: "{secret}"}}, revocation: none, max_lifetime: 15m}}
  web: {{type: session, format: native, cookie: sid}}
routes:
  - {{name: api, match: {{path: /api/**}}, auth: {auth}, upstream: app, upgrades: [websocket], cross_site: allow{more}}}
{routes}
"""
WEB = "  - {name: web, match: {path: /web/**}, auth: web, upstream: app, cross_site: allow}"
OPEN = "  - {name: open, match: {path: /open/**}, auth: none, upstream: app, upgrades: [websocket], cross_site: allow}"


@pytest.fixture
async def app():
    """Serve what tells who came, and what holds answers back."""
    go_on = asyncio.Event()

    async def tell(request):
        return web.Response(text=request.headers.get("X-Auth-Subject", "nobody"))

    async def wait(request):
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"begun ")
        await go_on.wait()
        await response.write(b"ended")
        return response

    async def echo(request):
        line = web.WebSocketResponse()
        await line.prepare(request)
        async for message in line:
            await line.send_str(message.data)
        return line

    made = web.Application()
    for prefix in ("/api", "/open", "/web"):
        made.router.add_get(prefix + "/who", tell)
        made.router.add_route("*", prefix + "/wait", wait)
        made.router.add_get(prefix + "/ws", echo)
    server = TestServer(made)
    await server.start_server()
    server.go_on = go_on
    yield server
    await server.close()


@pytest.fixture
async def network(valkey):
    """Lead to the store by a way that can be cut."""
    async with ChaosProxy(valkey.port) as chaos:
        yield chaos


@pytest.fixture
async def bench(app, start_gate, network, tmp_path):
    """Start a gate before the application, and give what another configuration is made of."""

    def text(*, auth="api", secret=SECRET, more="", routes=(WEB, OPEN), upstream=""):
        return CONFIG.format(
            store=f"redis://127.0.0.1:{network.port}/0",
            app=str(app.make_url("")).rstrip("/"),
            auth=auth,
            secret=secret,
            more=more,
            routes="\n".join(routes),
            upstream=upstream,
        )

    gate = await start_gate(text())
    async with aiohttp.ClientSession(gate.url, connector=aiohttp.TCPConnector(limit=1)) as client:

        class Bench:
            def __init__(self):
                self.gate, self.client, self.text = gate, client, text

            async def reload(self, **changes):
                await gate.reload(tmp_path / "next.yaml", text(**changes))

            async def ask(self, path="/api/who", **headers):
                async with client.get(path, headers=headers or bearer()) as answer:
                    return answer.status, await answer.text()

        yield Bench()


def bearer(secret=SECRET, **claims):
    now = int(time.time())
    said = {"iss": "https://id.test", "aud": "app", "sub": "ann", "iat": now, "exp": now + 600}
    return {"Authorization": "Bearer " + jwt.encode(said | claims, secret, "HS256")}


async def cookie(gate):
    scheme = gate.runtime.config.schemes["web"]
    assert isinstance(scheme, SessionSchemeConfig)
    sessions = open_sessions(gate.runtime.config, scheme, gate.runtime.store)
    created = await sessions.create(Login("bob"), time.time())
    return {"Cookie": f"sid={created.cookie}"}


async def test_a_connection_that_is_open_is_served_by_the_new_one(bench):
    """The next request on the same connection is decided by the configuration that came meanwhile."""
    token = bearer()
    assert [await bench.ask(**token) for _ in range(4)] == [(200, "ann")] * 4
    await bench.reload(secret=OTHER)
    assert (await bench.ask(**token))[0] == 401
    assert await bench.ask(**bearer(OTHER)) == (200, "ann")
    await bench.reload()
    assert await bench.ask(**token) == (200, "ann")
    assert bench.gate.server.connections == 1


async def test_an_answer_under_way_ends_as_it_began(app, bench):
    """A request that the new configuration would refuse, and that does not last, has its answer."""
    async with bench.client.get("/api/wait", headers=bearer()) as answer:
        assert await answer.content.readexactly(6) == b"begun "
        await bench.reload(secret=OTHER)
        app.go_on.set()
        assert await answer.content.read() == b"ended"
    assert (await bench.ask())[0] == 401


AFTER = {"guarded": (OPEN.replace("auth: none", "auth: web"),), "gone": ()}


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("after", AFTER.values(), ids=AFTER)
async def test_a_request_under_way_of_nobody_ends_as_it_began(app, bench, method, after):
    """That of a public route too: what was sent to the application already has the answer of that."""
    async with bench.client.request(method, "/open/wait") as answer:
        assert await answer.content.readexactly(6) == b"begun "
        await bench.reload(routes=after)
        app.go_on.set()
        assert await answer.content.read() == b"ended"
    assert bench.gate.runtime.coherence.streams.ended_revoked == 0


async def test_a_request_under_way_that_was_only_reported_ends_as_it_began(app, bench):
    """Though the route has begun to enforce: it was let through, and does not last."""
    await bench.reload(more=", mode: {report: {until: 2999-01-01}}")
    async with bench.client.post("/api/wait") as answer:
        assert await answer.content.readexactly(6) == b"begun "
        await bench.reload()
        app.go_on.set()
        assert await answer.content.read() == b"ended"
    assert (await bench.ask(none="1"))[0] == 401


@pytest.mark.parametrize("target", ["/api/wait?x", "http://gate/api/wait?x"])
async def test_r7_an_answer_goes_on_that_the_new_configuration_lets_in(
    app, bench, monkeypatch, target
):
    """Its route is found again by its path, in whichever form the target came (P3)."""
    monkeypatch.setattr(lanes, "SWEEP_S", 0.02)
    vigil = bench.gate.runtime.vigil
    vigil.after_s = 0.05
    reader, writer = await bench.gate.connect()
    lines = (f"GET {target} HTTP/1.1", "Host: gate", *map(": ".join, bearer().items()), "", "")
    writer.write("\r\n".join(lines).encode())
    async with asyncio.timeout(10):
        await reader.readuntil(b"begun ")
        while not vigil.counters.watched:  # noqa: ASYNC110 - no event tells
            await asyncio.sleep(0.002)
        await bench.reload()
        app.go_on.set()
        await reader.readuntil(b"ended")
    writer.close()


@pytest.mark.parametrize("is_same", [True, False], ids=["same", "changed"])
async def test_an_upstream_lives_on_where_its_settings_are_the_same(bench, is_same):
    """Its pool and what is known of its health are kept; changed ones begin anew."""
    assert (await bench.ask())[0] == 200
    before = bench.gate.runtime.upstreams["app"]
    before.servers[0].standing.failed(0.0)
    await bench.reload(upstream="" if is_same else ", timeouts: {response: 7s}")
    after = bench.gate.runtime.upstreams["app"]
    assert (after is before) == is_same
    assert before.is_closing != is_same
    assert (await bench.ask())[0] == 200


async def test_r7_a_tunnel_goes_on_that_the_new_configuration_lets_in(bench):
    """A WebSocket outlives reloads that let its holder in."""
    async with bench.client.ws_connect("/api/ws", headers=bearer()) as line:
        for _ in range(3):
            await bench.reload(routes=(WEB,))
            await bench.reload()
            await line.send_str("hello")
            assert (await line.receive(timeout=10)).data == "hello"
    assert bench.gate.runtime.coherence.streams.ended_revoked == 0


REFUSING = {
    "key": {"secret": OTHER},
    "role": {"more": ", require: {roles: [staff]}"},
    "scheme": {"auth": "web"},
}


@pytest.mark.parametrize("changes", REFUSING.values(), ids=REFUSING)
async def test_r7_a_tunnel_ends_that_the_new_configuration_refuses(bench, changes):
    """A WebSocket whose holder is refused now is closed with 1008, whatever of the route has changed."""
    async with bench.client.ws_connect("/api/ws", headers=bearer()) as line:
        await line.send_str("hello")
        assert (await line.receive(timeout=10)).data == "hello"
        await bench.reload(**changes)
        message = await line.receive(timeout=10)
        assert (message.type, message.data) == (aiohttp.WSMsgType.CLOSE, 1008)
    assert bench.gate.runtime.coherence.streams.ended_revoked == 1


async def test_r7_a_public_tunnel_ends_whose_route_is_guarded_now(bench):
    """Nobody has said who holds it, and nobody may hold it without that any more."""
    async with bench.client.ws_connect("/open/ws") as line:
        await bench.reload(routes=(OPEN.replace("auth: none", "auth: web"),))
        message = await line.receive(timeout=10)
        assert message.type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED)


async def test_r7_a_tunnel_ends_whose_route_is_gone(bench):
    """What the new configuration has no route for is not held open."""
    async with bench.client.ws_connect("/open/ws") as line:
        await bench.reload(routes=())
        message = await line.receive(timeout=10)
        assert message.type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED)


async def test_a_look_up_under_way_is_for_one_configuration(bench, network, tmp_path):
    """In the lane it is made again for the new one; elsewhere the request ends under which it began."""
    held = await cookie(bench.gate)
    await bench.ask()  # the connection is one that may take the lane
    text = bench.text(routes=(WEB[:-1] + ", require: {roles: [x]}}",))
    after = await bench.gate.prepare(tmp_path / "next.yaml", text)
    flights = bench.gate.runtime.coherence.flights
    network.cut()
    asking = spawn(bench.ask("/web/who", **held), name="test")
    async with asyncio.timeout(10):
        while not flights:  # noqa: ASYNC110 - it begins in another task
            await asyncio.sleep(0.001)
    swapping = spawn(bench.gate.replace(after), name="test")
    await asyncio.sleep(0)
    network.heal()
    await swapping
    in_lane = bench.gate.lane != "off"
    assert (await asking)[0] == (403 if in_lane else 200)
    assert (await bench.ask("/web/who", **held))[0] == 403


async def test_limits_count_on_where_they_are_the_same(bench):
    """A reload gives nobody another handful of requests."""
    limits = ", limits: {rate: 2/h, per: address, in: worker}"
    await bench.reload(more=limits)
    assert [(await bench.ask())[0] for _ in range(2)] == [200, 200]
    await bench.reload(more=limits, routes=(WEB,))
    assert (await bench.ask())[0] == 429


async def test_what_was_replaced_is_closed(bench):
    """Its verdicts, its connections to the store and its upstream connections are gone."""
    held = await cookie(bench.gate)
    assert await bench.ask("/web/who", **held) == (200, "bob")
    before = bench.gate.runtime
    await bench.reload(upstream=", timeouts: {response: 7s}")
    assert await bench.ask("/web/who", **held) == (200, "bob")
    assert len(before.coherence.cache) == 0
    assert all(task.done() for task in before._tasks)
    assert not before.vigil._groups
    assert before.coherence.counters is bench.gate.runtime.coherence.counters


async def test_a_long_answer_to_somebody_new_outlives_a_reload(app, bench):
    """Its route is found again although its request was made of what is known of another's."""
    vigil = bench.gate.runtime.vigil
    vigil.after_s = 0.01
    assert await bench.ask(**bearer()) == (200, "ann")
    async with bench.client.get("/api/wait", headers=bearer(sub="bob")) as answer:
        assert await answer.content.readexactly(6) == b"begun "
        async with asyncio.timeout(10):
            while not vigil._groups:  # noqa: ASYNC110 - a sweep finds it
                await asyncio.sleep(0.01)
        await bench.reload(routes=(WEB,))
        app.go_on.set()
        assert await answer.content.read() == b"ended"
    assert bench.gate.runtime.coherence.streams.ended_revoked == 0
