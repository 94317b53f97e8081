"""Whose an enrolment is that waits for its first code: of the session or sign-in that began it, alone."""

from __future__ import annotations

import base64
import json
import re
import time

import pytest

from proxy.core.formats.native import cookie_digest
from proxy.edge.portal.apart import form_token
from tests.live.portal.test_factors import Person
from tests.live.portal.test_login import HASH, PAGE, PASSWORD, SAME_ORIGIN, put
from tests.live.portal.test_second_step import CONFIG, Visitor

SECRET = re.compile(r"<code>([A-Z2-7 ]+)</code>")


@pytest.fixture
async def begin(start_gate, valkey, tmp_path):
    put(tmp_path / "users.yaml", "ada", password=HASH)

    async def start(at_login="optional"):
        text = CONFIG.format(store=valkey.url, key="ab" * 32, at_login=at_login, login="")
        return await start_gate(text)

    return start


@pytest.fixture
def person(client):
    return lambda gate: Visitor(client, gate)


def scan(person: Person, text: str) -> str:
    """Let the person's app read the secret of a page, and return it as it stands there."""
    (shown,) = SECRET.findall(text)
    person.secret = base64.b32decode(shown.replace(" ", ""))
    return shown


async def test_s6_another_session_neither_sees_nor_confirms_an_enrolment(begin, person):
    """S6: a stolen session without a fresh factor gets nothing of what its owner sets up."""
    gate = await begin()
    ada, thief = person(gate), person(gate)
    await ada.sign_in_aged()
    await thief.sign_in_aged(age_s=3600)
    _, text = await ada.post("/_auth/otp", action="begin")
    secret = scan(ada, text)
    answer, text = await thief.post("/_auth/otp", action="confirm", code="000000")
    assert (403, [], False) == (answer.status, SECRET.findall(text), secret in text)
    answer, told = await thief.send("/_auth/otp", action="confirm", code=ada.code())
    assert (403, "factor_wrong") == (answer.status, told["code"])
    assert not await gate.runtime.own.step_up.otp.is_enrolled("ada")
    answer, _ = await ada.post("/_auth/otp", action="confirm", code=ada.code())

    assert 200 == answer.status
    assert ["pwd", "otp", "mfa"] == await ada.amr()


async def test_s6_a_secret_is_shown_again_only_while_it_could_be_begun_again(begin, person):
    """S6: six minutes after the factor a wrong code shows no secret; the right one still counts."""
    ada = person(await begin())
    await ada.sign_in_aged(age_s=360)
    otp, here = ada.gate.runtime.own.step_up.otp, cookie_digest(ada.cookies["sid"])
    begun = await otp.begin("ada", here, time.time() - 300)
    ada.secret = base64.b32decode(begun.secret)
    answer, text = await ada.post("/_auth/otp", action="confirm", code="000000")
    assert (403, 1, []) == (answer.status, text.count('name="code"'), SECRET.findall(text))
    answer, _ = await ada.post("/_auth/otp", action="confirm", code=ada.code())

    assert 200 == answer.status


async def test_s6_two_sign_ins_are_shown_two_secrets(begin, person):
    """S6, `required`: who knows the password sees nothing of the app that its owner sets up."""
    gate = await begin("required")
    ada, thief = person(gate), person(gate)
    await thief.first_step()
    await ada.first_step()
    _, text = await thief.second_page()
    old = scan(thief, text)
    _, text = await ada.second_page()
    assert old != scan(ada, text)
    answer, _ = await thief.second_step(ada.code())
    assert (401, False) == (answer.status, thief.is_signed_in), "and this one has begun its own"
    answer, text = await ada.second_step(ada.code())
    assert (401, False) == (answer.status, ada.is_signed_in), "which replaced what ada was shown"
    scan(ada, text)
    answer, _ = await ada.second_step(ada.code())

    assert (200, True) == (answer.status, ada.is_signed_in)
    answer, text = await person(gate).sign_in("ada", password=PASSWORD)
    assert (401, "otp_required") == (answer.status, json.loads(text)["code"])


@pytest.mark.parametrize(
    "said",
    [
        {"Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty"},
        {"Sec-Fetch-Mode": "no-cors"},
        {"Sec-Fetch-Mode": "same-origin"},
        {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"},
    ],
)
async def test_s6_a_script_of_the_same_origin_changes_no_factor(begin, person, said):
    """S6: neither by form nor by JSON, though a factor was given just now; the page still does."""
    ada = person(await begin())
    await ada.enrol()
    await ada.sign_in_aged(amr=("pwd", "otp", "mfa"))
    before = dict(ada.cookies)
    headers = {**PAGE, "Sec-Fetch-Site": "same-origin", **said}
    for path, fields in (
        ("/_auth/otp", {"action": "begin"}),
        ("/_auth/otp", {"action": "confirm", "code": "000000"}),
        ("/_auth/otp", {"action": "renew"}),
        ("/_auth/otp", {"action": "remove"}),
        ("/_auth/step-up", {"code": ada.code()}),
    ):
        for body in ({"data": fields}, {"json": fields}):
            answer, text = await ada.ask("POST", path, headers=headers, **body)
            assert (403, False) == (answer.status, "factor_wrong" in text)
    assert before == ada.cookies
    answer, _ = await ada.post("/_auth/otp", action="remove")

    assert 200 == answer.status
    assert not await ada.gate.runtime.own.step_up.otp.is_enrolled("ada")


@pytest.mark.parametrize("csrf", ["", "0" * 64, "é"])
async def test_s6_a_form_that_is_not_of_the_page_changes_no_factor(begin, person, csrf):
    """S6: a script may send a form in the page's place, but does not know what the page says."""
    ada = person(await begin())
    await ada.enrol()
    await ada.sign_in_aged(amr=("pwd", "otp", "mfa"))
    for action in ("begin", "confirm", "renew", "remove"):
        answer, text = await ada.post("/_auth/otp", action=action, csrf=csrf)
        assert (403, True) == (answer.status, "form_stale" in text)
    answer, text = await ada.load("/_auth/otp")

    assert "same-origin" == answer.headers["Cross-Origin-Opener-Policy"]
    assert 3 == text.count(f'value="{form_token(ada.cookies["sid"])}"')
    assert await ada.gate.runtime.own.step_up.otp.is_enrolled("ada")


async def test_s6_a_script_of_the_same_origin_reads_and_sends_no_second_page(begin, person):
    """S6, `required`: the page that shows a secret is for who looks at it, and so is its form."""
    ada = person(await begin("required"))
    await ada.first_step()
    _, text = await ada.second_page()
    secret = scan(ada, text)
    script = {**SAME_ORIGIN, "Sec-Fetch-Mode": "cors"}
    answer, text = await ada.ask("GET", "/_auth/login/code", headers=script)
    assert (403, False) == (answer.status, secret in text)
    data = {**ada.hidden, "code": ada.code()}
    answer, _ = await ada.ask("POST", "/_auth/login/code", headers=script, data=data)
    assert (403, False) == (answer.status, ada.is_signed_in)
    answer, _ = await ada.second_step(ada.code())

    assert (200, True) == (answer.status, ada.is_signed_in)
