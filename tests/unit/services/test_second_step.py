"""Sign-ins that wait for a code, on a real store."""

from __future__ import annotations

import asyncio
import base64
from dataclasses import replace

import pytest

from proxy.adapters.secrets import SecretBox
from proxy.adapters.store import StoreAddress, open_store
from proxy.core.otp import code_at
from proxy.services.login import Half
from proxy.services.otp import OneTimePasswords
from proxy.services.second_step import LIFE_S, PendingLogin, SecondStep
from proxy.services.sessions import Beginning

NOW = 1_800_000_000.5
HERE = "ab" * 32
PENDING = PendingLogin(
    half=Half(
        name="ada@example.com",
        subject="ada",
        began=Beginning("ada", (b"\x00\xff", None)),
        became="x" * 64,
        is_remembered=True,
        at=NOW,
    ),
    next="/orders?page=2",
)


@pytest.fixture
async def store(valkey):
    store = open_store(StoreAddress(socket_path=str(valkey.socket_path)), timeout_s=5)
    yield store
    await store.close()


@pytest.fixture
def admin(valkey):
    with valkey.client() as client:
        yield client


@pytest.fixture
def otp(store):
    return OneTimePasswords(store, SecretBox([b"k" * 32]), prefix="p:", issuer="S")


@pytest.fixture
def steps(store, otp):
    return SecondStep(store, otp, prefix="p:", at_login="optional")


@pytest.mark.parametrize(
    ("at_login", "enrolled", "not_enrolled"),
    [
        ("required", "code", "enrolment"),
        ("optional", "code", "nothing"),
        ("never", "nothing", "nothing"),
    ],
)
async def test_what_a_sign_in_wants_after_the_password(
    store, otp, at_login, enrolled, not_enrolled
):
    """As `login.otp.at_login` says; who has an app is always asked, unless nobody is."""
    begun = await otp.begin("ada", HERE, NOW)
    assert await otp.confirm("ada", HERE, code_at(base64.b32decode(begun.secret), NOW), NOW)
    steps = SecondStep(store, otp, prefix="p:", at_login=at_login)

    assert enrolled == await steps.wanted("ada")
    assert not_enrolled == await steps.wanted("bob")


async def test_without_one_time_passwords_nothing_is_wanted(store):
    """There is nothing to ask for."""
    assert "nothing" == await SecondStep(store, None, prefix="p:", at_login="optional").wanted("a")


async def test_a_sign_in_is_found_again_by_its_cookie(steps, admin):
    """As it was; the store holds a hash of the cookie, and forgets both after five minutes."""
    cookie = await steps.begin(PENDING, NOW)
    (key,) = admin.keys("p:second_step:*")

    assert PENDING == await steps.find(cookie, NOW + 1)
    assert cookie.encode() not in key + admin.get(key)
    assert 0 < admin.pttl(key) <= LIFE_S * 1000
    assert await steps.find(cookie, NOW + LIFE_S) is None
    for other in ("", "x" * 43, cookie[:-1], key.decode()):
        assert await steps.find(other, NOW + 1) is None


async def test_s1_of_several_who_finish_a_sign_in_one_does(steps):
    """S1: one password that was right makes one session."""
    cookie = await steps.begin(PENDING, NOW)
    ended = await asyncio.gather(*(steps.end(cookie) for _ in range(10)))

    assert 1 == ended.count(True)
    assert await steps.find(cookie, NOW) is None


async def test_two_browsers_of_one_person_do_not_share_a_sign_in(steps):
    """Each has a cookie of its own."""
    one, other = await steps.begin(PENDING, NOW), await steps.begin(PENDING, NOW)
    assert one != other
    assert await steps.end(one)

    assert PENDING == await steps.find(other, NOW)


@pytest.mark.parametrize(
    "record", [b"", b"{}", b"[]", b'{"name":"a","sub":"b","marks":[1],"next":"/","at":1}']
)
async def test_a_record_that_does_not_fit_is_no_sign_in(steps, admin, record):
    """A stranger's record is read as one."""
    cookie = await steps.begin(PENDING, NOW)
    (key,) = admin.keys("p:second_step:*")
    admin.set(key, record)

    assert await steps.find(cookie, NOW) is None


async def test_a_sign_in_of_the_future_is_none(steps):
    """Its time is compared with the gate's own clock."""
    cookie = await steps.begin(replace(PENDING, half=replace(PENDING.half, at=NOW + 60)), NOW)

    assert await steps.find(cookie, NOW) is None
