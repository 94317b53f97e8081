"""One request and its response: bodies, back-pressure, interim answers, tunnels, misuse."""

from __future__ import annotations

import asyncio

import pytest

from proxy.adapters.upstreams import RequestHead
from proxy.adapters.upstreams.exchange import PAUSE_ABOVE
from proxy.errors import UpstreamError, UpstreamInvalid, UpstreamTimeout, UpstreamUnreachable
from tests.byte_server import REQUEST, Close, HalfClose, Reset, Until, Wait

BOUND = PAUSE_ABOVE + 256 * 1024
SWITCH = b"HTTP/1.1 101 Switching\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n\r\n"
WEBSOCKET = RequestHead("GET", b"/chat", [(b"Host", b"a")], upgrade=b"websocket")


async def read_all(exchange):
    """Return everything up to the clean end."""
    content = b""
    while data := await exchange.read():
        content += data
    return content


async def test_interim_responses_are_passed_on_before_the_final_one(serve, reach, get):
    """100, 102 and 103 come to the callback, with their headers, in order."""
    told = []
    interim = b"HTTP/1.1 103 Early\r\nLink: </a>\r\n\r\nHTTP/1.1 102 Wait\r\n\r\n"
    server = await serve([REQUEST, interim + b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"])
    upstream = reach(server)
    with await upstream.open(get, on_informational=lambda *one: told.append(one)) as exchange:
        assert 200 == (await exchange.head()).status

    assert [(103, [(b"Link", b"</a>")]), (102, [])] == told
    assert 1 == upstream.servers[0].idle


async def test_a_100_lets_the_body_go(serve, reach):
    """The caller sends when told, and the response follows."""
    go = asyncio.Event()
    server = await serve(
        [REQUEST, b"HTTP/1.1 100 Go\r\n\r\n", Until(b"abcde"), b"HTTP/1.1 204 Done\r\n\r\n"]
    )
    upstream = reach(server)
    head = RequestHead("POST", b"/", [], body=5, expects_continue=True)
    with await upstream.open(head, on_informational=lambda *_: go.set()) as exchange:
        await go.wait()
        await exchange.send(b"abcde")
        await exchange.finish()

        assert 204 == (await exchange.head()).status
    assert 1 == upstream.servers[0].idle


async def test_endless_interim_responses_are_refused(serve, reach, get):
    """A server cannot keep a request busy with 1xx."""
    server = await serve([REQUEST, b"HTTP/1.1 103 Early\r\n\r\n" * 100])

    with await reach(server).open(get) as exchange, pytest.raises(UpstreamInvalid):
        await exchange.head()


async def test_trailers_are_kept(serve, reach, get):
    """They are there once the body has ended."""
    answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\nX: y\r\n\r\n"
    server = await serve([REQUEST, answer])
    with await reach(server).open(get) as exchange:
        await exchange.head()

        assert b"ab" == await read_all(exchange)
        assert [(b"X", b"y")] == exchange.trailers


async def test_a_body_may_end_with_the_connection(serve, reach, get):
    """Without a length the close is the end, and the connection is gone."""
    server = await serve([REQUEST, b"HTTP/1.1 200 OK\r\n\r\nabc", Close()])
    upstream = reach(server)
    with await upstream.open(get) as exchange:
        await exchange.head()

        assert b"abc" == await read_all(exchange)
    assert 0 == upstream.servers[0].idle


CUT = {
    "length": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc",
    "chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc",
    "between chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
    "in the last chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n",
}


@pytest.mark.parametrize("end", [Close(), HalfClose(), Reset()], ids=["close", "half", "reset"])
@pytest.mark.parametrize("answer", CUT.values(), ids=CUT.keys())
async def test_f6_a_cut_body_is_an_error(answer, end, serve, reach, get):
    """What came is given, but never b"" for the end."""
    read = asyncio.Event()
    server = await serve([REQUEST, answer, Wait(read), end])
    upstream = reach(server)
    with await upstream.open(get) as exchange:
        await exchange.head()
        assert b"abc" == await exchange.read()
        read.set()
        for _ in range(2):  # and it stays an error
            with pytest.raises(UpstreamInvalid):
                await exchange.read()
    assert 0 == upstream.servers[0].idle


async def test_f6_a_reset_does_not_end_a_body_without_length(serve, reach, get):
    """Only a close in good order does."""
    read = asyncio.Event()
    server = await serve([REQUEST, b"HTTP/1.1 200 OK\r\n\r\nabc", Wait(read), Reset()])
    with await reach(server).open(get) as exchange:
        await exchange.head()
        assert b"abc" == await exchange.read()
        read.set()

        with pytest.raises(UpstreamInvalid):
            await exchange.read()


async def test_f6_a_body_that_turns_bad_is_an_error(serve, reach, get):
    """A parse error in the middle closes the connection."""
    answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n"
    read = asyncio.Event()
    server = await serve([REQUEST, answer, Wait(read), b"zz\r\n"])
    with await reach(server).open(get) as exchange:
        await exchange.head()
        assert b"ab" == await exchange.read()
        read.set()

        with pytest.raises(UpstreamInvalid):
            await exchange.read()
    await server.seen[0].over.wait()


async def test_a_slow_reader_stops_the_server(serve, reach, get):
    """However much the server has to say, about 256 KiB wait here; nothing is lost."""
    size = 8 * 1024 * 1024
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size
    server = await serve([REQUEST, answer, b"0123456789abcdef" * (size // 16)])
    upstream = reach(server)
    total = most = 0
    with await upstream.open(get) as exchange:
        await exchange.head()
        while True:
            await asyncio.sleep(0.001)
            most = max(most, exchange._buffered)
            data = await exchange.read()
            if not data:
                break
            total += len(data)

    assert size == total
    assert PAUSE_ABOVE < most <= BOUND
    assert 1 == upstream.servers[0].idle


async def test_a_slow_client_does_not_make_the_server_time_out(serve, reach, get):
    """Time in which we do not read is not the server's silence."""
    size = 1024 * 1024
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size
    server = await serve([REQUEST, answer, b"x" * size])
    with await reach(server, idle_s=0.05).open(get) as exchange:
        await exchange.head()
        first = await exchange.read()
        await asyncio.sleep(0.2)

        assert size == len(first) + len(await read_all(exchange))


async def test_a_server_that_reads_slowly_stops_the_sender(serve, reach):
    """`send` returns when there is room; little waits in memory."""
    go = asyncio.Event()
    server = await serve([REQUEST, Wait(go), Until(b"0\r\n\r\n"), b"HTTP/1.1 204 K\r\n\r\n"])
    sent = 0
    with await reach(server).open(RequestHead("POST", b"/", [], body="chunked")) as exchange:

        async def send():
            nonlocal sent
            for _ in range(400):
                await exchange.send(b"x" * 65536)
                sent += 65536
            await exchange.finish()

        sending = asyncio.create_task(send())  # noqa: TID251 - awaited below
        before = -1
        while before != sent:
            before = sent
            await asyncio.sleep(0.05)
        unsent = exchange._connection._unsent_now()
        assert sent < 400 * 65536
        assert unsent <= 3 * 65536
        go.set()
        await sending

        assert 204 == (await exchange.head()).status


async def test_content_may_go_both_ways_at_once(serve, reach):
    """A server may answer while it reads (its connection is not used again)."""
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    script = [REQUEST, head, Until(b"one"), b"3\r\nONE\r\n", Until(b"0\r\n\r\n"), b"0\r\n\r\n"]
    upstream = reach(await serve(script))
    with await upstream.open(RequestHead("POST", b"/", [], body="chunked")) as exchange:
        await exchange.head()
        await exchange.send(b"one")
        assert b"ONE" == await exchange.read()
        await exchange.finish()
        assert b"" == await exchange.read()

    assert 0 == upstream.servers[0].idle


async def test_the_connection_is_free_when_the_response_has_ended(serve, reach, get):
    """A slow client does not keep it; releasing later does not touch whoever uses it then."""
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"
    server = await serve([REQUEST, answer + b"ab", REQUEST, answer + b"cd"])
    upstream = reach(server)
    first = await upstream.open(get)
    await first.head()
    second = await upstream.open(get)
    first.abort()
    first.release()

    assert 1 == len(server.seen)
    assert 200 == (await second.head()).status
    assert b"cd" == await read_all(second)
    second.release()
    second.release()
    assert 0 == upstream.servers[0].busy


async def test_a_released_exchange_wakes_its_reader(serve, reach, get):
    """Nobody waits for ever on what was given up."""
    upstream = reach(await serve([REQUEST]))
    exchange = await upstream.open(get)
    waiting = asyncio.create_task(exchange.head())  # noqa: TID251 - awaited below
    await asyncio.sleep(0)
    exchange.abort()

    with pytest.raises(UpstreamError):
        await waiting


async def test_giving_up_during_the_second_attempt_leaves_no_connection(serve, reach, get):
    """A release while a new connection is made is not forgotten."""
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    server = await serve([REQUEST, answer, REQUEST, Close()], [REQUEST, answer])
    upstream = reach(server)
    with await upstream.open(get) as exchange:
        await exchange.head()
    exchange = await upstream.open(get)
    gate = asyncio.Event()
    begun = asyncio.Event()
    reconnect = exchange._reconnect

    async def slowly():
        connection = await reconnect()
        begun.set()
        await gate.wait()
        return connection

    exchange._reconnect = slowly
    waiting = asyncio.create_task(exchange.head())  # noqa: TID251 - awaited below
    await begun.wait()
    exchange.release()
    gate.set()

    with pytest.raises(UpstreamUnreachable):
        await waiting
    assert 0 == upstream.servers[0].busy
    assert 0 == upstream.servers[0].idle
    await server.seen[1].over.wait()


async def test_misuse_of_a_body_is_an_error_and_no_half_message(serve, reach, post):
    """Too many bytes are not sent; too few close the connection."""
    server = await serve([REQUEST])
    upstream = reach(server)
    with await upstream.open(post) as exchange:
        with pytest.raises(ValueError, match="longer"):
            await exchange.send(b"abcdef")
        await exchange.send(b"abc")
        with pytest.raises(ValueError, match="shorter"):
            await exchange.finish()
    await server.seen[0].over.wait()

    assert server.seen[0].received.endswith(b"\r\n\r\nabc")


async def test_f3_a_body_that_a_lost_server_did_not_get_is_no_mistake_of_its_sender(
    serve, reach, post
):
    """It is the server's loss that is told, however much of the body was given until then."""
    upstream = reach(await serve([REQUEST, Close()]))
    with await upstream.open(post) as exchange:
        with pytest.raises(UpstreamUnreachable):
            await exchange.head()
        with pytest.raises(UpstreamUnreachable):
            await exchange.finish()


async def test_f6_a_refusal_is_whole_though_the_body_was_not_sent_to_its_end(serve, reach, post):
    """The rest of a body that the server does not want may stay where it is; its answer may not."""
    go = asyncio.Event()
    head = b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\n\r\n"
    upstream = reach(await serve([REQUEST, head, Wait(go), b"no"]))
    with await upstream.open(post) as exchange:
        assert 413 == (await exchange.head()).status
        await exchange.finish()
        go.set()
        assert b"no" == await read_all(exchange)

    assert (0, 0) == (upstream.servers[0].idle, upstream.servers[0].busy)


async def test_a_client_that_left_closes_the_connection_before_the_body_is_complete(serve, reach):
    """The server sees a cut request, never a complete one (F2, F6)."""
    server = await serve([REQUEST])
    upstream = reach(server)
    exchange = await upstream.open(RequestHead("POST", b"/", [], body="chunked"))
    await exchange.send(b"abc")
    exchange.release()
    await server.seen[0].over.wait()

    assert not server.seen[0].received.endswith(b"0\r\n\r\n")
    assert 0 == upstream.servers[0].busy


async def test_a_body_for_a_server_that_is_gone_is_an_error(serve, reach):
    """The sender hears of it, unless the response has begun."""
    upstream = reach(await serve([REQUEST, Close()]))

    async def fill(exchange):
        while True:
            await exchange.send(b"x" * 65536)

    with await upstream.open(RequestHead("POST", b"/", [], body="chunked")) as exchange:
        with pytest.raises(UpstreamUnreachable):
            await fill(exchange)
        with pytest.raises(UpstreamUnreachable):
            await exchange.finish()


async def test_f4_a_101_that_was_asked_for_opens_a_tunnel(serve, reach):
    """F4: Bytes flow both ways from the first one behind the head on, and the end is told."""
    server = await serve([REQUEST, SWITCH + b"hi", Until(b"ping"), b"pong", HalfClose()])
    upstream = reach(server)
    exchange = await upstream.open(WEBSOCKET)
    assert 101 == (await exchange.head()).status
    end = exchange.upgraded()
    assert b"hi" == await end.read()
    end.write(b"ping")
    await end.drain()
    assert b"pong" == await end.read()
    assert b"" == await end.read()
    end.write(b"bye")  # the other direction is still open
    assert end.write_eof()
    await server.seen[0].over.wait()
    end.close()

    assert server.seen[0].received.endswith(b"pingbye")
    assert 0 == upstream.servers[0].idle
    assert 0 == upstream.servers[0].busy


UNASKED = {
    "not asked for": (RequestHead("GET", b"/", []), SWITCH),
    "another protocol": (WEBSOCKET, SWITCH.replace(b"WebSocket", b"h2c")),
    "two protocols": (WEBSOCKET, SWITCH.replace(b"WebSocket", b"websocket, h2c")),
    "no Connection": (WEBSOCKET, SWITCH.replace(b"Connection: Upgrade\r\n", b"")),
    "no Upgrade": (WEBSOCKET, SWITCH.replace(b"Upgrade: WebSocket\r\n", b"")),
    "HTTP/1.0": (WEBSOCKET, SWITCH.replace(b"1.1", b"1.0")),
}


@pytest.mark.parametrize(("head", "answer"), UNASKED.values(), ids=UNASKED.keys())
async def test_f4_any_other_101_is_invalid(head, answer, serve, reach):
    """F4: 502, and the connection is closed."""
    server = await serve([REQUEST, answer])
    with await reach(server).open(head) as exchange, pytest.raises(UpstreamInvalid) as caught:
        await exchange.head()

    assert 502 == caught.value.status
    await server.seen[0].over.wait()


async def test_f4_a_refused_upgrade_is_an_ordinary_response(serve, reach):
    """F4: It is read as such; the connection is not trusted any further."""
    server = await serve([REQUEST, b"HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno"])
    upstream = reach(server)
    with await upstream.open(WEBSOCKET) as exchange:
        assert 403 == (await exchange.head()).status
        assert b"no" == await read_all(exchange)
        with pytest.raises(RuntimeError):
            exchange.upgraded()

    assert 0 == upstream.servers[0].idle


async def test_a_broken_tunnel_is_told(serve, reach):
    """A reset is not a clean end."""
    read = asyncio.Event()
    exchange = await reach(await serve([REQUEST, SWITCH + b"hi", Wait(read), Reset()])).open(
        WEBSOCKET
    )
    await exchange.head()
    end = exchange.upgraded()
    assert b"hi" == await end.read()
    read.set()

    with pytest.raises(UpstreamError):
        await end.read()
    end.write(b"x")
    await end.drain()
    assert not end.write_eof()
    end.close()


async def test_a_silent_tunnel_ends_where_that_is_configured(serve, reach):
    """`tunnel` bounds the time without a byte in either direction; `idle` does not count."""
    upstream = reach(await serve([REQUEST, SWITCH]), tunnel_s=0.15, idle_s=0.02)
    exchange = await upstream.open(WEBSOCKET)
    await exchange.head()
    end = exchange.upgraded()
    loop = asyncio.get_running_loop()
    begin = loop.time()
    await asyncio.sleep(0.1)
    end.write(b"x")
    with pytest.raises(UpstreamTimeout):
        await end.read()

    assert loop.time() - begin >= 0.25
    end.close()


async def test_a_slow_tunnel_reader_stops_the_server(serve, reach):
    """Back-pressure holds in tunnels too."""
    size = 4 * 1024 * 1024
    exchange = await reach(await serve([REQUEST, SWITCH, b"x" * size, Close()])).open(WEBSOCKET)
    await exchange.head()
    end = exchange.upgraded()
    total = most = 0
    while True:
        await asyncio.sleep(0.001)
        most = max(most, exchange._buffered)
        data = await end.read()
        if not data:
            break
        total += len(data)
    end.close()

    assert size == total
    assert most <= BOUND


async def test_two_readers_are_a_mistake(serve, reach, get):
    """One task reads a response."""
    with await reach(await serve([REQUEST])).open(get) as exchange:
        first = asyncio.create_task(exchange.head())  # noqa: TID251 - cancelled below
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError):
            await exchange.head()
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first


async def test_nothing_of_a_request_stands_in_repr(serve, reach):
    """A log line of an exchange shows no header."""
    head = RequestHead("GET", b"/", [(b"Authorization", b"Bearer secret")])
    with await reach(await serve([REQUEST])).open(head) as exchange:
        assert "secret" not in repr(exchange)
