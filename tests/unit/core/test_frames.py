"""Frames of a WebSocket, counted over bytes that arrive in any pieces."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.frames import FrameCounter, close_frame


def frame(opcode, payload, *, mask=None, fin=True):
    """Return a frame, with the shortest length that RFC 6455 allows."""
    size = len(payload)
    masked = 0x80 if mask is not None else 0
    if size < 126:
        length = bytes([masked | size])
    elif size < 1 << 16:
        length = bytes([masked | 126]) + size.to_bytes(2)
    else:
        length = bytes([masked | 127]) + size.to_bytes(8)
    return bytes([(0x80 if fin else 0) | opcode]) + length + (mask or b"") + payload


FRAMES = st.lists(
    st.builds(
        lambda opcode, size, mask, fin: (opcode, frame(opcode, b"\x88" * size, mask=mask, fin=fin)),
        st.sampled_from([0, 1, 2, 8, 9, 10]),
        st.sampled_from([0, 1, 125, 126, 127, 65_535, 65_536]),
        st.sampled_from([None, b"\x88\x00\x88\x00"]),
        st.booleans(),
    ),
    min_size=1,
    max_size=5,
)


def pieces(data, cuts):
    """Split `data` at `cuts`."""
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[one:other] for one, other in itertools.pairwise(edges) if one < other]


@given(FRAMES, st.lists(st.integers(min_value=0), max_size=8))
def test_boundaries_are_found_in_any_pieces(frames, cuts):
    """After each piece the counter stands at a boundary exactly where a frame has ended."""
    raw = b"".join(one for _, one in frames)
    ends, at = {0}, 0
    for _, one in frames:
        at += len(one)
        ends.add(at)
    counter, at = FrameCounter(), 0
    for piece in pieces(raw, cuts):
        assert len(piece) == counter.take(piece)
        at += len(piece)
        assert (at in ends) == counter.is_at_boundary
    assert any(opcode == 8 for opcode, _ in frames) == counter.has_closed
    assert any(opcode < 8 for opcode, _ in frames) == (counter.data_seen > 0)


@given(FRAMES, st.integers(min_value=0), st.lists(st.integers(min_value=0), max_size=4))
def test_a_cut_takes_the_frame_and_nothing_behind_it(frames, where, cuts):
    """From any point `to_boundary` goes on to the end of the frame there, in any pieces."""
    raw = b"".join(one for _, one in frames)
    begin = where % (len(raw) + 1)
    ends, at = [0], 0
    for _, one in frames:
        at += len(one)
        ends.append(at)
    counter = FrameCounter()
    counter.take(raw[:begin])
    taken = begin
    for piece in pieces(raw[begin:], cuts):
        count = counter.take(piece, to_boundary=True)
        taken += count
        if count < len(piece):
            break
    assert min(end for end in ends if end >= begin) == taken
    assert counter.is_at_boundary


@pytest.mark.parametrize("opcode", [8, 9, 10])
def test_control_frames_are_no_data(opcode):
    """Pings, pongs and closes are no use of a session, their payloads neither."""
    counter = FrameCounter()
    counter.take(frame(opcode, b"x" * 125, mask=b"abcd"))

    assert 0 == counter.data_seen


def test_a_long_frame_counts_as_it_comes():
    """An upload in one frame is use all the time."""
    raw = frame(2, b"x" * 1000, mask=b"abcd")
    counter, seen = FrameCounter(), []
    for at in range(0, len(raw), 100):
        counter.take(raw[at : at + 100])
        seen.append(counter.data_seen)

    assert sorted(set(seen)) == seen


def test_a_length_that_cannot_be_never_ends():
    """A counter that has lost its way finds no boundary in what follows."""
    counter = FrameCounter()
    counter.take(b"\x82\x7f" + b"\xff" * 8 + b"x" * 1000)

    assert not counter.is_at_boundary


def test_a_close_frame_says_status_and_reason():
    """As a server sends it: final, unmasked, the status in network order."""
    assert b"\x88\x04\x03\xf0no" == close_frame(1008, "no")
    with pytest.raises(ValueError, match="too long"):
        close_frame(1008, "x" * 124)
