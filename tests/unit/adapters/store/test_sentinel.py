"""Which server is the master: what a majority of Sentinels says, and nobody else."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from proxy.adapters.boot_clock import boot_time
from proxy.adapters.store import StoreAddress
from proxy.adapters.store.link import Link, LinkLost, open_link
from proxy.adapters.store.sentinel import (
    Agreed,
    Mastership,
    NotConfirmed,
    NotMaster,
    Said,
    agree,
    check_role,
)
from proxy.adapters.store.tracked_store import TrackedStore
from proxy.core.coherence import Source
from tests.fake_sentinel import FakeSentinel

OLD, NEW = ("10.0.0.1", 6379), ("10.0.0.2", 6379)


def said(place=OLD, epoch=0, flags="master", others=2, replicas=2):
    return Said(place, epoch, frozenset(flags.split(",")), others, replicas)


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ([said(), said(), said()], Agreed(OLD, 2)),
        ([said(), said()], Agreed(OLD, 2)),
        ([said(replicas=1), said(replicas=3)], Agreed(OLD, 3)),
        ([said(NEW, 1), said(NEW, 1), said(flags="master,s_down")], Agreed(NEW, 2)),
        # The one that leads the failover ends it last; the others have its word already.
        ([said(NEW, 1), said(NEW, 1), said(OLD, 1, "master,failover_in_progress")], Agreed(NEW, 2)),
    ],
)
def test_a_majority_names_the_master(answers, expected):
    """Those that hold one server to be well, and are more than half of all, are believed."""
    assert agree(answers, 3) == expected


@pytest.mark.parametrize(
    ("answers", "error"),
    [
        ([], NotConfirmed),
        ([said()], NotConfirmed),
        ([said(flags="master,s_down"), said()], NotMaster),
        ([said(), said(), said(flags="master,failover_in_progress")], NotMaster),
        ([said(), said(), said(NEW, 1)], NotMaster),
        ([said(OLD, 1), said(NEW, 1), said(NEW, 1)], NotMaster),
        ([said(OLD, 1, "master,failover_in_progress"), said(), said()], NotMaster),
        ([said(flags="slave"), said(flags="slave"), said(flags="slave")], NotMaster),
        ([said(flags="master,disconnected"), said(flags="master,o_down"), said()], NotMaster),
        # They know of more than we do: two of five could not fail over either.
        ([said(others=4), said(others=4)], NotConfirmed),
    ],
)
def test_r2_what_is_not_a_majority_confirms_nothing(answers, error):
    """R2: too few, doubtful or contradicting words leave no master to be believed."""
    with pytest.raises(error):
        agree(answers, 3)


@pytest.fixture
async def sentinels():
    made = [FakeSentinel(OLD) for _ in range(3)]
    async with contextlib.AsyncExitStack() as stack:
        for one in made:
            server = await asyncio.start_server(one.serve, "127.0.0.1", 0)
            stack.callback(server.close)
            one.port = server.sockets[0].getsockname()[1]
        yield made


@pytest.fixture
async def mastership(sentinels):
    now = [100.0]
    address = StoreAddress(
        username="gate",
        password="hunter2",
        database=1,
        sentinels=tuple(("127.0.0.1", one.port) for one in sentinels),
        master_name="shop",
    )
    made = Mastership(address, None, max_staleness_s=1.0, clock=lambda: now[0])
    made.now = now
    yield made
    await made.close()


async def test_the_master_is_reached_as_the_user_of_the_url(mastership):
    """The confirmed server has the URL's user, password and database; Sentinels do not get them."""
    node = await mastership.confirm()
    assert node == StoreAddress(
        host=OLD[0], port=OLD[1], username="gate", password="hunter2", database=1
    )
    assert (mastership.confirmed_at, mastership.good_until, mastership.replicas) == (100, 101, 1)


