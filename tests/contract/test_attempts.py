"""Counted attempts on every kind of store (security.md, S8)."""

from __future__ import annotations

import asyncio

import pytest

from proxy.adapters.store import open_store
from proxy.core.revocation import digest
from proxy.errors import StoreUnavailable
from proxy.services.attempts import (
    LOCK_S,
    LONGEST_DELAY_S,
    TRIES,
    TRIES_EVERYWHERE,
    Attempts,
)

NOW = 1_800_000_000.0
HERE = "192.0.2.0/24"


@pytest.fixture
def attempts(store) -> Attempts:
    """Give the counter of one worker."""
    return Attempts(store, prefix="latchgate:")


async def use_up(attempts, account="alice", network=HERE, now=NOW):
    """Make every attempt that a network has."""
    assert [0.0] * TRIES == [await attempts.take(account, network, now) for _ in range(TRIES)]


async def attack(attempts, account="alice"):
    """Guess from so many networks that the account makes everybody wait."""
    for each in range(TRIES_EVERYWHERE):
        assert 0.0 == await attempts.take(account, f"198.51.{each}.0/24", NOW)


async def test_s8_a_network_that_has_used_up_its_attempts_waits(attempts):
    """S8: the lock-out ends by itself, and is not made longer by who asks meanwhile."""
    await use_up(attempts)

    assert LOCK_S == await attempts.take("alice", HERE, NOW)
    assert 1.0 == await attempts.take("alice", HERE, NOW + LOCK_S - 1)
    assert 0.0 == await attempts.take("alice", HERE, NOW + LOCK_S)


async def test_s8_a_lock_out_is_of_one_account_in_one_network(attempts):
    """S8: neither the account elsewhere nor the network's other accounts are touched."""
    await use_up(attempts)

    assert 0.0 == await attempts.take("alice", "203.0.113.0/24", NOW)
    assert 0.0 == await attempts.take("bob", HERE, NOW)
    assert 0.0 == await attempts.take("alice", None, NOW)


async def test_s8_parallel_guesses_are_all_counted(backend, attempts):
    """S8: two workers that guess at the same moment have together what one has alone."""
    other = open_store(backend.address, timeout_s=5)
    workers = [attempts, Attempts(other, prefix="latchgate:")]
    try:
        waits = await asyncio.gather(
            *(workers[each % 2].take("alice", HERE, NOW) for each in range(100))
        )
    finally:
        await other.close()

    assert TRIES == waits.count(0.0)


async def test_s8_a_request_that_was_overtaken_waits_too(attempts):
    """S8: who asked a moment before the lock-out, and is counted after it, has no try left."""
    await use_up(attempts)

    assert await attempts.take("alice", HERE, NOW - 5) > LOCK_S


async def test_s8_across_networks_there_are_only_delays(attempts):
    """S8: whoever comes from a network of their own gets their turn, however many attack."""
    await attack(attempts)
    waits = []
    now = NOW
    for each in range(40):
        waits.append(await attempts.take("alice", f"203.0.{each}.0/24", now))
        now += waits[-1]
        assert 0.0 == await attempts.take("alice", f"203.0.{each}.0/24", now)

    assert [1.0, 2.0, 4.0, 8.0, 16.0] == waits[:5]
    assert {LONGEST_DELAY_S} == set(waits[5:])
    mine = await attempts.take("alice", HERE, now)
    await attempts.take("alice", "203.0.113.0/24", now + mine)  # somebody else's turn is not mine
    assert 0.0 == await attempts.take("alice", HERE, now + mine)


async def test_s8_each_turn_has_to_be_waited_for(attempts):
    """S8: an account under attack gives a network one attempt for each wait."""
    await attack(attempts)
    wait = await attempts.take("alice", HERE, NOW)
    assert 0.0 == await attempts.take("alice", HERE, NOW + wait)

    assert await attempts.take("alice", HERE, NOW + wait) > 0
    assert 0.0 == await attempts.take("bob", HERE, NOW)


async def test_s8_success_clears_what_came_from_there(attempts):
    """S8: who was let in begins anew, and what others have tried stays counted."""
    for _ in range(TRIES - 1):
        await attempts.take("alice", HERE, NOW)
    await attempts.clear("alice", HERE)

    await use_up(attempts)
    await attempts.clear("alice", "203.0.113.0/24")
    assert LOCK_S == await attempts.take("alice", HERE, NOW)


