"""Passwords: hashed, compared, bounded in length and number."""

from __future__ import annotations

import asyncio
import statistics
import time

import pytest

from proxy.adapters.passwords import (
    COST,
    MAX_PASSWORD_BYTES,
    Passwords,
    dummy_hash,
    hash_password,
    hasher,
)
from proxy.adapters.tasks import spawn
from proxy.config.user_models import parse_hash
from proxy.errors import LoginBusy


@pytest.fixture
def passwords():
    pool = Passwords(threads=1, waiting=2)
    yield pool
    pool.close()


async def test_a_password_is_right_or_wrong(passwords):
    """What was hashed is recognised, every letter of it, whatever the script."""
    known = hash_password("비밀번호 correct")

    assert COST == known.cost
    assert await passwords.verify(known, "비밀번호 correct")
    assert not await passwords.verify(known, "비밀번호 Correct")
    assert not await passwords.verify(known, "")


async def test_s8_a_password_has_at_most_1_kib(passwords):
    """S8: a longer one is neither hashed nor ever right, also where its beginning is."""
    longest = "x" * MAX_PASSWORD_BYTES
    known = hash_password(longest)

    assert await passwords.verify(known, longest)
    assert not await passwords.verify(known, longest + "x")
    for bad in (longest + "x", ""):
        with pytest.raises(ValueError):
            hash_password(bad)


async def test_s8_the_queue_is_bounded(passwords):
    """S8: more at once than there is room for are told so, and the room comes back."""
    known = hash_password("x")
    results = await asyncio.gather(
        *(passwords.verify(known, "x") for _ in range(10)), return_exceptions=True
    )

    assert 3 == results.count(True)
    assert 7 == sum(isinstance(result, LoginBusy) for result in results)
    await asyncio.sleep(0)
    assert await passwords.verify(known, "x")


async def test_s8_who_leaves_early_frees_no_thread(passwords):
    """S8: a client that goes away does not make room for another while its password is hashed."""
    known = hash_password("x")
    waiting = [spawn(passwords.verify(known, "x"), name="password") for _ in range(3)]
    await asyncio.sleep(0)
    assert passwords.is_full
    waiting[0].cancel()
    await asyncio.sleep(0)

    assert passwords.is_full
    await asyncio.gather(*waiting, return_exceptions=True)


async def test_nobodys_hash_costs_as_much(passwords):
    """A name that is not there takes as long as one that is: medians within a factor."""
    known, nobody = hash_password("x"), dummy_hash()

    async def took(which):
        begun = time.perf_counter()
        await passwords.verify(which, "guess")
        return time.perf_counter() - begun

    times = [(await took(known), await took(nobody)) for _ in range(7)]
    ratio = statistics.median(t[0] for t in times) / statistics.median(t[1] for t in times)
    assert 0.5 < ratio < 2
    assert not await passwords.verify(nobody, "")


async def test_a_hash_made_anew_keeps_its_salt(passwords):
    """So that a password that was only hashed at another cost is not taken for a new one."""
    old = parse_hash(hasher((8 * 1024, 1, 1)).hash("secret"))
    new = await passwords.rehash(old, "secret")

    assert (old.salt, COST) == (new.salt, new.cost)
    assert await passwords.verify(new, "secret")
    assert hash_password("secret").salt != hash_password("secret").salt
