"""A connection's states, deadlines and promises, without a network."""

from __future__ import annotations

import time
from math import inf

import pytest

from proxy.adapters.upstreams.connection import CLOSE_S, Phase
from proxy.errors import UpstreamInvalid, UpstreamTimeout, UpstreamUnreachable
from tests.wire import Wire

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"


def test_a_response_goes_to_its_receiver_and_the_connection_to_the_pool():
    """Head, content, end; then it waits for the next request."""
    wire = Wire()
    receiver = wire.ask()
    wire.feed([OK + b"ab"])

    assert (200, b"ab", []) == (receiver.head.status, receiver.body, receiver.trailers)
    assert [wire.connection] == wire.pool.kept
    assert 0 == wire.pool.busy
    assert wire.connection.is_usable(wire.clock.now)


def test_a_connection_carries_one_request_at_a_time():
    """A second `begin` is a mistake of ours."""
    wire = Wire()
    wire.ask()

    with pytest.raises(RuntimeError):
        wire.ask()


def test_f2_a_fresh_parser_reads_each_response():
    """Nothing of one response is left for the next."""
    wire = Wire()
    first = wire.ask("HEAD")
    wire.feed([b"HTTP/1.1 200 OK\r\nConnection: x\r\nContent-Length: 99\r\n\r\n"])
    second = wire.ask("GET")
    wire.feed([b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n"])
    third = wire.ask("GET")
    wire.feed([OK + b"ab"])

    assert [b"", b"a", b"ab"] == [first.body, second.body, third.body]
    assert 3 == len(wire.pool.kept)


def test_f2_bytes_after_the_end_close_it_even_before_it_is_freed():
    """A receiver that takes its time does not save a connection that said too much."""
    wire = Wire()
    receiver = wire.ask()
    receiver.on_end = lambda _: None
    wire.feed([OK + b"ab", b"H"])
    wire.connection.free()

    assert [] == wire.pool.kept
    assert wire.transport.is_closed


def test_f2_a_request_that_was_not_sent_out_is_not_over():
    """An answer that comes while bytes of the request wait is an early one."""
    wire = Wire()
    wire.ask()
    wire.transport.unsent = 1
    wire.feed([OK + b"ab"])

    assert [] == wire.pool.kept


def test_f2_bytes_that_nobody_asked_for_close_it():
    """Before the first request, or between two."""
    for requests in (0, 1):
        wire = Wire()
        for _ in range(requests):
            wire.ask()
            wire.feed([OK + b"ab"])
        wire.feed([OK])

        assert wire.transport.is_aborted
        assert not wire.connection.is_usable(wire.clock.now)


def test_f2_a_half_close_behind_the_response_is_noticed():
    """A server that will not answer again is not asked again."""
    wire = Wire()
    receiver = wire.ask()
    receiver.on_end = lambda _: None
    wire.feed([OK + b"ab"])
    wire.connection.eof_received()
    wire.connection.free()

    assert [] == wire.pool.kept


def test_f2_a_server_that_has_closed_is_not_kept():
    """The end may stand right behind the response."""
    wire = Wire()
    receiver = wire.ask()
    receiver.on_end = lambda _: None
    wire.feed([OK + b"ab"])
    wire.lose()
    wire.connection.free()

    assert [] == wire.pool.kept
    assert 0 == wire.pool.busy
    assert 1 == wire.pool.lost


@pytest.mark.parametrize("give_up", ["free", "abort", "close"])
def test_a_use_ends_once(give_up):
    """However often it is given up, the request is counted off once."""
    wire = Wire()
    wire.ask()
    for name in (give_up, "free", "abort", "close"):
        getattr(wire.connection, name)()
    wire.lose()

    assert 0 == wire.pool.busy
    assert [] == wire.pool.kept


def test_a_receiver_may_give_up_in_any_call():
    """Nothing more is told, and nothing is pooled."""
    for name in ("on_informational", "on_head", "on_body"):
        wire = Wire()
        receiver = wire.ask()
        setattr(receiver, name, lambda *_, wire=wire: wire.connection.abort())
        wire.feed([b"HTTP/1.1 103 E\r\n\r\n" + OK + b"ab"])

        assert receiver.trailers is None
        assert receiver.error is None
        assert [] == wire.pool.kept
        assert 0 == wire.pool.busy


def test_a_receiver_may_ask_again_at_once():
    """The next request may be written while the end of the last is told."""
    wire = Wire()
    first = wire.ask()
    again = []

    def on_end(trailers):
        wire.connection.free()
        again.append(wire.ask())

    first.on_end = on_end
    wire.feed([OK + b"ab", OK + b"cd"])

    assert b"cd" == again[0].body


def test_loss_before_and_after_the_first_byte_differ():
    """Only the first is a connection that was stale (F3)."""
    early, late = Wire(), Wire()
    nothing, something = early.ask(), late.ask()
    late.feed([b"H"])
    early.lose()
    late.lose()

    assert UpstreamUnreachable is type(nothing.error)
    assert UpstreamInvalid is type(something.error)


def test_a_head_that_comes_byte_by_byte_is_read_once():
    """64 KiB of it cost no second of looking at the same bytes again."""
    wire = Wire()
    receiver = wire.ask()
    head = b"HTTP/1.1 200 OK\r\nX: " + b"x" * 60_000 + b"\r\nContent-Length: 0\r\n\r\n"
    begin = time.process_time()
    wire.feed([head[at : at + 1] for at in range(len(head))])

    assert [] == receiver.trailers
    assert time.process_time() - begin < 2.0


def test_a_head_without_end_is_refused():
    """The connection keeps 64 KiB of it at most."""
    wire = Wire()
    receiver = wire.ask()
    wire.feed([b"HTTP/1.1 200 OK\r\n", *[b"X: y\r\n"] * 20_000])

    assert UpstreamInvalid is type(receiver.error)


def test_the_response_deadline_begins_with_the_end_of_the_request():
    """While the body is sent there is none."""
    wire = Wire(response_s=60.0)
    wire.ask(has_body=True)
    assert inf == wire.connection.deadline
    wire.clock.now += 500
    wire.connection.end_request()

    assert wire.clock.now + 60 == wire.connection.deadline


def test_the_idle_deadline_moves_with_every_byte_and_rests_while_nobody_reads():
    """Silence is the server's only while we listen."""
    wire = Wire(idle_s=60.0)
    receiver = wire.ask()
    wire.feed([OK])
    assert wire.clock.now + 60 == wire.connection.deadline
    wire.clock.now += 50
    wire.feed([b"a"])
    assert wire.clock.now + 60 == wire.connection.deadline
    wire.connection.pause_reading()
    assert inf == wire.connection.deadline
    assert not wire.transport.is_reading
    wire.clock.now += 500
    wire.connection.resume_reading()
    assert wire.clock.now + 60 == wire.connection.deadline
    wire.connection.expire(wire.connection.deadline)

    assert UpstreamTimeout is type(receiver.error)


def test_a_server_that_reads_slowly_is_not_a_server_that_does_not_read():
    """Progress within `idle` is enough, however small."""
    wire = Wire(idle_s=60.0)
    receiver = wire.ask(has_body=True)
    wire.transport.unsent = 100_000
    wire.connection.pause_writing()
    assert wire.clock.now + 60 == wire.connection.deadline
    for unsent in (90_000, 89_999):
        wire.transport.unsent = unsent
        wire.clock.now += 60
        wire.connection.expire(wire.clock.now)
        assert wire.clock.now + 60 == wire.connection.deadline
    wire.clock.now += 60
    wire.connection.expire(wire.clock.now)

    assert UpstreamTimeout is type(receiver.error)


def test_an_unused_connection_expires_and_a_closing_one_is_cut():
    """Neither stays for ever."""
    wire = Wire(keepalive_s=4.0)
    wire.ask()
    wire.feed([OK + b"ab"])
    assert wire.clock.now + 4 == wire.connection.deadline
    wire.clock.now += 4
    assert not wire.connection.is_usable(wire.clock.now)
    wire.connection.expire(wire.clock.now)
    assert wire.transport.is_closed
    assert not wire.transport.is_aborted
    assert wire.clock.now + CLOSE_S == wire.connection.deadline
    wire.connection.expire(wire.connection.deadline)

    assert wire.transport.is_aborted


def test_reading_goes_on_in_the_pool():
    """A receiver that had paused it must not make the pool blind to the server's close."""
    wire = Wire()
    receiver = wire.ask()
    wire.feed([OK])
    receiver.on_body = lambda _: wire.connection.pause_reading()
    wire.feed([b"ab"])

    assert [wire.connection] == wire.pool.kept
    assert wire.transport.is_reading


def test_a_tunnel_ends_like_one():
    """The server's half-close leaves our half open; the loss after it is no error."""
    wire = Wire()
    receiver = wire.ask(upgrade=b"websocket")
    wire.feed([b"HTTP/1.1 101 S\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n", b"x"])
    assert Phase.TUNNEL is wire.connection.phase
    assert wire.connection.eof_received()
    wire.connection.write(b"y")
    wire.connection.connection_lost(None)

    assert b"x" == receiver.body
    assert receiver.error is None
    assert wire.transport.written.endswith(b"y")


def test_repr_names_the_upstream_and_the_phase():
    """That is all a log needs."""
    assert "<Connection idle to shop>" == repr(Wire().connection)
