"""Requests over real sockets: reuse, retries, timeouts, balance, drain."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time

import pytest

from proxy.adapters.upstreams import RequestHead
from proxy.adapters.upstreams.names import Names
from proxy.config.addresses import UpstreamServer
from proxy.errors import (
    LengthRequired,
    UpstreamError,
    UpstreamInvalid,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from tests.byte_server import REQUEST, Close, Reset, Say, Take, Until, Wait

HELLO = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"


async def ask(upstream, head, body=b""):
    """Send one request and return (status, body); the exchange is released."""
    with await upstream.open(head) as exchange:
        if head.body:
            await exchange.send(body)
            await exchange.finish()
        answer = await exchange.head()
        content = b""
        while data := await exchange.read():
            content += data
    return answer.status, content


async def test_a_connection_is_used_again(serve, reach, get):
    """A second request finds the first one's connection."""
    server = await serve([REQUEST, HELLO, REQUEST, HELLO])
    upstream = reach(server)

    assert (200, b"hello") == await ask(upstream, get)
    assert 1 == upstream.servers[0].idle
    assert (200, b"hello") == await ask(upstream, get)
    assert 1 == len(server.seen)
    assert 0 == upstream.servers[0].busy


async def test_a_unix_socket_is_reached(serve, reach, get, tmp_path_factory):
    """A server may listen on a path."""
    server = await serve([REQUEST, HELLO], path=tmp_path_factory.mktemp("u") / "s")

    assert (200, b"hello") == await ask(reach(server), get)


async def test_a_name_is_resolved(serve, reach, get):
    """A server may have a name; the address that answers is used."""
    server = await serve([REQUEST, HELLO])
    upstream = reach(UpstreamServer("http", "localhost", server.address.port))

    assert (200, b"hello") == await ask(upstream, get)


async def test_what_goes_out_is_exactly_the_request(serve, reach):
    """Head, framed body and its end; nothing else."""
    server = await serve([Until(b"0\r\n\r\n"), HELLO])
    head = RequestHead("POST", b"/a?b", [(b"Host", b"shop"), (b"X", b"1")], body="chunked")
    with await reach(server).open(head) as exchange:
        await exchange.send(b"abc")
        await exchange.send(b"")
        await exchange.send(b"0123456789abcdef0")
        await exchange.finish()
        await exchange.head()

    assert (
        b"POST /a?b HTTP/1.1\r\nHost: shop\r\nX: 1\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"3\r\nabc\r\n11\r\n0123456789abcdef0\r\n0\r\n\r\n"
    ) == bytes(server.seen[0].received)


UNUSABLE = {
    "Connection: close": b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
    "HTTP/1.0": b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok",
    "second response behind": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok" + HELLO,
    "one byte behind": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok\n",
    "empty line behind": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok\r\n",
    "second behind the chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"2\r\nok\r\n0\r\n\r\n" + HELLO,
    "Keep-Alive too short": b"HTTP/1.1 200 OK\r\nKeep-Alive: timeout=1\r\n"
    b"Content-Length: 2\r\n\r\nok",
}


@pytest.mark.parametrize("answer", UNUSABLE.values(), ids=UNUSABLE.keys())
async def test_f2_what_did_not_end_exactly_is_closed(answer, serve, reach, get):
    """The first response is served, the connection is not: no queue can be poisoned."""
    server = await serve([REQUEST, answer])
    upstream = reach(server)

    assert (200, b"ok") == await ask(upstream, get)
    assert 0 == upstream.servers[0].idle
    await server.seen[0].over.wait()


