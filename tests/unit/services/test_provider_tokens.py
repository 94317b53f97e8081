"""Provider tokens beside a session: sealed, refreshed once by all workers, gone with the session."""

from __future__ import annotations

import asyncio
import json
import time

import pytest

from proxy.errors import ProviderUnavailable
from proxy.services import provider_tokens
from proxy.services.sessions import Proof
from tests.unit.services.oidc_bench import BOX


class Clock:
    """Tells the time of day, moved on by hand."""

    def __init__(self):
        self.ahead_s = 0.0

    def __call__(self):
        return time.time() + self.ahead_s


@pytest.fixture
def clock(small):
    """Give a clock that the test moves, for gate and provider."""
    small.clock = Clock()
    return small.clock


@pytest.fixture
def worker(start_worker, clock):
    """Give the logins of a worker whose clock is the test's."""
    return start_worker(clock=clock)


def record(valkey, worker, session):
    """Return the sealed record as it stands in the store."""
    with valkey.client() as client:
        return client.get(worker.login.vault.key(session.digest))


async def test_s10_provider_tokens_are_sealed_for_their_session(valkey, worker, small):
    """Nothing usable is in the store, and a record that was moved or planted is none."""
    session, finished, _ = await worker.sign_in(small)
    other, _, _ = await worker.sign_in(small)
    vault = worker.login.vault
    with valkey.client() as client:
        dump = b"".join(client.dump(key) or b"" for key in client.keys())  # noqa: SIM118 - a command
        client.set(vault.key(other.digest), client.get(vault.key(session.digest)))
    tokens = finished.tokens

    assert tokens == await vault.read(session.digest)
    for secret in (tokens.access_token, tokens.refresh_token, tokens.id_token, session.cookie):
        assert secret.encode() not in dump
        assert secret not in repr(finished) + repr(tokens)
    assert await vault.read(other.digest) is None
    assert await vault.access_token(other.digest) is None


async def test_they_live_as_long_as_the_session(valkey, worker, small):
    """Their key ends with it, and nothing is kept for a session that is gone (R6)."""
    session, finished, is_kept = await worker.sign_in(small)
    vault = worker.login.vault
    with valkey.client() as client:
        life_ms = client.pttl(vault.key(session.digest))
    await worker.sessions.revoke(session.digest)
    await vault.forget(session.digest)

    assert is_kept
    assert abs(life_ms / 1000 - 43_200) < 5
    assert not await vault.keep(session.digest, finished.tokens, session.expires_at)
    assert await vault.read(session.digest) is None


async def test_a_good_token_is_used_without_asking(worker, small):
    """The provider is asked when the time has come, and no sooner."""
    session, finished, _ = await worker.sign_in(small)

    assert finished.tokens.access_token == await worker.login.vault.access_token(session.digest)
    assert 1 == len(small.asked)


async def test_a_token_that_is_over_is_renewed(valkey, worker, small, clock):
    """New tokens take the place of the old ones, sealed again, with the same life."""
    session, finished, _ = await worker.sign_in(small)
    clock.ahead_s = 3601
    renewed = await worker.login.vault.access_token(session.digest)
    tokens = await worker.login.vault.read(session.digest)

    assert renewed not in (None, finished.tokens.access_token)
    assert (renewed, True) == (tokens.access_token, tokens.refresh_token in small.refresh_tokens)
    assert ["authorization_code", "refresh_token"] == [grant for grant, _, _ in small.asked]
    assert renewed == await worker.login.vault.access_token(session.digest)
    with valkey.client() as client:
        assert client.pttl(worker.login.vault.key(session.digest)) > 40_000_000


async def test_all_workers_together_refresh_once(start_worker, small, clock):
    """Two hundred requests in four workers; none asks with a spent refresh token."""
    workers = [start_worker(clock=clock) for _ in range(4)]
    session, _, _ = await workers[0].sign_in(small)
    clock.ahead_s = 3601
    small.pause_s = 0.3
    asked = [workers[n % 4].login.vault.access_token(session.digest) for n in range(200)]

    assert 1 == len(set(await asyncio.gather(*asked)))
    assert 2 == len(small.asked)
    assert 0 == small.spent_again


