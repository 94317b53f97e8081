"""Factors that are proved again, on a real store: what is taken, counted, and given for it."""

from __future__ import annotations

import asyncio
import base64
import time

import pytest

from proxy.adapters.passwords import Place
from proxy.adapters.secrets import SecretBox
from proxy.adapters.store import StoreAddress, open_store
from proxy.config.login_models import BindConfig
from proxy.core.formats.native import NativeSession, cookie_digest
from proxy.core.otp import code_at
from proxy.core.session_search import Search
from proxy.errors import LoginBusy
from proxy.services.attempts import TRIES, Attempts
from proxy.services.login import Whereabouts, bound_to
from proxy.services.otp import OneTimePasswords
from proxy.services.sessions import Login, Sessions
from proxy.services.step_up import StepUp, Wait, may_change
from proxy.services.users import User

HOME, ELSEWHERE = Whereabouts("198.51.100.7", b"Fox"), Whereabouts("203.0.113.9", b"Owl")


class OneUser:
    """The people of a file: one of them."""

    def name_of(self, subject):
        return "ada@example.com" if subject == "ada" else None

    is_busy = False

    def place(self, network):
        if self.is_busy:
            raise LoginBusy("full")
        return Place(network, lambda: None)

    async def verify(self, name, password, place):
        place.use()
        if (name, password) == ("ada@example.com", "right"):
            return User("ada", None, None, (), (), is_disabled=False)
        return None


class Bench:
    """One worker."""

    def __init__(self, store):
        self.sessions = Sessions(
            store, prefix="p:", idle_timeout_s=1800, lifetime_s=43_200, remember_s=10**6
        )
        self.attempts = Attempts(store, prefix="p:")
        self.otp = OneTimePasswords(store, SecretBox([b"k" * 32]), prefix="p:", issuer="S")
        self.users = OneUser()
        self.step_up = StepUp(
            sessions=self.sessions,
            attempts=self.attempts,
            otp=self.otp,
            users=self.users,
            bind=BindConfig(),
        )

    async def sign_in(self, subject="ada", age_s=3600.0, **said):
        made = await self.sessions.create(
            Login(subject, amr=["pwd"], roles=["r"], **said), time.time() - age_s
        )
        await self.sessions.touch(await self.sessions.look_up(made.cookie), time.time())
        return made.digest

    async def caller(self, digest, place=HOME):
        return await self.step_up.caller(digest, place, time.time())

    async def record(self, cookie) -> NativeSession:
        listed = await self.sessions.show(cookie_digest(cookie), time.time())
        return listed.session

    async def enrol(self, subject="ada"):
        """Enrol somebody; the code that the app shows is still unused."""
        then = time.time() - 300
        self.enrolment = await self.otp.begin(subject, "d", then)
        assert await self.otp.confirm(subject, "d", self.code(then), then)

    def code(self, at=None):
        return code_at(base64.b32decode(self.enrolment.secret), at or time.time())


@pytest.fixture
async def benches(valkey):
    stores = [
        open_store(StoreAddress(socket_path=str(valkey.socket_path)), timeout_s=5) for _ in range(4)
    ]
    yield [Bench(store) for store in stores]
    for store in stores:
        await store.close()


@pytest.fixture
def bench(benches):
    return benches[0]


async def test_s1_s7_a_code_gives_a_new_session_that_says_so(bench):
    """S1, S7: a new id, the old one gone, two factors just now; rights and end stay as they were."""
    await bench.enrol()
    old = await bench.sign_in()
    before = (await bench.caller(old)).session
    now = time.time()
    made = await bench.step_up.prove(await bench.caller(old), "code", bench.code(), now)
    after = await bench.record(made.cookie)

    assert await bench.caller(old) is None
    assert made.digest != old
    assert (("pwd", "otp", "mfa"), int(now), before.version + 1) == (
        after.amr, after.auth_time, after.version,
    )  # fmt: skip
    assert (before.expires_at, ("r",), "ada") == (after.expires_at, after.roles, after.subject)
    assert after.binding == bound_to(BindConfig(), HOME)


