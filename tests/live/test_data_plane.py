"""The data plane on real sockets: what goes through, byte for byte, and what ends how."""

from __future__ import annotations

import asyncio
import contextlib
import time
from email.utils import parsedate_to_datetime

import pytest

from tests.byte_server import REQUEST, ByteServer, Close, Reset, Say, Take, Until, Wait

GET = b"GET / HTTP/1.1\r\nHost: gate\r\nConnection: close\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

CHUNKED = b"POST /a/../b HTTP/1.1\r\nHost: gate\r\nTransfer-Encoding: chunked\r\n\r\n"

CONFIG = """
server: {{id: here, limits: {limits}}}
upstreams:
  app: {{servers: ["{server}"], timeouts: {timeouts}}}
routes:
  - {{match: {{path: /**}}, auth: none, upstream: app, upgrades: [websocket, echo]}}
"""


@pytest.fixture
async def through(start_gate):
    """Return a function that starts a gate before a server that plays `scripts`."""
    async with contextlib.AsyncExitStack() as stack:

        async def start(*scripts, limits="{}", timeouts="{}"):
            server = ByteServer(scripts)
            await server.start()
            stack.push_async_callback(server.stop)
            text = CONFIG.format(server=server.address, limits=limits, timeouts=timeouts)
            return await start_gate(text), server

        yield start


def request(method=b"GET", target=b"/", *lines, body=b""):
    head = b"%b %b HTTP/1.1\r\nHost: gate\r\nConnection: close\r\n" % (method, target)
    return head + b"".join(line + b"\r\n" for line in lines) + b"\r\n" + body


def header(raw, name):
    head = raw.partition(b"\r\n\r\n")[0].split(b"\r\n")[1:]
    pairs = [line.partition(b": ")[::2] for line in head]
    return [value for key, value in pairs if key.lower() == name.lower()]


async def test_the_target_is_forwarded_byte_for_byte(through):
    """Percent-encoding, case and query stay as they came (P1)."""
    gate, server = await through([REQUEST, OK])
    await gate.exchange(request(b"GET", b"/%7eA%2d/b?x=%2F..&y=%E2%82"))

    assert server.seen[0].received.startswith(b"GET /%7eA%2d/b?x=%2F..&y=%E2%82 HTTP/1.1\r\n")


async def test_an_absolute_target_is_forwarded_in_origin_form(through):
    """P3: the authority is the Host's, and the server sees a path."""
    gate, server = await through([REQUEST, OK])
    await gate.exchange(request(b"GET", b"http://gate/x?y"))

    assert server.seen[0].received.startswith(b"GET /x?y HTTP/1.1\r\nHost: gate\r\n")


async def test_s15_a_password_in_the_target_is_not_logged(through):
    """S15: the line says what follows the authority, of a refused request as well."""
    gate, server = await through()
    raw = await gate.exchange(request(b"GET", b"http://user:secret@gate/a?secret"))
    record = await gate.next_record()

    assert raw.startswith(b"HTTP/1.1 400 ")
    assert record.path == "/a"
    assert server.seen == []


async def test_duplicate_headers_keep_their_order(through):
    """Both ways: repeated fields stay repeated, in order, Set-Cookie too."""
    answer = (
        b"HTTP/1.1 200 Fine\r\nSet-Cookie: a=1\r\nX-A: 1\r\nSet-Cookie: b=2\r\nX-A: 2\r\n"
        b"Content-Length: 0\r\n\r\n"
    )
    gate, server = await through([REQUEST, answer])
    raw = await gate.exchange(request(b"GET", b"/", b"X-B: 1", b"X-C: 2", b"X-B: 3"))

    assert raw.startswith(b"HTTP/1.1 200 Fine\r\n")
    assert header(raw, b"set-cookie") == [b"a=1", b"b=2"]
    assert header(raw, b"x-a") == [b"1", b"2"]
    assert header(bytes(server.seen[0].received), b"x-b") == [b"1", b"3"]


