"""A one-time code over an application's session, through a gate: asked, kept beside it, and ways around it."""

from __future__ import annotations

import asyncio
import base64
import json
import time

import aiohttp
import pytest

from proxy.core.session_factors import person_of
from proxy.services.attempts import TRIES
from tests.live.foreign_people import CONFIG, FACTOR, FORM, ONE, PAGE, SECRET, TWO, Person, write


@pytest.fixture
async def seen():
    """Run an application that says yes; return its port and the heads that it was sent."""
    heads = []

    async def answer(reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        heads.append(head)
        if b" /pay/stream " in head:
            writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nbegun")
            await reader.read()
        else:
            forged = b"Set-Cookie: %b=x\r\n" % FACTOR.encode()
            said = b"Content-Length: 3\r\nConnection: close\r\n\r\nyes"
            writer.write(b"HTTP/1.1 200 OK\r\n" + forged + said)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1], heads


@pytest.fixture
def apps(valkey):
    with valkey.client() as client:
        yield client


@pytest.fixture
async def begin(start_gate, valkey, seen):
    async def start(store=valkey.url, more=""):
        own, apps = f'url: "{store}"{more}', valkey.url
        return await start_gate(
            CONFIG.format(own=own, apps=apps, key="ab" * 32, port=seen[0], secret=SECRET)
        )

    return start


@pytest.fixture
async def gate(begin):
    return await begin()


@pytest.fixture
async def http():
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:
        yield session


@pytest.fixture
async def ada(gate, http, apps):
    write(apps, ONE, "ada")
    person = Person(gate, http, ONE)
    await person.enrol()
    return person


async def test_a_page_load_goes_to_the_step_up_and_comes_back(ada, seen):
    """S4: with a code, to where it came from; the application sees neither code nor cookie of it."""
    answer, _ = await ada.ask("GET", "/pay/now?a=1", PAGE)
    place = answer.headers["Location"]
    assert (303, "/_auth/step-up/shop?next=%2Fpay%2Fnow%3Fa%3D1") == (answer.status, place)
    answer, text = await ada.ask("GET", place, PAGE)
    assert 200 == answer.status
    assert 'value="/pay/now?a=1"' in text
    sent = {"code": ada.code(), "next": "/pay/now?a=1"}
    answer, _ = await ada.ask("POST", "/_auth/step-up/shop", FORM, data=sent)
    assert (303, "/pay/now?a=1") == (answer.status, answer.headers["Location"])
    kept = answer.headers["Set-Cookie"]
    assert all(word in kept for word in ("HttpOnly", "SameSite=Lax", "Max-Age=900", "Path=/"))
    answer, text = await ada.ask("GET", "/pay/now?a=1", PAGE)
    assert (200, "yes") == (answer.status, text)
    assert b"connect.sid=" in seen[1][-1]
    assert FACTOR.encode() not in seen[1][-1]


async def test_a_program_proves_a_code_and_is_told(ada):
    """RFC 9470, R1: 403 until then; after it both verdicts are cached, and the factor's route alone says so."""
    answer, text = await ada.ask("GET", "/pay/now")
    assert (403, "step_up_required") == (answer.status, json.loads(text)["code"])
    _, text = await ada.ask("GET", "/_auth/step-up/shop")
    assert {"factors": ["code"]} == json.loads(text)
    status, told = await ada.prove(ada.code(), next="/pay/now")
    assert (200, "/pay/now") == (status, told["next"])
    assert 899 <= told["expires_at"] - time.time() + 1 <= 901
    assert [200, 200] == await ada.statuses("/pay/now", "/home")
    misses = ada.gate.runtime.coherence.counters.misses
    assert [200, 200, 200] == await ada.statuses("/pay/now", "/pay/now", "/home")
    assert misses == ada.gate.runtime.coherence.counters.misses


async def test_s1_a_copy_of_the_sessions_cookie_has_no_factor(ada, gate, http):
    """S1: whoever has the application's cookie alone, or makes the other one up, has proved nothing."""
    await ada.prove(ada.code())
    thief = Person(gate, http, ONE)
    assert [200, 403] == await thief.statuses("/home", "/pay/now")
    for made_up in ("x", "A" * 43, ""):
        thief.cookies[FACTOR] = made_up
        assert [403] == await thief.statuses("/pay/now")
    assert [200] == await ada.statuses("/pay/now")


async def test_k6_a_factor_counts_for_its_session_and_person_alone(ada, gate, http, apps):
    """K6: not for another session of the same person, nor for whom the application names there now."""
    await ada.prove(ada.code())
    write(apps, TWO, "ada")
    other = Person(gate, http, TWO)
    other.cookies[FACTOR] = ada.cookies[FACTOR]
    assert [200, 403] == await other.statuses("/home", "/pay/now")
    write(apps, ONE, "eve")
    await until(ada, "/pay/now", 403)
    assert [200] == await ada.statuses("/home")


