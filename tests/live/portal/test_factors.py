"""Factors proved again and one-time passwords set up, through the gate: pages, forms and JSON."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import time
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from proxy.core.binding import Binding
from proxy.core.formats.native import cookie_digest
from proxy.core.otp import code_at
from proxy.edge.portal.apart import form_token
from proxy.services.attempts import TRIES
from proxy.services.sessions import Login
from tests.live.portal.test_login import HASH, PAGE, PASSWORD, SAME_ORIGIN, Browser, put

CONFIG = """
store: {{url: "{store}"}}
server: {{trusted_proxies: [127.0.0.1]}}
secrets: {{key: "{key}"}}
upstreams: {{app: {{servers: ["http://127.0.0.1:{port}"]}}}}
schemes:
  web: {{type: session, format: native}}
login: {{scheme: web, users: {{file: users.yaml}}{login}}}
routes:
  - {{match: {{path: /**}}, auth: web, upstream: app}}
  - {{match: {{path: /admin/**}}, auth: web, upstream: app, require: {{mfa_within: 15m}}}}
  - {{match: {{path: /account/**}}, auth: web, upstream: app, require: {{login_within: 8h}}}}
"""
FORM = {**PAGE, **SAME_ORIGIN}


@pytest.fixture
async def app():
    """Run an application that says yes."""

    async def answer(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nyes")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


@pytest.fixture
async def begin(start_gate, valkey, tmp_path, app):
    put(tmp_path / "users.yaml", "ada", password=HASH, email="ada@example.com")
    put(tmp_path / "users.yaml", "eve", password=HASH)

    async def start(login=""):
        text = CONFIG.format(store=valkey.url, key="ab" * 32, port=app, login=login)
        return await start_gate(text)

    return start


class Person(Browser):
    """Somebody with a browser and, in time, an app."""

    async def sign_in_aged(self, subject="ada", age_s=0.0, amr=("pwd",), **said):
        """Take a session whose factor is so old."""
        sessions = self.gate.runtime.own.login.sessions
        now = time.time()
        made = await sessions.create(Login(subject, amr=amr, auth_time=now - age_s, **said), now)
        self.cookies["sid"] = made.cookie

    async def enrol(self, subject="ada"):
        """Set the app up behind the gate's back, with a code that is long used."""
        otp = self.gate.runtime.own.step_up.otp
        then = time.time() - 300
        begun = await otp.begin(subject, "d", then)
        self.secret, self.recovery = base64.b32decode(begun.secret), begun.recovery_codes
        assert await otp.confirm(subject, "d", self.code(-300), then)

    def code(self, offset_s=0.0):
        """Return what the app shows."""
        return code_at(self.secret, time.time() + offset_s)

    async def load(self, path):
        return await self.ask("GET", path, headers=PAGE)

    async def post(self, path, **data):
        """Send a form; that of a page which no script sees has what the page says."""
        said = {"csrf": form_token(self.cookies["sid"])} if path == "/_auth/otp" else {}
        return await self.ask("POST", path, headers=FORM, data={**said, **data})

    async def send(self, path, **members):
        answer, text = await self.ask("POST", path, json=members)
        return answer, json.loads(text)

    async def is_fresh(self):
        return [(await self.ask("GET", path))[0].status for path in ("/admin/x", "/account/x")]

    async def amr(self):
        return (await self.me())[1]["amr"]


@pytest.fixture
def person(client):
    return lambda gate, **headers: Person(client, gate, **headers)


async def test_a_page_load_goes_to_the_step_up_and_comes_back(begin, person):
    """S4: with a code, to where it came from; the new session opens it."""
    ada = person(await begin())
    await ada.enrol()
    await ada.sign_in_aged(age_s=3600)
    answer, _ = await ada.load("/admin/users?page=2")
    place = answer.headers["Location"]
    assert (303, "no-store") == (answer.status, answer.headers["Cache-Control"])
    assert "/_auth/step-up?next=%2Fadmin%2Fusers%3Fpage%3D2&want=code" == place
    answer, text = await ada.load(place)
    assert 200 == answer.status
    hidden = re.search(r'name="next" value="([^"]*)"', text)[1]
    assert "ada" not in re.sub(r"<style>.*?</style>", "", text, flags=re.DOTALL)
    answer, _ = await ada.post("/_auth/step-up", code=ada.code(), next=hidden)

    assert (303, "/admin/users?page=2") == (answer.status, answer.headers["Location"])
    answer, text = await ada.load(answer.headers["Location"])
    assert (200, "yes") == (answer.status, text)
    assert ["pwd", "otp", "mfa"] == await ada.amr()


async def test_s6_an_administrator_proves_a_factor_and_comes_back(begin, person):
    """S6: the way to everybody's sessions leads by the code, and the new session is in the list."""
    root = person(await begin(", administrators: {roles: [gate-admin]}"))
    await root.enrol()
    await root.sign_in_aged(age_s=301, roles=("gate-admin",))
    answer, _ = await root.load("/_auth/admin")
    place = answer.headers["Location"]
    assert (303, "/_auth/step-up?next=%2F_auth%2Fadmin") == (answer.status, place)
    answer, text = await root.load(place)
    hidden = re.search(r'name="next" value="([^"]*)"', text)[1]
    answer, _ = await root.post("/_auth/step-up", code=root.code(), next=hidden)
    assert (303, "/_auth/admin") == (answer.status, answer.headers["Location"])
    answer, text = await root.load(f"{answer.headers['Location']}?subject=ada")

    assert (200, 1) == (answer.status, text.count(cookie_digest(root.cookies["sid"])))


async def test_s1_a_step_up_makes_a_new_id_and_ends_the_old(begin, person):
    """S1: whoever had the old cookie, and whoever planted one, has nothing."""
    gate = await begin()
    ada, thief = person(gate), person(gate)
    await ada.enrol()
    await ada.sign_in_aged()
    thief.cookies = dict(ada.cookies)
    answer, told = await ada.send("/_auth/step-up", code=ada.code(), next="/admin/x")

    assert (200, "/admin/x") == (answer.status, told["next"])
    assert thief.cookies["sid"] != ada.cookies["sid"]
    assert [200, 200] == await ada.is_fresh()
    await thief.is_signed_out()


async def test_a_password_is_enough_where_any_factor_is(begin, person):
    """Without an app: for `login_within`; it never opens what wants two factors."""
    ada = person(await begin())
    await ada.sign_in_aged(age_s=9 * 3600)
    assert [403, 403] == await ada.is_fresh()
    _, text = await ada.load("/_auth/step-up?next=/account/x")
    assert 'name="password"' in text
    assert 'value="ada" autocomplete="username" hidden' in text, (
        "a password manager knows whose it is"
    )
    answer, _ = await ada.post("/_auth/step-up", password="wrong", next="/account/x")
    assert 403 == answer.status
    answer, _ = await ada.post("/_auth/step-up", password=PASSWORD, next="/account/x")

    assert (303, "/account/x") == (answer.status, answer.headers["Location"])
    assert [403, 200] == await ada.is_fresh()


async def test_whoever_has_no_app_is_told_to_set_one_up(begin, person):
    """Where two factors are wanted a password again is not asked for: it would be in vain."""
    ada = person(await begin())
    await ada.sign_in_aged()
    answer, _ = await ada.load("/admin/x")
    _, text = await ada.load(answer.headers["Location"])

    assert 'name="password"' not in text
    assert 'href="/_auth/otp?next=/admin/x"' in text


async def test_s8_a_password_is_no_way_around_the_code(begin, person):
    """S8: not by form, not by JSON, not both at once."""
    ada = person(await begin())
    await ada.enrol()
    await ada.sign_in_aged()
    answer, _ = await ada.post("/_auth/step-up", password=PASSWORD)
    assert 403 == answer.status
    answer, told = await ada.send("/_auth/step-up", password=PASSWORD)
    assert (403, "factor_wrong") == (answer.status, told["code"])
    answer, told = await ada.send("/_auth/step-up", password=PASSWORD, code="000000")
    assert (400, "bad_request") == (answer.status, told["code"])

    assert ["pwd"] == await ada.amr()


async def test_s8_a_code_is_taken_once_by_all_workers(begin, person):
    """S8, replay: what was seen over a shoulder is worth nothing, through whichever worker."""
    gates = [await begin(), await begin()]
    ada, eve = person(gates[0]), person(gates[1])
    await ada.enrol()
    await ada.sign_in_aged()
    eve.secret = ada.secret
    await eve.sign_in_aged()  # another session of ada, in a thief's hands
    code = ada.code()
    answer, _ = await ada.send("/_auth/step-up", code=code)
    assert 200 == answer.status
    answer, told = await eve.send("/_auth/step-up", code=code)

    assert (403, "factor_wrong") == (answer.status, told["code"])
    assert ["pwd"] == await eve.amr()


async def test_s8_a_recovery_code_is_taken_once(begin, person):
    """S8: it counts like a code of the app, and never again."""
    ada = person(await begin())
    await ada.enrol()
    await ada.sign_in_aged()
    answer, _ = await ada.post("/_auth/step-up", code=ada.recovery[0].upper(), next="/admin/x")
    assert 303 == answer.status
    assert [200, 200] == await ada.is_fresh()
    answer, _ = await ada.post("/_auth/step-up", code=ada.recovery[0])
    assert 403 == answer.status


async def test_s8_somebody_elses_code_proves_nothing(begin, person):
    """S8: eve's app is not ada's, though both are good."""
    gate = await begin()
    ada, eve = person(gate), person(gate)
    await ada.enrol("ada")
    await eve.enrol("eve")
    await ada.sign_in_aged("ada")
    answer, _ = await ada.send("/_auth/step-up", code=eve.code())

    assert 403 == answer.status


async def test_s8_parallel_guesses_through_two_workers_are_counted_together(begin, person):
    """S8: forty at once have as many tries as one after the other; the right one comes too late."""
    gates = [await begin(), await begin()]
    ada = person(gates[0])
    await ada.enrol()
    await ada.sign_in_aged()
    others = [person(gates[number % 2]) for number in range(40)]
    for other in others:
        other.cookies = dict(ada.cookies)
    answers = await asyncio.gather(
        *(other.send("/_auth/step-up", code="no code") for other in others)
    )
    statuses = [answer.status for answer, _ in answers]
    answer, _ = await ada.send("/_auth/step-up", code=ada.code())

    assert (TRIES, 40 - TRIES) == (statuses.count(403), statuses.count(429))
    assert 429 == answer.status
    assert int(answer.headers["Retry-After"]) > 1
    answer, text = await ada.post("/_auth/step-up", code=ada.code())
    assert (429, 1) == (answer.status, text.count('class="error"'))


async def test_s7_a_cached_verdict_does_not_open_before_the_step_up_or_after_its_time(
    begin, person
):
    """S7: the verdict of the old session says what it said, hit after hit."""
    ada = person(await begin())
    await ada.sign_in_aged()
    assert [403, 200] * 3 == [status for _ in range(3) for status in await ada.is_fresh()]
    hits = ada.gate.runtime.coherence.counters.hits
    assert hits >= 5


@pytest.mark.parametrize(
    "wanted",
    ["//evil.example", "https://evil.example/", "/\\evil.example", "/_auth/login", "javascript:1"],
)
async def test_s4_the_step_up_leads_nowhere_else(begin, person, wanted):
    """S4: open redirect; what could lead elsewhere leads to the start page."""
    ada = person(await begin())
    await ada.enrol()
    await ada.sign_in_aged()
    _, text = await ada.ask("GET", "/_auth/step-up", headers=PAGE, params={"next": wanted})
    assert 'name="next" value="/"' in text
    answer, _ = await ada.post("/_auth/step-up", code=ada.code(), next=wanted)

    assert (303, "/") == (answer.status, answer.headers["Location"])


async def test_s3_another_site_steps_nobody_up(begin, person):
    """S3: a form of another site changes nothing, whatever it sends."""
    ada = person(await begin())
    await ada.sign_in_aged()
    for path, data in (
        ("/_auth/step-up", {"password": PASSWORD}),
        ("/_auth/otp", {"action": "begin"}),
    ):
        headers = {**PAGE, "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
        answer, _ = await ada.ask("POST", path, headers=headers, data=data)
        assert 403 == answer.status


async def test_s5_no_factor_travels_in_the_clear(begin, person):
    """S5: as at the sign-in."""
    ada = person(await begin(), **{"X-Forwarded-Host": "shop.example.com"})
    await ada.enrol()
    await ada.sign_in_aged()
    for path in ("/_auth/step-up", "/_auth/otp"):
        answer, told = await ada.send(path, code=ada.code())
        assert (400, "insecure_origin") == (answer.status, told["code"])


async def test_without_a_session_there_is_nothing_to_prove(begin, person):
    """A page load goes to the sign-in, which is a factor itself; programs get 401."""
    nobody = person(await begin())
    answer, _ = await nobody.load("/_auth/step-up?next=/admin/x")
    assert (303, "/_auth/login?next=%2Fadmin%2Fx") == (answer.status, answer.headers["Location"])
    for path, back in (
        ("/_auth/otp", "/_auth/otp"),
        ("/_auth/otp?next=/admin/x", "/_auth/otp?next=%2Fadmin%2Fx"),
        ("/_auth/otp?next=//evil.test", "/_auth/otp"),
    ):
        answer, _ = await nobody.load(path)
        where = urlsplit(answer.headers["Location"])
        assert ("/_auth/login", {"next": [back]}) == (where.path, parse_qs(where.query))
    for path in ("/_auth/step-up", "/_auth/otp"):
        answer, told = await nobody.send(path, code="1", action="begin")
        assert (401, "credential_missing") == (answer.status, told["code"])


async def test_a_session_that_moved_proves_a_factor_and_goes_on(begin, person):
    """`on_change: step_up`: the page load goes to the step-up; then it is bound to the new place."""
    gate = await begin(", sessions: {bind: {on_change: step_up}}")
    ada = person(gate)
    await ada.enrol()
    await ada.sign_in_aged(binding=Binding("198.51.100.0/24"))
    answer, told = await ada.ask("GET", "/account/x")
    assert 403 == answer.status
    answer, _ = await ada.load("/page")
    assert "/_auth/step-up?next=%2Fpage" == answer.headers["Location"]
    answer, _ = await ada.load("/_auth/sessions")
    assert "/_auth/step-up?next=%2F_auth%2Fsessions" == answer.headers["Location"]
    answer, told = await ada.send("/_auth/otp", action="begin")
    assert (403, "step_up_required") == (answer.status, told["code"])
    answer, _ = await ada.post("/_auth/step-up", code=ada.code(), next="/page")

    assert (303, "/page") == (answer.status, answer.headers["Location"])
    assert [200, 200] == await ada.is_fresh()


async def test_a_session_that_moved_tells_nobody_whose_it_is(begin, person):
    """Whoever asks there may have stolen its cookie."""
    ada = person(await begin(", sessions: {bind: {on_change: step_up}}"))
    await ada.sign_in_aged(binding=Binding("198.51.100.0/24"))
    _, text = await ada.load("/_auth/step-up")

    assert 'name="password"' in text
    assert "ada" not in re.sub(r"<style>.*?</style>", "", text, flags=re.DOTALL)


async def test_a_session_that_moved_and_ended_proves_nothing(begin, person):
    """`on_change: end`: the step-up is no way around it, not even as the first request there."""
    ada = person(await begin())
    await ada.enrol()
    await ada.sign_in_aged(binding=Binding("198.51.100.0/24"))
    answer, told = await ada.send("/_auth/step-up", code=ada.code())

    assert (401, "session_moved") == (answer.status, told["code"])


# Setting up


async def test_an_app_is_set_up_on_pages_alone(begin, person):
    """Begin, scan, confirm; recovery codes are shown once, and the session has two factors then."""
    ada = person(await begin())
    await ada.sign_in_aged()
    _, text = await ada.load("/_auth/otp")
    assert "Set up an app" in text
    answer, text = await ada.post("/_auth/otp", action="begin", next="/admin/x")
    picture = re.search(r'<img class="qr" src="(data:image/svg[^"]+)"', text)[1]
    secret = re.search(r"<code>([A-Z2-7 ]+)</code>", text)[1].replace(" ", "")
    ada.secret = base64.b32decode(secret)
    assert (200, "no-store") == (answer.status, answer.headers["Cache-Control"])
    assert "img-src data:" in answer.headers["Content-Security-Policy"]
    assert unquote(picture).startswith("data:image/svg+xml")
    assert secret not in unquote(picture)
    answer, text = await ada.post("/_auth/otp", action="confirm", code="000000")
    assert 403 == answer.status
    assert secret == re.search(r"<code>([A-Z2-7 ]+)</code>", text)[1].replace(" ", "")
    answer, text = await ada.post("/_auth/otp", action="confirm", code=ada.code(), next="/admin/x")
    codes = re.findall(r"<code>([a-z2-7-]{19})</code>", text)

    assert (200, 10) == (answer.status, len(set(codes)))
    assert 'href="/admin/x"' in text
    assert [200, 200] == await ada.is_fresh()
    _, text = await ada.load("/_auth/otp")
    assert "Recovery codes left: 10" in text
    assert codes[0] not in text
    answer, _ = await ada.send("/_auth/step-up", code=codes[0])
    assert 200 == answer.status


async def test_an_app_is_set_up_by_json(begin, person):
    """A program is told address, secret and recovery codes, once."""
    ada = person(await begin())
    await ada.sign_in_aged(email="ada@example.com")
    answer, begun = await ada.send("/_auth/otp", action="begin")
    asked = urlsplit(begun["uri"])
    assert {"secret": [begun["secret"]], "issuer": ["Latchgate"]} == parse_qs(asked.query)
    assert "/Latchgate:ada%40example.com" == asked.path
    assert 10 == len(begun["recovery_codes"])
    ada.secret = base64.b32decode(begun["secret"])
    answer, told = await ada.send("/_auth/otp", action="confirm", code=ada.code())

    assert (200, {"enrolled": True, "recovery_left": 10}) == (answer.status, told)
    answer, told = await ada.send("/_auth/otp", action="renew")
    assert 10 == len(set(told["recovery_codes"]) - set(begun["recovery_codes"]))
    answer, told = await ada.send("/_auth/otp", action="remove")
    assert {"enrolled": False, "recovery_left": None} == told
    answer, told = await ada.send("/_auth/otp", action="nonsense")
    assert 400 == answer.status


@pytest.mark.parametrize("action", ["begin", "renew", "remove"])
async def test_s6_nothing_is_changed_without_a_factor_of_five_minutes(begin, person, action):
    """S6: by JSON it is 403, by a form the way to prove one; where a code is enrolled it takes that."""
    ada = person(await begin())
    await ada.sign_in_aged(age_s=301)
    answer, told = await ada.send("/_auth/otp", action=action)
    assert (403, "step_up_required") == (answer.status, told["code"])
    answer, _ = await ada.post("/_auth/otp", action=action, next="/admin/x")
    assert answer.headers["Location"].startswith("/_auth/step-up?next=%2F_auth%2Fotp")
    answer, text = await ada.load(answer.headers["Location"])
    assert "/_auth/otp?next=%2Fadmin%2Fx" in text
    await ada.enrol()
    for amr, age_s in ((("pwd",), 0), (("pwd", "otp", "mfa"), 301)):
        await ada.sign_in_aged(age_s=age_s, amr=amr)
        answer, told = await ada.send("/_auth/otp", action=action)
        assert (403, "step_up_required") == (answer.status, told["code"])
    await ada.sign_in_aged(age_s=200, amr=("pwd", "otp", "mfa"))
    answer, _ = await ada.send("/_auth/otp", action=action)
    assert 200 == answer.status


async def test_what_was_begun_in_time_is_confirmed_in_time(begin, person):
    """Installing an app may take longer than five minutes; what was begun counts for ten."""
    ada = person(await begin())
    await ada.sign_in_aged(age_s=500)
    otp, here = ada.gate.runtime.own.step_up.otp, cookie_digest(ada.cookies["sid"])
    begun = await otp.begin("ada", here, time.time() - 400)
    ada.secret = base64.b32decode(begun.secret)
    answer, _ = await ada.post("/_auth/otp", action="confirm", code=ada.code())

    assert 200 == answer.status
    assert [200, 200] == await ada.is_fresh()


async def test_what_took_too_long_is_begun_again(begin, person):
    """The page says so, and what was set up before still stands there."""
    ada = person(await begin())
    await ada.sign_in_aged()
    answer, text = await ada.post("/_auth/otp", action="confirm", code="000000")
    assert (403, 1) == (answer.status, text.count('class="error"'))
    assert "Set up an app" in text
    await ada.enrol()
    await ada.sign_in_aged(amr=("pwd", "otp", "mfa"))
    _, text = await ada.post("/_auth/otp", action="confirm", code="000000")
    assert "Recovery codes left: 10" in text


async def test_without_an_app_there_are_no_recovery_codes_to_renew(begin, person):
    """400, and nothing is made."""
    ada = person(await begin())
    await ada.sign_in_aged()
    answer, told = await ada.send("/_auth/otp", action="renew")

    assert (400, "bad_request") == (answer.status, told["code"])


async def test_a_program_asks_what_can_be_proved(begin, person):
    """A password, and a code once an app is set up."""
    ada = person(await begin())
    await ada.sign_in_aged()
    _, text = await ada.ask("GET", "/_auth/step-up")
    assert {"factors": ["password"]} == json.loads(text)
    await ada.enrol()
    _, text = await ada.ask("GET", "/_auth/step-up")
    assert {"factors": ["code"]} == json.loads(text)


async def test_r6_a_session_that_ends_meanwhile_gets_no_successor(begin, person):
    """R6: of four step-ups at once one succeeds; the others are told that their session is over."""
    ada = person(await begin())
    await ada.enrol()
    await ada.sign_in_aged()
    others = [person(ada.gate) for _ in range(4)]
    for other in others:
        other.cookies = dict(ada.cookies)
    answers = await asyncio.gather(
        *(
            other.send("/_auth/step-up", code=code)
            for other, code in zip(others, ada.recovery, strict=False)
        )
    )

    assert [200, 401, 401, 401] == sorted(answer.status for answer, _ in answers)
    assert {"session_unknown"} == {told["code"] for answer, told in answers if answer.status == 401}


async def test_s8_guesses_at_an_enrolment_are_counted(begin, person):
    """S8: its first code is a code as any other."""
    ada = person(await begin())
    await ada.sign_in_aged()
    await ada.send("/_auth/otp", action="begin")
    statuses = [
        (await ada.send("/_auth/otp", action="confirm", code="0"))[0].status
        for _ in range(TRIES + 1)
    ]

    assert [403] * TRIES + [429] == statuses


async def test_s10_a_planted_one_time_password_opens_nothing(begin, person, valkey):
    """S10: eve's record in ada's place is none; ada is still asked for a code."""
    gate = await begin()
    ada, eve = person(gate), person(gate)
    await ada.enrol("ada")
    await eve.enrol("eve")
    otp = gate.runtime.own.step_up.otp
    with valkey.client() as store:
        store.set(otp.record_key("ada"), store.get(otp.record_key("eve")))
    await ada.sign_in_aged()
    for given in ({"code": eve.code()}, {"code": eve.recovery[0]}, {"password": PASSWORD}):
        answer, _ = await ada.send("/_auth/step-up", **given)
        assert 403 == answer.status


async def test_no_secret_is_logged(begin, person, caplog):
    """Neither secret nor code nor cookie is in a log line."""
    caplog.set_level(0)
    ada = person(await begin())
    await ada.sign_in_aged()
    _, begun = await ada.send("/_auth/otp", action="begin")
    ada.secret = base64.b32decode(begun["secret"])
    code = ada.code()
    await ada.send("/_auth/otp", action="confirm", code=code)
    said = caplog.text + repr(ada.gate.records)

    assert begun["secret"] not in said
    assert code not in said
    assert ada.cookies["sid"] not in said
    assert cookie_digest(ada.cookies["sid"]) not in said


@pytest.mark.parametrize("language", ["en", "ko"])
async def test_pages_speak_both_languages(begin, person, language):
    """By the choice that was made, and every field has its label."""
    ada = person(await begin())
    await ada.enrol()
    await ada.sign_in_aged()
    for path in ("/_auth/step-up", "/_auth/otp"):
        answer, text = await ada.load(f"{path}?lang={language}")
        assert language == answer.headers["Content-Language"]
        assert f'<html lang="{language}">' in text
        fields = set(re.findall(r'<input id="(\w+)"', text))
        assert fields <= set(re.findall(r'<label for="(\w+)"', text))


async def test_s7_an_app_alone_is_one_factor(begin, person):
    """S7: whom an operator vouched for, and who sets up an app, has not proved two; the page says so."""
    ada = person(await begin())
    await ada.sign_in_aged(amr=())
    here = cookie_digest(ada.cookies["sid"])
    begun = await ada.gate.runtime.own.step_up.otp.begin("ada", here, time.time())
    ada.secret = base64.b32decode(begun.secret)
    answer, _ = await ada.post("/_auth/otp", action="confirm", code=ada.code())
    assert 200 == answer.status
    assert ["otp"] == await ada.amr()
    answer, _ = await ada.load("/admin/users")
    assert 303 == answer.status
    answer, text = await ada.load(answer.headers["Location"])

    assert (200, True, False) == (
        answer.status,
        "This part wants a second factor beside the code" in text,
        'name="code"' in text,
    )
    assert "want=code" in text
    assert "/_auth/login?next=%2Fadmin%2Fusers" in text.replace("/admin/users", "%2Fadmin%2Fusers")
    answer, told = await ada.send("/_auth/otp", action="renew")
    assert (200, 10) == (answer.status, len(told["recovery_codes"]))
