from __future__ import annotations

import asyncio
import base64
import contextlib
import time

import pytest

from proxy.cli import user_otp
from proxy.cli.opening import load_or_fail, open_store_of
from proxy.core.otp import code_at
from proxy.errors import StoreUnavailable
from proxy.services.factors import open_otp

LOGIN = "login: {scheme: web, users: {file: users.yaml}}\n"


@pytest.fixture
def people(gate):
    """Give the command line on a configuration with one user, whose subject is not their name."""
    gate.write(gate.file.read_text() + LOGIN)
    done = gate.run(
        "user", "add", "alice", "--subject", "u-1", "--password", "-", stdin=b"correct horse\n"
    )
    assert 0 == done.exit_code, done.output
    return gate


def with_otp(people, work):
    """Run `work` with the one-time passwords of the configuration's store."""
    config = load_or_fail(str(people.file)).config

    async def run():
        async with open_store_of(config) as store:
            return await work(open_otp(config, store))

    return asyncio.run(run())


def enrol(people, subject):
    async def work(otp):
        now = time.time()
        enrolment = await otp.begin(subject, "d", now)
        code = code_at(base64.b32decode(enrolment.secret), now)
        return await otp.confirm(subject, "d", code, now)

    assert with_otp(people, work)


def is_enrolled(people, subject):
    return with_otp(people, lambda otp: otp.is_enrolled(subject))


def test_the_codes_of_somebody_who_lost_them_are_taken_away(people):
    """A user of the file is known by name; the sessions that the codes have opened end with them."""
    enrol(people, "u-1")
    people.run("session", "new", "--subject", "u-1")
    found = people.json("user", "remove-otp", "alice")

    assert {"subject": "u-1", "ended": 1} == found
    assert not is_enrolled(people, "u-1")
    assert 1 == people.run("user", "remove-otp", "alice").exit_code
    noted = people.json("audit", "--last", "1")
    assert ("otp_removed", "u-1", "by an operator") == (
        noted["kind"], noted["subject"], noted["detail"],
    )  # fmt: skip


@pytest.mark.parametrize("lives", range(8))
def test_what_a_failing_store_left_half_done_can_be_repeated(people, monkeypatch, lives):
    """Whenever the store goes away: who was told that it failed repeats it, and nothing is left then."""
    enrol(people, "u-1")
    people.run("session", "new", "--subject", "u-1")
    real = user_otp.open_store_of

    @contextlib.asynccontextmanager
    async def open_failing(config):
        async with real(config) as store:
            yield FailingStore(store, lives)

    with monkeypatch.context() as patch:
        patch.setattr(user_otp, "open_store_of", open_failing)
        first = people.run("user", "remove-otp", "alice")
    if first.exit_code:
        assert 3 == first.exit_code, first.output
        again = people.run("user", "remove-otp", "alice")
        is_over = "has no one-time password" in again.output
        assert again.exit_code == int(is_over), again.output

    assert not is_enrolled(people, "u-1")
    assert [] == people.json("session", "list")


class FailingStore:
    """The real store, which is out of reach from its write number `lives` on."""

    def __init__(self, store, lives):
        self._store = store
        self._lives = lives

    def __getattr__(self, name):
        operation = getattr(self._store, name)
        if name not in ("put", "delete", "run"):
            return operation

        async def write(*args, **options):
            if not self._lives:
                raise StoreUnavailable("gone")
            self._lives -= 1
            return await operation(*args, **options)

        return write


def test_somebody_of_a_provider_is_named_by_the_subject(people):
    """They are in no file."""
    enrol(people, "corp|7")
    result = people.run("user", "remove-otp", "corp|7")

    assert 0 == result.exit_code, result.output
    assert "corp|7: one-time password removed; 0 sessions ended" in result.output


def test_without_a_login_there_is_nobody(gate):
    """A usage error, and no traceback."""
    result = gate.run("user", "remove-otp", "alice")

    assert 2 == result.exit_code
    assert "no `login:`" in result.output
