"""Whole answers in one step: what is taken so, and what returns to the pool (F2)."""

from __future__ import annotations

import asyncio

import pytest

from tests.byte_server import REQUEST

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
ASK = b"GET / HTTP/1.1\r\nHost: shop\r\n\r\n"


class Client:
    """Takes one answer, and notes which way it came."""

    def __init__(self):
        self.done = asyncio.get_running_loop().create_future()
        self.body = b""
        self.link = None

    def on_whole(self, found, body, now):  # noqa: ARG002 - the protocol's
        self.done.set_result(("whole", found.head.status, body))

    def on_informational(self, status, headers):
        pass

    def on_head(self, head):
        self.head = head

    def on_body(self, data):
        self.body += data

    def on_end(self, trailers):  # noqa: ARG002 - the protocol's
        self.link.free()
        self.done.set_result(("steps", self.head.status, self.body))

    def on_error(self, error):
        self.done.set_result(("error", type(error).__name__, b""))


async def ask(server, *, is_head=False):
    """Ask on the pooled connection, or on a new one; return how the answer came."""
    loop = asyncio.get_running_loop()
    link = server.take_freshest(loop.time()) or await server.connect(loop)
    client = Client()
    client.link = link
    link.begin_whole(ASK, client, is_head=is_head, now=loop.time())
    async with asyncio.timeout(5):
        return await client.done


async def test_an_answer_whose_head_was_read_before_is_taken_in_one_step(serve, reach):
    """The first one is read step by step, the next one is known; the connection stays the same."""
    (server,) = reach(await serve([REQUEST, OK, REQUEST, OK, REQUEST, OK])).servers

    assert ("steps", 200, b"ok") == await ask(server)
    assert ("whole", 200, b"ok") == await ask(server)
    assert ("whole", 200, b"ok") == await ask(server)
    assert (0, 1) == (server.busy, server.idle)


@pytest.mark.parametrize(
    "odd",
    [
        pytest.param(OK + b"x", id="a byte behind the end"),
        pytest.param(OK + OK, id="two answers"),
        pytest.param(OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"), id="close"),
    ],
)
async def test_f2_a_connection_that_did_not_end_exactly_is_not_used_again(serve, reach, odd):
    """F2: what came is passed on, what came too much is not, and nothing is asked there any more."""
    (server,) = reach(await serve([REQUEST, OK, REQUEST, odd])).servers
    await ask(server)

    assert ("steps", 200, b"ok") == await ask(server)
    assert (0, 0) == (server.busy, server.idle)


@pytest.mark.parametrize("cut", range(1, len(OK), 7))
async def test_an_answer_in_pieces_goes_the_long_way(serve, reach, cut):
    """Wherever it is cut, the answer is the same, and the connection goes on."""
    script = [REQUEST, OK, REQUEST, OK[:cut], OK[cut:], REQUEST, OK]
    (server,) = reach(await serve(script)).servers
    await ask(server)

    assert (200, b"ok") == (await ask(server))[1:]
    assert (200, b"ok") == (await ask(server))[1:]


async def test_the_answer_to_head_is_never_taken_for_a_whole_one(serve, reach):
    """Its Content-Length is that of another answer."""
    head = OK.removesuffix(b"ok")
    (server,) = reach(await serve([REQUEST, OK, REQUEST, head, REQUEST, OK])).servers
    await ask(server)

    assert ("steps", 200, b"") == await ask(server, is_head=True)
    assert ("whole", 200, b"ok") == await ask(server)


async def test_a_head_that_sets_a_cookie_is_not_remembered(serve, reach):
    """Such answers are somebody's own: they are read each time."""
    own = OK.replace(b"\r\n\r\n", b"\r\nSet-Cookie: a=1\r\n\r\n")
    (server,) = reach(await serve([REQUEST, own, REQUEST, own])).servers

    assert ("steps", 200, b"ok") == await ask(server)
    assert ("steps", 200, b"ok") == await ask(server)


async def test_a_connection_carries_one_request_at_a_time(serve, reach):
    """A second `begin_whole` is a mistake of ours."""
    (server,) = reach(await serve([REQUEST])).servers
    loop = asyncio.get_running_loop()
    link = await server.connect(loop)
    link.begin_whole(ASK, Client(), is_head=False, now=loop.time())

    with pytest.raises(RuntimeError):
        link.begin_whole(ASK, Client(), is_head=False, now=loop.time())
    link.abort()
