"""One behaviour of answers, and of requests that come together or in pieces (design.md §8).

See test_one_behaviour: three gates are asked the same, and compared byte for byte.
"""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.trio import PROBE, is_over, pieces, talk_of, trio

CONFIG = """
server: {id: here}
upstreams:
  app: {servers: ["@app@"], timeouts: {response: 400ms, idle: 400ms}}
routes:
  - {match: {path: /**}, auth: none, upstream: app}
"""
DATE = b"Date: Thu, 01 Jan 1970 00:00:00 GMT\r\n"


def answer(*lines, status=b"200 OK", body=b"", version=b"1.1"):
    """Return an answer of exactly these bytes."""
    head = b"".join(line + b"\r\n" for line in lines)
    return b"HTTP/%b %b\r\n%b\r\n%b" % (version, status, head, body)


def sized(*lines, body=b"hello", status=b"200 OK", version=b"1.1"):
    """Return an answer with a length."""
    length = b"Content-Length: %d" % len(body)
    return answer(*lines, length, body=body, status=status, version=version)


CHUNKED = answer(
    b"Transfer-Encoding: chunked", b"Trailer: X-Sum", DATE[:-2],
    body=b"5\r\nhello\r\n1;x=y\r\n!\r\n0\r\nX-Sum: 6\r\nSet-Cookie: a=1\r\nX-Auth-Roles: eve\r\n\r\n",
)  # fmt: skip
HINTS = answer(b"Link: </a>", b"Set-Cookie: a=1", status=b"103 Early Hints")
DATED = sized(DATE[:-2])

