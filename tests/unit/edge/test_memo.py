"""What the express lane remembers: only what it may, for nobody else, and never too much."""

from __future__ import annotations

import time
import tracemalloc

import pytest

from proxy.edge import lines, strangers
from proxy.edge import memo as memos
from proxy.edge.counters import RequestCounters
from proxy.edge.memo import Memo, fields_of
from proxy.edge.ready import Ready, Special, headers_of
from proxy.model import Peer, RequestView
from proxy.services.runtime import Runtime, load

CONFIG = """
server: {id: here}
upstreams:
  app: {servers: ["http://127.0.0.1:9"]}
routes:
  - {match: {path: /**}, auth: none, upstream: app}
"""
PEER = Peer("203.0.113.7", 4711, is_unix=False, is_tls=False, local_port=80)


@pytest.fixture
async def runtime(tmp_path):
    path = tmp_path / "gate.yaml"
    path.write_text(CONFIG)
    runtime = await Runtime.start(load(path))
    yield runtime
    await runtime.close()


class Bench:
    """A memo, and the lane's way to teach it."""

    def __init__(self, runtime):
        self.gate = runtime.gate
        self.counters = RequestCounters(runtime.upstreams)
        self.memo = Memo(
            self.gate,
            self.gate.rules,
            fields_of(self.gate.routes),
            is_trusted=False,
            header_size=32 * 1024,
            is_eager=True,
        )

    def learn(self, *lines, path=b"/", method="GET", size=0):
        """Teach a request; return whether it is kept, and what it was. `size`: of its body."""
        lines += (b"Content-Length: %d" % size,) if size else ()
        head = b"\r\n".join((b"%b %b HTTP/1.1" % (method.encode(), path), *lines, b"", b""))
        view = RequestView(method, path, headers_of(head), PEER)
        decision = self.gate.decide_now(view, time.time())
        host = view.first(b"host")
        ready = Ready(decision, view, self.counters, host)
        front = b"".join(b"%b: %b\r\n" % header for header in ((b"Host", host), *decision.headers))
        block = head[head.find(b"\r\n") :]
        is_kept = self.memo.learn(block, ready, view, front, size)
        special = self._special(block, method, size) if is_kept else None
        return is_kept, ready if special is None else special.ready[decision.route]

    def _special(self, block, method, size):
        memo = self.memo
        read = memo.read_laden(block, method.encode(), size) if size else memo.read(block)
        return memo.special(read[0])

    def special(self, *lines):
        """Return what is known of a block."""
        read = self.memo.read(b"\r\n" + b"\r\n".join((*lines, b"", b"")))
        return None if read is None else self.memo.special(read[0])


@pytest.fixture
def bench(runtime):
    return Bench(runtime)


def test_what_is_remembered_of_a_request_is_what_matters(bench):
    """The lines of one request that do not matter are not kept for those that look like it."""
    kept, ready = bench.learn(b"Host: gate", b"Accept: text/html", b"Cookie: a=1", b"X-Secret: 1")

    assert kept
    assert ((b"Host", b"gate"), (b"Cookie", b"a=1")) == ready.headers
    assert [] == list(ready.decision.headers)
    assert bench.special(b"Host: gate", b"Cookie: a=1", b"X-Other: 2") is not None
    assert bench.special(b"Host: gate", b"Cookie: a=2") is None
    assert bench.special(b"Host: gate", b"Cookie: a=1", b"Cookie: a=1") is None


@pytest.mark.parametrize(
    "line",
    [
        *(
            b"X:1",
            b"X:  1",
            b"X: 1 ",
            b"X: ",
            b"X",
            b"X : 1",
            b" X: 1",
            b"\tX: 1",
            b": 1",
            b"X: \x80",
        ),
        *(b"X: a\tb", b"X: a\nY: b", b"X: a\rY: b", b"X: a\x00", b"(: 1", b"Content-Length: 0"),
        *(b"Transfer-Encoding: chunked", b"Transfer_Encoding: chunked", b"content.length: 1"),
        *(b"Expect: 100-continue", b"Upgrade: h2c", b"DPoP: x", b"Trailer: X", b"TE: trailers"),
        *(b"Via: 1.1 a", b"Proxy-Connection: close", b"HTTP2-Settings: x", b"Sec-WebSocket-Key: x"),
        *(b"", b"\r", b"GET / HTTP/1.1"),
    ],
)
def test_f1_only_lines_that_no_two_parsers_read_differently_are_read(bench, line):
    """Everything else, and whatever frames, upgrades or proves, is for the parser."""
    bench.learn(b"Host: gate")

    assert bench.special(b"Host: gate", line) is None