async def test_s7_a_password_again_is_one_factor(bench):
    """S7: `amr` is that of the last factor: a password does not renew what a code has proved."""
    old = await bench.sign_in()
    made = await bench.step_up.prove(await bench.caller(old), "password", "right", time.time())

    assert ("pwd",) == (await bench.record(made.cookie)).amr


async def test_a_password_is_no_way_around_a_code(bench):
    """Where a code is enrolled a password proves nothing here."""
    await bench.enrol()
    digest = await bench.sign_in()

    assert ("code",) == await bench.step_up.factors("ada")
    answer = await bench.step_up.prove(await bench.caller(digest), "password", "right", time.time())
    assert answer == "wrong"
    assert await bench.caller(digest) is not None


async def test_what_people_can_prove(bench):
    """Nobody is asked for what they do not have."""
    assert ("password",) == await bench.step_up.factors("ada")
    assert () == await bench.step_up.factors("of-a-provider")
    digest = await bench.sign_in("of-a-provider")
    for factor in ("code", "password"):
        answer = await bench.step_up.prove(await bench.caller(digest), factor, "x", time.time())
        assert answer == "wrong"


async def test_s8_what_finds_no_room_is_not_counted(bench):
    """S8: a flood of passwords uses up no tries of whoever could not even be heard."""
    digest = await bench.sign_in()
    bench.users.is_busy = True
    for _ in range(TRIES + 1):
        with pytest.raises(LoginBusy):
            await bench.step_up.prove(await bench.caller(digest), "password", "right", time.time())
    bench.users.is_busy = False
    made = await bench.step_up.prove(await bench.caller(digest), "password", "right", time.time())

    assert (await bench.record(made.cookie)).subject == "ada"


async def test_s8_somebody_elses_code_is_refused(bench):
    """S8: the code is that of the session's owner, whoever enters it."""
    await bench.enrol("ada")
    of_ada = bench.code()
    await bench.enrol("eve")
    caller = await bench.caller(await bench.sign_in("eve"))

    assert "wrong" == await bench.step_up.prove(caller, "code", of_ada, time.time())


async def test_s8_parallel_guesses_are_counted_by_all_workers_together(benches):
    """S8: of a hundred guesses at once, through four workers, no more are looked at than are allowed."""
    bench = benches[0]
    await bench.enrol()
    caller = await bench.caller(await bench.sign_in())
    right = bench.code()
    guesses = [f"{n:06}" for n in range(100) if f"{n:06}" != right]
    answers = await asyncio.gather(
        *(
            benches[number % 4].step_up.prove(caller, "code", guess, time.time())
            for number, guess in enumerate(guesses)
        )
    )
    now = time.time()
    locked = await bench.step_up.prove(caller, "code", bench.code(now), now)

    assert TRIES == answers.count("wrong")
    assert all(isinstance(answer, Wait) for answer in answers if answer != "wrong")
    assert isinstance(locked, Wait), "the right code comes too late as well"
    assert locked.seconds > 1


async def test_s8_elsewhere_the_owner_is_not_locked_out(bench):
    """S8: whoever guesses locks their own network out, and success forgets one's own mistakes."""
    await bench.enrol()
    digest = await bench.sign_in()
    for _ in range(TRIES):
        await bench.step_up.prove(await bench.caller(digest, ELSEWHERE), "code", "0", time.time())
    made = await bench.step_up.prove(await bench.caller(digest), "code", bench.code(), time.time())

    assert (await bench.record(made.cookie)).subject == "ada"


async def test_s1_of_two_step_ups_with_two_codes_one_gets_the_session(benches):
    """S1: a session has one successor, though each of the codes was good."""
    bench = benches[0]
    await bench.enrol()
    digest = await bench.sign_in()
    caller = await bench.caller(digest)
    codes = bench.enrolment.recovery_codes[:4]
    made = await asyncio.gather(
        *(
            one.step_up.prove(caller, "code", code, time.time())
            for one, code in zip(benches, codes, strict=True)
        )
    )
    live = [listed async for listed in bench.sessions.listed(time.time(), Search("ada"))]

    assert 3 == made.count("gone")
    assert 1 == len(live)