ANSWERS = {
    b"/sized": [sized()],
    b"/dated": [DATED],
    b"/empty": [sized(body=b"")],
    b"/split": pieces(DATED),
    b"/split-head": [DATED[:-5], DATED[-5:]],
    b"/split-body": [DATED[:-2], DATED[-2:]],
    b"/split-blank": [DATED[:-7], DATED[-7:]],
    b"/large": [sized(body=b"x" * 300_000)],
    b"/large-dated": [sized(DATE[:-2], body=b"x" * 300_000)],
    b"/chunked": [CHUNKED],
    b"/chunked-split": pieces(CHUNKED),
    b"/chunked-empty": [answer(b"Transfer-Encoding: chunked", body=b"0\r\n\r\n")],
    b"/close-ended": [answer(body=b"hello"), "close"],
    b"/close-ended-split": [*pieces(answer(body=b"hello")), "close"],
    b"/close-ended-reset": [answer(body=b"hello"), "reset"],
    b"/old": [sized(version=b"1.0")],
    b"/old-kept": [sized(b"Connection: keep-alive", version=b"1.0")],
    b"/old-ended": [answer(body=b"hello", version=b"1.0"), "close"],
    b"/none": [answer(status=b"204 No Content")],
    b"/none-length": [answer(b"Content-Length: 0", status=b"204 No Content")],
    b"/none-body": [sized(status=b"204 No Content")],
    b"/unchanged": [answer(b"ETag: x", status=b"304 Not Modified")],
    b"/unchanged-length": [answer(b"Content-Length: 5", status=b"304 Not Modified")],
    b"/reset-content": [sized(body=b"", status=b"205 Reset Content")],
    b"/continue": [answer(status=b"100 Continue") + DATED],
    b"/hints": [HINTS + DATED],
    b"/hints-apart": [HINTS, 0.01, DATED],
    b"/hints-twice": [HINTS, HINTS + HINTS, DATED],
    b"/hints-split": pieces(HINTS + DATED),
    b"/hints-endless": [HINTS * 40, DATED],
    b"/hints-only": [HINTS, "close"],
    b"/hints-silent": [HINTS, 0.8],
    b"/processing": [answer(status=b"102 Processing") + DATED],
    b"/switched": [answer(b"Upgrade: x", b"Connection: Upgrade", status=b"101 Switching Protocols")],
    b"/twice": [DATED + DATED],
    b"/twice-sized": [sized() + sized()],
    b"/more": [DATED + b"x"],
    b"/more-later": [DATED, 0.02, b"x"],
    b"/again-later": [DATED, 0.02, DATED],
    b"/closing": [sized(b"Connection: close"), "close"],
    b"/closing-dated": [sized(b"Connection: close", DATE[:-2])],
    b"/closed": [DATED, "close"],
    b"/closed-later": [DATED, 0.02, "close"],
    b"/reset-later": [DATED, 0.02, "reset"],
    b"/hint-0": [sized(b"Keep-Alive: timeout=0", DATE[:-2])],
    b"/hint-1": [sized(b"Keep-Alive: timeout=1", DATE[:-2])],
    b"/hint-5": [sized(b"Keep-Alive: timeout=5, max=3", DATE[:-2])],
    b"/cookies": [sized(b"Set-Cookie: a=1", b"X: 1", b"set-cookie: b=2", DATE[:-2])],
    b"/spoofed": [sized(b"X-Auth-Subject: eve", b"x_auth_roles: a", b"X-Request-Id: y", DATE[:-2])],
    b"/nominated": [sized(b"Connection: X-A", b"X-A: 1", b"X-B: 2", b"Keep-Alive: x", DATE[:-2])],
    b"/cached": [sized(b"Cache-Control: public, s-maxage=9", b"Age: 3", b"Surrogate-Control: x", DATE[:-2])],
    b"/vary": [sized(b"Vary: Accept", b"Vary: Cookie", b"ETag: W/x", DATE[:-2])],
    b"/cors": [sized(b"Access-Control-Allow-Origin: *", DATE[:-2])],
    b"/latin": [sized(b"X: \xe9", DATE[:-2])],
    b"/no-reason": [sized(status=b"200 ")],
    b"/no-space": [sized(status=b"200")],
    b"/odd-status": [sized(status=b"299 Odd"), 0.0],
    b"/error": [sized(status=b"500 No", body=b"no")],
    b"/error-dated": [sized(DATE[:-2], status=b"503 No", body=b"no")],
    b"/moved": [sized(b"Location: http://gate/x", DATE[:-2], status=b"302 Found")],
    b"/events": [answer(b"Content-Type: text/event-stream", body=b"data: 1\n\n"), 0.05, b"data: 2\n\n", "close"],
    b"/events-sized": [sized(b"Content-Type: text/event-stream", DATE[:-2])],
    b"/slow": [0.05, DATED],
    b"/silent": [0.8, DATED],
    b"/stops": [DATED[:-2], 0.8],
    b"/cut": [DATED[:-2], "close"],
    b"/cut-chunked": [CHUNKED[:-40], "close"],
    b"/cut-head": [DATED[:30], "close"],
    b"/reset-body": [DATED[:-2], "reset"],
    b"/nothing": ["close"],
    b"/reset": ["reset"],
    b"/lf": [DATED.replace(b"\r\n", b"\n"), "close"],
    b"/fold": [sized(b"X: 1\r\n 2"), "close"],
    b"/space": [sized(b"X : 1"), "close"],
    b"/lengths": [sized(b"Content-Length: 5"), "close"],
    b"/lengths-differ": [sized(b"Content-Length: 4"), "close"],
    b"/length-chunked": [sized(b"Transfer-Encoding: chunked"), "close"],
    b"/length-odd": [answer(b"Content-Length: +5", body=b"hello"), "close"],
    b"/length-list": [answer(b"Content-Length: 5, 5", body=b"hello"), "close"],
    b"/gzip-chunked": [answer(b"Transfer-Encoding: gzip, chunked", body=b"0\r\n\r\n"), "close"],
    b"/chunk-odd": [answer(b"Transfer-Encoding: chunked", body=b"x\r\n"), "close"],
    b"/huge-head": [sized(b"X: " + b"y" * 70_000), "close"],
    b"/many-lines": [sized(*[b"X-%d: 1" % n for n in range(300)], DATE[:-2])],
    b"/no-http": [b"SSH-2.0\r\n\r\n", "close"],
    b"/version-2": [sized(version=b"2.0"), "close"],
    b"/blank-first": [b"\r\n" + DATED],
}  # fmt: skip


def get(path, method=b"GET", *lines):
    return b"\r\n".join((b"%b %b HTTP/1.1" % (method, path), b"Host: gate", *lines)) + b"\r\n\r\n"