@pytest.mark.slow
async def test_a_provider_that_takes_ten_seconds_is_asked_once(start_worker, small, clock):
    """The lock outlives the slowest answer (field.md, oauth2-proxy #3456): others wait for it."""
    workers = [start_worker(clock=clock) for _ in range(3)]
    session, _, _ = await workers[0].sign_in(small)
    clock.ahead_s = 3601
    small.pause_s = 10.0
    asked = [workers[n % 3].login.vault.access_token(session.digest) for n in range(30)]

    assert 1 == len(set(await asyncio.gather(*asked)))
    assert (2, 0) == (len(small.asked), small.spent_again)


async def test_others_go_on_with_a_token_that_is_still_good(start_worker, small, clock):
    """Nobody waits for a slow provider before they have to."""
    worker, other = start_worker(clock=clock), start_worker(clock=clock)
    session, finished, _ = await worker.sign_in(small)
    clock.ahead_s = 3600 - 30
    small.pause_s = 0.2
    small.is_asked.clear()
    old = finished.tokens.access_token

    assert [old, old] == [
        await one.login.vault.access_token(session.digest) for one in (worker, other)
    ]
    await small.is_asked.wait()
    assert old == await worker.login.vault.access_token(session.digest)
    await asyncio.gather(*worker.login.vault._renewing.values())
    await asyncio.gather(*other.login.vault._renewing.values())
    assert old != await other.login.vault.access_token(session.digest)
    assert (2, 0) == (len(small.asked), small.spent_again)


async def test_a_late_owner_of_the_lock_changes_nothing(valkey, start_worker, small, clock):
    """The record that was read is the fence: who was suspended finds other bytes there."""
    worker, other = start_worker(clock=clock), start_worker(clock=clock)
    session, _, _ = await worker.sign_in(small)
    clock.ahead_s = 3601
    small.pause_s = 0.3
    small.is_asked.clear()
    late = asyncio.ensure_future(  # noqa: TID251 - a test's own task
        worker.login.vault.access_token(session.digest)
    )
    await small.is_asked.wait()
    # While the first waits for its answer its lease runs out, and another renews the tokens.
    vault = worker.login.vault
    newer = (await vault.read(session.digest)).renewed(
        provider_tokens.Grant("newer", None, "newer-refresh", 3600.0), clock()
    )
    with valkey.client() as client:
        sealed = BOX.seal(newer.encode(), vault.key(session.digest))
        client.set(vault.key(session.digest), sealed, keepttl=True)
        client.delete(f"{vault.key(session.digest)}:lock")

    assert "newer" == await late
    assert "newer" == await other.login.vault.access_token(session.digest)


async def test_r6_a_refresh_brings_no_session_back(valkey, worker, small, clock):
    """A session that was ended while the provider was asked stays ended, and so do its tokens."""
    session, _, _ = await worker.sign_in(small)
    clock.ahead_s = 3601
    small.pause_s = 0.2
    small.is_asked.clear()
    asked = asyncio.ensure_future(  # noqa: TID251 - a test's own task
        worker.login.vault.access_token(session.digest)
    )
    await small.is_asked.wait()
    await worker.sessions.revoke(session.digest)
    await worker.login.vault.forget(session.digest)

    with pytest.raises(ProviderUnavailable, match="session is over"):
        await asked
    with valkey.client() as client:
        left = client.keys(f"*{session.digest}*")
    assert [] == [key for key in left if not key.endswith(b":lock")]


async def test_a_refresh_token_that_is_taken_back_is_asked_with_once(worker, small, clock):
    """`invalid_grant`: the access token is used up, then there is none; the session stays."""
    session, finished, _ = await worker.sign_in(small)
    small.refresh_tokens.clear()
    clock.ahead_s = 3600 - 10
    assert finished.tokens.access_token == await worker.login.vault.access_token(session.digest)
    await asyncio.gather(*worker.login.vault._renewing.values())
    clock.ahead_s = 3601
    for _ in range(3):
        assert await worker.login.vault.access_token(session.digest) is None

    assert 2 == len(small.asked)
    assert await worker.is_alive(session)