async def test_s8_success_does_not_help_an_attacker_elsewhere(attempts):
    """S8: an account under attack stays slow for the others when its owner signs in."""
    await attack(attempts)
    wait = await attempts.take("alice", HERE, NOW)
    assert 0.0 == await attempts.take("alice", HERE, NOW + wait)
    await attempts.clear("alice", HERE)

    assert await attempts.take("alice", "203.0.113.0/24", NOW + wait) > 0


async def test_s8_both_factors_of_a_request_are_one_turn(attempts):
    """S8: under attack password and code are counted each, and wait for their turn together."""
    await attack(attempts)
    now = NOW
    for _ in range(TRIES // 2):
        now += await attempts.take("alice", HERE, now)
        assert 0.0 == await attempts.take("alice", HERE, now)
        assert 0.0 == await attempts.take("alice", HERE, now, is_second=True)
        assert await attempts.take("alice", HERE, now) > 0, "the next request has a turn of its own"

    assert LOCK_S == await attempts.take("alice", HERE, now)
    assert LOCK_S == await attempts.take("alice", HERE, now, is_second=True)


async def test_s8_the_attempt_that_brings_the_delays_brings_them_to_the_next_request(attempts):
    """S8: whoever has made the last attempt without a wait finishes what they have begun."""
    for each in range(TRIES_EVERYWHERE - 1):
        await attempts.take("alice", f"198.51.{each}.0/24", NOW)

    assert 0.0 == await attempts.take("alice", HERE, NOW)
    assert 0.0 == await attempts.take("alice", HERE, NOW, is_second=True)
    assert await attempts.take("alice", HERE, NOW) > 0


async def test_s8_a_second_factor_after_the_last_attempt_is_locked_out(attempts):
    """S8: a code has no more tries than there are, though its password was let through."""
    await use_up(attempts)

    assert LOCK_S == await attempts.take("alice", HERE, NOW, is_second=True)


async def test_s8_what_is_given_back_is_one_attempt(attempts):
    """S8: the attempts before it stay counted, and so do those of other networks."""
    for _ in range(TRIES - 2):
        await attempts.take("alice", HERE, NOW)
    for _ in range(TRIES):
        assert 0.0 == await attempts.take("alice", HERE, NOW)
        await attempts.give_back("alice", HERE)

    assert [0.0, 0.0] == [await attempts.take("alice", HERE, NOW) for _ in range(2)]
    assert LOCK_S == await attempts.take("alice", HERE, NOW)
    await attempts.give_back("alice", "203.0.113.0/24")
    assert LOCK_S == await attempts.take("alice", HERE, NOW)


async def test_s8_the_last_attempt_that_is_given_back_locks_nobody_out(attempts):
    """S8: one further guess is counted, no more; a turn that others make everybody wait for stays."""
    await use_up(attempts)
    await attempts.give_back("alice", HERE)
    assert 0.0 == await attempts.take("alice", HERE, NOW)
    assert LOCK_S == await attempts.take("alice", HERE, NOW)

    await attack(attempts, "bob")
    wait = await attempts.take("bob", HERE, NOW)
    assert 0.0 == await attempts.take("bob", HERE, NOW + wait)
    await attempts.give_back("bob", HERE)
    assert await attempts.take("bob", HERE, NOW + wait) > 0


async def test_s8_what_stands_in_the_store_is_forgotten(backend, attempts):
    """S8: every key has an end, and none says whose account it is about."""
    await attack(attempts)
    await use_up(attempts, account="bob")
    await attempts.take("alice", HERE, NOW)
    keys = await all_keys(backend)

    assert keys
    assert all(0 < backend.admin.pttl(key) <= 2 * LOCK_S * 1000 for key in keys)
    assert not [key for key in keys if "alice" in key or "192.0.2" in key]
    await attempts.clear("bob", HERE)
    bobs = f"latchgate:attempts:{{{digest('bob')}}}"
    assert not [key for key in await all_keys(backend) if key.startswith(bobs)]


async def all_keys(backend):
    """Name every key of the store."""
    return [key async for key in backend.store.scan("")]


async def test_s8_a_clock_that_was_wrong_locks_nobody_out(attempts):
    """S8: a turn that no clock here can have given is not waited for."""
    await use_up(attempts, now=NOW + 86_400)

    assert 0.0 == await attempts.take("alice", HERE, NOW)


async def test_s8_what_cannot_be_counted_may_not_be_tried(backend, attempts):
    """S8: an outage is told as one, and never as leave to guess."""
    with backend.frozen(), pytest.raises(StoreUnavailable):
        await attempts.take("alice", HERE, NOW)
