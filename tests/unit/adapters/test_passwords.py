"""Passwords: hashed, compared, bounded in length and number."""

from __future__ import annotations

import asyncio
import os
import signal
import time

import pytest

from proxy.adapters import passwords as module
from proxy.adapters.hashing import COST, hasher
from proxy.adapters.passwords import (
    MAX_PASSWORD_BYTES,
    Passwords,
    dummy_hash,
    hash_password,
    is_weaker,
)
from proxy.adapters.tasks import spawn
from proxy.config.user_models import parse_hash
from proxy.errors import LoginBusy


class Pool(Passwords):
    """A pool in which every password comes from a network of its own, unless a test says so."""

    networks = 0

    async def check(self, known, password, network=None):
        self.networks += 1
        with self.place(network or str(self.networks)) as place:
            return await self.verify(known, password, place)


@pytest.fixture
async def passwords():
    pool = Pool(waiting=2)
    yield pool
    await pool.close()


@pytest.fixture
async def wide():
    pool = Pool(waiting=7)
    yield pool
    await pool.close()


async def test_a_password_is_right_or_wrong(passwords):
    """What was hashed is recognised, every letter of it, whatever the script."""
    known = hash_password("비밀번호 correct")

    assert COST == known.cost
    assert await passwords.check(known, "비밀번호 correct")
    assert not await passwords.check(known, "비밀번호 Correct")
    assert not await passwords.check(known, "")


async def test_s8_a_password_has_at_most_1_kib(passwords):
    """S8: a longer one is neither hashed nor ever right, also where its beginning is."""
    longest = "x" * MAX_PASSWORD_BYTES
    known = hash_password(longest)

    assert await passwords.check(known, longest)
    assert not await passwords.check(known, longest + "x")
    for bad in (longest + "x", ""):
        with pytest.raises(ValueError):
            hash_password(bad)


async def test_s8_the_queue_is_bounded(passwords):
    """S8: more at once than there is room for are told so, and the room comes back."""
    known = hash_password("x")
    results = await asyncio.gather(
        *(passwords.check(known, "x") for _ in range(10)), return_exceptions=True
    )

    assert 3 == results.count(True)
    assert 7 == sum(isinstance(result, LoginBusy) for result in results)
    await asyncio.sleep(0)
    assert await passwords.check(known, "x")


async def test_s8_one_network_has_a_quarter_of_the_queue(wide):
    """S8: whoever floods it from one network keeps nobody else waiting for long, nor out."""
    known = hash_password("x")
    flood = asyncio.gather(
        *(wide.check(known, "guess", "flood") for _ in range(50)), return_exceptions=True
    )
    await asyncio.sleep(0)
    with pytest.raises(LoginBusy):
        wide.place("flood")
    assert await wide.check(known, "x", "mine")
    results = await flood

    assert 2 == results.count(False)
    assert 48 == sum(isinstance(result, LoginBusy) for result in results)
    await asyncio.sleep(0)
    assert not await wide.check(known, "guess", "flood")


async def test_s8_a_place_that_nothing_was_done_with_comes_back(wide):
    """S8: whoever is told to wait for their turn holds no place meanwhile; and a place is for one."""
    for _ in range(20):
        with wide.place("mine"):
            pass
    with wide.place(None), wide.place(None), pytest.raises(LoginBusy):
        wide.place(None)
    with wide.place("mine") as place:
        assert await wide.verify(hash_password("x"), "x", place)
        with pytest.raises(RuntimeError):
            await wide.verify(hash_password("x"), "x", place)


