"""An application's sessions with the factors beside them, on a real store."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import replace

import pytest

from proxy.adapters.secrets import SecretBox
from proxy.adapters.store import StoreAddress, open_store
from proxy.core.cookies import parse_cookies
from proxy.core.own_cookies import factor_cookie
from proxy.core.session_factors import AMR, new_token, person_of
from proxy.model import Absent, Authenticated, Peer, RequestView
from proxy.services.otp import OneTimePasswords
from proxy.services.schemes.port import Ambiguous, Carried
from proxy.services.schemes.stand_in import StandIn
from proxy.services.schemes.stepped import SteppedScheme, keys_of, stepped
from proxy.services.session_factors import SessionFactors

ID = "0123456789abcdef0123456789abcdef"
STAR = {"format": "starsessions", "identity": {"subject": "sub"}}
KEY = f"starsessions.{ID}"
PREFIX = "p:foreign:"


class Bench:
    """A scheme as a route with `mfa_within` asks it, and what factors are kept in."""

    def __init__(self, app, store):
        self.app, self.store = app, store
        box = SecretBox([b"k" * 32])
        self.otp = OneTimePasswords(store, box, prefix=PREFIX, issuer="S")
        self.factors = SessionFactors(
            ledger=app.coherence.ledger("app: factors", next(iter(app.coherence.tracked.values()))),
            store=store,
            box=box,
            otp=self.otp,
            prefix=PREFIX,
            scheme="app",
            form=app.scheme.records.form,
            longest_s=900.0,
        )
        self.scheme = stepped(replace(app.scheme, factors=self.factors))

    async def enrol(self, subject="ada", at=None):
        await self.otp.enrol(person_of("app", subject), at or time.time())
        return (await self.otp.state(person_of("app", subject))).since

    async def prove(self, subject="ada", *, since, ago_s=0.0):
        """Keep a factor; return the credential of the browser that proved it."""
        made = await self.factors.give(ID, subject, since=since, now=time.time() - ago_s)
        return self.found(made.cookie)

    def found(self, token=None):
        found = self.app.found(ID.encode())
        return found if token is None else replace(found, beside=token.encode())

    async def amr(self, found):
        outcome = await self.scheme.judge(found, time.time())
        return outcome.identity.amr


@pytest.fixture
async def bench(application, valkey):
    app = application(**STAR)
    app.store.set(KEY, json.dumps({"sub": "ada"}), ex=60)
    store = open_store(StoreAddress(socket_path=str(valkey.socket_path)), timeout_s=5)
    yield Bench(app, store)
    await store.close()


async def test_a_factor_is_part_of_what_the_session_says(bench):
    """And only with its cookie; a cached verdict says the same without I/O, and so does `stand`."""
    found = await bench.prove(since=await bench.enrol())
    assert AMR == await bench.amr(found)
    assert () == await bench.amr(bench.found())
    assert () == await bench.amr(bench.found(new_token()))
    known = bench.scheme.known(found, time.time())
    assert ("ada", AMR) == (known.identity.subject, known.identity.amr)
    assert AMR == bench.scheme.recall(found).amr
    holds, mono = bench.scheme.stand(found), bench.app.coherence.clock()
    assert holds(time.time(), mono, None)
    assert not holds(time.time() + 901, mono, None)
    assert 2 == len(keys_of(bench.scheme, found))


async def test_without_a_factor_nothing_is_promised(bench):
    """Whoever proved nothing is known, as on every route, and no lane keeps a word about them."""
    found = bench.found()
    assert isinstance(await bench.scheme.judge(found, time.time()), Authenticated)
    assert bench.scheme.recall(found) is bench.scheme.stand(found) is None
    assert bench.scheme.begin(found, 0.0) is bench.scheme.meet(found, 0.0) is None
    assert 1 == len(keys_of(bench.scheme, found))


async def test_r6_a_factor_counts_while_the_app_is_set_up_that_made_its_code(bench):
    """R6: another app of the same person, or none, has proved nothing; both are heard of at once."""
    since = await bench.enrol()
    found = await bench.prove(since=since)
    assert AMR == await bench.amr(found)
    holds = bench.scheme.stand(found)
    async with bench.app.change():
        await bench.otp.remove(person_of("app", "ada"))
    assert not holds(time.time(), bench.app.coherence.clock(), None)
    assert () == await bench.amr(found)
    async with bench.app.change():
        again = await bench.enrol()
    assert since != again
    assert () == await bench.amr(found)
    assert () == await bench.amr(await bench.prove(since=since)), "proved before it took its place"


async def test_s1_a_new_factor_takes_the_place_of_the_old_one(bench):
    """S1: a copy of the old cookie is worth nothing from then on."""
    since = await bench.enrol()
    old = await bench.prove(since=since)
    assert AMR == await bench.amr(old)
    async with bench.app.change():
        new = await bench.prove(since=since)
    assert ((), AMR) == (await bench.amr(old), await bench.amr(new))


async def test_k6_a_factor_counts_for_whom_the_application_named(bench):
    """K6: another person under the same id, who has an app as well, has proved nothing."""
    since = await bench.enrol()
    assert since == await bench.enrol("eve", at=since)
    found = await bench.prove(since=since)
    assert AMR == await bench.amr(found)
    async with bench.app.change():
        bench.app.store.set(KEY, json.dumps({"sub": "eve"}), ex=60)
    assert () == await bench.amr(found)
    assert bench.scheme.recall(found) is None


@pytest.mark.parametrize("spoilt", ["factor", "otp"])
async def test_s10_what_a_gate_has_not_sealed_for_its_place_is_none(bench, caplog, spoilt):
    """S10: neither a planted factor nor a planted app opens anything, and the log says so."""
    found = await bench.prove(since=await bench.enrol())
    key = {
        "factor": bench.factors.record_key(ID),
        "otp": bench.otp.record_key(person_of("app", "ada")),
    }[spoilt]
    await bench.store.put(key, b"planted")
    assert () == await bench.amr(found)
    assert "is not accepted" in caplog.text


async def test_a_session_that_is_over_takes_its_factor_along(bench):
    """The next session under its id begins without one, cached refusal or not."""
    found = await bench.prove(since=await bench.enrol())
    assert AMR == await bench.amr(found)
    async with bench.app.change():
        bench.app.store.delete(KEY)
    assert isinstance(await bench.app.scheme.judge(found, time.time()), Absent)
    assert bench.scheme.known(found, time.time()) is None, "so that it is judged, and forgotten"
    assert isinstance(await bench.scheme.judge(found, time.time()), Absent)
    async with asyncio.timeout(5):
        while (await bench.store.fetch([bench.factors.record_key(ID)]))[0]:  # noqa: ASYNC110 - the scheme brings it about
            await asyncio.sleep(0.002)


def carried(cookie, *, is_local=False):
    peer = Peer("192.0.2.1", 1, is_unix=False, is_tls=True)
    view = RequestView("GET", b"/", ((b"Cookie", cookie),), peer)
    return Carried(view, None, parse_cookies([cookie]), is_local=is_local)


async def test_s2_the_cookie_is_read_once_and_by_its_name_alone(bench):
    """S2, S5: two of them are refused; on http://localhost the name has no prefix, and only there."""
    token, other = new_token().encode(), new_token().encode()
    session = b"session=" + ID.encode()
    named = b"; __Host-latchgate-factor-app=" + token
    bare = b"; latchgate-factor-app=" + token
    find = bench.scheme.find
    assert token == find(carried(session + named)).beside
    assert not find(carried(session + named)).may_be_stale
    assert b"" == find(carried(session + bare)).beside
    assert token == find(carried(session + bare, is_local=True)).beside
    assert b"" == find(carried(session + named + b"x")).beside
    assert find(carried(named[2:])) is None
    with pytest.raises(Ambiguous) as twice:
        find(carried(session + named + b"; __Host-latchgate-factor-app=" + other))
    assert factor_cookie("app").name == twice.value.place.name


def test_schemes_without_factors_are_asked_as_they_are():
    """A token, or a session that no route asks a code over, stays what it is."""
    plain = StandIn("api", (), is_native=False, issuer=None, identity=None)
    assert stepped(plain) is plain
    assert not isinstance(stepped(plain), SteppedScheme)