async def until(person, path, status):
    """Ask until the gate has heard of what was written."""
    async with asyncio.timeout(5):
        while [status] != await person.statuses(path):
            pass


async def test_k6_a_factor_of_one_application_is_none_of_another(ada, gate, http, apps):
    """K6: under the same id and name; nor is the app that was set up for one asked by another."""
    await ada.prove(ada.code())
    write(apps, ONE, "ada", prefix="desk:")
    desk = Person(gate, http, ONE, name="desk.sid")
    desk.cookies["latchgate-factor-desk"] = ada.cookies[FACTOR]
    desk.cookies[FACTOR] = ada.cookies[FACTOR]
    assert [403] == await desk.statuses("/desk/x")
    since = (await ada.otp.state(person_of("shop", "ada"))).since
    await desk.enrol(scheme="desk", at=since)
    desk.cookies["latchgate-factor-desk"] = ada.cookies[FACTOR]
    assert [403] == await desk.statuses("/desk/x")
    await ada.otp.remove(person_of("desk", "ada"))
    status, told = await desk.prove(ada.code(1), scheme="desk")
    assert (403, "factor_wrong") == (status, told["code"])
    _, text = await desk.ask("GET", "/_auth/step-up/desk")
    assert {"factors": []} == json.loads(text)


async def test_k6_an_app_of_the_gates_own_ada_is_not_the_applications_ada(gate, http, apps):
    """K6: one name, two people: neither's code, nor what they have guessed, counts for the other."""
    write(apps, ONE, "ada")
    ada, own = Person(gate, http, ONE), gate.runtime.own.step_up.otp
    made = await own.enrol("ada", time.time())
    ada.secret = base64.b32decode(made.secret)
    assert 403 == (await ada.prove(ada.code()))[0]
    assert await own.check("ada", ada.code(), time.time()), "it was not even looked at"
    assert await own.is_enrolled("ada")
    assert not await ada.otp.is_enrolled(person_of("shop", "ada"))


async def test_s7_a_factor_grows_old(ada):
    """S7: its age is asked of every request, by the route's own limit, whatever is cached."""
    shop = ada.gate.runtime.foreign.step_up.schemes["shop"].factors
    since = (await ada.otp.state(person_of("shop", "ada"))).since
    made = await shop.give(ONE, "ada", since=since, now=time.time() - 1.6)
    ada.cookies[FACTOR] = made.cookie
    assert [200, 200] == await ada.statuses("/pay/now", "/soon/x")
    misses = ada.gate.runtime.coherence.counters.misses
    await until(ada, "/soon/x", 403)
    assert [200] == await ada.statuses("/pay/now")
    assert misses == ada.gate.runtime.coherence.counters.misses, "every one of them was a hit"


async def test_the_store_keeps_a_factor_no_longer_than_any_route_takes_it(ada, valkey):
    """S10: sealed, without the cookie, and for as long as the longest `mfa_within`."""
    await ada.prove(ada.code())
    with valkey.client() as store:
        (key,) = store.scan_iter("*foreign:factor:*")
        assert 890_000 < store.pttl(key) <= 900_000
        kept = store.get(key)
        assert ada.cookies[FACTOR].encode() not in kept
        assert b"ada" not in kept


async def test_s10_a_planted_factor_is_none(ada, gate, http, apps, valkey):
    """S10: a factor that is moved beside another session, by whoever can write there, opens nothing."""
    await ada.prove(ada.code())
    write(apps, TWO, "ada")
    shop = gate.runtime.foreign.step_up.schemes["shop"].factors
    with valkey.client() as store:
        store.set(shop.record_key(TWO), store.get(shop.record_key(ONE)))
    other = Person(gate, http, TWO)
    other.cookies[FACTOR] = ada.cookies[FACTOR]
    assert [403] == await other.statuses("/pay/now")


async def test_s8_wrong_codes_are_counted_and_then_not_looked_at(ada):
    """S8: a right one after too many is not looked at; those at the gate's own accounts are apart."""
    answers = [await ada.prove("000000") for _ in range(TRIES)]
    assert {(403, "factor_wrong")} == {(status, told["code"]) for status, told in answers}
    answer, text = await ada.ask("POST", "/_auth/step-up/shop", json={"code": ada.code()})
    assert (429, "too_many_attempts") == (answer.status, json.loads(text)["code"])
    assert 0 < int(answer.headers["Retry-After"]) <= 900
    assert [403] == await ada.statuses("/pay/now")
    told = await ada.ask("POST", "/_auth/step-up/shop", FORM, data={"code": ada.code()})
    assert (429, 1) == (told[0].status, told[1].count('class="error"'))


async def test_s8_a_code_is_taken_once(ada, gate, http, apps):
    """S8: a code that was used, here or in another session, proves nothing; a recovery code once either."""
    code = ada.code()
    write(apps, TWO, "ada")
    other = Person(gate, http, TWO)
    answers = await asyncio.gather(ada.prove(code), other.prove(code))
    assert [200, 403] == sorted(status for status, _ in answers)
    assert [200, 403] == [(await ada.prove(ada.recovery[0]))[0] for _ in range(2)]


