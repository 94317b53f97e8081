"""Tokens of people who sign in at the gate: by password, by their session, and their ends."""

from __future__ import annotations

import asyncio
import base64
import time
from dataclasses import replace

import aiohttp
import pytest

from proxy.adapters.passwords import hash_password
from proxy.adapters.users_file import edit_users
from proxy.core.oauth import SESSION_GRANT
from proxy.core.otp import code_at
from proxy.services.attempts import TRIES, TRIES_EVERYWHERE
from proxy.services.audit import AuditTrail

PASSWORD = "correct horse"
HASH = hash_password(PASSWORD).text

CONFIG = """
store: {{url: "{store}"}}
secrets: {{key: "{key}"}}
tokens: {{issuer: https://shop.example.com, audience: shop}}
clients: {{phone: {{public: true, grants: [password, refresh_token]}}}}
upstreams: {{app: {{servers: ["http://127.0.0.1:9"]}}}}
schemes:
  web: {{type: session, format: native, cookie: sid}}
  api: {{type: jwt, keys: {{local: true}}}}
login: {{scheme: web, users: {{file: users.yaml}}}}
routes:
  - {{match: {{path: /**}}, auth: [api, web], upstream: app}}
"""


@pytest.fixture
def put(tmp_path):
    """Return what changes alice in the users' file."""

    def change(**members):
        def edit(users):
            users["alice"] = {"password": HASH, **users.get("alice", {}), **members}
            return True

        edit_users(tmp_path / "users.yaml", edit)

    change(roles=["customer"], email="alice@example.com")
    return change


@pytest.fixture
async def gate(start_gate, valkey, put):
    return await start_gate(CONFIG.format(store=valkey.url, key="ab" * 32))


@pytest.fixture
def post(gate, client):
    async def call(path="token", headers=None, **form):
        url = f"{gate.url}/_auth/{path}"
        async with client.post(url, data=form, headers=headers) as answer:
            return answer.status, await answer.json(), answer.headers

    return call


@pytest.fixture
def log_in(post):
    """Return what signs alice in by the password grant."""

    async def call(headers=None, **change):
        form = {
            "grant_type": "password",
            "client_id": "phone",
            "username": "alice",
            "password": PASSWORD,
        }
        return await post("token", headers, **(form | change))

    return call


@pytest.fixture
def opens(gate, client):
    """Return whether a token passes the gate (there is no application behind it)."""

    async def call(token):
        headers = {"Authorization": f"Bearer {token}"}
        async with client.get(f"{gate.url}/x", headers=headers) as answer:
            return answer.status == 502 or b'"upstream_down"' in await answer.read()

    return call


async def eventually(condition):
    end = time.monotonic() + 5
    while not await condition():
        assert time.monotonic() < end
        await asyncio.sleep(0.01)


async def test_s7_a_person_signs_in_by_password(post, log_in, opens):
    """S7: tokens by name and password of the users' file; the refresh token renews them."""
    status, told, _ = await log_in()
    assert 200 == status
    assert await opens(told["access_token"])
    status, renewed, _ = await post(
        grant_type="refresh_token", client_id="phone", refresh_token=told["refresh_token"]
    )

    assert 200 == status
    assert await opens(renewed["access_token"])


async def test_r6_a_disabled_person_renews_nothing(post, log_in, opens, put):
    """R6: a change of the users' file ends the refresh family and its access tokens."""
    _, told, _ = await log_in()
    put(disabled=True)

    async def is_refused():
        return not await opens(told["access_token"])

    await eventually(is_refused)
    status, answer, _ = await post(
        grant_type="refresh_token", client_id="phone", refresh_token=told["refresh_token"]
    )
    assert (400, "invalid_grant") == (status, answer["error"])
    assert (400, {"error": "invalid_grant"}) == (await log_in())[:2]


async def test_s8_guesses_by_this_way_are_counted_too(log_in):
    """S8: the account is locked for this network, whatever spelling of the name is used."""
    for number in range(TRIES):
        name = "zoë" if number % 2 else "zoe\u0308"
        assert 400 == (await log_in(username=name, password=f"guess {number}"))[0]
    status, answer, headers = await log_in(username="zoë")

    assert (429, "too_many_attempts") == (status, answer["code"])
    assert int(headers["Retry-After"]) > 60
    assert 1 == len(headers.getall("Retry-After"))


async def enrolled(gate, subject="alice"):
    """Set an app up for somebody, and return what shows its codes."""
    otp = gate.runtime.own.step_up.otp
    then = time.time() - 300
    begun = await otp.begin(subject, "digest", then)
    secret = base64.b32decode(begun.secret)
    assert await otp.confirm(subject, "digest", code_at(secret, then), then)
    return lambda after_s=0: code_at(secret, time.time() + after_s)


async def test_s8_under_attack_a_code_gets_in_after_one_wait(gate, log_in):
    """S8: guesses from many networks keep nobody out of this way who says both factors at once."""
    code = await enrolled(gate)
    attempts = gate.runtime.own.login.attempts
    for each in range(TRIES_EVERYWHERE):
        await attempts.take("alice", f"198.51.{each}.0/24", time.time())
    status, _, headers = await log_in(otp=code())
    assert (429, "1") == (status, headers["Retry-After"])

    async def is_let_in():
        status, _, headers = await log_in(otp=code())
        assert (status, headers.get("Retry-After")) in {(429, "1"), (200, None)}
        return status == 200

    await eventually(is_let_in)


