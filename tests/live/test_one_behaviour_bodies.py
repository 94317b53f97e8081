"""One behaviour of requests with bodies, which go in the lane where they come whole (design.md §8).

See test_one_behaviour: the gates are asked the same, and compared byte for byte.
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proxy.edge.incoming import SHORT_BODY
from tests.trio import PROBE, is_over, pieces, talk_of, trio

CONFIG = """
server: {id: here, limits: {body_size: 100KiB}}
upstreams:
  app: {servers: ["@app@"], timeouts: {response: 400ms, idle: 400ms}}
  gone: {servers: ["http://127.0.0.1:1"]}
routes:
  - {match: {path: /**}, auth: none, upstream: app}
  - {match: {path: /gone}, auth: none, upstream: gone}
  - {match: {path: /little}, auth: none, upstream: app, limits: {body_size: 10B}}
  - {match: {path: /read, methods: [GET]}, auth: none, upstream: app}
"""
DATE = b"Date: Thu, 01 Jan 1970 00:00:00 GMT\r\n"
DATED = b"HTTP/1.1 200 OK\r\n" + DATE + b"Content-Length: 5\r\n\r\nhello"
CHUNKED = (
    b"HTTP/1.1 200 OK\r\n" + DATE + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
)
EVENTS = b"HTTP/1.1 200 OK\r\n" + DATE + b"Content-Type: text/event-stream\r\n\r\ndata: 1\n\n"
CREATED = b"HTTP/1.1 201 Created\r\nLocation: /x\r\n" + DATE + b"Content-Length: 0\r\n\r\n"
REFUSED = b"HTTP/1.1 422 No\r\n" + DATE + b"Content-Length: 2\r\n\r\nno"
NONE = b"HTTP/1.1 204 No Content\r\n" + DATE + b"\r\n"
ANSWERS = {
    b"/dated": [DATED],
    b"/split": pieces(DATED),
    b"/chunked": [CHUNKED],
    b"/events": [EVENTS, "close"],
    b"/created": [CREATED],
    b"/refused": [REFUSED],
    b"/none": [NONE],
    b"/hints": [b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", DATED],
    b"/slow": [0.05, DATED],
    b"/silent": [2.0, DATED],
    b"/nothing": ["close"],
    b"/reset": ["reset"],
    b"/cut": [DATED[:-2], "close"],
    b"/closing": [DATED.replace(b"Date", b"Connection: close\r\nDate")],
    b"/large": [b"HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n" + b"x" * 300_000],
}
ONCE = (b"/nothing", b"/reset", b"/cut", b"/silent")


def post(path, body=b"abc", *lines, method=b"POST", version=b"1.1"):
    """Return a request with a body and its length."""
    head = (b"%b %b HTTP/%b" % (method, path, version), b"Host: gate", *lines)
    return b"\r\n".join((*head, b"Content-Length: %d" % len(body))) + b"\r\n\r\n" + body


async def until(condition):
    """Wait for what must come; the test's time-out is its bound."""
    while not condition():  # noqa: ASYNC110 - no event tells
        await asyncio.sleep(0)


@pytest.mark.parametrize("path", [*ANSWERS, b"/other", b"/little", b"/read", b"/a/../b", b"/x?y=1"])
async def test_a_body_that_comes_with_its_head_is_answered_alike(tmp_path, path):
    """Whatever the application says to it; and what is not idempotent it sees once (F3)."""
    async with trio(tmp_path, CONFIG, ANSWERS) as gates:
        await gates.same(talk_of([PROBE], [post(path)]), f"{path!r}")
        for gate in gates:
            seen = sum(b" %b " % path in request for request in gate.mirror.received)
            assert seen <= 3, gate.mode


@pytest.mark.parametrize(
    "method", [b"POST", b"PUT", b"PATCH", b"DELETE", b"GET", b"HEAD", b"OPTIONS"]
)
@pytest.mark.parametrize("path", [b"/dated", b"/reset"])
async def test_any_method_may_have_a_body(tmp_path, method, path):
    """With one, not even what is idempotent is sent twice (F3)."""
    async with trio(tmp_path, CONFIG, ANSWERS) as gates:
        await gates.same(talk_of([PROBE], [post(path, method=method)]), f"{method!r}")
        for gate in gates:
            assert 3 == sum(b" %b " % path in request for request in gate.mirror.received)


@pytest.mark.parametrize(
    "size",
    [1, 2, 1024, 16_384, SHORT_BODY - 1, SHORT_BODY, SHORT_BODY + 1, 99_999, 102_400, 102_401],
)
async def test_a_body_of_any_size_arrives_as_it_was_sent(tmp_path, size):
    """Short, long, and too large (413); what follows it is another request."""
    body = bytes(number % 251 for number in range(size))
    # How much of it has come by its refusal says whether the connection may go on: that is chance.
    lines = (b"Connection: close",) if size > 102_400 else ()
    async with trio(tmp_path, CONFIG, ANSWERS) as gates:
        await gates.same(talk_of([PROBE], [post(b"/dated", body, *lines)]), f"{size} bytes")
        for gate in gates:
            if size <= 102_400:
                assert 3 == sum(
                    request.endswith(b"\r\n\r\n" + body) for request in gate.mirror.received
                )


INNER = b"GET /inner HTTP/1.1\r\nHost: gate\r\n\r\n"


@pytest.mark.parametrize(
    "body",
    [
        INNER,
        b"\r\n\r\n",
        b"a\r\n\r\n",
        INNER[:-2],
        b"0\r\n\r\n",
        b"\0\xff",
        b"POST / HTTP/1.1\r\n\r\n",
    ],
)
async def test_a_body_is_no_request(tmp_path, body):
    """Whatever it looks like."""
    async with trio(tmp_path, CONFIG, ANSWERS) as gates:
        await gates.same(talk_of([post(b"/dated", body)], [PROBE]), f"{body!r}")
        for gate in gates:
            assert not any(request.startswith(b"GET /inner") for request in gate.mirror.received)


@pytest.mark.parametrize(
    "lines",
    [
        (b"Expect: 100-continue",),
        (b"Expect: 200-ok",),
        (b"Connection: close",),
        (b"Connection: Content-Length",),
        (b"Upgrade: websocket", b"Connection: upgrade"),
        (b"TE: trailers",),
        (b"Content-Type: application/json", b"Origin: https://evil.test"),
        (b"Content-Type: a/b", b"Content-Type: c/d"),
        (b"Content-Encoding: gzip",),
        (b"content_length: 5",),
        (b"X-HTTP-Method-Override: DELETE",),
        (b"X-Auth-Subject: eve",),
    ],
)
async def test_what_stands_beside_a_body_is_read_alike(tmp_path, lines):
    """Its headers mean what they mean on the ordinary way."""
    async with trio(tmp_path, CONFIG, ANSWERS) as gates:
        await gates.same(talk_of([PROBE], [post(b"/dated", b"abc", *lines)]), f"{lines!r}")


async def test_what_differs_between_bodies_of_one_client_goes_on_as_it_came(tmp_path):
    """Their types and lengths, and names that look like these, behind a request that is remembered."""
    said = [
        *(b"Content-Type: a/b", b"content-type: c; d=e:f", b"Content-Type:a", b"Content-Type:a: b"),
        *(b"Content-Type:  a", b"Content-Type: a ", b"Content_Type: a", b"X: Content-Type: a"),
        *(b"Content-Language: en", b"CONTENT-TYPE: \xe9", b"X-Content-Length: 5", b"Range: x"),
    ]
    requests = [[post(b"/dated", b"x" * size, line)] for size, line in enumerate(said, 1)]
    async with trio(tmp_path, CONFIG, ANSWERS) as gates:
        await gates.same(talk_of([post(b"/dated")], *requests))


@pytest.mark.parametrize(
    ("said", "body"),
    [
        (b"Content-Length: 3\r\nContent-Length: 3", b"abc"),
        (b"Content-Length: 3\r\nContent-Length: 4", b"abcd"),
        (b"Content-Length: 3\r\nTransfer-Encoding: chunked", b"3\r\nabc\r\n0\r\n\r\n"),
        (b"Transfer-Encoding: chunked", b"3\r\nabc\r\n0\r\n\r\n"),
        (b"Transfer-Encoding: chunked", b"3\r\nabc\r\n0\r\nX: 1\r\n\r\n"),
        (b"Content-Length: 03", b"abc"),
        (b"Content-Length: 0000000000003", b"abc"),
        (b"Content-Length: +3", b"abc"),
        (b"Content-Length: 3 ", b"abc"),
        (b"Content-Length: 3, 3", b"abc"),
        (b"Content-Length : 3", b"abc"),
        (b"Content-Length: 3;", b"abc"),
        ("Content-Length: ٣".encode(), b"abc"),
        (b"Content-Length: 3\r\nX: 1\r\n ", b"abc"),
        (b"content-length: 3", b"abc"),
        (b"Content-Length:3", b"abc"),
    ],
)
async def test_a_length_means_one_thing(tmp_path, said, body):
    """However it is written; and no byte of a body becomes a request (F1)."""
    raw = b"POST /dated HTTP/1.1\r\nHost: gate\r\n" + said + b"\r\n\r\n" + body
    async with trio(tmp_path, CONFIG, ANSWERS) as gates:
        await gates.same(talk_of([PROBE], [raw]), f"{said!r}")


async def test_a_body_that_is_cut_anywhere_is_answered_alike(tmp_path):
    """In two packets and in many; with another request behind it, and half of one."""
    raw = post(b"/dated", b"abcdefgh")
    async with trio(tmp_path, CONFIG, ANSWERS) as gates:
        for cut in range(1, len(raw), 3):
            await gates.same(talk_of([PROBE], [raw[:cut], raw[cut:]], rounds=1), f"cut at {cut}")
        for behind in (PROBE, raw, PROBE[:10], b"\r\n"):
            await gates.same(_followed(raw, behind), f"{behind!r} behind it")


def _followed(raw, behind):
    """Return a conversation: a request with a body, and what stands behind it in the same packet."""

    async def talk(gate):
        heard, client = [], await gate.connect()
        await client.say(PROBE)
        heard.append(await client.hear(b"GET"))
        whole = behind in (PROBE, raw)
        await client.say(raw + behind)
        heard.append(await client.hear(b"POST", *([b"GET"] if whole else [])))
        await client.say(PROBE if whole else PROBE[len(behind) :] if behind[:1] == b"G" else PROBE)
        heard.append(await client.hear(b"GET"))
        await client.close()
        return heard

    return talk


@pytest.mark.parametrize("raw", [PROBE.replace(b"/probe", b"/gone"), post(b"/gone")])
async def test_a_server_that_cannot_be_reached_is_named_alike(tmp_path, raw):
    """Which one it was is what its operator looks for in the log."""
    async with trio(tmp_path, CONFIG, ANSWERS) as gates:
        await gates.same(talk_of([PROBE], [raw], rounds=1))
        for gate in gates:
            assert "http://127.0.0.1:1" == gate.records[1].server


async def test_a_body_that_ends_early_is_not_passed_off_as_whole(tmp_path):
    """A client that sends less than it said, and then no more, gets no request of its body (F6)."""
    raw = post(b"/dated", b"abcdefgh")

    async def talk(gate):
        client = await gate.connect()
        await client.say(PROBE)
        heard = [await client.hear(b"GET")]
        await client.say(raw[:-1])
        client.writer.write_eof()
        heard.append(await client.reader.read())
        await client.close()
        return heard

    async with trio(tmp_path, CONFIG, ANSWERS) as gates:
        await gates.same(talk)
        for gate in gates:
            assert not any(request.endswith(b"abcdefgh") for request in gate.mirror.received)


async def test_a_client_that_leaves_is_logged_with_its_body(tmp_path):
    """While the application thinks: 499, with the bytes that came."""

    async def talk(gate):
        client = await gate.connect()
        await client.say(PROBE)
        heard = [await client.hear(b"GET")]
        await client.say(post(b"/silent"))
        await until(lambda: any(b"/silent" in request for request in gate.mirror.received))
        sock = client.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.writer.transport.abort()
        await until(lambda: len(gate.records) == 2)
        return heard

    async with trio(tmp_path, CONFIG, ANSWERS) as gates:
        await gates.same(talk)
        for gate in gates:
            assert [499, 3] == [gate.records[-1].status, gate.records[-1].bytes_in], gate.mode


async def test_a_half_closed_client_gets_its_answer(tmp_path):
    """A body, and the end of what the client sends, in one packet or two."""

    async def talk(gate):
        client = await gate.connect()
        await client.say(PROBE)
        heard = [await client.hear(b"GET")]
        await client.say(post(b"/slow"))
        client.writer.write_eof()
        interim = b"HTTP/1.1 102 Processing\r\n\r\n"
        heard.append((await client.reader.read()).replace(interim, b""))
        await client.close()
        return heard

    async with trio(tmp_path, CONFIG, ANSWERS) as gates:
        await gates.same(talk)


async def test_a_short_body_is_really_in_the_lane(tmp_path, monkeypatch):
    """What the comparison rests on: the loop decides none of them, and the memo parses none anew."""
    async with trio(tmp_path, CONFIG, ANSWERS) as gates:
        await gates.same(talk_of([post(b"/dated")]))
        for mode, skipped in (("cold", ["decide"]), ("warm", ["decide", "decide_now"])):
            gate = gates[mode]
            client = await gate.connect()
            await client.say(PROBE)  # what comes with the connection may be before the lane
            assert (await client.hear(b"GET")).startswith(b"HTTP/1.1 200 ")
            for name in skipped:
                monkeypatch.setattr(gate.server.lane.gate, name, None)
            for body in (b"abc", b"x" * 20_000, b"\r\n\r\n"):
                await client.say(post(b"/dated", body))
                assert (await client.hear(b"POST")).startswith(b"HTTP/1.1 200 "), (mode, len(body))
            await client.close()


@given(
    bodies=st.lists(st.binary(min_size=1, max_size=40), min_size=1, max_size=4),
    paths=st.lists(
        st.sampled_from([b"/dated", b"/chunked", b"/refused", b"/none"]), min_size=4, max_size=4
    ),
    cuts=st.lists(st.integers(0, 400), max_size=2),
)
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_bodies_in_any_packets(tmp_path_factory, bodies, paths, cuts):
    """One behind the other on one connection, cut anywhere."""
    raw = b"".join(post(path, body) for path, body in zip(paths, bodies, strict=False))
    places = sorted({cut % len(raw) for cut in cuts} - {0})

    async def talk(gate):
        heard, client = [], await gate.connect()
        await client.say(PROBE)
        heard.append(await client.hear(b"GET"))
        packets = [raw[at:to] for at, to in zip((0, *places), (*places, len(raw)), strict=True)]
        await client.say(*packets)
        heard.append(await client.hear(*[b"POST"] * len(bodies)))
        if not is_over(heard[-1]):
            await client.say(PROBE)
            heard.append(await client.hear(b"GET"))
        await client.close()
        return heard

    async def run():
        async with trio(tmp_path_factory.mktemp("bodies"), CONFIG, ANSWERS) as gates:
            await gates.same(talk, json.dumps([repr(raw), places]))

    asyncio.run(run())