async def test_r6_a_session_that_was_ended_meanwhile_does_not_come_back(bench):
    """R6: neither after a logout here, nor after one everywhere."""
    await bench.enrol()
    codes = iter(bench.enrolment.recovery_codes)
    for end in (bench.sessions.revoke, lambda _digest: bench.sessions.revoke_subject("ada")):
        digest = await bench.sign_in()
        caller = await bench.caller(digest)
        check = bench.otp.check

        async def checked(*given, end=end, digest=digest, check=check):
            found = await check(*given)
            await end(digest)
            return found

        bench.otp.check = checked
        answer = await bench.step_up.prove(caller, "code", next(codes), time.time())
        bench.otp.check = check

        assert answer == "gone"
        assert [] == [one async for one in bench.sessions.listed(time.time(), Search("ada"))]


async def test_the_successor_is_what_its_owner_finds_and_ends(bench):
    """R6: a session of a step-up is in the person's list, in the place of the one before."""
    await bench.enrol()
    digest = await bench.sign_in()
    made = await bench.step_up.prove(await bench.caller(digest), "code", bench.code(), time.time())
    theirs = [entry.digest async for entry, _ in bench.sessions.of_subject("ada", time.time())]

    assert made.digest in theirs
    assert digest not in theirs


async def test_a_new_place_is_what_the_session_is_bound_to_from_now_on(bench):
    """`on_change: step_up`: a factor that was proved there moves the session there."""
    await bench.enrol()
    digest = await bench.sign_in(binding=bound_to(BindConfig(), HOME))
    caller = await bench.caller(digest, ELSEWHERE)
    made = await bench.step_up.prove(caller, "code", bench.code(), time.time())

    assert (await bench.record(made.cookie)).binding == bound_to(BindConfig(), ELSEWHERE)


async def test_a_remembered_session_stays_remembered_and_ends_when_it_would_have(bench):
    """A factor proved again prolongs nothing."""
    await bench.enrol()
    digest = await bench.sign_in(lifetime_s=900_000.0)
    before = (await bench.caller(digest)).session
    made = await bench.step_up.prove(await bench.caller(digest), "code", bench.code(), time.time())
    after = await bench.record(made.cookie)

    assert (True, before.expires_at) == (after.is_remembered, after.expires_at)


async def test_an_enrolment_is_a_step_up(bench):
    """Its first code proves a second factor, and is counted like any other."""
    old = await bench.sign_in()
    now = time.time()
    bench.enrolment = await bench.otp.begin("ada", old, now)
    caller = await bench.caller(old)
    assert "wrong" == await bench.step_up.confirm(caller, "000000", now)
    made = await bench.step_up.confirm(caller, bench.code(now), now)

    assert "mfa" in (await bench.record(made.cookie)).amr
    assert await bench.caller(old) is None


@pytest.mark.parametrize(
    ("age_s", "amr", "is_enrolled", "expected"),
    [
        (299, ("pwd",), False, True),
        (301, ("pwd",), False, False),
        (10, ("pwd",), True, False),
        (10, ("pwd", "otp", "mfa"), True, True),
        (301, ("pwd", "otp", "mfa"), True, False),
        (10, ("otp",), True, True),
        (301, ("otp",), True, False),
        (10, (), True, False),
    ],
)
def test_s6_who_may_change_how_they_sign_in(age_s, amr, is_enrolled, expected):
    """S6: whose factor is five minutes old at most; a password alone does not get rid of a code."""
    session = NativeSession("ada", 0, 9e9, auth_time=1_800_000_000 - age_s, amr=amr)

    assert expected is may_change(session, 1_800_000_000.0, is_enrolled=is_enrolled)