async def test_an_answer_has_the_date_on_which_it_came(through):
    """RFC 9110 §6.6.1: the gate adds one where the server gave none, and keeps the server's."""
    told = b"Thu, 01 Jan 1970 00:00:00 GMT"
    dated = b"HTTP/1.1 200 OK\r\ndate: %b\r\nContent-Length: 0\r\n\r\n" % told
    gate, _ = await through([REQUEST, OK])
    before = int(time.time())
    (added,) = header(await gate.exchange(GET), b"date")
    moment = parsedate_to_datetime(added.decode()).timestamp()

    assert before <= moment <= time.time()
    gate, _ = await through([REQUEST, dated])
    assert header(await gate.exchange(GET), b"date") == [told]


async def test_an_answer_has_the_request_id_of_its_log_line(through):
    """One, and the same that the server was sent; the server's own is replaced. A 1xx has none."""
    early = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nX-Request-Id: theirs\r\n\r\n"
    answer = b"HTTP/1.1 200 OK\r\nx-request-id: theirs\r\nContent-Length: 0\r\n\r\n"
    gate, server = await through([REQUEST, early + answer])
    raw = await gate.exchange(GET)
    (told,) = header(bytes(server.seen[0].received), b"x-request-id")
    hints, _, final = raw.partition(b"\r\n\r\n")

    assert b"HTTP/1.1 103 Early Hints\r\nLink: </a>" == hints
    assert [told] == header(final, b"x-request-id")
    assert told.decode() == (await gate.next_record()).request_id


async def test_hop_by_hop_headers_end_here(through):
    """RFC 9110 §7.6.1: Connection, what it names, Keep-Alive, TE and Proxy-* do not go on."""
    gate, server = await through([REQUEST, OK])
    await gate.exchange(
        b"GET / HTTP/1.1\r\nHost: gate\r\nConnection: close, X-Hop\r\nX-Hop: 1\r\n"
        b"Keep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\nX-End: 1\r\n\r\n"
    )
    sent = bytes(server.seen[0].received)

    assert header(sent, b"x-end") == [b"1"]
    for name in (b"connection", b"x-hop", b"keep-alive", b"proxy-connection"):
        assert header(sent, name) == []


