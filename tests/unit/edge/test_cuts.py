"""Cuts behind heads and bodies."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from proxy.edge.cuts import MAX_TRIES, Cuts


@dataclass
class Message:
    """What the cuts look at of aiohttp's messages."""

    chunked: bool = False
    headers: dict[str, str] = field(default_factory=dict)


@pytest.mark.parametrize("border", range(1, 18))
def test_a_head_is_cut_behind_its_empty_line(border):
    """However the packets are cut."""
    cuts, wire = Cuts(), b"GET / HTTP/1.1\r\n\r\nGET /"

    assert cuts.cut(wire[:border], in_head=True, seen=0) == (wire[:border], b"")
    assert cuts.cut(wire[border:], in_head=True, seen=0) == (wire[border:18], b"GET /")


def test_a_body_with_a_length_is_cut_behind_its_last_byte():
    """Its content is not looked at."""
    cuts = Cuts()
    cuts.begin_body(Message(headers={"Content-Length": "6"}))

    assert cuts.cut(b"\r\n\r\n", in_head=False, seen=0) == (b"\r\n\r\n", b"")
    assert cuts.cut(b"abGET", in_head=False, seen=4) == (b"ab", b"GET")
    assert cuts.is_clean


@pytest.mark.parametrize("border", range(17))
def test_a_chunked_body_is_cut_behind_its_last_chunk(border):
    """However the packets are cut; the end is then clean."""
    cuts, wire = Cuts(), b"3\r\nabc\r\n0\r\n\r\nGET"
    cuts.begin_body(Message(chunked=True))
    _, rest = cuts.cut(wire[:border], in_head=False, seen=0)
    if not rest and border < 13:
        _, rest = cuts.cut(wire[border:], in_head=False, seen=0)
        assert rest == b"GET"
    else:
        assert rest == wire[13:border]

    assert cuts.is_clean


def test_an_empty_chunked_body_is_cut():
    """Its last chunk is its first, right behind the head."""
    cuts = Cuts()
    cuts.begin_body(Message(chunked=True))

    assert cuts.cut(b"0\r\n\r\nGET", in_head=False, seen=0) == (b"0\r\n\r\n", b"GET")


def test_f5_a_body_with_trailers_has_no_clean_end():
    """F5: not even where a trailer's value looks like the last chunk."""
    for trailers in (b"X: 1\r\n", b"X: 0\r\n"):
        cuts = Cuts()
        cuts.begin_body(Message(chunked=True))
        wire = b"0\r\n" + trailers + b"\r\nGET"
        assert cuts.cut(wire, in_head=False, seen=0) == (wire, b"")
        assert not cuts.is_clean


def test_content_that_looks_like_the_end_costs_a_bounded_number_of_pieces():
    """F1: a packet full of such content is given to the parser in few pieces."""
    cuts, rest, pieces = Cuts(), b"\r\n0\r\n\r\n" * 1000, 0
    cuts.begin_body(Message(chunked=True))
    cuts.begin_packet()
    while rest:
        _, rest = cuts.cut(rest, in_head=False, seen=0)
        pieces += 1

    assert pieces == MAX_TRIES + 1
    assert not cuts.is_clean


def test_a_head_behind_a_chunked_body_begins_anew():
    """An empty line behind the body is not the end of a head."""
    cuts = Cuts()
    cuts.begin_body(Message(chunked=True))
    cuts.cut(b"0\r\n\r\n", in_head=False, seen=0)

    assert cuts.cut(b"\r\nGET", in_head=True, seen=0) == (b"\r\nGET", b"")