@pytest.mark.parametrize(
    ("headers", "kind"),
    [
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}, "another site"),
        ({"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "navigate"}, "another host of the site"),
        ({"Origin": "https://evil.test"}, "another origin"),
        ({"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors"}, "a script"),
    ],
    ids=lambda it: it if isinstance(it, str) else "",
)
async def test_s3_no_page_of_others_sends_a_code(ada, headers, kind):
    """S3, S6: neither another site nor a script of the application's proves a factor for somebody."""
    del kind
    for body in ({"data": {"code": ada.code()}}, {"json": {"code": ada.code()}}):
        answer, text = await ada.ask("POST", "/_auth/step-up/shop", headers, **body)
        assert (403, True) == (answer.status, "cross_site" in text)
    assert 200 == (await ada.prove(ada.code()))[0], "the code was not used up"


async def test_a_factor_ends_with_its_session(ada, apps):
    """An application that takes the same id for another session of the person begins without one."""
    await ada.prove(ada.code())
    assert [200] == await ada.statuses("/pay/now")
    apps.delete(f"sess:{ONE}")
    await until(ada, "/pay/now", 401)
    key = ada.gate.runtime.foreign.step_up.schemes["shop"].factors.record_key(ONE)
    async with asyncio.timeout(5):
        while apps.exists(key):  # noqa: ASYNC110 - the gate brings it about
            await asyncio.sleep(0.002)
    write(apps, ONE, "ada")
    await until(ada, "/home", 200)
    assert [403] == await ada.statuses("/pay/now")


async def test_r6_every_gate_sees_a_factor_and_its_end(ada, begin, http):
    """R6: what was proved at one opens the other, and with the app every factor is gone, at both."""
    await ada.prove(ada.code())
    there = Person(await begin(), http, ONE)
    there.cookies = ada.cookies
    assert [200] == await there.statuses("/pay/now")
    assert [200] == await ada.statuses("/pay/now")
    await ada.otp.remove(person_of("shop", "ada"))
    for person in (ada, there):
        await until(person, "/pay/now", 403)
    await ada.enrol()
    assert [403] == await ada.statuses("/pay/now"), "another app has proved nothing yet"
    assert 200 == (await ada.prove(ada.code()))[0]
    assert [200] == await there.statuses("/pay/now")


async def test_r7_an_open_connection_ends_with_the_app_that_opened_it(ada):
    """R7: a factor that is taken back closes what it has opened, though the session goes on."""
    await ada.prove(ada.code())
    ada.gate.runtime.vigil.after_s, ada.gate.runtime.vigil.check_s = 0.0, 600.0
    cookie = "; ".join(f"{name}={value}" for name, value in ada.cookies.items())
    url, said = f"{ada.gate.url}/pay/stream", {"Cookie": cookie}
    async with asyncio.timeout(10), ada.http.get(url, headers=said) as answer:
        assert b"begun" == await answer.content.readexactly(5)
        while ada.gate.runtime.coherence.streams.watched == 0:  # noqa: ASYNC110 - the gate's own look
            await asyncio.sleep(0.01)
        await ada.otp.remove(person_of("shop", "ada"))
        with pytest.raises(aiohttp.ClientPayloadError):
            await answer.content.read()
    assert [200] == await ada.statuses("/home")


async def test_r8_without_the_gates_store_nobody_passes(begin, http, apps, mortal_valkey):
    """R8: the application's store is there, the gate's is not: no factor that was known opens anything."""
    store, more = (
        mortal_valkey.url,
        ", on_outage: {serve_cached: 10m}, max_staleness: 2s, timeout: 500ms",
    )
    write(apps, ONE, "ada")
    ada = Person(await begin(store, more), http, ONE)
    await ada.enrol()
    await ada.prove(ada.code())
    assert [200] == await ada.statuses("/pay/now")
    mortal_valkey.kill()
    await until(ada, "/pay/now", 503)
    assert [200] == await ada.statuses("/home")
    assert 503 == (await ada.prove(ada.code(1)))[0]


async def test_s2_two_factors_in_one_request_are_refused(ada):
    """S2: whichever of them counts, somebody has put the other one there."""
    await ada.prove(ada.code())
    ada.cookies[f"x=1; {FACTOR}"] = "B" * 43
    answer, text = await ada.ask("GET", "/pay/now")
    assert (400, "cookie_duplicate") == (answer.status, json.loads(text)["code"])


async def test_h7_an_application_cannot_set_the_cookie(ada):
    """H7: what an application says under its name does not reach the browser, on any route."""
    await ada.prove(ada.code())
    for path in ("/home", "/pay/now"):
        answer, _ = await ada.ask("GET", path)
        assert "Set-Cookie" not in answer.headers
