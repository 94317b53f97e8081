"""Signing in: what is counted, asked and made, in which order. The rest is in tests/live/portal."""

from __future__ import annotations

import asyncio

import pytest

from proxy.adapters.passwords import Passwords, hash_password
from proxy.adapters.store import StoreAddress, open_store
from proxy.adapters.tasks import spawn
from proxy.adapters.users_file import WatchedUsers, edit_users
from proxy.config.models import LoginConfig
from proxy.core.formats.native import read
from proxy.errors import LoginBusy
from proxy.services.attempts import TRIES, TRIES_EVERYWHERE, Attempts
from proxy.services.login import Credentials, LoginService, NotSignedIn, SignedIn, Whereabouts
from proxy.services.sessions import Sessions
from proxy.services.subjects import Subjects
from proxy.services.users import Users

NOW = 1_800_000_000.0
PASSWORD = "correct horse"
HERE = Whereabouts("192.0.2.7", b"Firefox/120.0")
BIND = LoginConfig(scheme="web").sessions.bind


class Factor:
    """A second factor that takes one code."""

    def __init__(self, code="123456"):
        self.code = code
        self.asked = []

    async def wanted(self, subject):
        return "code" if subject == "alice" else "nothing"

    async def is_enrolled(self, subject):
        return subject == "alice"

    async def check(self, subject, code, now):
        self.asked.append((subject, code, now))
        return code == self.code


@pytest.fixture
async def store(valkey):
    store = open_store(StoreAddress(socket_path=str(valkey.socket_path)), timeout_s=2)
    yield store
    await store.close()


@pytest.fixture
async def make(store, tmp_path):
    file = tmp_path / "users.yaml"
    user = {"password": hash_password(PASSWORD).text}
    edit_users(file, lambda users: users.update(alice=user, bob=dict(user)) or True)
    pools = []

    def build(factor=None, **options):
        pools.append(Passwords(**options))
        users = Users(WatchedUsers(file), pools[-1])
        users.load()
        sessions = Sessions(
            store, prefix="l:", idle_timeout_s=1800, lifetime_s=43_200, remember_s=86_400
        )
        subjects = Subjects(store, "l:", sessions, None, "local", 60)
        attempts = Attempts(store, prefix="l:")
        return LoginService(users, attempts, sessions, subjects, 86_400, BIND, factor)

    yield build
    for pool in pools:
        await pool.close()


async def test_a_session_says_how_where_and_when(make):
    """S7: `amr` and `auth_time` are those of the sign-in; address, agent and binding are kept."""
    service = make()
    result = await service.sign_in(Credentials("alice", PASSWORD), HERE, None, NOW)
    stored = await service.sessions.look_up(result.session.cookie)
    session = read(stored.record)

    assert (("pwd",), 1_800_000_000) == (session.amr, session.auth_time)
    assert ("192.0.2.7", "Firefox/120.0") == (session.address, session.agent)
    assert ("192.0.2.0/24", False) == (session.binding.network, session.is_remembered)


async def test_a_second_factor_is_asked_for_after_the_password(make):
    """Whoever does not know the password learns nothing of a second factor."""
    service = make(Factor())

    async def tried(password, otp=None):
        return await service.sign_in(Credentials("alice", password, otp), HERE, None, NOW)

    assert NotSignedIn("login_failed", subject="alice") == await tried("wrong", "123456")
    assert NotSignedIn("otp_required", subject="alice") == await tried(PASSWORD)
    assert NotSignedIn("login_failed", subject="alice") == await tried(PASSWORD, "000000")
    assert [("alice", "000000", NOW)] == service.second_factor.asked
    result = await tried(PASSWORD, "123456")
    session = read((await service.sessions.look_up(result.session.cookie)).record)
    assert ("pwd", "otp", "mfa") == session.amr
    result = await service.sign_in(Credentials("bob", PASSWORD), HERE, None, NOW)
    assert isinstance(result, SignedIn)


async def test_s8_a_right_password_gives_no_new_tries_at_the_code(make):
    """S8: only the last factor clears the count; each code is counted beside its password."""
    service = make(Factor())
    codes = []
    for number in range(TRIES):
        said = Credentials("alice", PASSWORD, f"{number:06}")
        codes.append((await service.sign_in(said, HERE, None, NOW)).code)

    assert ["login_failed"] * (TRIES // 2) + ["too_many_attempts"] * (TRIES // 2) == codes
    assert TRIES // 2 == len(service.second_factor.asked)


async def test_s8_under_attack_password_and_code_get_in_after_one_wait(make):
    """S8: whoever guesses from many networks keeps nobody out who says both at once."""
    service = make(Factor())
    for each in range(TRIES_EVERYWHERE):
        await service.attempts.take("alice", f"198.51.{each}.0/24", NOW)
    said = Credentials("alice", PASSWORD, "123456")
    told = await service.sign_in(said, HERE, None, NOW)
    assert ("too_many_attempts", True) == (told.code, told.wait_s > 0)

    assert isinstance(await service.sign_in(said, HERE, None, NOW + told.wait_s), SignedIn)


async def test_s8_what_finds_no_room_is_not_counted(make):
    """S8: a password that would not be looked at costs nobody a try."""
    service = make(waiting=-1)
    for _ in range(TRIES + 1):
        with pytest.raises(LoginBusy):
            await service.sign_in(Credentials("alice", PASSWORD), HERE, None, NOW)

    assert 0.0 == await service.attempts.take("alice", HERE.network, NOW)


async def test_s8_one_network_does_not_fill_the_queue(make):
    """S8: while one network floods it another signs in, and none of the flood is counted in vain."""
    service = make(waiting=7)
    flood = [
        spawn(service.sign_in(Credentials(f"n{n}", "x"), HERE, None, NOW), name="flood")
        for n in range(50)
    ]
    there = Whereabouts("203.0.113.9", b"Owl")
    assert isinstance(
        await service.sign_in(Credentials("alice", PASSWORD), there, None, NOW), SignedIn
    )
    results = await asyncio.gather(*flood, return_exceptions=True)

    assert [2, 48] == [
        sum(isinstance(result, kind) for result in results) for kind in (NotSignedIn, LoginBusy)
    ]


async def test_s8_every_spelling_of_a_name_is_one_account(make):
    """S8: spaces and compositions that are the same name do not multiply the tries."""
    service = make()
    for number in range(TRIES):
        name = " alice" if number % 2 else "alice "
        result = await service.sign_in(Credentials(name, "wrong"), HERE, None, NOW)
        assert "login_failed" == result.code
    result = await service.sign_in(Credentials("alice", PASSWORD), HERE, None, NOW)

    assert ("too_many_attempts", "alice") == (result.code, result.subject)


async def test_an_agent_that_shows_nothing_else(make):
    """S15: what a client calls itself is kept in one line, and not without end."""
    where = Whereabouts(None, b"a\r\nb\x1b[2J" + b"x" * 1000)

    assert (256, None) == (len(where.shown_agent), where.network)
    assert where.shown_agent.isprintable()
