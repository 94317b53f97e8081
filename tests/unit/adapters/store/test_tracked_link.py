"""The tracked connection: fills in the order of the wire, whatever else happens on it."""

from __future__ import annotations

import asyncio
import re

import pytest

from proxy.adapters.boot_clock import boot_time
from proxy.adapters.store.link import LinkLost, ReplyError, open_link
from proxy.adapters.store.tracked_link import Question, TrackedLink, switch_tracking_on

PUSH_A = b">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\na\r\n"
PUSH_ALL = b">2\r\n$10\r\ninvalidate\r\n_\r\n"
HELLO = b"%1\r\n$7\r\nversion\r\n$5\r\n7.0.0\r\n"
OLD = b"%1\r\n$7\r\nversion\r\n$6\r\n6.2.14\r\n"


class Owner:
    """Writes down what it is told, in order."""

    def __init__(self):
        self.told = []

    def finish(self, _link, question):
        self.told.append(("finish", question.replies))
        if not question.future.done():
            question.future.set_result(question.take(question.replies, 0.0))

    def invalidated(self, keys):
        self.told.append(("invalidated", keys))

    def fail(self, question, error):
        self.told.append(("fail", str(error)))
        if not question.future.done():
            question.future.set_exception(error)

    def lost(self, _link):
        self.told.append("lost")


@pytest.fixture
def owner():
    return Owner()


@pytest.fixture
def opened(scripted, owner):
    """Return a function that connects to a server with the given answers."""

    async def connect(*answers):
        server = await scripted(*answers)
        return await open_link(server.address, None, lambda: TrackedLink(owner, boot_time))

    return connect


def ask(link, *commands):
    question = Question(
        commands or (("GET", "a"),),
        lambda replies, _sent_at: replies[0],
        asyncio.get_running_loop().create_future(),
    )
    link.ask(question)
    return question


async def settled(*questions):
    async with asyncio.timeout(10):
        return await asyncio.gather(
            *(question.future for question in questions), return_exceptions=True
        )


async def test_a_reply_is_finished_before_the_push_behind_it(opened, owner):
    """The order is the proof: in one segment reply, push, reply; each is dealt with in its turn."""
    link = await opened(b"$1\r\n1\r\n" + PUSH_A + b"$1\r\n2\r\n" + PUSH_ALL)
    assert [b"1", b"2"] == await settled(ask(link), ask(link))
    assert [
        ("finish", [b"1"]),
        ("invalidated", [b"a"]),
        ("finish", [b"2"]),
        ("invalidated", None),
    ] == owner.told
    await link.close()


async def test_a_look_up_of_several_replies_is_finished_behind_the_last(opened, owner):
    """A push may come between its replies."""
    link = await opened(b"$1\r\n1\r\n" + PUSH_A + b":5\r\n")
    assert [b"1"] == await settled(ask(link, ("GET", "a"), ("PTTL", "a")))
    assert [("invalidated", [b"a"]), ("finish", [b"1", 5])] == owner.told
    await link.close()


async def test_replies_that_nobody_awaits_do_not_shift_others(opened, owner):
    """A cancelled and a timed-out look-up keep their places, and their replies are still taken."""
    link = await opened(b"$1\r\n1\r\n$1\r\n2\r\n+PONG\r\n$1\r\n3\r\n")
    first, second = ask(link), ask(link)
    ping = link.send("PING")
    third = ask(link)
    first.future.cancel()
    second.future.set_exception(LinkLost("too late"))
    second.future.exception()
    assert [b"3"] == await settled(third)
    assert b"PONG" == await ping
    assert [("finish", [b"1"]), ("finish", [b"2"]), ("finish", [b"3"])] == owner.told
    await link.close()


async def test_replies_in_pieces_are_the_same_replies(opened, owner):
    """A push that is cut in two waits for its rest."""
    link = await opened(b"$1\r\n1\r\n" + PUSH_A[:9], PUSH_A[9:] + b"$1\r\n2\r\n")
    assert [b"1"] == await settled(ask(link))
    assert [b"2"] == await settled(ask(link))
    assert ("invalidated", [b"a"]) == owner.told[1]
    await link.close()


@pytest.mark.parametrize(
    "answer", [b"<close>", b"$1\r\n1\r\n+more\r\n+more\r\n", b"HTTP/1.1 400\r\n"]
)
async def test_a_loss_is_told_before_its_look_ups_fail(opened, owner, answer):
    """Who suspends the verdicts hears of it first, and once; each question fails once."""
    link = await opened(answer)
    question = ask(link) if b"more" in answer else ask(link, ("GET", "a"), ("GET", "b"))
    await asyncio.wait([link._closed], timeout=10)
    assert not link.is_open
    assert 1 == owner.told.count("lost")
    (result,) = await settled(question)
    assert result == b"1" or isinstance(result, LinkLost)
    failures = [told for told in owner.told if told[0] == "fail"]
    assert len(failures) <= 1
    assert all(owner.told.index("lost") < owner.told.index(failure) for failure in failures)


async def test_tracking_is_switched_on(opened):
    """RESP3 first, then tracking in its default mode."""
    link = await opened(HELLO, b"+OK\r\n")
    assert await switch_tracking_on(link) is None
    await link.close()


@pytest.mark.parametrize(
    ("answers", "reason"),
    [
        ([b"-ERR unknown command 'HELLO'\r\n"], "RESP3 with this user \\(ERR\\)"),
        ([b"-NOPERM no\r\n"], "RESP3 with this user \\(NOPERM\\)"),
        ([OLD], "older than 7.0 \\(6.2.14\\)"),
        ([HELLO, b"-NOPERM User gate has no permissions\r\n"], "not permitted \\(NOPERM\\)"),
    ],
)
async def test_r10_a_server_that_cannot_track_says_so(opened, answers, reason):
    """R10: no RESP3, no permission, or too old: a reason, and the connection stays."""
    link = await opened(*answers)
    assert re.search(reason, await switch_tracking_on(link))
    assert link.is_open
    await link.close()


async def test_an_outage_is_not_taken_for_a_server_that_cannot_track(opened):
    """LOADING passes; it must not switch caching off."""
    link = await opened(b"-LOADING Valkey is loading\r\n")
    with pytest.raises(ReplyError, match="LOADING"):
        await switch_tracking_on(link)
    await link.close()
