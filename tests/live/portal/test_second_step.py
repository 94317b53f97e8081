"""One-time codes at the sign-in: the second page, JSON, and an app that is set up there."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import time

import pytest

from proxy.adapters.passwords import hash_password
from proxy.core.formats.native import cookie_digest
from proxy.core.own_cookies import SECOND_STEP
from proxy.core.session_search import Search
from proxy.services.attempts import TRIES
from proxy.services.audit import AuditTrail
from proxy.services.second_step import LIFE_S
from tests.live.portal.test_factors import FORM, Person
from tests.live.portal.test_login import HASH, PAGE, PASSWORD, put

CONFIG = """
store: {{url: "{store}"}}
server: {{trusted_proxies: [127.0.0.1]}}
secrets: {{key: "{key}"}}
upstreams: {{app: {{servers: ["http://127.0.0.1:9"]}}}}
schemes:
  web: {{type: session, format: native}}
login: {{scheme: web, users: {{file: users.yaml}}, otp: {{at_login: {at_login}}}{login}}}
routes:
  - {{match: {{path: /**}}, auth: web, upstream: app}}
"""


class Visitor(Person):
    """Somebody who signs in by pages."""

    async def first_step(self, query="", **fields):
        """Give the password; return the answer."""
        answer, _ = await self.submit(username="ada", query=query, **fields)
        return answer

    async def second_page(self):
        """Open the second page, and remember what its form holds."""
        answer, text = await self.load("/_auth/login/code")
        self.hidden = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', text))
        return answer, text

    async def second_step(self, code, **changed):
        """Enter a code into the second page."""
        await self.second_page()
        data = {**self.hidden, "code": code, **changed}
        return await self.ask("POST", "/_auth/login/code", headers=FORM, data=data)

    @property
    def is_signed_in(self):
        return "sid" in self.cookies


@pytest.fixture
def file(tmp_path):
    file = tmp_path / "users.yaml"
    put(file, "ada", password=HASH, roles=["customer"])
    return file


@pytest.fixture
async def begin(start_gate, valkey, file):
    async def start(at_login="optional", login=""):
        text = CONFIG.format(store=valkey.url, key="ab" * 32, at_login=at_login, login=login)
        return await start_gate(text)

    return start


@pytest.fixture
def visitor(client):
    return lambda gate, **headers: Visitor(client, gate, **headers)


async def test_the_code_is_asked_on_a_second_page(begin, visitor):
    """Password, then code, then to where the person wanted to go; no password is in the page."""
    ada = visitor(await begin())
    await ada.enrol()
    answer = await ada.first_step("?next=/orders?page=2")
    assert (303, "/_auth/login/code?lang=en") == (answer.status, answer.headers["Location"])
    assert not ada.is_signed_in
    answer, text = await ada.second_page()
    assert (200, "no-store") == (answer.status, answer.headers["Cache-Control"])
    assert PASSWORD not in text
    assert ada.cookies["latchgate-step"] not in text
    answer, text = await ada.second_step("000000")
    assert (401, 1) == (answer.status, text.count('class="error"'))
    answer, _ = await ada.second_step(ada.code())

    assert (303, "/orders?page=2") == (answer.status, answer.headers["Location"])
    assert ["pwd", "otp", "mfa"] == await ada.amr()
    assert "latchgate-step" not in ada.cookies


async def test_a_second_step_beyond_the_limit_ends_the_oldest_session_and_says_so(begin, visitor):
    """`login.sessions.per_user` counts those of a code as any other, and the trail says so."""
    gate = await begin(login=", sessions: {per_user: 1}")
    first, second = visitor(gate), visitor(gate)
    await first.enrol()
    await first.first_step()
    await first.second_step(first.recovery[0])
    ended = cookie_digest(first.cookies["sid"])
    await second.first_step()
    await second.second_step(first.recovery[1])
    await gate.runtime.audit.close()
    entries = await AuditTrail(gate.runtime.store, prefix="latchgate:").last(10)
    (note,) = [entry.event for entry in entries if entry.event.kind == "session_ended"]

    assert (401, 200) == ((await first.me())[0], (await second.me())[0])
    assert ("ada", f"{ended[:8]}, by the limit of sessions") == (note.subject, note.detail)


async def test_a_recovery_code_signs_in_once(begin, visitor):
    """It does as well as the app, and never again."""
    ada = visitor(await begin())
    await ada.enrol()
    await ada.first_step()
    answer, _ = await ada.second_step(ada.recovery[3])
    assert 303 == answer.status
    ada.cookies.clear()
    await ada.first_step()
    answer, _ = await ada.second_step(ada.recovery[3])

    assert (401, False) == (answer.status, ada.is_signed_in)


async def test_s8_a_code_that_signed_in_signs_in_nobody_else(begin, visitor):
    """S8, replay: through another worker, at the same moment, and by JSON."""
    gates = [await begin(), await begin()]
    ada, thief = visitor(gates[0]), visitor(gates[1])
    await ada.enrol()
    await ada.first_step()
    await thief.first_step()
    code = ada.code()
    answers = await asyncio.gather(ada.second_step(code), thief.second_step(code))

    assert [303, 401] == sorted(answer.status for answer, _ in answers)
    assert 1 == ada.is_signed_in + thief.is_signed_in
    answer, _ = await thief.sign_in("ada", otp=code)
    assert 401 == answer.status


async def test_json_says_everything_at_once(begin, visitor):
    """A program is told that a code is wanted, and sends it beside the password."""
    ada = visitor(await begin())
    await ada.enrol()
    answer, text = await ada.sign_in("ada")
    assert (401, "otp_required") == (answer.status, json.loads(text)["code"])
    answer, text = await ada.sign_in("ada", password="wrong", otp=ada.code())
    assert (401, "login_failed") == (answer.status, json.loads(text)["code"])
    answer, _ = await ada.sign_in("ada", otp=ada.code())

    assert 200 == answer.status
    assert ["pwd", "otp", "mfa"] == await ada.amr()


async def test_s7_a_code_that_nobody_asked_for_proves_nothing(begin, visitor):
    """S7: whoever has no app cannot claim a second factor by sending any code."""
    ada = visitor(await begin())
    answer, _ = await ada.sign_in("ada", otp="123456")

    assert 200 == answer.status
    assert ["pwd"] == await ada.amr()


async def test_s8_the_password_gives_no_new_tries_at_the_code(begin, visitor):
    """S8: who knows the password guesses no more codes for it, page after page."""
    ada = visitor(await begin())
    await ada.enrol()
    statuses = []
    for _ in range(TRIES):
        answer = await ada.first_step()
        if answer.status != 303:
            statuses.append(answer.status)
            continue
        answer, _ = await ada.second_step("no code")
        statuses.append(answer.status)

    assert [401] * (TRIES // 2) + [429] * (TRIES // 2) == statuses
    answer, _ = await visitor(ada.gate).sign_in("ada", otp=ada.code())
    assert 429 == answer.status


async def test_s8_parallel_guesses_on_one_second_page_are_counted(begin, visitor):
    """S8: forty at once have no more tries than one after the other."""
    gates = [await begin(), await begin()]
    ada = visitor(gates[0])
    await ada.enrol()
    await ada.first_step()
    await ada.second_page()
    others = [visitor(gates[number % 2]) for number in range(40)]
    for other in others:
        other.cookies = dict(ada.cookies)
    data = {**ada.hidden, "code": "no code"}
    answers = await asyncio.gather(
        *(other.ask("POST", "/_auth/login/code", headers=FORM, data=data) for other in others)
    )

    assert TRIES - 1 == [answer.status for answer, _ in answers].count(401)


async def test_s3_the_second_form_belongs_to_its_browser(begin, visitor):
    """S3: neither another site, nor a form without this browser's token, goes on with a sign-in."""
    ada = visitor(await begin())
    await ada.enrol()
    await ada.first_step()
    answer, _ = await ada.second_step(ada.code(), csrf="0" * 64)
    assert (200, False) == (answer.status, ada.is_signed_in)
    data = {**ada.hidden, "code": ada.code()}
    headers = {**FORM, "Sec-Fetch-Site": "cross-site"}
    answer, _ = await ada.ask("POST", "/_auth/login/code", headers=headers, data=data)
    assert 403 == answer.status
    stranger = visitor(ada.gate)
    answer, _ = await stranger.ask("POST", "/_auth/login/code", headers=FORM, data=data)
    assert (303, False) == (answer.status, stranger.is_signed_in)
    answer, _ = await ada.second_step(ada.code())

    assert (303, True) == (answer.status, ada.is_signed_in)


async def test_s1_what_was_planted_does_not_survive(begin, visitor):
    """S1, fixation: neither a session cookie nor the name of a sign-in from before."""
    gate = await begin()
    attacker, victim = visitor(gate), visitor(gate)
    await attacker.enrol()
    victim.secret = attacker.secret
    await attacker.first_step()
    step = attacker.cookies["latchgate-step"]
    victim.cookies = {"sid": "A" * 43, "latchgate-step": step}
    await victim.first_step()
    assert step != victim.cookies["latchgate-step"]
    await victim.second_step(victim.code())

    assert "A" * 43 != victim.cookies["sid"]
    answer, _ = await attacker.second_step(victim.code())
    assert (401, False) == (answer.status, attacker.is_signed_in)


async def test_s1_one_password_makes_one_session(begin, visitor):
    """S1: of two who finish one sign-in, each with a good code, one is signed in."""
    gates = [await begin(), await begin()]
    ada, other = visitor(gates[0]), visitor(gates[1])
    await ada.enrol()
    await ada.first_step()
    other.cookies = dict(ada.cookies)
    await asyncio.gather(ada.second_step(ada.recovery[0]), other.second_step(ada.recovery[1]))
    sessions = gates[0].runtime.own.login.sessions
    live = [one async for one in sessions.listed(time.time(), Search("ada"))]

    assert (1, 1) == (ada.is_signed_in + other.is_signed_in, len(live))


@pytest.mark.parametrize("change", [{"disabled": True}, {"roles": []}, {"password": None}])
async def test_r6_a_change_between_the_steps_ends_the_sign_in(begin, visitor, file, change):
    """R6: disabled, other rights or another password: the code comes too late."""
    if "password" in change:
        change = {"password": hash_password("another one").text}
    ada = visitor(await begin())
    await ada.enrol()
    await ada.first_step()
    put(file, "ada", **change)
    answer, _ = await ada.second_step(ada.code())

    assert (401, False) == (answer.status, ada.is_signed_in)


async def test_r6_a_logout_everywhere_ends_a_sign_in_that_waits(begin, visitor):
    """R6: it had begun before."""
    gate = await begin()
    ada = visitor(gate)
    await ada.enrol()
    await ada.first_step()
    await gate.runtime.own.login.sign_out_everywhere("ada", time.time())
    answer, _ = await ada.second_step(ada.code())

    assert (401, False) == (answer.status, ada.is_signed_in)


async def test_a_sign_in_waits_for_five_minutes(begin, visitor, valkey):
    """Then it begins anew; whoever comes without one begins as well."""
    ada = visitor(await begin())
    await ada.enrol()
    await ada.first_step()
    with valkey.client() as store:
        (key,) = store.keys("latchgate:second_step:*")
        assert 0 < store.pttl(key) <= LIFE_S * 1000
        store.delete(key)
    answer, _ = await ada.load("/_auth/login/code")

    assert (303, "/_auth/login?lang=en") == (answer.status, answer.headers["Location"])


async def test_never_asks_for_no_code(begin, visitor):
    """`at_login: never`: codes are for routes that want them."""
    ada = visitor(await begin("never"))
    await ada.enrol()
    answer = await ada.first_step()

    assert (303, "/") == (answer.status, answer.headers["Location"])
    assert ["pwd"] == await ada.amr()


async def test_s8_a_password_alone_gives_no_new_tries_at_the_code(begin, visitor):
    """S8, `never`: signing in with the password wipes out no guess at the code; a code does."""
    ada = visitor(await begin("never"))
    await ada.enrol()
    thief = visitor(ada.gate)
    statuses = []
    for number in range(2 * TRIES):
        answer, _ = await thief.sign_in("ada")
        if answer.status == 200:
            answer, _ = await thief.send("/_auth/step-up", code=f"no code {number}")
        statuses.append(answer.status)

    assert [403] * TRIES + [429] * TRIES == statuses


async def test_s8_signing_in_often_uses_up_no_tries(begin, visitor):
    """S8, `never`: a right password costs its owner nothing, though it takes no guess back."""
    ada = visitor(await begin("never"))
    await ada.enrol()
    for _ in range(2 * TRIES):
        answer, _ = await ada.sign_in("ada")
        assert 200 == answer.status
    answer, _ = await ada.send("/_auth/step-up", code=ada.code())

    assert 200 == answer.status


async def test_required_lets_nobody_in_with_a_password_alone(begin, visitor):
    """`at_login: required`: who has no app sets one up then; recovery codes are shown once."""
    ada = visitor(await begin("required"))
    answer, text = await ada.sign_in("ada")
    assert (401, "otp_missing") == (answer.status, json.loads(text)["code"])
    assert not ada.is_signed_in
    await ada.first_step("?next=/orders")
    _, text = await ada.second_page()
    secret = re.search(r"<code>([A-Z2-7 ]+)</code>", text)[1].replace(" ", "")
    ada.secret = base64.b32decode(secret)
    answer, text = await ada.second_step("000000")
    assert (401, False) == (answer.status, ada.is_signed_in)
    assert secret in text.replace(" ", ""), "who mistypes scans no second code"
    answer, text = await ada.second_step(ada.code())

    assert 200 == answer.status
    assert 10 == len(set(re.findall(r"<code>([a-z2-7-]{19})</code>", text)))
    assert 'href="/orders"' in text
    assert ["pwd", "otp", "mfa"] == await ada.amr()
    ada.cookies.clear()
    await ada.first_step()
    answer, _ = await ada.second_step(ada.code(30))
    assert 303 == answer.status


async def test_what_happened_is_in_the_audit_trail(begin, visitor, valkey):
    """Set up, failed, signed in: each with whose it was, and nothing secret."""
    ada = visitor(await begin("required"))
    await ada.first_step()
    _, text = await ada.second_page()
    ada.secret = base64.b32decode(re.search(r"<code>([A-Z2-7 ]+)</code>", text)[1].replace(" ", ""))
    await ada.second_step("000000")
    code = ada.code()
    await ada.second_step(code)
    await ada.send("/_auth/step-up", code=ada.code(30))
    await ada.send("/_auth/otp", action="remove")
    async with asyncio.timeout(10):
        with valkey.client() as store:
            while len(found := store.xrange("latchgate:audit")) < 6:  # noqa: ASYNC110 - the gate writes it behind the answer
                await asyncio.sleep(0.01)
    kinds = [fields[b"kind"].decode() for _, fields in found]

    expected = ["login_second_step", "otp_failed", "login", "otp_enrolled", "step_up"]
    assert [*expected, "otp_removed"] == kinds
    assert {b"ada"} == {fields[b"subject"] for _, fields in found}
    assert code.encode() not in repr(found).encode()


async def test_s7_a_password_without_a_code_is_in_the_audit_trail(begin, visitor, valkey):
    """S7: whoever knows the password of somebody with an app leaves a trace, though they come no further."""
    ada = visitor(await begin())
    await ada.enrol()
    await ada.sign_in("ada")
    await ada.sign_in("ada", password="wrong")
    await ada.first_step()
    async with asyncio.timeout(10):
        with valkey.client() as store:
            while len(found := store.xrange("latchgate:audit")) < 3:  # noqa: ASYNC110 - the gate writes it behind the answer
                await asyncio.sleep(0.01)
    told = [(fields[b"kind"], fields[b"subject"], fields.get(b"detail")) for _, fields in found]
    waits = (b"login_second_step", b"ada", b"otp_required")

    assert [waits, (b"login_failed", b"ada", None), waits] == told


async def test_the_application_never_sees_the_waiting_sign_in(begin):
    """H6, H7: its cookie is the gate's own, in both its names."""
    gate = await begin()
    (route,) = gate.runtime.config.routes
    compiled = gate.runtime.gate._router.match("x", b"/a", "GET").payload
    kept = compiled.credentials.clean_headers(
        [(b"Cookie", f"{SECOND_STEP}=x; latchgate-step=y; theirs=z".encode())], None
    )

    assert route.name == compiled.name
    assert [(b"Cookie", b"theirs=z")] == [(name, value.strip()) for name, value in kept]


@pytest.mark.parametrize("language", ["en", "ko"])
async def test_the_second_page_speaks_both_languages(begin, visitor, language):
    """Every field has its label, and the choice of the first page stays."""
    ada = visitor(await begin())
    await ada.enrol()
    answer = await ada.first_step(lang=language)
    answer, text = await ada.load(answer.headers["Location"])

    assert language == answer.headers["Content-Language"]
    assert set(re.findall(r'<input id="(\w+)"', text)) == set(
        re.findall(r'<label for="(\w+)"', text)
    )


async def test_the_page_alone_is_nobodys(begin, visitor):
    """Without a sign-in it leads to the first page."""
    nobody = visitor(await begin())
    answer, _ = await nobody.ask("GET", "/_auth/login/code", headers=PAGE)

    assert 303 == answer.status
