"""Back-channel logout: a provider ends its own sessions here, and nobody else any."""

from __future__ import annotations

import asyncio
import time

import pytest

from proxy.errors import KeysUnavailable, TokenInvalid
from proxy.services.sessions import Login, Proof
from tests import token_workshop as workshop


async def log_out(worker, small, header=None, **claims):
    """Send a logout token; return how many sessions it ended."""
    token = small.logout_token(header=header, **claims)
    return await worker.login.log_out(worker.provider, token, time.time())


async def test_a_session_ends_by_its_name_at_the_provider(worker, start_worker, small):
    """In another worker; its tokens are gone too, and other sessions stay."""
    small.id_token["sid"] = "one"
    ended, _, _ = await worker.sign_in(small)
    small.id_token["sid"] = "two"
    kept, _, _ = await worker.sign_in(small)

    assert 1 == await log_out(start_worker(), small, sid="one")
    assert [False, True] == [await worker.is_alive(session) for session in (ended, kept)]
    assert await worker.login.vault.read(ended.digest) is None


async def test_every_session_of_a_person_ends_by_sub(worker, small):
    """Those of others stay, whatever their sid."""
    theirs = [(await worker.sign_in(small))[0] for _ in range(3)]
    small.person["sub"] = "bob"
    other, _, _ = await worker.sign_in(small)

    assert 3 == await log_out(worker, small, sub="ann")
    assert [False] * 3 == [await worker.is_alive(session) for session in theirs]
    assert await worker.is_alive(other)


async def test_a_sid_with_a_sub_ends_that_session_alone(worker, small):
    """Back-Channel Logout §2.6: with `sid` it is one session that is meant."""
    small.id_token["sid"] = "one"
    ended, _, _ = await worker.sign_in(small)
    small.id_token["sid"] = "two"
    kept, _, _ = await worker.sign_in(small)

    assert 1 == await log_out(worker, small, sub="ann", sid="one")
    assert [False, True] == [await worker.is_alive(session) for session in (ended, kept)]


async def test_a_logout_of_nobody_is_one(worker, small):
    """The session may be over already: that is no error."""
    assert 0 == await log_out(worker, small, sid="unheard-of")


async def test_a_logout_token_counts_once(worker, start_worker, small):
    """A copy of it ends nobody's next session; in no worker (jti)."""
    token = small.logout_token(sub="ann")
    await worker.login.log_out(worker.provider, token, time.time())
    small.id_token["iat"] = int(time.time()) + 1  # the second of the logout is over
    session, _, _ = await worker.sign_in(small)

    for again in (worker, start_worker()):
        with pytest.raises(TokenInvalid, match="used before"):
            await again.login.log_out(again.provider, token, time.time())
    assert await worker.is_alive(session)


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": "https://evil.example"},
        {"aud": "another"},
        {"iat": ...},
        {"jti": ...},
        {"exp": ...},
        {"exp": 1},
        {"nonce": "n"},
        {"events": {}},
        {"events": ...},
        {"sub": ...},
        {"header": {"typ": "at+jwt"}},
        {"header": {"kid": "unknown"}},
    ],
)
async def test_k4_what_is_no_logout_token_ends_nothing(worker, small, claims):
    """Back-Channel Logout §2.6, each point alone."""
    session, _, _ = await worker.sign_in(small)

    with pytest.raises(TokenInvalid):
        await log_out(worker, small, **({"sub": "ann"} | claims))
    assert await worker.is_alive(session)


async def test_k4_an_id_token_ends_nothing(worker, small):
    """Every application of the provider has one of each person."""
    session, finished, _ = await worker.sign_in(small)

    for token in (finished.tokens.id_token, "", "a.b.c", "é" * 40_000):
        with pytest.raises(TokenInvalid):
            await worker.login.log_out(worker.provider, token, time.time())
    forged = workshop.token(kind="RSA-other", header={"typ": "logout+jwt", "kid": "k"}).decode()
    with pytest.raises(TokenInvalid):
        await worker.login.log_out(worker.provider, forged, time.time())
    assert await worker.is_alive(session)


async def test_a_login_under_way_is_ended_too(worker, small):
    """A logout between the provider's answer and the session's record is not lost."""
    browser_begun = await worker.sign_in(small)
    assert browser_begun[2]
    for claims in ({"sid": "sid-1"}, {"sub": "ann"}):
        await log_out(worker, small, **claims)
        session, _, is_kept = await sign_in_with_an_older_token(worker, small)

        assert not is_kept
        assert not await worker.is_alive(session)
        assert await worker.login.vault.read(session.digest) is None
        small.id_token["sid"] = "another"


async def sign_in_with_an_older_token(worker, small):
    """Log in with an ID token that was made a minute ago."""
    small.id_token["iat"] = int(time.time()) - 60
    try:
        return await worker.sign_in(small)
    finally:
        del small.id_token["iat"]


async def test_the_index_heals(valkey, worker, small):
    """Sessions that are over leave it, and its keys end with the last one."""
    tokens = (await worker.sign_in(small))[1].tokens
    index = worker.login._sessions
    now = time.time()
    for n in range(50):
        await index.add(
            f"{n:064x}",
            tokens,
            expires_at=now + 100,
            now=now + (200 if n == 49 else 0),
        )
    with valkey.client() as client:
        (key,) = client.keys("latchgate:provider_sub:*")
        assert 2 >= client.zcard(key)
        assert 43_300_000 > client.pttl(key) > 0
        assert b"ann" not in key