async def test_s8_who_leaves_early_makes_no_room(passwords):
    """S8: a client that goes away does not make room for another while its password is hashed."""
    known = hash_password("x")
    waiting = [spawn(passwords.check(known, "x"), name="password") for _ in range(3)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    await asyncio.sleep(0)

    with pytest.raises(LoginBusy):
        passwords.place("another")
    await asyncio.gather(*waiting, return_exceptions=True)


async def test_nobodys_hash_costs_as_much(passwords):
    """A name that is not there takes as long as one that is, within a factor."""
    known, nobody = hash_password("x"), dummy_hash()

    async def took(which):
        begun = time.perf_counter()
        await passwords.check(which, "guess")
        return time.perf_counter() - begun

    await took(known)  # the first one starts the process
    times = [(await took(known), await took(nobody)) for _ in range(7)]
    ratio = min(t[0] for t in times) / min(t[1] for t in times)  # a busy machine only adds
    assert 0.5 < ratio < 2
    assert not await passwords.check(nobody, "")


async def test_a_hash_made_anew_keeps_its_salt(passwords):
    """So that a password that was only hashed at another cost is not taken for a new one."""
    old = parse_hash(hasher((8 * 1024, 1, 1)).hash("secret"))
    new = await passwords.rehash(old, "secret", passwords.place("mine"))

    assert (old.salt, COST) == (new.salt, new.cost)
    assert await passwords.check(new, "secret")
    assert hash_password("secret").salt != hash_password("secret").salt


@pytest.mark.parametrize(
    ("cost", "expected"),
    [
        (COST, False),
        ((8 * 1024, 1, 1), True),
        ((COST[0], 1, 4), True),
        ((65_536, 3, 4), False),
        ((COST[0] * 2, 1, 1), False),
        ((COST[0], 2, 2), False),
    ],
    ids=str,
)
def test_what_is_less_work_is_weaker(cost, expected):
    """Memory times passes; lanes are not counted, and nothing that takes as much is weaker."""
    assert expected is is_weaker(cost)


async def test_a_process_that_was_killed_is_started_again(passwords):
    """Who waited for it is told to come back, and the next password is checked as ever."""
    known = hash_password("x")
    assert await passwords.check(known, "x")
    waiting = [spawn(passwords.check(known, "x"), name="password") for _ in range(2)]
    await asyncio.sleep(0)
    passwords._process._process.kill()
    results = await asyncio.gather(*waiting, return_exceptions=True)

    assert [True, True] == [isinstance(result, LoginBusy) for result in results]
    assert await passwords.check(known, "x")


async def test_s8_a_password_does_not_wait_for_ever():
    """S8: on a machine that has no time for it, whoever signs in is told to come back."""
    pool = Pool(waiting=1, patience_s=0.0)
    with pytest.raises(LoginBusy, match="too long"):
        await pool.check(hash_password("x"), "x")
    await pool.close()


async def test_s8_a_process_that_has_hung_keeps_no_places(passwords):
    """S8: it is ended, and whoever comes then is let in: else nobody could sign in ever again."""
    known = hash_password("x")
    assert await passwords.check(known, "x")
    passwords._patience_s = 0.1
    os.kill(passwords._process._process.pid, signal.SIGSTOP)
    waiting = [spawn(passwords.check(known, "x"), name="password") for _ in range(3)]
    results = await asyncio.gather(*waiting, return_exceptions=True)
    await asyncio.wait([passwords._process._reader])
    passwords._patience_s = 100.0

    assert [True] * 3 == [isinstance(result, LoginBusy) for result in results]
    assert await passwords.check(known, "x")


async def test_a_process_that_is_to_give_way_to_nothing_stays(passwords, monkeypatch):
    """It is no makeshift where that was asked for, and not started anew again and again."""
    known = hash_password("x")
    assert await passwords.check(known, "x")
    first = passwords._process
    monkeypatch.setattr(module, "PLAIN_S", 0.0)

    assert await passwords.check(known, "x")
    assert first is passwords._process


async def test_the_process_ends_with_the_gate(passwords):
    """Its input ends where the worker was killed: nothing stays behind, and nothing begins again."""
    await passwords.check(hash_password("x"), "x")
    process = passwords._process._process
    process.stdin.close()
    assert 0 == await process.wait()

    await passwords.check(hash_password("x"), "x")
    await passwords.close()
    with pytest.raises(LoginBusy, match="shuts down"):
        await passwords.check(hash_password("x"), "x")


@pytest.fixture
async def polite(monkeypatch):
    """Give a pool whose process gives way, as outside of tests."""
    monkeypatch.delenv("LATCHGATE_PASSWORDS")
    pool = Pool(waiting=2, patience_s=100.0)
    yield pool
    await pool.close()


idle_class = pytest.mark.skipif(not hasattr(os, "SCHED_IDLE"), reason="only Linux has this policy")


@idle_class
async def test_the_process_gives_way_to_requests(polite, monkeypatch):
    """The kernel lets everything else go before it."""
    monkeypatch.setattr(module, "STALLED_S", 100.0)  # tests leave it hardly any time
    await polite.check(hash_password("x"), "x")

    assert os.SCHED_IDLE == os.sched_getscheduler(polite._process._process.pid)


@idle_class
async def test_where_nothing_is_left_to_it_another_process_takes_a_part(polite, monkeypatch):
    """No log-in waits for a time that does not come; what was asked is done by the next process."""
    known = hash_password("x")
    monkeypatch.setattr(module, "STALLED_S", 100.0)  # tests leave it hardly any time
    assert await polite.check(known, "x")
    monkeypatch.setattr(module, "STALLED_S", 0.1)
    stalled = polite._process
    os.kill(stalled._process.pid, signal.SIGSTOP)
    waiting = [spawn(polite.check(known, said), name="password") for said in ("x", "y")]

    assert [True, False] == await asyncio.gather(*waiting)
    assert stalled.is_over
    assert os.SCHED_OTHER == os.sched_getscheduler(polite._process._process.pid)

    monkeypatch.setattr(module, "STALLED_S", 100.0)
    monkeypatch.setattr(module, "PLAIN_S", 0.0)
    assert await polite.check(known, "x")
    assert os.SCHED_IDLE == os.sched_getscheduler(polite._process._process.pid)


async def test_who_finds_no_place_is_told_when_to_come_back(wide):
    """The longer the queue, the later, and not all of them at the same moment."""
    known = hash_password("x")
    work = [spawn(wide.check(known, "x"), name="password") for _ in range(8)]
    await asyncio.sleep(0)
    waits = []
    for _ in range(20):
        with pytest.raises(LoginBusy) as busy:
            wide.place("another")
        waits.append(busy.value.wait_s)
    await asyncio.gather(*work)

    assert 8 * 0.05 <= min(waits) < max(waits) <= 2 * 8 * 0.05