@pytest.mark.parametrize(
    ("method", "answer", "status"),
    [
        ("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", 200),
        ("HEAD", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", 200),
        ("HEAD", b"HTTP/1.1 200 OK\r\n\r\n", 200),
        ("GET", b"HTTP/1.1 204 No\r\n\r\n", 204),
        ("GET", b"HTTP/1.1 304 NM\r\nContent-Length: 5\r\n\r\n", 304),
        ("GET", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 200),
    ],
)
async def test_f2_answers_without_body_leave_the_connection_usable(
    method, answer, status, serve, reach
):
    """HEAD, 204, 304: no body is waited for, none is swallowed from the next answer."""
    server = await serve([REQUEST, answer, REQUEST, HELLO])
    upstream = reach(server)

    assert (status, b"") == await ask(upstream, RequestHead(method, b"/", [(b"Host", b"a")]))
    assert (200, b"hello") == await ask(upstream, RequestHead("GET", b"/", [(b"Host", b"a")]))
    assert 1 == len(server.seen)


@pytest.mark.parametrize("method", ["HEAD", "GET"])
async def test_f2_a_body_that_should_not_be_there_is_not_the_next_answer(method, serve, reach, get):
    """A server that sends a body after all loses its connection (field.md §3 #39)."""
    status = b"204 No" if method == "GET" else b"200 OK"
    evil = b"HTTP/1.1 " + status + b"\r\nContent-Length: 41\r\n\r\n"
    server = await serve([REQUEST, evil + HELLO.replace(b"hello", b"EVIL!")], [REQUEST, HELLO])
    upstream = reach(server)

    await ask(upstream, RequestHead(method, b"/", [(b"Host", b"a")]))
    assert (200, b"hello") == await ask(upstream, get)
    assert 2 == len(server.seen)


async def test_f2_bytes_while_idle_close_the_connection(serve, reach, get):
    """Nobody asked: what comes is not the next answer."""
    speak = asyncio.Event()
    server = await serve([REQUEST, HELLO, Wait(speak), HELLO], [REQUEST, HELLO])
    upstream = reach(server, keepalive_s=600.0)

    await ask(upstream, get)
    speak.set()
    await server.seen[0].over.wait()
    assert 0 == upstream.servers[0].idle
    assert (200, b"hello") == await ask(upstream, get)
    assert 2 == len(server.seen)


async def test_f2_an_early_answer_is_served_and_the_connection_closed(serve, reach):
    """The server answered before it had the whole body: where the next request starts is unclear."""
    server = await serve([REQUEST, HELLO])
    upstream = reach(server)
    head = RequestHead("POST", b"/", [(b"Host", b"a")], body=10)
    with await upstream.open(head) as exchange:
        assert 200 == (await exchange.head()).status
        assert b"hello" == await exchange.read()
        assert b"" == await exchange.read()
        assert not exchange.accepts_body
        await exchange.send(b"0123456789")
        await exchange.finish()

    assert 0 == upstream.servers[0].idle
    await server.seen[0].over.wait()


async def test_a_body_that_nobody_waits_for_has_no_end(serve, reach, post):
    """Where the answer is over before the first byte of the body was sent, nothing is missing."""
    server = await serve([REQUEST, HELLO])
    with await reach(server).open(post) as exchange:
        assert b"hello" == await exchange.read()
        assert b"" == await exchange.read()
        await exchange.finish()

    await server.seen[0].over.wait()
    assert b"\r\n\r\n" == server.seen[0].received[-4:]


async def test_a_body_that_is_here_goes_with_its_head(serve, reach, post):
    """The request is complete at once: its connection is used again, and the answer is waited for."""
    server = await serve([REQUEST, Take(5), HELLO, REQUEST, Take(5), HELLO])
    upstream = reach(server)
    for _ in range(2):
        with await upstream.open(post, body=b"abcde") as exchange:
            assert not exchange.accepts_body
            assert b"hello" == await exchange.read()
            assert b"" == await exchange.read()

    assert 1 == len(server.seen)
    assert 2 == server.seen[0].received.count(b"\r\n\r\nabcde")


async def test_a_body_that_is_here_starts_the_response_timeout(serve, reach, post):
    """A server that takes it and says nothing is not waited for for ever."""
    server = await serve([REQUEST, Take(5)])
    exchange = await reach(server, response_s=0.05).open(post, body=b"abcde")

    with exchange, pytest.raises(UpstreamTimeout):
        await exchange.head()


async def test_an_early_refusal_stops_the_body(serve, reach):
    """After a 413 nothing is written any more, so that the answer is not lost to a reset."""
    refusal = b"HTTP/1.1 413 Too large\r\nContent-Length: 5\r\nConnection: close\r\n\r\n"
    go = asyncio.Event()
    server = await serve([REQUEST, refusal, Wait(go), b"sorry"])
    with await reach(server).open(RequestHead("POST", b"/", [], body="chunked")) as exchange:
        assert 413 == (await exchange.head()).status
        assert not exchange.accepts_body
        await exchange.send(b"x" * 1000)
        await exchange.finish()
        go.set()
        assert b"sorry" == await exchange.read()

    await server.seen[0].over.wait()
    assert b"xxx" not in server.seen[0].received


def refuse_and_reset(listener, done):
    """Answer the head, then close with bytes of the body unread, which resets the connection."""
    accepted, _ = listener.accept()
    with accepted:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += accepted.recv(1)
        accepted.sendall(b"HTTP/1.1 413 Too large\r\nContent-Length: 5\r\n\r\nsorry")
        accepted.recv(1, socket.MSG_PEEK)
    done.set()


def write_into_reset(connection, done):
    """Write until the reset is met; the event loop gets no turn, so it learns of it by a write."""
    connection.write(b"x")
    assert done.wait(5)
    for _ in range(3):
        connection.write(b"y")
        time.sleep(0.01)


async def test_an_early_answer_survives_a_reset(reach):
    """The answer was there before the write that failed, so the client sees it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        done = threading.Event()
        server = threading.Thread(target=refuse_and_reset, args=(listener, done), daemon=True)
        server.start()
        upstream = reach(UpstreamServer("http", *listener.getsockname()))
        head = RequestHead("POST", b"/", [(b"Host", b"a")], body="chunked")
        with await upstream.open(head) as exchange:
            write_into_reset(exchange._connection, done)

            assert 413 == (await exchange.head()).status
            assert b"sorry" == await exchange.read()
            assert b"" == await exchange.read()
        server.join(5)
    assert 0 == upstream.servers[0].busy


async def test_f3_a_stale_connection_is_replaced_once(serve, reach, get):
    """The server closed while the request was under way and no byte came: one more attempt."""
    server = await serve([REQUEST, HELLO, REQUEST, Close()], [REQUEST, HELLO])
    upstream = reach(server)
    await ask(upstream, get)

    assert (200, b"hello") == await ask(upstream, get)
    assert 2 == len(server.seen)
    assert (0, 1) == (upstream.servers[0].busy, upstream.servers[0].retries)


async def test_f3_there_is_no_third_attempt(serve, reach, get):
    """A server that closes on the second attempt too is at fault."""
    server = await serve([REQUEST, HELLO, REQUEST, Close()], [REQUEST, Close()], [REQUEST, HELLO])
    upstream = reach(server)
    await ask(upstream, get)

    with await upstream.open(get) as exchange:
        for _ in range(2):  # however often it is asked
            with pytest.raises(UpstreamUnreachable):
                await exchange.head()
    assert 2 == len(server.seen)


async def test_f3_a_second_attempt_that_finds_nobody_was_the_last(serve, reach, get):
    """The server is gone for good: asking again does not connect again."""
    server = await serve([REQUEST, HELLO, REQUEST, Close()], [REQUEST, HELLO])
    upstream = reach(server)
    await ask(upstream, get)
    with await upstream.open(get) as exchange:
        upstream.servers[0].names = Names(
            UpstreamServer("http", "127.0.0.1", 1), 30.0, lambda _: None
        )
        with pytest.raises(UpstreamUnreachable):
            await exchange.head()
        upstream.servers[0].names = Names(server.address, 30.0, lambda _: None)
        with pytest.raises(UpstreamUnreachable):
            await exchange.head()
    assert 1 == len(server.seen)


@pytest.mark.parametrize("end", [Close(), Reset()])
async def test_f3_a_new_connection_is_tried_once(end, serve, reach, get):
    """A fresh connection that breaks is an answer."""
    server = await serve([REQUEST, end], [REQUEST, HELLO])

    with pytest.raises(UpstreamUnreachable):
        await ask(reach(server), get)
    assert 1 == len(server.seen)


@pytest.mark.parametrize(
    "head",
    [RequestHead("POST", b"/", []), RequestHead("PUT", b"/", [], body=5)],
    ids=["not idempotent", "with a body"],
)
async def test_f3_what_cannot_be_repeated_is_sent_once(head, serve, reach, get):
    """A POST may have been carried out before the connection broke."""
    second = asyncio.Event()
    server = await serve([REQUEST, HELLO, REQUEST, Say(second), Close()], [REQUEST, HELLO])
    upstream = reach(server)
    await ask(upstream, get)

    with pytest.raises(UpstreamUnreachable):
        await ask(upstream, head, b"abcde")
    assert second.is_set()
    assert 1 == len(server.seen)


async def test_f3_after_the_first_byte_nothing_is_repeated(serve, reach, get):
    """A response that began is the response."""
    server = await serve([REQUEST, HELLO, REQUEST, b"H", Close()], [REQUEST, HELLO])
    upstream = reach(server)
    await ask(upstream, get)

    with pytest.raises(UpstreamInvalid):
        await ask(upstream, get)
    assert 1 == len(server.seen)


async def test_a_post_looks_whether_the_server_has_just_closed(serve, reach, get, post):
    """What the event loop has not told yet, the socket has: a POST goes on a new connection."""
    server = await serve([REQUEST, HELLO, REQUEST, Close()], [REQUEST, HELLO])
    upstream = reach(server)
    await ask(upstream, get)
    (connection,) = upstream.servers[0]._idle
    connection._transport.pause_reading()  # the loop does not look; the server closes meanwhile
    connection._transport.write(b"\r\n\r\n")
    await server.seen[0].over.wait()

    assert (200, b"hello") == await ask(upstream, post, b"abcde")
    assert 2 == len(server.seen)


async def test_the_response_timeout_runs_from_the_end_of_the_request(serve, reach, get):
    """A server that stalls is 504, and its connection is closed."""
    server = await serve([REQUEST])
    upstream = reach(server, response_s=0.05)

    with pytest.raises(UpstreamTimeout):
        await ask(upstream, get)
    await server.seen[0].over.wait()
    assert 0 == upstream.servers[0].busy


async def test_a_body_that_is_on_its_way_does_not_start_the_response_timeout(serve, reach, post):
    """Only the end of the request does: the client may be slow."""
    server = await serve([REQUEST, Take(5), HELLO])
    upstream = reach(server, response_s=0.05)
    with await upstream.open(post) as exchange:
        await asyncio.sleep(0.15)
        await exchange.send(b"abcde")
        await exchange.finish()

        assert 200 == (await exchange.head()).status


async def test_informational_responses_do_not_extend_the_response_timeout(serve, reach, get):
    """A server cannot hold a request for ever with 102s."""
    server = await serve([REQUEST, b"HTTP/1.1 102 Wait\r\n\r\n"])

    with pytest.raises(UpstreamTimeout):
        await ask(reach(server, response_s=0.05), get)


async def test_a_server_that_never_says_100_times_out(serve, reach):
    """A body that waits for permission does not wait for ever."""
    server = await serve([REQUEST])
    head = RequestHead("POST", b"/", [], body=5, expects_continue=True)

    with (
        await reach(server, response_s=0.05).open(head) as exchange,
        pytest.raises(UpstreamTimeout),
    ):
        await exchange.head()


async def test_f6_a_silent_server_is_a_cut_body(serve, reach, get):
    """Without a byte for `idle_s` the body is given up, never ended."""
    server = await serve([REQUEST, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe"])

    with pytest.raises(UpstreamTimeout):
        await ask(reach(server, idle_s=0.05), get)
    await server.seen[0].over.wait()


async def test_an_event_stream_may_be_silent(serve, reach, get):
    """`idle` does not count for text/event-stream."""
    go = asyncio.Event()
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream;x=y\r\n\r\n"
    server = await serve([REQUEST, head, Wait(go), b"data: 1\n\n", Close()])
    with await reach(server, idle_s=0.03).open(get) as exchange:
        await exchange.head()
        await asyncio.sleep(0.12)
        go.set()

        assert b"data: 1\n\n" == await exchange.read()
        assert b"" == await exchange.read()


async def test_a_server_that_does_not_read_times_out(serve, reach):
    """A body that nobody takes does not wait for ever."""
    event = asyncio.Event()
    server = await serve([Take(1), Wait(event)])
    head = RequestHead("POST", b"/", [(b"Host", b"a")], body="chunked")

    async def fill(exchange):
        while True:
            await exchange.send(b"x" * 65536)

    with await reach(server, idle_s=0.1).open(head) as exchange, pytest.raises(UpstreamTimeout):
        await fill(exchange)
    event.set()


async def test_an_unused_connection_is_closed_after_keepalive(serve, reach, get):
    """Before the server does it: a request must not meet a closing connection."""
    server = await serve([REQUEST, HELLO])
    upstream = reach(server, keepalive_s=0.05)
    await ask(upstream, get)

    assert 1 == upstream.servers[0].idle
    await server.seen[0].over.wait()
    assert 0 == upstream.servers[0].idle


async def test_the_servers_own_keep_alive_hint_counts_less_a_second(serve, reach, get):
    """`Keep-Alive: timeout=3` means: use it for two seconds at most."""
    hint = HELLO.replace(b"\r\n\r\n", b"\r\nKeep-Alive: timeout=3\r\n\r\n")
    server = await serve([REQUEST, hint])
    upstream = reach(server, keepalive_s=60.0)
    await ask(upstream, get)
    (connection,) = upstream.servers[0]._idle
    left = connection.deadline - asyncio.get_running_loop().time()

    assert 1.5 < left <= 2.0


async def test_nobody_listens(reach, serve, get):
    """A refused connection is 502."""
    server = await serve()
    await server.stop()

    with pytest.raises(UpstreamUnreachable) as caught:
        await ask(reach(server), get)
    assert 502 == caught.value.status


async def test_a_server_that_closes_at_once_is_unreachable(serve, reach, get):
    """Also when the loss is known before the request is written."""
    server = await serve([Close()])

    with pytest.raises(UpstreamUnreachable):
        await ask(reach(server), get)


async def test_a_server_that_speaks_first_is_refused(serve, reach, get):
    """One answer too many on a connection ends it, whenever it comes."""
    server = await serve([HELLO, REQUEST, HELLO])
    upstream = reach(server)

    with contextlib.suppress(UpstreamError):
        await ask(upstream, get)
    await server.seen[0].over.wait()
    assert 0 == upstream.servers[0].idle


async def test_f2_a_body_of_unknown_length_needs_http_1_1(serve, reach, get):
    """A server that answered in HTTP/1.0 is not sent chunks: 411."""
    old = b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello"
    server = await serve([REQUEST, old], [REQUEST, HELLO, Until(b"0\r\n\r\n"), HELLO])
    upstream = reach(server)
    chunked = RequestHead("POST", b"/", [(b"Host", b"a")], body="chunked")
    await ask(upstream, get)

    with pytest.raises(LengthRequired) as caught:
        await ask(upstream, chunked, b"abc")
    assert 411 == caught.value.status
    assert 1 == len(server.seen)
    await ask(upstream, get)  # in HTTP/1.1

    assert (200, b"hello") == await ask(upstream, chunked, b"abc")


async def test_f2_chunks_that_met_http_1_0_are_411(serve, reach):
    """Such a server may have read the chunks as anything: its answer means nothing."""
    old = b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello"
    server = await serve([Until(b"0\r\n\r\n"), old])
    upstream = reach(server)

    with pytest.raises(LengthRequired):
        await ask(upstream, RequestHead("POST", b"/", [(b"Host", b"a")], body="chunked"), b"abc")
    await server.seen[0].over.wait()
    assert 0 == upstream.servers[0].busy


async def test_a_server_out_of_reach_is_left_out(serve, reach, get):
    """After one failure the other server takes everything."""
    gone, there = await serve(), await serve(*[[REQUEST, HELLO] * 40])
    await gone.stop()
    upstream = reach(gone, there)
    upstream.servers[1].busy = 5  # so that the dead one, which is never busy, is tried first
    with pytest.raises(UpstreamUnreachable):
        await ask(upstream, get)

    assert [(200, b"hello")] * 40 == [await ask(upstream, get) for _ in range(40)]


async def test_one_request_finds_out_whether_a_server_is_back(serve, reach):
    """When its rest is over one request is risked, not all of them."""
    one, two = await serve(), await serve()
    upstream = reach(one, two, connect_s=30.0)
    upstream.servers[0]._failures = 1
    upstream.servers[1].busy = 9

    assert upstream.servers[0] is upstream.pick()
    assert [upstream.servers[1]] * 20 == [upstream.pick() for _ in range(20)]


async def test_hashed_requests_stay_with_their_server(serve, reach):
    """Equal keys go to one server, different keys to several."""
    servers = [await serve() for _ in range(3)]
    upstream = reach(*servers, is_hashed=True)

    assert 1 == len({upstream.pick(b"ann") for _ in range(20)})
    assert 3 == len({upstream.pick(b"%d" % number) for number in range(100)})


async def test_requests_spread_by_load(serve, reach, get):
    """A server with requests in flight gets the next one less likely: with two, never."""
    go = asyncio.Event()
    scripts = [[REQUEST, Wait(go), HELLO]] * 2
    servers = [await serve(*scripts), await serve(*scripts)]
    upstream = reach(*servers)
    exchanges = [await upstream.open(get) for _ in range(4)]
    for exchange in exchanges:
        assert exchange.server in {server.name for server in upstream.servers}

    assert [2, 2] == [server.busy for server in upstream.servers]
    go.set()
    for exchange in exchanges:
        await exchange.head()
        exchange.release()
    assert [0, 0] == [server.busy for server in upstream.servers]


async def test_f7_the_gate_itself_is_refused(serve, reach, get):
    """An upstream that leads to one of the gate's own listeners gets no byte."""
    server = await serve([REQUEST, HELLO])
    own = frozenset({("0.0.0.0", server.address.port)})

    with pytest.raises(UpstreamUnreachable, match="this gate itself"):
        await ask(reach(server, own_addresses=own), get)
    assert all(seen.received == b"" for seen in server.seen)


async def test_a_drain_waits_for_requests_in_flight(serve, reach, get):
    """Idle connections close at once, busy ones when they end, new requests are refused."""
    go = asyncio.Event()
    server = await serve([REQUEST, HELLO], [REQUEST, Wait(go), HELLO])
    upstream = reach(server)
    first = await upstream.open(get)
    second = await upstream.open(get)
    await first.head()
    assert b"hello" == await first.read()
    closing = asyncio.create_task(upstream.close(5.0))  # noqa: TID251 - awaited below
    await server.seen[0].over.wait()
    with pytest.raises(UpstreamUnreachable):
        await upstream.open(get)
    assert not closing.done()
    go.set()

    assert 200 == (await second.head()).status
    assert b"hello" == await second.read()
    await closing
    await server.seen[1].over.wait()


async def test_a_drain_ends(serve, reach, get):
    """What is not ready in time is cut."""
    server = await serve([REQUEST])
    upstream = reach(server)
    exchange = await upstream.open(get)
    await upstream.close(0.05)

    with pytest.raises(UpstreamError):
        await exchange.head()
    exchange.release()
    assert 0 == upstream.servers[0].busy


async def test_a_cancelled_open_leaves_nothing(serve, reach, get):
    """A connection attempt that is given up is not counted and not kept."""
    server = await serve([REQUEST, HELLO])
    upstream = reach(server)
    for turns in range(6):
        task = asyncio.create_task(upstream.open(get))  # noqa: TID251 - awaited below
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            (await task).release()

    assert 0 == upstream.servers[0].busy
    assert 0 == upstream.servers[0].idle


@pytest.mark.parametrize("waits_for", ["head", "read"])
async def test_a_cancelled_wait_leaves_no_half_used_connection(waits_for, serve, reach, get):
    """A client that left: its connection is closed, not pooled (F2)."""
    begun = asyncio.Event()
    script = [REQUEST, *([] if waits_for == "head" else [HELLO[:-2]]), Say(begun)]
    server = await serve(script)
    upstream = reach(server)

    async def forward():
        with await upstream.open(get) as exchange:
            await exchange.head()
            while await exchange.read():
                pass

    task = asyncio.create_task(forward())  # noqa: TID251 - awaited below
    await begun.wait()
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    await server.seen[0].over.wait()
    assert 0 == upstream.servers[0].idle
    assert 0 == upstream.servers[0].busy