async def test_s8_codes_at_a_refresh_are_guessed_at_the_same_account(gate, post, log_in, put):
    """S8: whoever's subject is not their name has no second set of tries at a refresh."""
    put(subject="u-17")
    code = await enrolled(gate, "u-17")
    status, told, _ = await log_in(otp=code())
    assert 200 == status
    service = gate.runtime.tokens
    service.rules = replace(service.rules, otp="always")
    refresh = {
        "grant_type": "refresh_token",
        "client_id": "phone",
        "refresh_token": told["refresh_token"],
    }
    for _ in range(TRIES // 2):
        assert 400 == (await log_in(password="wrong"))[0]
        assert 400 == (await post(**refresh, otp="no code"))[0]

    assert 429 == (await post(**refresh, otp=code(30)))[0]
    assert 429 == (await log_in(otp=code(30)))[0]


async def test_s7_where_codes_are_required_a_password_alone_buys_nothing(
    start_gate, valkey, client, put
):
    """S7, `at_login: required`: whoever has no app gets no tokens by this way around the sign-in."""
    config = CONFIG.replace("users.yaml}}", "users.yaml}}, otp: {{at_login: required}}")
    gate = await start_gate(config.format(store=valkey.url, key="ab" * 32))
    form = {
        "grant_type": "password",
        "client_id": "phone",
        "username": "alice",
        "password": PASSWORD,
    }

    async def log_in(**change):
        async with client.post(f"{gate.url}/_auth/token", data=form | change) as answer:
            return answer.status, await answer.json()

    for said in ({}, {"otp": "123456"}):
        expected = {"error": "invalid_grant", "error_description": "otp enrolment is required"}
        assert (400, expected) == await log_in(**said)
    assert (400, {"error": "invalid_grant"}) == await log_in(password="wrong")
    code = await enrolled(gate)

    assert 200 == (await log_in(otp=code()))[0]


async def test_s5_a_password_is_not_taken_in_the_clear(log_in):
    """S5: over plain http of another machine the grant is refused before anything is checked."""
    status, answer, _ = await log_in({"Host": "shop.example.com"})

    assert (400, "invalid_request") == (status, answer["error"])
    assert "https is required" == answer["error_description"]


async def test_s6_logging_out_ends_the_sessions_tokens(gate, client, post, opens, sign_in):
    """S6: what a page got of its session dies at logout."""
    session = await sign_in(gate)
    cookie = {"Cookie": f"sid={session.cookie}"}
    _, told, _ = await post(headers=cookie, grant_type=SESSION_GRANT)
    assert await opens(told["access_token"])
    async with client.post(f"{gate.url}/_auth/logout", headers=cookie) as answer:
        assert answer.ok

    async def is_refused():
        return not await opens(told["access_token"])

    await eventually(is_refused)


async def test_what_happens_to_tokens_is_noted(gate, post, log_in):
    """The audit trail has issue, failure, refresh, re-use and revocation, with whom and from where."""
    await log_in(password="wrong")
    _, first, _ = await log_in()
    refresh = {"grant_type": "refresh_token", "client_id": "phone"}
    _, second, _ = await post(**refresh, refresh_token=first["refresh_token"])
    await post(**refresh, refresh_token=second["refresh_token"])
    await post(**refresh, refresh_token=first["refresh_token"])
    _, other, _ = await log_in()
    await post_revoke(gate, other["refresh_token"])
    expected = ["login_failed", "token_issued", "token_refreshed", "token_refreshed"]
    expected += ["refresh_reused", "token_issued", "token_revoked"]
    trail = AuditTrail(gate.runtime.store, prefix="latchgate:")

    async def is_written():
        return len(await trail.last(20)) >= len(expected)

    await eventually(is_written)
    entries = sorted(await trail.last(20), key=lambda entry: entry.id)
    assert expected == [entry.event.kind for entry in entries]
    assert {"alice", None, ""} >= {entry.event.subject for entry in entries}
    assert {"127.0.0.1"} == {entry.event.address for entry in entries}
    assert all(entry.event.request_id for entry in entries)
    assert "lgr_" not in repr(entries)


async def test_s7_a_password_without_a_code_is_noted(gate, log_in):
    """S7: the trail tells who knows a password and comes no further by this way."""
    await enrolled(gate)
    await log_in()
    await log_in(password="wrong")
    trail = AuditTrail(gate.runtime.store, prefix="latchgate:")

    async def is_written():
        return len(await trail.last(20)) >= 2

    await eventually(is_written)
    events = [entry.event for entry in await trail.last(20)]
    assert [
        ("login_second_step", "alice", "password grant: otp_required"),
        ("login_failed", None, "password grant"),
    ] == [(event.kind, event.subject, event.detail) for event in events]


async def post_revoke(gate, token):
    async with aiohttp.ClientSession() as session:
        form = {"token": token, "client_id": "phone"}
        async with session.post(f"{gate.url}/_auth/revoke", data=form) as answer:
            assert (200, b"") == (answer.status, await answer.read())


async def test_r6_a_login_that_was_under_way_gets_nothing_after_everything_was_ended(
    gate, log_in, monkeypatch
):
    """R6: who gives a password while all of their families are ended has no family afterwards."""
    families = gate.runtime.tokens._families
    users = gate.runtime.own.login.users
    verify = users.verify

    async def slow(*arguments):
        person = await verify(*arguments)
        await families.records.revoke_subject("alice", time.time())
        return person

    monkeypatch.setattr(users, "verify", slow)
    status, told, _ = await log_in()
    monkeypatch.undo()

    assert (400, "invalid_grant") == (status, told["error"])
    assert [] == [item async for item in families.records.of_subject("alice", time.time())]
    assert 200 == (await log_in())[0]
