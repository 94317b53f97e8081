"""What the lane makes of a request whose credential is new: what it would be with one that is known."""

from __future__ import annotations

import time
import tracemalloc

import jwt
import pytest

from proxy.adapters.boot_clock import boot_time
from proxy.edge import strangers
from proxy.edge.ready import headers_of
from proxy.edge.strangers import outline
from proxy.model import RequestView
from proxy.services.authenticate import Unknown
from proxy.services.runtime import Runtime, load
from tests.unit.edge.test_memo import PEER, Bench

LINES = (b"Host: gate\r", b"User-Agent: a\r")


@pytest.mark.parametrize(
    ("line", "cut"),
    [
        (b"Authorization: Bearer abc.def-_\r", 22),
        (b"authorization: bEARER abc\r", 22),
        (b"Cookie: sid=abc%3D\r", 12),
        (b"cookie: sid=a=b\r", 12),
    ],
)
def test_a_credential_is_cut_off_its_line(line, cut):
    """Two requests with the same outline differ in the value of one credential and in nothing else."""
    assert ((*LINES, line[:cut]), 2, cut) == outline((*LINES, line))


@pytest.mark.parametrize(
    "lines",
    [
        (),
        (b"Authorization: Bearer \r",),
        (b"Authorization: Bearer a b\r",),
        (b"Authorization: Bearer a,b\r",),
        (b"Authorization: Basic YTpi\r",),
        (b"Authorization:Bearer abc\r",),
        (b"Cookie: sid\r",),
        (b"Cookie: sid=\r",),
        (b'Cookie: sid="abc"\r',),
        (b"Cookie: sid=a; sid=b\r",),
        (b"Cookie: theme=dark; sid=b\r",),
        (b"Cookie: sid=a\r", b"Cookie: sid=b\r"),
        (b"Cookie: sid=a\r", b"Authorization: Bearer abc\r"),
        (b"Authorization: Bearer abc\r", b"Authorization: Bearer abd\r"),
    ],
)
def test_what_is_not_exactly_one_plain_credential_is_for_the_parser(lines):
    """No outline is drawn of a value that two parsers could read in two ways, or of two credentials."""
    assert outline((*LINES, *lines)) is None


CONFIG = """
server: {id: here}
upstreams:
  app: {servers: ["http://127.0.0.1:9"]}
schemes:
  one: {type: jwt, issuer: "https://one.test", audience: [app], algorithms: [HS256], keys: {secret: "@SECRET@"}, revocation: none, max_lifetime: 10m}
  two: {type: jwt, issuer: "https://two.test", audience: [app], algorithms: [HS256], keys: {secret: "@SECRET@"}, revocation: none, max_lifetime: 10m}
routes:
  - {match: {path: /one}, auth: one, upstream: app, same_subjects: false, forward_credentials: false}
  - {match: {path: /both}, auth: [one, two], upstream: app, same_subjects: true}
  - {match: {path: /sent}, auth: one, upstream: app, forward_credentials: true, same_subjects: false}
  - {match: {path: /**}, auth: none, upstream: app}
"""
SECRET = "00" * 32


@pytest.fixture
async def bench(tmp_path):
    """Give a memo of a gate with two issuers."""
    path = tmp_path / "gate.yaml"
    path.write_text(CONFIG.replace("@SECRET@", SECRET))
    runtime = await Runtime.start(load(path))
    yield Bench(runtime)
    await runtime.close()


def token(subject="ann", issuer="https://one.test"):
    now = int(time.time())
    claims = {"iss": issuer, "aud": "app", "sub": subject, "iat": now, "exp": now + 300}
    return jwt.encode(claims, SECRET, "HS256").encode()


def teach(bench, path, line):
    """Have a request decided, with the credential looked up first, and remembered."""
    head = b"\r\n".join((b"GET %b HTTP/1.1" % path, b"Host: gate", line, b"", b""))
    view = RequestView("GET", path, headers_of(head), PEER)
    decision = bench.gate.decide_now(view, time.time())
    if isinstance(decision, Unknown):
        decision.scheme.begin(decision.found, time.time())
    bench.learn(b"Host: gate", line, path=path)


def sketch_of(bench, path, line):
    """Return what is known of a request but for the credential in `line`."""
    known = bench.memo.strangers.find((b"Host: gate\r", line + b"\r"))
    if known is None:
        return None
    way = bench.memo.way(known[0], b"GET %b HTTP/1.1" % path)
    return None if way is None else known[0].sketches.get(way.route)


@pytest.mark.parametrize("path", [b"/one", b"/sent"])
async def test_another_token_is_sent_on_as_the_first_one_was(bench, path):
    """What is made of a stranger's request names the stranger, and keeps or drops the token as the route does."""
    teach(bench, path, b"Authorization: Bearer %b" % token())
    bobs = b"Authorization: Bearer %b" % token("bob")
    sketch = sketch_of(bench, path, bobs)
    found = sketch.found(bobs[22:], "203.0.113.9")
    _, flight = sketch.scheme.meet(found, time.time())
    read = bench.memo.read(b"\r\nHost: gate\r\n%b\r\n\r\n" % bobs)
    ready, front = sketch.introduce(flight.result().identity, found, read)

    assert "bob" == ready.identity.subject
    assert b"X-Auth-Subject: bob\r\n" in ready.back
    assert (bobs in front) is (path == b"/sent")
    assert bobs[22:] == ready.decision.held[0].found.value
    assert ready.holds(time.time(), boot_time(), "203.0.113.9")


async def test_no_credential_is_kept_in_a_sketch(bench):
    """What is known of strangers' requests would not open anything."""
    anns = token()
    teach(bench, b"/sent", b"Authorization: Bearer %b" % anns)
    sketch = sketch_of(bench, b"/sent", b"Authorization: Bearer x")
    kept = [
        getattr(sketch.ready, name)
        for name in sketch.ready.__slots__
        if hasattr(sketch.ready, name)
    ]

    assert anns.decode() not in repr(kept)
    assert sketch.ready.identity is None
    assert () == sketch.ready.decision.held


async def test_where_the_token_says_whom_to_ask_it_is_read_first(bench):
    """Of two issuers at one place the token's own word picks the scheme: no other token tells of it."""
    teach(bench, b"/both", b"Authorization: Bearer %b" % token())

    assert sketch_of(bench, b"/both", b"Authorization: Bearer x") is None


async def test_what_opens_nothing_is_learned_from_nobody(bench):
    """A public route has no credential to look up, whatever cookies come with the request."""
    teach(bench, b"/", b"Cookie: sid=abc")

    assert sketch_of(bench, b"/", b"Cookie: sid=abd") is None


async def test_shapes_are_bounded_in_bytes(bench, monkeypatch):
    """However requests of one caller differ, what is kept of their shapes takes what is allowed."""
    monkeypatch.setattr(strangers, "MAX_BYTES", 256 * 1024)
    line = b"Authorization: Bearer %b" % token()
    teach(bench, b"/one", line)
    tracemalloc.start()
    for number in range(300):
        bench.learn(b"Host: gate", b"User-Agent: %d%b" % (number, b"x" * 500), line, path=b"/one")
        bench.memo._specials.clear()
        bench.memo._size = 0
    grown = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()

    assert len(bench.memo.strangers) > 0
    assert grown < 2 * 256 * 1024