def test_two_requests_are_never_one_block(bench):
    """What stands behind a head's end is no part of it."""
    bench.learn(b"Host: gate")
    block = b"\r\nHost: gate\r\n\r\n"

    assert bench.memo.read(block) is not None
    assert bench.memo.read(block + b"GET / HTTP/1.1" + block) is None
    assert bench.memo.read(block[:-1]) is None
    assert bench.memo.read(block[1:]) is None


@pytest.mark.parametrize(
    "line",
    [
        *(b"GET / HTTP/1.0", b"POST / HTTP/1.1", b"GET http://gate/ HTTP/1.1", b"GET * HTTP/1.1"),
        *(b"GET  / HTTP/1.1", b"GET /a b HTTP/1.1", b"GET /\x80 HTTP/1.1", b"GET /a/../b HTTP/1.1"),
        *(b"GET /a#b HTTP/1.1", b"get / HTTP/1.1", b"GET / HTTP/1.1 ", b"GET / http/1.1", b"GET /"),
        *(
            b"GET /" + b"a" * memos.MAX_LINE + b" HTTP/1.1",
            b"OPTIONS / HTTP/1.1",
            b"",
            b"GET /\t HTTP/1.1",
        ),
    ],
    ids=lambda line: repr(line[:30]),
)
def test_p1_only_plain_request_lines_lead_somewhere(bench, line):
    """All others are for the parser and the gate."""
    bench.learn(b"Host: gate")
    special = bench.special(b"Host: gate")

    assert bench.memo.way(special, b"GET /plain?x HTTP/1.1") is not None
    assert bench.memo.way(special, line) is None


def grown(work):
    """Return by how many bytes the memory grew."""
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        work()
        return tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()


FLOODS = {
    "cookies": lambda n: (b"Cookie: a=%d" % n,),
    "long cookies": lambda n: (b"Cookie: a=%d" % n + b"x" * 4000,),
    "many cookies": lambda n: (b"Cookie: %d" % n, *[b"Cookie: a"] * 500),
    "many lines": lambda n: (b"User-Agent: %d" % n, *[b"a: %d" % i for i in range(700)]),
    "many names": lambda n: (b"Cookie: %d" % n, *[b"n%d-%d: 1" % (n, i) for i in range(300)]),
    "steady lines": lambda n: (b"Cookie: %d" % n, b"Accept: %d" % n + b"y" * 3000),
}