@pytest.mark.parametrize(
    "answer", [{"status": 503}, {"status": 400, "text": "invalid_client"}], ids=str
)
async def test_an_outage_loses_nothing(worker, small, clock, answer):
    """The refresh token is kept for the next try; the request that needed it is told."""
    session, _, _ = await worker.sign_in(small)
    clock.ahead_s = 3601
    small.status = answer["status"]
    with pytest.raises(ProviderUnavailable):
        await worker.login.vault.access_token(session.digest)
    small.status = None

    assert await worker.login.vault.access_token(session.digest)
    assert 0 == small.spent_again


async def test_refreshed_tokens_of_somebody_else_are_not_taken(worker, small, clock):
    """Core §12.2: `sub` must be the same."""
    session, _, _ = await worker.sign_in(small)
    clock.ahead_s = 3601
    small.person["sub"] = "eve"

    assert await worker.login.vault.access_token(session.digest) is None


async def test_each_provider_is_asked_with_its_own_credentials(worker, small, clock):
    """The provider's name is in the record (field.md, pomerium #4759)."""
    session, _, _ = await worker.sign_in(small)
    clock.ahead_s = 3601
    worker.login.providers.clear()

    with pytest.raises(ProviderUnavailable, match="not configured"):
        await worker.login.vault.access_token(session.digest)
    assert 1 == len(small.asked)


@pytest.mark.parametrize("changed", ["client_id", "issuer"])
async def test_whoever_took_the_providers_name_is_shown_no_refresh_token(
    worker, small, clock, changed
):
    """Neither another issuer nor another client of the same one: nothing is asked, nothing spent."""
    session, _, _ = await worker.sign_in(small)
    asked = len(small.asked)
    clock.ahead_s = 3601
    setattr(worker.provider, changed, "https://other.example")

    with pytest.raises(ProviderUnavailable, match="not configured"):
        await worker.login.vault.access_token(session.digest)
    assert asked == len(small.asked)


async def test_a_provider_that_tells_no_time_is_never_asked_again(worker, small, clock):
    """Without `expires_in` nobody knows when; the token is used as it is."""
    small.answer["expires_in"] = ...
    session, finished, _ = await worker.sign_in(small)
    clock.ahead_s = 40_000

    assert finished.tokens.access_token == await worker.login.vault.access_token(session.digest)


async def test_tokens_follow_a_session_to_its_new_id(worker, small):
    """A rise in privilege makes a new id (S1); the old one keeps nothing."""
    old, finished, _ = await worker.sign_in(small)
    new = await worker.sessions.succeed(
        old.digest, Proof(("pwd",), None), time.time(), follow=worker.login.move
    )

    assert finished.tokens == await worker.login.vault.read(new.digest)
    assert await worker.login.vault.read(old.digest) is None


@pytest.mark.parametrize("text", ["{}", '{"v": 2}', '{"v": 1, "provider": 7}', "[]", "\x00"])
def test_what_is_no_record_is_refused(text):
    """Sealed by a gate, but perhaps by another version of it."""
    with pytest.raises(ValueError):
        provider_tokens.ProviderTokens.decode(text.encode())
    assert json


@pytest.mark.parametrize(("pause_s", "is_renewed"), [(0.3, True), (30.0, False)])
async def test_a_worker_that_ends_loses_no_answer(start_worker, small, clock, pause_s, is_renewed):
    """It waits a moment for a refresh under way; one that takes longer is given up for another."""
    worker, other = start_worker(clock=clock), start_worker(clock=clock)
    session, finished, _ = await worker.sign_in(small)
    clock.ahead_s = 3600 - 30
    small.pause_s = pause_s
    small.is_asked.clear()
    assert await worker.login.vault.access_token(session.digest)
    await small.is_asked.wait()
    await worker.login.close()

    tokens = await other.login.vault.read(session.digest)
    assert is_renewed is (tokens.access_token != finished.tokens.access_token)
    assert {} == worker.login.vault._renewing