async def test_very_many_sessions_end_in_batches(worker, small):
    """None is left, however many there are."""
    tokens = (await worker.sign_in(small))[1].tokens
    now = time.time()
    for n in range(1100):
        await worker.login._sessions.add(f"{n:064x}", tokens, expires_at=now + 100, now=now)
    assert 1 == await log_out(worker, small, sub="ann")
    assert 0 == await log_out(worker, small, sub="ann")


async def test_an_outage_can_be_told_again(worker, small):
    """The token is used up last: after a failure the provider's next try ends the session."""
    session, _, _ = await worker.sign_in(small)
    token = small.logout_token(sub="ann")
    failing = worker.login._sessions._end_all

    async def fail(_key, _end):
        raise KeysUnavailable("the test's outage")

    worker.login._sessions._end_all = fail
    with pytest.raises(KeysUnavailable):
        await worker.login.log_out(worker.provider, token, time.time())
    worker.login._sessions._end_all = failing

    assert 1 == await worker.login.log_out(worker.provider, token, time.time())
    assert not await worker.is_alive(session)


async def test_two_copies_at_once_end_it_once(worker, start_worker, small):
    """One of them is told that it is a replay."""
    await worker.sign_in(small)
    token = small.logout_token(sub="ann")
    other = start_worker()
    results = await asyncio.gather(
        *(one.login.log_out(one.provider, token, time.time()) for one in (worker, other)),
        return_exceptions=True,
    )

    assert 1 >= sum(result for result in results if isinstance(result, int))
    assert 1 == sum(isinstance(result, TokenInvalid) for result in results)


async def test_a_session_that_moves_is_found_under_its_new_id(worker, small):
    """A rise in privilege makes a new id (S1); one that its provider ended meanwhile gets none."""
    old, _, _ = await worker.sign_in(small)
    new = await worker.sessions.create(Login("ann"), time.time())
    assert await worker.login.move(old.digest, new.digest, new.expires_at, time.time())
    await worker.sessions.revoke(old.digest)

    assert 1 == await log_out(worker, small, sid="sid-1")
    assert not await worker.is_alive(new)

    small.id_token["sid"] = "two"
    small.id_token["iat"] = int(time.time()) + 1
    old, _, _ = await worker.sign_in(small)
    new = await worker.sessions.create(Login("ann"), time.time())
    tokens = await worker.login.vault.read(old.digest)
    await log_out(worker, small, sid="two")
    await worker.sessions._store.put(worker.sessions.session_key(old.digest), b"{}")
    await worker.login.vault.keep(old.digest, tokens, old.expires_at)
    assert not await worker.login.move(old.digest, new.digest, new.expires_at, time.time())
    assert not await worker.is_alive(new)


async def test_r6_racing_step_ups_leave_no_session_that_a_logout_misses(
    worker, start_worker, small
):
    """R6: the second of two wins while the first is on its way; the provider's logout finds it."""
    old, finished, _ = await worker.sign_in(small)
    other, proof, won = start_worker(), Proof(("pwd",), None), []

    async def move_and_lose(*told):
        is_moved = await worker.login.move(*told)
        won.append(
            await other.sessions.succeed(old.digest, proof, time.time(), follow=other.login.move)
        )
        return is_moved

    lost = await worker.sessions.succeed(old.digest, proof, time.time(), follow=move_and_lose)
    (winner,) = won
    assert (None, True) == (lost, await worker.is_alive(winner))
    assert finished.tokens == await worker.login.vault.read(winner.digest)

    assert 1 == await log_out(worker, small, sub="ann")
    assert not await worker.is_alive(winner)
    assert [] == [one async for one in worker.sessions.listed(time.time())]


async def test_r6_step_ups_at_once_leave_one_session_that_a_logout_ends(
    worker, start_worker, small
):
    """R6: whatever the order of their steps, round after round."""
    workers = [worker, *(start_worker() for _ in range(3))]
    for _ in range(20):
        small.id_token["iat"] = int(time.time()) + 1  # later than the logout of the round before
        old, _, _ = await worker.sign_in(small)
        made = await asyncio.gather(
            *(
                one.sessions.succeed(
                    old.digest, Proof(("pwd",), None), time.time(), follow=one.login.move
                )
                for one in workers
            )
        )
        assert 3 == made.count(None)
        assert 1 == await log_out(worker, small, sub="ann", jti=old.digest)
        assert [] == [one async for one in worker.sessions.listed(time.time())]


async def test_r6_a_session_whose_provider_nobody_can_tell_gets_no_successor(valkey, worker, small):
    """R6, fail closed: tokens that cannot be opened are not "came from no provider"."""
    old, _, _ = await worker.sign_in(small)
    with valkey.client() as store:
        store.set(worker.login.vault.key(old.digest), b"planted")
    made = await worker.sessions.succeed(
        old.digest, Proof(("pwd",), None), time.time(), follow=worker.login.move
    )

    assert made is None
    assert [] == [one async for one in worker.sessions.listed(time.time())]


async def test_a_planted_time_ends_logins(valkey, worker, small):
    """What cannot be read means no."""
    await log_out(worker, small, sub="ann")
    with valkey.client() as client:
        (key,) = client.keys("latchgate:provider_sub:*:ended")
        client.set(key, b"not a time")

    assert not (await worker.sign_in(small))[2]
