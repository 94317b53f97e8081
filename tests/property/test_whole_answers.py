"""The short way through whole answers: it ends as the long way does, or it is not taken (F2)."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.adapters.upstreams.connection import Phase
from proxy.adapters.upstreams.response import HeadMemo
from proxy.adapters.upstreams.whole import WholeConnection
from tests.wire import Clock, Pool, Receiver, Transport

HEAD = b"HTTP/1.1 200 OK\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\nContent-Length: 5\r\n\r\n"
WHOLE = HEAD + b"hello"
ANSWERS = [
    WHOLE,
    WHOLE + b"x",
    WHOLE + WHOLE,
    HEAD,
    HEAD + b"hell",
    b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 204 No Content\r\n\r\n",
    b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello",
    b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    b"HTTP/1.1 200 OK\r\nKeep-Alive: timeout=1\r\nContent-Length: 5\r\n\r\nhello",
    b"HTTP/1.1 200 OK\r\nKeep-Alive: timeout=9\r\nContent-Length: 5\r\n\r\nhello",
    b"HTTP/1.1 200 OK\r\nSet-Cookie: a=1\r\nContent-Length: 5\r\n\r\nhello",
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 5\r\n\r\nhello",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + WHOLE,
    b"HTTP/1.1 200 OK\r\n\r\nhello",
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\nX: 1\r\n\r\nhello",
    b"SSH-2.0\r\n\r\n",
]


@dataclass
class Owner(Pool):
    """A server, as far as a connection knows it."""

    heads: HeadMemo = field(default_factory=HeadMemo)

    def on_begun(self):
        """Count."""
        self.busy += 1

    def on_whole(self, connection):
        """Count, and keep: the answer was of HTTP/1.1."""
        self.on_version((1, 1))
        self.on_freed(connection, is_reusable=True)


@dataclass
class Taker(Receiver):
    """Takes whole answers as well."""

    wholes: int = 0

    def on_whole(self, found, body, now):
        """Record it as if it had come step by step; the connection is free already."""
        self.check()
        assert now == self.connection._loop.time()
        self.wholes += 1
        self.head, self.body, self.trailers = found.head, body, []


class Way:
    """One connection, whose answers are taken whole or step by step."""

    def __init__(self, *, is_short):
        self.is_short = is_short
        self.clock, self.owner, self.transport = Clock(), Owner(), Transport()
        self.connection = WholeConnection(self.owner, self.clock)
        self.connection.connection_made(self.transport)

    def ask(self, answer, cuts=(), *, is_head=False):
        """Send a request, let the answer arrive in pieces; return all that came of it."""
        taker = Taker(self.connection)
        block = b"GET / HTTP/1.1\r\n\r\n"
        if self.is_short:
            self.connection.begin_whole(block, taker, is_head=is_head, now=self.clock.now)
        else:
            self.connection.begin(block, taker, method="HEAD" if is_head else "GET")
        places = sorted({cut % len(answer) for cut in cuts} - {0})
        for at, to in zip((0, *places), (*places, len(answer)), strict=True):
            if not self.transport.is_closed:
                self.connection.data_received(answer[at:to])
        self.taker = taker
        return self.state()

    def state(self):
        """Return what the receiver and the pool were told, and what is left of the connection."""
        kept = [connection is self.connection for connection in self.owner.kept]
        connection = self.connection
        return (
            self.taker.result, self.owner.busy, kept, set(self.owner.versions), connection.phase,
            connection.deadline, self.transport.is_closed, connection._is_in_use,
        )  # fmt: skip


@given(
    st.lists(
        st.tuples(
            st.sampled_from(ANSWERS), st.lists(st.integers(0, 300), max_size=3), st.booleans()
        ),
        min_size=1,
        max_size=6,
    )
)
def test_f2_both_ways_end_alike(asked):
    """Whatever answers come, in whatever pieces and order, on one connection."""
    short, long = Way(is_short=True), Way(is_short=False)
    for answer, cuts, is_head in asked:
        assert long.ask(answer, cuts, is_head=is_head) == short.ask(answer, cuts, is_head=is_head)
        if short.connection.phase is not Phase.IDLE:
            break


def test_what_was_read_once_is_taken_whole():
    """The short way is taken: what the comparison rests on."""
    way = Way(is_short=True)
    taken = []
    for _ in range(3):
        way.ask(WHOLE)
        taken.append(way.taker.wholes)

    assert [0, 1, 1] == taken


@pytest.mark.parametrize("answer", ANSWERS[1:5] + ANSWERS[6:10] + ANSWERS[12:])
def test_f2_what_is_no_whole_answer_goes_the_long_way(answer):
    """What is cut, doubled, closing, without a length, or sets a cookie."""
    way = Way(is_short=True)
    way.ask(WHOLE)
    way.ask(answer)

    assert 0 == way.taker.wholes


def test_f2_an_answer_before_the_request_has_left_is_no_whole_one():
    """Early: the connection is not used again."""
    way = Way(is_short=True)
    way.ask(WHOLE)
    way.transport.unsent = 3
    way.ask(WHOLE)

    assert (0, Phase.CLOSED) == (way.taker.wholes, way.connection.phase)


def test_f2_bytes_while_idle_end_the_connection():
    """After a whole answer as after any other."""
    way = Way(is_short=True)
    way.ask(WHOLE)
    way.ask(WHOLE)
    way.connection.data_received(WHOLE)

    assert (1, True) == (way.taker.wholes, way.transport.is_closed)


def test_a_connection_that_is_busy_takes_no_other_request():
    """Two receivers on one connection would get each other's answers."""
    way = Way(is_short=True)
    way.ask(HEAD)
    with pytest.raises(RuntimeError):
        way.connection.begin_whole(b"", way.taker, is_head=False, now=way.clock.now)
