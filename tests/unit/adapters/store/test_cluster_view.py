"""What a Cluster looks like: what most of its masters say, and nobody else."""

from __future__ import annotations

import pytest

from proxy.adapters.store.cluster_view import Shard, Told, agree, read_nodes, redirect_of
from proxy.adapters.store.link import ReplyError
from proxy.adapters.store.sentinel import NotConfirmed

A, B, C, R = ("10.0.0.1", 1), ("10.0.0.2", 1), ("10.0.0.3", 1), ("10.0.0.4", 1)
SHARDS = frozenset(
    {Shard(A, 1, ((0, 99),)), Shard(B, 2, ((100, 199), (300, 300))), Shard(C, 3, ((200, 299),))}
)
OTHER = frozenset(
    {Shard(A, 1, ((0, 98),)), Shard(B, 4, ((99, 199), (300, 300))), Shard(C, 3, ((200, 299),))}
)

NODES = b"""\
aa 10.0.0.1:1@11,one.test myself,master - 0 0 1 connected 0-99 [98->-bb]
bb 10.0.0.2:1@11,,shard-id=x master - 0 0 2 connected 100-199 300
cc 10.0.0.3:1@11 master,fail? - 0 0 3 connected 200-299
dd 10.0.0.4:1@11 slave aa 0 0 1 connected
ee 10.0.0.5:1@11 slave,fail aa 0 0 1 disconnected
ff :0@0 master,noaddr - 0 0 0 disconnected
"""


def told(myself, shards=SHARDS, down=(), replicas=1, is_moving=False):
    counts = tuple((shard.place, replicas) for shard in shards)
    return Told(myself, shards, frozenset(down), counts, is_moving)


def test_what_a_node_tells_is_read():
    """Slots by ranges, who is suspected to be down, replicas that are up, and what is on its way."""
    found = read_nodes(NODES, A)
    assert found.myself == A
    assert found.shards == SHARDS
    assert found.down == {C}
    assert dict(found.replicas)[A] == 1
    assert found.is_moving


def test_a_node_that_does_not_know_its_address_is_where_it_was_asked():
    """A node alone has no host in its own line."""
    line = b"aa :7@17 myself,master - 0 0 1 connected 0-16383\n"
    assert read_nodes(line, ("h", 7)).myself == ("h", 7)


@pytest.mark.parametrize(
    "reply",
    [None, b"", b"aa 10.0.0.1 myself,master - 0 0 1 connected\n", b"nonsense\n", b"a\xff\n",
     b"aa h:1@1 myself,master - 0 0 1 connected x-y\n", b"aa h:1@1 master - 0 0 x connected 1\n"],
)  # fmt: skip
def test_what_is_no_answer_is_refused(reply):
    """A server that is no node of a Cluster says nothing of one."""
    with pytest.raises(ValueError, match=r"not an answer|not enough values|invalid literal"):
        read_nodes(reply, A)


def test_a_majority_of_masters_agrees():
    """Two of three are enough; who is down to most of them is not confirmed."""
    view = agree([told(A), told(B), told(C, OTHER)])
    assert view.places == view.confirmed == {A, B, C}
    assert [view.place_of(slot) for slot in (0, 99, 100, 250, 300)] == [A, A, B, C, B]
    assert view.place_of(301) is None
    assert view.replicas_of(A) == 1
    assert not view.is_moving
    assert agree([told(A, down=[C]), told(B, down=[C])]).confirmed == {A, B}
    assert agree([told(A), told(B, down=[C]), told(C)]).confirmed == {A, B, C}
    assert agree([told(A), told(B, is_moving=True), told(C)]).is_moving


@pytest.mark.parametrize(
    "answers",
    [
        [],
        [told(A)],
        [told(A), told(B, OTHER)],
        [told(A), told(R), told(R)],
    ],
)
def test_r2_less_than_a_majority_confirms_nothing(answers):
    """R2: one master alone, some that differ, and nodes that are no masters say nothing."""
    with pytest.raises(NotConfirmed):
        agree(answers)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("MOVED 3999 10.0.0.1:6381", (("10.0.0.1", 6381), False)),
        ("ASK 3999 ::1:6381", (("::1", 6381), True)),
        ("MOVED 3999", None),
        ("MOVED 3999 host:port", None),
        ("ERR no", None),
    ],
)
def test_where_a_node_sends_to_is_read(text, expected):
    """MOVED and ASK name a slot and a place."""
    assert redirect_of(ReplyError(text)) == expected
    assert redirect_of(text.encode()) is None