def for_head(steps):
    """Return what a server says to HEAD: the head alone."""
    whole = b"".join(step for step in steps if isinstance(step, bytes))
    end = whole.find(b"\r\n\r\n", whole.rfind(b"HTTP/1")) + 4
    return [whole[:end]]


@pytest.mark.parametrize("first", range(0, len(ANSWERS), 12))
async def test_every_answer_is_passed_on_alike(tmp_path, first):
    """On a new connection and on one that was used, whatever it is and however it comes (F2, F3, F6)."""
    async with trio(tmp_path, CONFIG, ANSWERS) as gates:
        for path in [*ANSWERS][first : first + 12]:
            await gates.same(talk_of([get(path)]), f"GET {path}")
            await gates.same(talk_of([PROBE], [get(path)]), f"GET {path} on a used connection")


async def test_every_answer_to_head_is_passed_on_alike(tmp_path):
    """It ends with its head, whatever the head says; some servers say more (F2)."""
    heads = {path: for_head(steps) for path, steps in ANSWERS.items()}
    heads[b"/with-body"] = [DATED]
    async with trio(tmp_path, CONFIG, heads) as gates:
        for path in heads:
            if heads[path][0].startswith((b"HTTP/1.1 2", b"HTTP/1.1 3", b"HTTP/1.1 4")):
                await gates.same(talk_of([get(path, b"HEAD")]), f"HEAD {path}")
                await gates.same(talk_of([PROBE], [get(path, b"HEAD")]), f"HEAD {path} after GET")


@pytest.mark.parametrize("path", [b"/nothing", b"/reset", b"/cut", b"/hints-only", b"/closing"])
@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"POST", b"DELETE", b"OPTIONS"])
async def test_f3_what_may_be_repeated_is_repeated_once(tmp_path, path, method):
    """The application sees a request twice at most, and what is not idempotent once."""
    async with trio(tmp_path, CONFIG, ANSWERS) as gates:
        asked = get(path, method, b"Content-Length: 0") if method == b"POST" else get(path, method)
        await gates.same(talk_of([PROBE], [asked]), f"{method} {path}")
        for gate in gates:
            count = sum(b" %b " % path in request for request in gate.mirror.received)
            assert 3 <= count <= (3 if method == b"POST" else 6)


PIPELINES = {
    "alike": (get(b"/dated"), get(b"/dated")),
    "different": (get(b"/chunked"), get(b"/dated")),
    "slow first": (get(b"/slow"), get(b"/dated")),
    "refused first": (get(b"/a/../b"), get(b"/dated")),
    "refused last": (get(b"/dated"), get(b"/a/../b")),
    "failing first": (get(b"/nothing"), get(b"/dated")),
    "head first": (get(b"/dated", b"HEAD"), get(b"/dated")),
    "body first": (get(b"/dated", b"POST", b"Content-Length: 3") + b"abc", get(b"/dated")),
    "body last": (get(b"/dated"), get(b"/dated", b"POST", b"Content-Length: 3") + b"abc"),
    "odd first": (get(b"/dated", b"GET", b"X:1"), get(b"/dated")),
    "close last": (get(b"/dated"), get(b"/dated", b"GET", b"Connection: close")),
    "close first": (get(b"/dated", b"GET", b"Connection: close"), get(b"/dated")),
    "broken last": (get(b"/dated"), b"GET / HTTP/1.1\r\nHost : gate\r\n\r\n"),
}  # fmt: skip


def pipeline(requests, cuts, *, ends=False):
    """Return a conversation: two requests that the memo knows, then both in packets cut at `cuts`."""
    raw = b"".join(requests)
    packets = [raw[at:to] for at, to in zip((0, *cuts), (*cuts, len(raw)), strict=True) if at < to]
    methods = [request.partition(b" ")[0] for request in requests]

    async def talk(gate):
        heard, client = [], await gate.connect()
        for _ in range(2):
            await client.say(get(b"/dated"))
            heard.append(await client.hear(b"GET"))
        await client.say(*packets)
        if ends:
            client.writer.write_eof()
            heard.append(await client.reader.read())
        else:
            heard.append(await client.hear(*methods))
            if not is_over(heard[-1]):
                await client.say(PROBE)
                heard.append(await client.hear(b"GET"))
        await client.close()
        return heard

    return talk