@pytest.mark.slow
@pytest.mark.parametrize("flood", FLOODS)
def test_the_memory_is_bounded_in_bytes(bench, monkeypatch, flood):
    """However requests differ, what is kept of them takes what is allowed, and not a multiple."""
    bound = 128 * 1024
    for module in (memos, lines, strangers):
        monkeypatch.setattr(module, "MAX_BYTES", bound // 3)
    monkeypatch.setattr(memos, "MAX_KEPT_BYTES", bound // 3)
    made = FLOODS[flood]

    def work():
        for number in range(80):
            bench.learn(b"Host: gate", *made(number))

    assert grown(work) < 3 * bound  # what is sent and known, the lines, and what a dict has spare


def test_a_caller_is_kept_without_the_path_that_they_asked_for(bench):
    """Paths are kept by their lines, which are bounded, and not once more with each caller."""

    def work():
        for number in range(20):
            bench.learn(b"Host: gate", b"Cookie: a=%d" % number, path=b"/" + b"p" * 30_000)

    assert grown(work) < 20 * 2 * memos.ENTRY_BYTES


def test_request_lines_are_bounded_in_bytes(bench, monkeypatch):
    """Of one host and of many, also where more hosts are asked for than are kept."""
    bound = 1024 * 1024
    monkeypatch.setattr(memos, "MAX_BYTES", bound)
    monkeypatch.setattr(memos, "MAX_HOSTS", 4)

    def work():
        for host in (0, 1, 2, 3, 4, 0, 5, 1):
            bench.learn(b"Host: h%d" % host)
            for number in range(500):
                special = bench.special(b"Host: h%d" % host)
                bench.memo.way(special, b"GET /%d%b HTTP/1.1" % (number, b"a" * 1500))

    assert grown(work) < 3 * bound


def test_a_host_is_one_host_with_bodies_and_without(bench, monkeypatch):
    """Forms that are sent to a host leave room for as many hosts as its pages do."""
    monkeypatch.setattr(memos, "MAX_HOSTS", 4)
    for number in range(4):
        bench.learn(b"Host: h%d" % number)
        bench.learn(b"Host: h%d" % number, method="POST", size=3)

    assert 8 == len(bench.memo)


def test_s3_a_line_leads_somewhere_with_a_body_only_where_it_had_one(bench):
    """What is known of a post is nothing that is known of what has no body, and the other way round."""
    _, read = bench.learn(b"Host: gate")
    _, posted = bench.learn(b"Host: gate", method="POST", size=3)
    block = b"\r\nHost: gate\r\n"
    plain, laden = (
        bench.memo.special(bench.memo.read(block + b"\r\n")[0]),
        bench._special(block + b"Content-Length: 9\r\n\r\n", "POST", 9),
    )
    line = b"POST / HTTP/1.1"

    assert [[read], [posted]] == [[*one.ready.values()] for one in (plain, laden)]
    assert bench.memo.way(laden, line, lines.LADEN) is laden.ways[line]
    assert plain.ways.get(line) is None
    assert bench.memo.way(plain, line) is None
    assert bench.memo.way(laden, b"GET / HTTP/1.1", lines.LADEN) is None


def test_a_header_that_is_made_anew_keeps_its_place(bench):
    """A Cookie header that was written anew stands behind the others, as it does in any lane."""
    _, ready = bench.learn(b"Host: gate", b"Accept: */*", b"Cookie: a=1")

    assert (b"", b"Cookie: a=1\r\n") == ready.outs


def test_a_memory_that_is_full_keeps_what_it_has(bench, monkeypatch):
    """Callers who come by turns, more of them than there is room for, do not drive each other out."""
    monkeypatch.setattr(memos, "MAX_KEPT_BYTES", 64 * 1024)
    lines = [b"Authorization: Bearer %d" % number for number in range(60)]
    first = [
        bench.learn(b"Host: gate", line) and bench.special(b"Host: gate", line) for line in lines
    ]
    again = [bench.special(b"Host: gate", line) for line in lines]

    assert 5 < sum(map(bool, first)) < 50
    assert [bool(one) for one in first] == [bool(one) for one in again]


@pytest.mark.parametrize("size", [0, 3], ids=["GET", "POST"])
def test_whoever_is_learned_anew_takes_no_more_room(bench, monkeypatch, size):
    """A caller whose verdict is renewed again and again turns nobody else away."""
    monkeypatch.setattr(memos, "MAX_KEPT_BYTES", 64 * 1024)
    monkeypatch.setattr(memos, "PATIENCE", 1000)
    method = "POST" if size else "GET"
    for _ in range(50):
        bench.learn(b"Host: gate", b"Cookie: a=1", method=method, size=size)
    bench.learn(b"Host: gate", b"Cookie: a=2", method=method, size=size)

    assert 2 == len(bench.memo)


@pytest.mark.parametrize("how", ["dropped", "replaced", "another's"])
def test_a_block_that_is_made_anew_takes_no_more_room(bench, monkeypatch, how):
    """Whatever becomes of what was made of it before."""
    monkeypatch.setattr(memos, "MAX_KEPT_BYTES", 64 * 1024)
    monkeypatch.setattr(memos, "PATIENCE", 1000)
    _, ready = bench.learn(b"Host: gate")
    special, route = bench.special(b"Host: gate"), ready.decision.route
    block = b"\r\nHost: gate\r\n\r\n"
    for _ in range(200):
        bench.memo.keep(block, special, route, ready, b"Host: gate\r\n")
        if how == "dropped":
            bench.memo.drop(bench.memo.find(block), route)
        elif how == "another's":
            special = Special(b"gate", special.ways)
    bench.learn(b"Host: gate", b"Cookie: a=2")

    assert 3 == len(bench.memo)


def test_a_memory_that_turns_everybody_away_begins_anew(bench, monkeypatch):
    """What is asked for no more makes room in the end for what is."""
    monkeypatch.setattr(memos, "MAX_KEPT_BYTES", 64 * 1024)
    for number in range(400):
        bench.learn(b"Host: gate", b"Authorization: Bearer %d" % number)
    kept = [
        number
        for number in range(400)
        if bench.special(b"Host: gate", b"Authorization: Bearer %d" % number)
    ]

    assert kept
    assert min(kept) > 50