async def test_a_confirmation_is_used_for_half_its_time_and_renewed_behind_a_look_up(
    mastership, sentinels
):
    """Nobody waits for the Sentinels while the last word is good; past its time everybody does."""
    for now, asked in ((100.0, 1), (100.5, 1), (100.6, 2), (101.7, 3)):
        mastership.now[0] = now
        await mastership.current()
        with contextlib.suppress(LinkLost):
            await (mastership.confirm() if mastership._asking else mastership.current())
        assert [one.asked for one in sentinels] == [asked] * 3
    assert mastership.confirmed_at == 101.7


async def test_r2_silence_leaves_the_last_word_and_contradiction_takes_it_back(
    mastership, sentinels
):
    """R2: without a majority the old confirmation only ages; a master that is doubted is none."""
    await mastership.confirm()
    sentinels[0].is_silent = sentinels[1].is_silent = True
    with pytest.raises(NotConfirmed):
        await mastership.confirm()
    assert mastership.node is not None
    mastership.now[0] = 101.1
    with pytest.raises(NotConfirmed):
        await mastership.current()
    for one in sentinels:
        one.is_silent = False
    await mastership.confirm()
    sentinels[0].flags = "master,failover_in_progress"
    with pytest.raises(NotMaster):
        await mastership.confirm()
    assert mastership.node is None
    sentinels[0].flags = "master"
    assert (await mastership.confirm()).host == OLD[0]


@pytest.mark.parametrize(
    "reply", [b"-ERR no such master\r\n", b":1\r\n", b"*0\r\n", b"*1\r\n:1\r\n"]
)
async def test_what_is_no_answer_counts_as_none(mastership, sentinels, reply):
    """A Sentinel that does not know the name, and a server that is no Sentinel, confirm nothing."""
    for one in sentinels[:2]:
        one.reply = reply
    with pytest.raises(NotConfirmed):
        await mastership.confirm()


async def test_a_connection_that_broke_is_made_again(mastership, sentinels):
    """A Sentinel that was started again is asked again."""
    await mastership.confirm()
    for one in mastership._sentinels:
        one._link.abort("gone")
    await asyncio.sleep(0)
    await mastership.confirm()
    assert [one.asked for one in sentinels] == [2, 2, 2]


async def test_r2_the_master_is_confirmed_each_half_of_the_staleness_whoever_asks(
    sentinels, valkey
):
    """R2: the Sentinels are asked by the clock, so a connection that goes on is never in doubt."""
    for one in sentinels:
        one.place = ("127.0.0.1", valkey.port)
    address = StoreAddress(
        sentinels=tuple(("127.0.0.1", one.port) for one in sentinels), master_name="shop"
    )
    source = Source("store", max_staleness_s=1.0)
    tracked = TrackedStore(address, source, timeout_s=5)
    assert await tracked.ask([("MGET", b"k")], lambda replies, _: replies[0]) == [None]
    began_at, asked = boot_time(), sentinels[0].asked
    async with asyncio.timeout(10):
        while sentinels[0].asked < asked + 4:  # noqa: ASYNC110 - the Sentinels are asked
            await asyncio.sleep(0.01)
    assert 1.9 < boot_time() - began_at < 3
    assert await tracked.ask([("MGET", b"k")], lambda replies, _: replies[0]) == [None]
    assert (source.state, source.counters.losses) == ("tracking", 0)
    await tracked.close()


async def test_a_server_that_says_to_be_a_replica_is_left(scripted):
    """What Sentinels say is one thing; a server that knows itself to be no master is another."""
    for reply, is_master in (
        (b"*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n", True),
        (b"-NOPERM no\r\n", True),
        (b"*1\r\n$5\r\nslave\r\n", False),
        (b"-LOADING\r\n", False),
    ):
        server = await scripted(reply)
        link = await open_link(server.address, None, Link)
        if is_master:
            await check_role(link)
        else:
            with pytest.raises(LinkLost):
                await check_role(link)
        assert link.is_open is is_master
        link.abort("done")