@pytest.mark.parametrize("kind", PIPELINES)
async def test_requests_that_come_together_are_answered_alike(tmp_path, kind):
    """In their order, cut at every byte, also where the client then sends no more."""
    requests = PIPELINES[kind]
    size = len(b"".join(requests))
    async with trio(tmp_path, CONFIG, ANSWERS) as gates:
        for cut in range(1, size, 1 if kind in ("alike", "different") else 5):
            await gates.same(pipeline(requests, [cut]), f"{kind} cut at {cut}")
        for step in (1, 7):
            await gates.same(pipeline(requests, range(step, size, step)), f"{kind} each {step}")


@pytest.mark.parametrize("kind", [kind for kind in PIPELINES if "slow" not in kind])
async def test_requests_before_a_half_close_are_answered_alike(tmp_path, kind):
    """A client that then sends no more gets every answer that it would have got."""
    requests = PIPELINES[kind]
    async with trio(tmp_path, CONFIG, ANSWERS) as gates:
        for cut in (0, 10, len(requests[0]), len(requests[0]) + 10):
            for count in (1, 2):
                told = requests[:count]
                cuts = [cut] if 0 < cut < len(b"".join(told)) else []
                await gates.same(_without_interim(pipeline(told, cuts, ends=True)), f"{kind} {cut}")


def _without_interim(talk):
    """Leave out the 102s that ask a client which has sent its FIN: when they come, is chance."""

    async def quiet(gate):
        interim = b"HTTP/1.1 102 Processing\r\n\r\n"
        return [raw.replace(interim, b"") for raw in await talk(gate)]

    return quiet


LINES = st.sampled_from(
    [
        *(b"Accept: */*", b"Accept: text/html", b"X: 1", b"X:1", b"X: 2", b"x_auth_subject: eve"),
        *(b"Cookie: a=1", b"Cookie: b=2", b"User-Agent: u", b"User-Agent: v", b"Origin: https://a"),
        *(b"Connection: keep-alive", b"Connection: close", b"Connection: X", b"Via: 1.1 there"),
        *(
            b"Range: bytes=0-1",
            b"Content-Length: 0",
            b"Expect: 100-continue",
            b"X-Forwarded-For: 1",
        ),
        *(b"Host: gate", b"Host: other", b"Authorization: Basic eDp5", b"Upgrade: h2c", b"X: \xff"),
    ]
)
REQUESTS = st.builds(
    lambda method, path, host, lines: b"\r\n".join((method + b" " + path, host, *lines)) + b"\r\n\r\n",
    st.sampled_from([b"GET", b"GET", b"GET", b"HEAD", b"OPTIONS", b"DELETE"]),
    st.sampled_from(
        [path + b" HTTP/1.1" for path in (b"/dated", b"/sized", b"/chunked", b"/none", b"/x?y", b"/a//b")]
        + [b"/dated HTTP/1.0", b"http://gate/dated HTTP/1.1"]
    ),
    st.sampled_from([b"Host: gate", b"Host: gate", b"Host: gate:80", b"Host: other.test"]),
    st.lists(LINES, max_size=4),
)  # fmt: skip


async def _conversation(gates, requests, cuts):
    async def talk(gate):
        heard, client = [], await gate.connect()
        for request in requests:
            places = sorted({cut % len(request) for cut in cuts} - {0})
            packets = [
                request[at:to] for at, to in zip((0, *places), (*places, len(request)), strict=True)
            ]
            await client.say(*packets)
            heard.append(await client.hear(request.partition(b" ")[0]))
            if is_over(heard[-1]):
                await client.close()
                client = await gate.connect()
        await client.close()
        return heard

    await gates.same(talk, repr(requests))


async def test_any_requests_in_any_order_are_answered_alike(tmp_path):
    """Whatever is asked before leaves nothing behind that changes what is asked next."""
    async with trio(tmp_path, CONFIG, ANSWERS) as gates:
        loop = asyncio.get_running_loop()

        @settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
        @given(
            st.lists(REQUESTS, min_size=2, max_size=8), st.lists(st.integers(0, 400), max_size=2)
        )
        def check(requests, cuts):
            asking = _conversation(gates, [*requests, *requests], cuts)
            asyncio.run_coroutine_threadsafe(asking, loop).result(60)

        await asyncio.to_thread(check)