async def test_a_head_response_keeps_its_length_and_has_no_body(through):
    """HEAD: the Content-Length is the answer's, no byte follows, the connection goes on."""
    gate, server = await through(
        [REQUEST, b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n", REQUEST, OK]
    )
    raw = await gate.exchange(b"HEAD / HTTP/1.1\r\nHost: gate\r\n\r\n" + GET)

    assert header(raw, b"content-length")[0] == b"500"
    assert raw.endswith(b"\r\n\r\nok")
    assert len(server.seen) == 1


@pytest.mark.parametrize("status", [b"204 No Content", b"304 Not Modified"])
async def test_answers_without_a_body(through, status):
    """204 and 304 end with their head."""
    gate, _ = await through([REQUEST, b"HTTP/1.1 " + status + b"\r\nX-A: 1\r\n\r\n"])
    raw = await gate.exchange(GET)

    assert raw.startswith(b"HTTP/1.1 " + status)
    assert raw.endswith(b"\r\n\r\n")
    assert header(raw, b"transfer-encoding") == []


async def test_a_chunked_answer_with_trailers(through):
    """F5: the body is chunked again, trailers follow, but none that would act as a header."""
    chunks = b"3\r\nabc\r\n4;x=y\r\ndefg\r\n0\r\nX-Sum: 7\r\nSet-Cookie: a=1\r\nX-Auth-Subject: eve\r\n\r\n"
    gate, _ = await through(
        [
            REQUEST,
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n" + chunks,
        ]
    )
    raw = await gate.exchange(GET)
    body = raw.partition(b"\r\n\r\n")[2]

    assert body.endswith(b"0\r\nX-Sum: 7\r\n\r\n")
    assert b"abc" in body
    assert b"eve" not in raw
    assert b"a=1" not in raw


async def test_an_http10_client_gets_a_body_without_chunks(through):
    """A body of unknown length ends with the connection."""
    gate, _ = await through(
        [REQUEST, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"]
    )
    raw = await gate.exchange(b"GET / HTTP/1.0\r\nHost: gate\r\n\r\n")

    assert header(raw, b"transfer-encoding") == []
    assert header(raw, b"connection") == [b"close"]
    assert raw.endswith(b"\r\n\r\nabc")


async def test_a_server_always_gets_one_host(through):
    """RFC 9112 §3.2: an HTTP/1.0 request without Host goes on in HTTP/1.1, with the server's own name."""
    gate, server = await through([REQUEST, OK])
    raw = await gate.exchange(b"GET / HTTP/1.0\r\n\r\n")
    sent = bytes(server.seen[0].received)

    assert raw.endswith(b"\r\n\r\nok")
    assert sent.startswith(b"GET / HTTP/1.1\r\n")
    assert header(sent, b"host") == [f"127.0.0.1:{server.address.port}".encode()]


async def test_a_body_that_ends_with_the_connection(through):
    """An answer without length is passed on chunked, and ends well."""
    gate, _ = await through([REQUEST, b"HTTP/1.1 200 OK\r\n\r\nabc", Close()])
    raw = await gate.exchange(GET)

    assert raw.endswith(b"3\r\nabc\r\n0\r\n\r\n")


@pytest.mark.parametrize(
    "cut",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
    ],
)
async def test_f6_a_body_cut_short_is_never_complete(through, cut):
    """What broke off behind the gate breaks off before it."""
    gate, _ = await through([REQUEST, cut, Close()])
    raw = b""
    with contextlib.suppress(ConnectionError):
        raw = await gate.exchange(GET)

    assert not raw.endswith(b"0\r\n\r\n")
    assert len(raw.partition(b"\r\n\r\n")[2]) < 10


async def test_interim_answers_go_on(through):
    """103 reaches the client before the final answer; an unasked 100 does not."""
    gate, _ = await through(
        [
            REQUEST,
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + OK,
        ]
    )
    raw = await gate.exchange(GET)

    assert raw.startswith(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\n")


async def test_expect_is_answered_by_the_upstream(through):
    """100-continue end to end: the body is asked for by the server, and comes after that."""
    asked = asyncio.Event()
    gate, server = await through(
        [REQUEST, Wait(asked), b"HTTP/1.1 100 Continue\r\n\r\n", Take(3), OK]
    )
    reader, writer = await gate.connect()
    writer.write(request(b"POST", b"/", b"Expect: 100-continue", b"Content-Length: 3"))
    asked.set()

    assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    writer.write(b"abc")
    assert (await reader.read()).startswith(b"HTTP/1.1 200 OK")
    assert b"Expect: 100-continue\r\n" in server.seen[0].received
    writer.close()


async def test_a_refused_expectation_needs_no_body(through):
    """A final answer instead of 100 reaches the client, which keeps its body."""
    gate, _ = await through([REQUEST, b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n"])
    raw = await gate.exchange(request(b"POST", b"/", b"Expect: 100-continue", b"Content-Length: 3"))

    assert raw.startswith(b"HTTP/1.1 403 No")
    assert header(raw, b"connection") == [b"close"]


async def test_an_early_answer_reaches_a_client_that_is_still_sending(through):
    """413 of the server arrives although the body never ends."""
    gate, _ = await through(
        [
            REQUEST,
            b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
            Close(),
        ]
    )
    reader, writer = await gate.connect()
    writer.write(request(b"POST", b"/", b"Content-Length: 100000000") + b"x" * 1000)

    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 413")
    writer.close()


async def test_a_client_that_leaves_cancels_its_request(through):
    """The server sees its connection end when the client's does."""
    began = asyncio.Event()
    gate, server = await through([REQUEST, Say(began), Until(b"never")])
    _, writer = await gate.connect()
    writer.write(GET)
    await began.wait()
    writer.close()
    async with asyncio.timeout(10):
        await server.seen[0].over.wait()

    assert (await gate.next_record()).code == "client_left"


async def test_whoever_has_left_was_not_answered(through):
    """Though the answer came before the gate had noticed: the log does not call that a success."""
    began, go = asyncio.Event(), asyncio.Event()
    gate, _ = await through([REQUEST, Say(began), Wait(go), OK])
    _, writer = await gate.connect()
    writer.write(b"GET / HTTP/1.1\r\nHost: gate\r\n\r\n")
    await began.wait()
    writer.close()
    await asyncio.sleep(0.05)  # let the FIN arrive: nothing else tells the test that it has
    go.set()
    record = await gate.next_record()

    assert (499, "client_left") == (record.status, record.code)


async def test_a_half_closed_client_gets_its_answer(through):
    """A FIN behind the request is no farewell."""
    go = asyncio.Event()
    gate, _ = await through([REQUEST, Wait(go), OK])
    reader, writer = await gate.connect()
    writer.write(GET)
    writer.write_eof()
    await asyncio.sleep(0.05)  # let the FIN arrive: nothing else tells the test that it has
    go.set()
    raw = await reader.read()

    assert raw.endswith(OK.partition(b"\r\n\r\n")[2])
    writer.close()


async def test_an_event_stream_is_not_buffered(through):
    """Each event arrives before the next one is sent."""
    more = asyncio.Event()
    gate, _ = await through(
        [
            REQUEST,
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n",
            Wait(more),
            b"data: 2\n\n",
            Close(),
        ]
    )
    reader, writer = await gate.connect()
    writer.write(GET)
    first = await reader.readuntil(b"data: 1\n\n")
    more.set()

    assert b"text/event-stream" in first
    assert b"data: 2\n\n" in await reader.read()
    writer.close()


@pytest.mark.parametrize("who", ["client", "server"])
async def test_an_event_stream_ends_when_either_side_does(through, who):
    """At once, though no event tells it; and however it ends, it is no duration."""
    reset = asyncio.Event()
    events = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n"
    gate, server = await through([REQUEST, events, *([Wait(reset), Reset()] * (who == "server"))])
    reader, writer = await gate.connect()
    writer.write(b"GET / HTTP/1.1\r\nHost: gate\r\n\r\n")
    await reader.readuntil(b"data: 1\n\n")
    if who == "client":
        writer.close()
    reset.set()
    record = await gate.next_record()
    async with asyncio.timeout(5):
        await server.seen[0].over.wait()
    writer.close()

    assert record.code == {"client": "client_left", "server": "upstream_invalid"}[who]
    (cell,) = gate.server.counters.cells.values()
    assert (1, 0) == (cell.count, sum(cell.durations.buckets))


async def test_requests_can_be_pipelined(through):
    """Answers come in the order of the requests."""
    gate, _ = await through(
        [
            REQUEST,
            b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1",
            REQUEST,
            b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n2",
        ]
    )
    first = b"POST /1 HTTP/1.1\r\nHost: gate\r\nContent-Length: 3\r\n\r\nabc"
    raw = await gate.exchange(first + request(b"GET", b"/2"))

    assert raw.index(b"\r\n\r\n1HTTP/1.1 200") < raw.index(b"\r\n\r\n2")


async def test_a_head_that_is_too_large_is_431(through):
    """`header_size` counts the whole head, however many fields it has."""
    gate, server = await through(limits="{header_size: 2KiB}")
    many = [b"X-%d: %b" % (number, b"y" * 50) for number in range(60)]
    raw = await gate.exchange(request(b"GET", b"/", *many))
    one = await gate.exchange(request(b"GET", b"/", b"X: " + b"y" * 3000))

    assert raw.startswith(b"HTTP/1.1 431 ")
    assert one.startswith(b"HTTP/1.1 431 ")
    assert server.seen == []


async def test_an_endless_head_is_431(through):
    """A head without end is cut at the limit, not collected."""
    gate, _ = await through(limits="{header_size: 4KiB}")
    reader, writer = await gate.connect()
    writer.write(b"GET / HTTP/1.1\r\n")
    with contextlib.suppress(ConnectionError):
        for _ in range(1000):
            writer.write(b"X-Y: " + b"z" * 100 + b"\r\n")
            await writer.drain()
    raw = b""
    with contextlib.suppress(ConnectionError):
        raw = await reader.read()
    writer.close()

    assert raw.startswith(b"HTTP/1.1 431 ")


async def test_f1_a_slow_head_is_408(through):
    """The timer runs from the first byte, whatever trickles in."""
    gate, _ = await through(limits="{header_timeout: 300ms}")
    reader, writer = await gate.connect()
    writer.write(b"GET / HT")
    raw = await reader.read()

    assert raw.startswith(b"HTTP/1.1 408 ")
    assert header(raw, b"connection") == [b"close"]
    writer.close()


@pytest.mark.parametrize(
    "before",
    [
        b"GET /a/../b HTTP/1.1\r\nHost: gate\r\n\r\n",
        b"POST /a/../b HTTP/1.1\r\nHost: gate\r\nContent-Length: 3\r\n\r\nabc",
        CHUNKED + b"3\r\nabc\r\n0\r\n\r\n",
    ],
    ids=["head", "length", "chunked"],
)
async def test_f1_a_slow_head_behind_another_request_is_408(through, before):
    """The timer runs from its first byte, in whatever packet that came, and its size counts."""
    gate, _ = await through(limits="{header_timeout: 300ms, header_size: 1KiB, keepalive: 5m}")
    slow = await gate.exchange(before + b"GET /y HTTP/1.1\r\nHo")
    long = await gate.exchange(before + b"GET /y HTTP/1.1\r\nX: " + b"y" * 1100)

    assert slow.startswith(b"HTTP/1.1 400 ")
    assert b"HTTP/1.1 408 " in slow
    assert b"HTTP/1.1 431 " in long


async def test_f1_an_idle_connection_is_closed_silently(through):
    """Without a first byte there is nothing to answer."""
    gate, _ = await through(limits="{keepalive: 200ms}")
    reader, writer = await gate.connect()

    assert await reader.read() == b""
    writer.close()


async def test_an_idle_connection_after_an_answer_is_closed_silently(through):
    """The same after a request was served."""
    gate, _ = await through([REQUEST, OK], limits="{keepalive: 300ms}")
    raw = await gate.exchange(b"GET / HTTP/1.1\r\nHost: gate\r\n\r\n")

    assert raw.endswith(b"\r\n\r\nok")


async def test_a_body_above_the_limit_is_413(through):
    """By its Content-Length at once, by its bytes when they come."""
    gate, server = await through([REQUEST, Until(b"never")], limits="{body_size: 10B}")
    told = await gate.exchange(request(b"POST", b"/", b"Content-Length: 11") + b"x" * 11)
    assert server.seen == []
    chunked = (
        request(b"POST", b"/", b"Transfer-Encoding: chunked") + b"14\r\n" + b"x" * 20 + b"\r\n"
    )
    counted = await gate.exchange(chunked)

    assert told.startswith(b"HTTP/1.1 413 ")
    assert counted.startswith(b"HTTP/1.1 413 ")


async def test_another_expectation_is_417(through):
    """RFC 9110 §10.1.1: only 100-continue is known."""
    gate, _ = await through()
    raw = await gate.exchange(request(b"POST", b"/", b"Expect: magic", b"Content-Length: 1") + b"x")

    assert raw.startswith(b"HTTP/1.1 417 ")


async def test_an_upstream_that_is_not_there_is_502(start_gate):
    """With a stable code, and no word about where it should be."""
    gate = await start_gate(CONFIG.format(server="http://127.0.0.1:1", limits="{}", timeouts="{}"))
    raw = await gate.exchange(GET)

    assert raw.startswith(b"HTTP/1.1 502 ")
    assert b'"upstream_unreachable"' in raw
    assert b"127.0.0.1" not in raw


async def test_an_upstream_that_is_silent_is_504(through):
    """After `timeouts.response`."""
    gate, _ = await through([REQUEST, Until(b"never")], timeouts="{response: 200ms}")
    raw = await gate.exchange(GET)

    assert raw.startswith(b"HTTP/1.1 504 ")
    assert b'"upstream_timeout"' in raw


@pytest.mark.parametrize(
    "answer",
    [
        b"SMTP ready\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n",
        b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok",
    ],
)
async def test_an_answer_that_is_not_http_is_502(through, answer):
    """Nothing of it reaches the client."""
    gate, _ = await through([REQUEST, answer, Close()])
    raw = await gate.exchange(GET)

    assert raw.startswith(b"HTTP/1.1 502 ")
    assert b'"upstream_invalid"' in raw


async def test_f3_one_more_attempt_on_a_stale_connection(through):
    """A kept connection that the server closed costs an idempotent request nothing."""
    gate, server = await through([REQUEST, OK, REQUEST, Reset()], [REQUEST, OK])
    keep = b"GET / HTTP/1.1\r\nHost: gate\r\n\r\n"
    raw = await gate.exchange(keep + GET)

    assert raw.count(b"HTTP/1.1 200 OK") == 2
    assert len(server.seen) == 2


async def test_f3_a_post_is_never_sent_twice(through):
    """What is not idempotent gets 502 instead."""
    gate, server = await through([REQUEST, OK, REQUEST, Reset()], [REQUEST, OK])
    raw = await gate.exchange(
        b"GET / HTTP/1.1\r\nHost: gate\r\n\r\n" + request(b"POST", b"/", b"Content-Length: 0")
    )

    assert raw.count(b"HTTP/1.1 502 ") == 1
    assert len(server.seen) == 1


async def test_f2_an_early_answer_never_leaves_a_connection_in_the_pool(through):
    """A request whose body did not end cannot be followed by another on its connection."""
    gate, server = await through([REQUEST, OK, REQUEST, OK], [REQUEST, OK])
    first = request(b"POST", b"/", b"Content-Length: 50") + b"x"
    await gate.exchange(first)
    await gate.exchange(GET)

    assert len(server.seen) == 2


async def test_f7_a_loop_is_508(through):
    """A Via that names this gate means that the request has been here."""
    gate, server = await through()
    raw = await gate.exchange(request(b"GET", b"/", b"Via: 1.1 other, 1.1 here"))

    assert raw.startswith(b"HTTP/1.1 508 ")
    assert server.seen == []


async def test_a_chunked_body_goes_through(through):
    """Chunk extensions and trailers of the client end here (F5)."""
    gate, server = await through([Until(b"0\r\n\r\n"), OK])
    body = b"3;ext=1\r\nabc\r\n0\r\nX-Trailer: 1\r\n\r\n"
    raw = await gate.exchange(request(b"POST", b"/", b"Transfer-Encoding: chunked") + body)
    sent = bytes(server.seen[0].received)

    assert raw.endswith(b"\r\n\r\nok")
    assert sent.endswith(b"\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
    assert header(sent, b"transfer-encoding") == [b"chunked"]


@pytest.mark.parametrize("size", [150_000, 180_000, 210_000])
async def test_a_chunk_that_fills_the_buffer_in_one_piece_goes_through(through, size):
    """The parser pauses in the middle of what arrived, and goes on when the buffer has room."""
    gate, _ = await through([Until(b"0\r\n\r\n"), OK])
    body = b"%x\r\n%b\r\n0\r\n\r\n" % (size, b"x" * size)
    raw = await gate.exchange(request(b"POST", b"/", b"Transfer-Encoding: chunked", body=body))

    assert raw.endswith(b"\r\n\r\nok")


@pytest.mark.parametrize(
    ("begin", "more"),
    [(b"0\r\n", b"X-%d: " + b"t" * 1000 + b"\r\n"), (b"3;a=", b"b" * 1000 + b"%d")],
    ids=["trailers", "extension"],
)
async def test_f5_what_is_around_the_chunks_has_a_limit(through, begin, more):
    """Endless trailers or extensions are 431, and the server sees no end of the body (F6)."""
    arrived = asyncio.Event()
    gate, server = await through(
        [Until(b"hello"), Say(arrived), Until(b"0\r\n\r\n"), OK], limits="{header_size: 4KiB}"
    )
    reader, writer = await gate.connect()
    writer.write(request(b"POST", b"/", b"Transfer-Encoding: chunked") + b"5\r\nhello\r\n")
    await arrived.wait()
    writer.write(begin)
    sent = 0
    with contextlib.suppress(ConnectionError):
        while not gate.records and sent < 2000:
            writer.write(more % sent)
            sent += 1
            await writer.drain()
            await asyncio.sleep(0)
    async with asyncio.timeout(10):
        raw = await reader.read()
        await server.seen[0].over.wait()
    writer.close()

    assert raw.startswith(b"HTTP/1.1 431 ")
    assert (await gate.next_record()).code == "headers_too_large"
    assert not server.seen[0].received.endswith(b"0\r\n\r\n")


@pytest.mark.parametrize(
    "trailers", [b"X-Last: 1\r\n", b"X-A: 1\r\nX-Last: 0\r\n"], ids=["one", "two"]
)
async def test_f5_a_trailer_never_becomes_a_header_of_the_next_request(through, trailers):
    """The gate reads nothing behind a body with trailers: the parser would mix the two."""
    gate, server = await through([Until(b"0\r\n\r\n"), OK, REQUEST, OK], [REQUEST, OK])
    head = b"POST / HTTP/1.1\r\nHost: gate\r\nTransfer-Encoding: chunked\r\n\r\n"
    reader, writer = await gate.connect()
    writer.write(head + b"5;ext=1\r\nhello\r\n0\r\n" + trailers + b"\r\n" + request())
    raw = await reader.read()
    writer.close()

    assert raw.count(b"HTTP/1.1 200 ") == 1
    assert header(raw, b"connection") == [b"close"]
    assert b"X-Last" not in server.seen[0].received
    assert len(server.seen) == 1


async def test_requests_behind_a_chunked_body_are_served(through):
    """Whatever the chunks hold, and however what is sent is cut."""
    post = b"POST /1 HTTP/1.1\r\nHost: gate\r\nTransfer-Encoding: chunked\r\n\r\n"
    post += b"b\r\n\r\n0\r\n\r\n12\r\n\r\n0\r\n\r\n"
    both = post + post + request(b"GET", b"/3")
    end = Until(b"12\r\n\r\n0\r\n\r\n")
    for cut in range(len(post) - 7, len(post) + 3):
        gate, _ = await through([end, OK, end, OK, REQUEST, OK])
        reader, writer = await gate.connect()
        writer.write(both[:cut])
        await writer.drain()
        await asyncio.sleep(0)
        writer.write(both[cut:])
        raw = await reader.read()
        writer.close()
        assert raw.count(b"HTTP/1.1 200 ") == 3, cut


async def test_any_number_of_requests_can_be_pipelined(through):
    """What does not fit into the queue waits, and is not forgotten."""
    gate, _ = await through()
    odd = b"GET /a/../b HTTP/1.1\r\nHost: gate\r\n\r\n"
    raw = await gate.exchange(odd * 200 + request(b"GET", b"/a/../b"))

    assert raw.count(b"HTTP/1.1 400 ") == 201


async def test_f6_a_broken_request_body_is_never_complete(through):
    """The server sees no end of a body that the client broke off."""
    arrived = asyncio.Event()
    gate, server = await through([Until(b"abc"), Say(arrived), Until(b"0\r\n\r\n"), OK])
    reader, writer = await gate.connect()
    writer.write(request(b"POST", b"/", b"Transfer-Encoding: chunked") + b"3\r\nabc\r\n")
    await arrived.wait()
    writer.write(b"XX\r\n")
    raw = await reader.read()
    writer.close()
    async with asyncio.timeout(5):
        await server.seen[0].over.wait()

    assert raw.startswith(b"HTTP/1.1 400 ")
    assert b"0\r\n\r\n" not in server.seen[0].received.partition(b"\r\n\r\n")[2]


async def test_draining_ends_the_request_in_progress_well(through):
    """A request that is running gets its answer, and the connection closes after it."""
    began, go = asyncio.Event(), asyncio.Event()
    gate, _ = await through([REQUEST, Say(began), Wait(go), OK])
    reader, writer = await gate.connect()
    writer.write(b"GET / HTTP/1.1\r\nHost: gate\r\n\r\n")
    await began.wait()
    draining = asyncio.get_running_loop().create_task(gate.server.drain(5))
    await asyncio.sleep(0)
    go.set()
    raw = await reader.read()
    await draining

    assert raw.endswith(b"\r\n\r\nok")
    assert header(raw, b"connection") == [b"close"]
    writer.close()


@pytest.mark.parametrize("method", [b"GET", b"POST"])
async def test_a_request_that_the_drain_does_not_wait_for_is_told_so(through, method):
    """503 `draining`, also in the log: it was not the client that left. A body may be under way."""
    began = asyncio.Event()
    gate, _ = await through([REQUEST, Say(began)])
    reader, writer = await gate.connect()
    lines = (b"Content-Length: 9",) if method == b"POST" else ()
    writer.write(request(method, b"/", *lines))
    await began.wait()
    await gate.server.drain(0.05)
    raw = await reader.read()
    writer.close()
    record = await gate.next_record()

    assert raw.startswith(b"HTTP/1.1 503 ")
    assert b'"code": "draining"' in raw
    assert [b"close"] == header(raw, b"connection")
    assert (503, "draining") == (record.status, record.code)
    assert 0 == gate.server.connections


@pytest.mark.parametrize("version", [b"1.1", b"1.0"])
async def test_f6_an_answer_that_is_cut_off_by_the_drain_does_not_look_complete(through, version):
    """Not even where only its end ends it: the client sees a reset. The log has the status and why."""
    answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"
    gate, _ = await through([REQUEST, answer])
    reader, writer = await gate.connect()
    writer.write(b"GET / HTTP/%b\r\nHost: gate\r\n\r\n" % version)
    await reader.readuntil(b"abc")
    await gate.server.drain(0.05)
    with pytest.raises(ConnectionResetError):
        await reader.read()
    writer.close()
    record = await gate.next_record()

    assert (200, "draining") == (record.status, record.code)


async def test_an_idle_connection_and_half_a_head_end_with_the_drain(through):
    """Nothing was asked, so nothing is answered or logged."""
    gate, _ = await through()
    reader, writer = await gate.connect()
    writer.write(b"GET / HTTP/1.1\r\nHo")
    await asyncio.sleep(0.05)
    async with asyncio.timeout(5):
        await gate.server.drain(0.05)
    with contextlib.suppress(ConnectionResetError):
        assert b"" == await reader.read()
    writer.close()

    assert [] == gate.records
