"""Login with a provider: away and back, once, in one browser, with a provider that lies."""

from __future__ import annotations

import asyncio
import re
import time

import pytest

from proxy.adapters.secrets import SecretBox
from proxy.adapters.tasks import spawn
from proxy.core.oidc import CallbackInvalid
from proxy.errors import (
    LoginBusy,
    LoginUnknown,
    ProviderInvalid,
    ProviderRefused,
    ProviderUnavailable,
)
from proxy.services import exchanges, oidc_login
from proxy.services.exchanges import TooManyExchanges
from tests import token_workshop as workshop
from tests.small_provider import CLIENT_ID, CLIENT_SECRET
from tests.unit.services.oidc_bench import Browser, query_of


@pytest.fixture
def browser():
    """Give a browser without cookies."""
    return Browser()


async def test_a_login_goes_away_and_comes_back(worker, small, browser):
    """Who it is, where they wanted to go, and what came with it; nothing is left in the browser."""
    finished = await worker.finish(browser, small.enter(await worker.begin(browser)))
    signed_in = finished.signed_in

    assert ("ann", "ann@example.com") == (signed_in.person.subject, signed_in.person.email)
    assert ("/orders", "sid-1") == (finished.next, signed_in.sid)
    assert {} == browser.jar
    assert "corp" == finished.tokens.provider


async def test_what_leaves_is_bound_and_secret(worker, browser):
    """The provider sees challenge, state and nonce; the verifier and the target are sealed."""
    location = await worker.begin(browser, "/secret-target")
    query = query_of(location)
    (name,), (value,) = browser.jar.keys(), browser.jar.values()

    assert re.fullmatch(r"__Host-latchgate-login-[0-4]", name)
    assert "secret-target" not in location + value
    assert query["state"] not in value
    assert "S256" == query["code_challenge_method"]


async def test_the_right_credentials_go_to_the_token_endpoint(worker, start_worker, small, browser):
    """By Basic where the provider takes it, else in the form; a public client sends its name."""
    await worker.finish(browser, small.enter(await worker.begin(browser)))
    grant, authorization, form = small.asked[-1]
    assert ("authorization_code", True) == (grant, authorization.startswith("Basic "))
    assert "client_secret" not in form

    small.metadata = {"token_endpoint_auth_methods_supported": ["client_secret_post"]}
    by_form = start_worker()
    await by_form.finish(browser, small.enter(await by_form.begin(browser)))
    _, authorization, form = small.asked[-1]
    assert (None, CLIENT_ID, CLIENT_SECRET) == (
        authorization,
        form["client_id"],
        form["client_secret"],
    )

    public = start_worker(client_secret=None)
    await public.finish(browser, small.enter(await public.begin(browser)))
    _, authorization, form = small.asked[-1]
    assert (None, CLIENT_ID, None) == (authorization, form["client_id"], form.get("client_secret"))


async def test_a_callback_in_another_browser_is_refused(worker, small, browser):
    """Login CSRF: whoever sends a victim their own callback logs nobody in (state)."""
    query = small.enter(await worker.begin(browser))

    for victim in (Browser(), await begun_elsewhere(worker)):
        with pytest.raises(LoginUnknown):
            await worker.finish(victim, query)
    assert [] == small.asked


async def begun_elsewhere(worker):
    """Return another browser that has begun a login of its own."""
    other = Browser()
    for _ in range(5):
        await worker.begin(other)
    return other


async def test_a_callback_counts_once(worker, start_worker, small, browser):
    """A second use is refused in every worker, though the browser still has its cookie."""
    query = small.enter(await worker.begin(browser))
    kept = dict(browser.jar)
    await worker.finish(browser, query)

    for second in (worker, start_worker()):
        browser.jar = dict(kept)
        with pytest.raises(LoginUnknown, match="finished already"):
            await second.finish(browser, query)
    assert 1 == len(small.asked)


async def test_callbacks_at_the_same_moment_count_once(worker, start_worker, small, browser):
    """Of twenty in two workers one is let through, and the provider is asked once."""
    query = small.enter(await worker.begin(browser))
    workers = [worker, start_worker()]
    tries = [
        workers[n % 2].login.finish(
            workers[n % 2].provider,
            query,
            cookies=browser.cookies(),
            is_secure=True,
            network=None,
            now=time.time(),
        )
        for n in range(20)
    ]
    results = await asyncio.gather(*tries, return_exceptions=True)

    assert 19 == sum(isinstance(result, LoginUnknown) for result in results)
    assert 1 == len(small.asked)


async def test_one_network_leaves_places_to_the_others(worker, small, monkeypatch):
    """Whoever makes up codes for a slow provider keeps nobody else out, and loses no login by it."""
    monkeypatch.setattr(oidc_login, "OF_A_NETWORK", 2)
    small.pause_s = 0.5
    eager = [Browser() for _ in range(3)]
    queries = [small.enter(await worker.begin(one)) for one in eager]
    waiting = [
        spawn(worker.finish(one, query), name="login")
        for one, query in zip(eager[:2], queries[:2], strict=True)
    ]
    async with asyncio.timeout(10):
        while len(small.asked) < 2:  # noqa: ASYNC110 - the provider only counts
            await asyncio.sleep(0.01)
    with pytest.raises(LoginBusy):
        await worker.finish(eager[2], queries[2])
    other = Browser()
    query = small.enter(await worker.begin(other))
    assert await worker.finish(other, query, network="192.0.2.0/24")

    await asyncio.gather(*waiting)
    assert await worker.finish(eager[2], queries[2])


async def test_made_up_codes_are_exchanged_so_often_only(
    worker, small, browser, monkeypatch, valkey
):
    """Anybody can begin a login and make a code up: the provider is not asked on and on in our name."""
    monkeypatch.setattr(exchanges, "MOST", 3)
    for _ in range(3):
        with pytest.raises(ProviderRefused):
            await worker.finish(browser, small.enter(await worker.begin(browser), code="made-up"))
    query = small.enter(await worker.begin(browser))
    asked = len(small.asked)
    for _ in range(3):
        with pytest.raises(TooManyExchanges):
            await worker.finish(browser, query)
    with valkey.client() as client:
        used = client.keys("*login_used*")
    other = Browser()

    assert (asked, 3) == (len(small.asked), len(used))
    there = small.enter(await worker.begin(other))
    assert await worker.finish(other, there, network="192.0.2.0/24")
    with valkey.client() as client:
        client.delete(*client.keys("*exchanges*"))  # the minute is over
    assert await worker.finish(browser, query), "the login was not used up by being refused"


async def test_a_login_that_is_finished_again_is_not_counted(worker, small, browser, monkeypatch):
    """Whoever loads the callback once more asks the provider nothing, and loses no try."""
    monkeypatch.setattr(exchanges, "MOST", 1)
    query = small.enter(await worker.begin(browser))
    cookies = dict(browser.jar)
    assert await worker.finish(browser, query)
    for _ in range(3):
        browser.jar = dict(cookies)
        with pytest.raises(LoginUnknown):
            await worker.finish(browser, query)
    assert 1 == len(small.asked)


async def test_a_refusal_of_the_provider_is_not_remembered(worker, small, browser, valkey):
    """Anybody can make one up for a login of their own: it fills no store, and the login goes on."""
    location = await worker.begin(browser)
    refused = small.enter(location, code=..., error="access_denied")
    for _ in range(3):
        with pytest.raises(ProviderRefused):
            await worker.finish(browser, refused)
    with valkey.client() as client:
        assert [] == client.keys("*login_used*")
    assert await worker.finish(browser, small.enter(location))


async def test_a_login_lives_ten_minutes(worker, small, browser):
    """After that the cookie is worth nothing, whatever the browser makes of Max-Age."""
    query = small.enter(await worker.begin(browser))

    with pytest.raises(LoginUnknown, match="too long ago"):
        await worker.finish(browser, query, now=time.time() + 601)


async def test_a_planted_or_moved_state_is_none(worker, start_worker, small, browser):
    """Sealed under another key, for another place, doubled or torn: nobody can tell whose it is."""
    query = small.enter(await worker.begin(browser))
    (name,), (value,) = browser.jar.keys(), browser.jar.values()
    foreign = start_worker(box=SecretBox([b"x" * 32]))
    with pytest.raises(LoginUnknown):
        await foreign.finish(browser, query)
    slot = int(name[-1])
    others = [
        {f"__Host-latchgate-login-{(slot + 1) % 5}": value},
        {f"latchgate-login-{slot}": value},
        {name: value[:-4]},
        {name: value + "é"},
        {name: "A" * 5000},
        {name: ""},
    ]
    for jar in others:
        browser.jar = jar
        with pytest.raises(LoginUnknown):
            await worker.finish(browser, query)
    browser.jar = {name: value, f"x; {name}": "other"}
    with pytest.raises(LoginUnknown):
        await worker.finish(browser, query)
    assert [] == small.asked


async def test_200_logins_at_once_do_not_pile_up(worker, small, browser):
    """Five cookies, and few bytes of them (field.md, oauth2-proxy #2481); the last one works."""
    empty = Browser()
    async with asyncio.TaskGroup() as group:
        for _ in range(200):
            group.create_task(worker.begin(browser))
            group.create_task(worker.begin(empty, "/" + "x" * 2000))
    location = ""
    for _ in range(20):
        location = await worker.begin(browser)

    assert 5 >= len(browser.jar)
    assert 5 >= len(empty.jar)
    assert await worker.finish(browser, small.enter(location))


async def test_a_sixth_login_takes_the_place_of_the_oldest(worker, small, browser):
    """Five tabs can log in one after the other; the one that was begun first cannot any more."""
    now = time.time()
    locations = [await worker.begin(browser, f"/{n}", now=now + n / 10) for n in range(6)]

    with pytest.raises(LoginUnknown):
        await worker.finish(browser, small.enter(locations[0]))
    for n, location in enumerate(locations[1:], start=1):
        assert f"/{n}" == (await worker.finish(browser, small.enter(location))).next


async def test_long_targets_stay_within_what_servers_take(worker, browser):
    """All cookies together have at most 6 KiB; the oldest give way."""
    for _ in range(5):
        await worker.begin(browser, "/" + "x" * 2000)

    assert 6 * 1024 >= sum(len(value) for value in browser.jar.values())
    assert browser.jar


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda p: p.id_token.update(iss="https://evil.example"), "iss"),
        (lambda p: p.id_token.update(aud="another"), "aud"),
        (lambda p: p.id_token.update(aud=[CLIENT_ID, "b"]), "azp"),
        (lambda p: p.id_token.update(azp="another"), "azp"),
        (lambda p: p.id_token.update(nonce="another"), "nonce"),
        (lambda p: p.id_token.update(nonce=...), "nonce"),
        (lambda p: p.id_token.update(exp=int(time.time()) - 60), "exp"),
        (lambda p: p.id_token.update(exp=...), "exp"),
        (lambda p: p.id_token.update(iat=int(time.time()) + 600), "iat"),
        (lambda p: p.id_token.update(sub=...), "sub"),
        (lambda p: p.id_token.update(at_hash="AAAA"), "at_hash"),
        (lambda p: p.signing.update(kind="RSA-other"), "signature"),
        (lambda p: p.signing.update(header={"kid": "unknown"}), "unknown"),
        (lambda p: p.signing.update(header={"kid": "k", "typ": "at+jwt"}), "type"),
        (
            lambda p: p.signing.update(algorithm="HS256", key=CLIENT_SECRET.encode() * 8),
            "algorithm",
        ),
        (lambda p: setattr(p, "raw_id_token", "a.b.c"), "id_token"),
        (lambda p: p.answer.update(id_token=...), "id_token"),
        (lambda p: p.answer.update(id_token=7), "id_token"),
        (lambda p: p.answer.update(access_token=...), "access_token"),
        (lambda p: p.answer.update(access_token="a\r\nb"), "access_token"),
        (lambda p: p.answer.update(access_token="a" * 40_000), "access_token"),
        (lambda p: p.answer.update(token_type="mac"), "token_type"),
    ],
)
async def test_k2_k4_what_a_provider_must_not_say_logs_nobody_in(
    worker, small, browser, spoil, why
):
    """Issuer, audience, nonce, times, signature, kind and shape, each alone."""
    spoil(small)

    with pytest.raises(ProviderInvalid, match=why):
        await worker.finish(browser, small.enter(await worker.begin(browser)))


async def test_k1_an_unsigned_id_token_logs_nobody_in(worker, small, browser):
    """`alg: none` is not offered."""
    payload = {"iss": small.issuer, "aud": CLIENT_ID, "sub": "ann", "exp": 2**33, "iat": 1}
    body = workshop.token(payload=payload).decode().split(".")[1]
    small.raw_id_token = f"{workshop.b64(b'{}')}.{body}."
    with pytest.raises(ProviderInvalid):
        await worker.finish(browser, small.enter(await worker.begin(browser)))
    head = workshop.b64(b'{"alg": "none"}')
    small.raw_id_token = f"{head}.{body}."
    with pytest.raises(ProviderInvalid, match="algorithm"):
        await worker.finish(browser, small.enter(await worker.begin(browser)))


@pytest.mark.parametrize("iss", ["https://evil.example", ...])
async def test_rfc_9207_a_callback_of_another_issuer_is_refused(worker, small, browser, iss):
    """Mix-up: the code goes to nobody when the answer is not this provider's, or does not say."""
    with pytest.raises(ProviderInvalid, match="callback"):
        await worker.finish(browser, small.enter(await worker.begin(browser), iss=iss))
    assert [] == small.asked


async def test_a_code_that_was_used_is_refused(worker, small, browser):
    """The provider says so; that is nobody's session."""
    query = small.enter(await worker.begin(browser))
    small.codes.clear()

    with pytest.raises(ProviderRefused, match="invalid_grant"):
        await worker.finish(browser, query)


async def test_a_refusal_of_the_provider_is_one(worker, small, browser):
    """`access_denied`: the person said no; a word for the log, and no line break in it."""
    query = small.enter(await worker.begin(browser), code=..., error="access_denied")

    with pytest.raises(ProviderRefused, match="access_denied"):
        await worker.finish(browser, query)


async def test_a_callback_that_is_none_uses_nothing_up(worker, small, browser):
    """Missing and doubled parameters leave the login as it is."""
    location = await worker.begin(browser)
    query = small.enter(location)

    for bad in (None, b"", b"state=x", query + b"&code=x", query + b"&state=x"):
        with pytest.raises(CallbackInvalid):
            await worker.finish(browser, bad)
    assert await worker.finish(browser, query)


async def test_the_provider_of_the_path_is_that_of_the_login(worker, start_worker, small, browser):
    """A callback cannot be carried from one provider's path to another's."""
    query = small.enter(await worker.begin(browser))
    worker.provider.name = "other"

    with pytest.raises(ProviderInvalid, match="another provider"):
        await worker.finish(browser, query)


async def test_a_provider_that_is_down_is_unavailable(worker, small, browser):
    """Before and after: nobody is refused for it."""
    query = small.enter(await worker.begin(browser))
    small.status = 503
    with pytest.raises(ProviderUnavailable):
        await worker.finish(browser, query)


async def test_metadata_is_asked_for_once(worker, start_worker, small):
    """A hundred logins at once share one answer; of a provider that is down, one failure."""
    await asyncio.gather(*(worker.begin(Browser()) for _ in range(100)))
    assert 1 == small.discoveries

    await small.stop()
    worker = start_worker()
    tries = [worker.begin(Browser()) for _ in range(100)]
    results = await asyncio.gather(*tries, return_exceptions=True)

    assert all(isinstance(result, ProviderUnavailable) for result in results)


async def test_a_fresh_login_is_checked(worker, small, browser):
    """`max_age=0`: a provider that does not ask again, or does not say when, is not believed."""
    query = small.enter(await worker.begin(browser, is_fresh=True))
    assert await worker.finish(browser, query)
    now = int(time.time())
    for auth_time in (now - 900, now + 90, 9e99, ..., "now", True):
        small.id_token["auth_time"] = auth_time
        with pytest.raises(ProviderInvalid, match="auth_time"):
            await worker.finish(browser, small.enter(await worker.begin(browser, is_fresh=True)))


async def test_userinfo_adds_what_the_token_does_not_say(start_worker, small, browser):
    """Roles from there; whose they are must agree."""
    worker = start_worker(userinfo=True)
    small.told = {"roles": ["a", "b"]}
    finished = await worker.finish(browser, small.enter(await worker.begin(browser)))
    assert ("a", "b") == finished.signed_in.person.roles

    small.told = {"sub": "eve"}
    with pytest.raises(ProviderInvalid, match="somebody else"):
        await worker.finish(browser, small.enter(await worker.begin(browser)))


async def test_k6_an_unverified_address_is_none(worker, small, browser):
    """As the provider says it, to the end of the login."""
    small.person["email_verified"] = False
    finished = await worker.finish(browser, small.enter(await worker.begin(browser)))

    assert finished.signed_in.person.email is None
    assert "email" not in finished.signed_in.person.claims


async def logout_url(worker, session, back_to):
    """Return where a session's logout leads, asked as the logout does."""
    tokens = await worker.login.vault.read(session.digest)
    return None if tokens is None else await worker.login.logout_url(tokens, back_to)


async def test_logout_leads_to_the_provider_with_its_own_token(worker, small):
    """RP-initiated logout: the hint is this session's ID token; asked once."""
    session, finished, _ = await worker.sign_in(small)

    location = await logout_url(worker, session, "https://shop.example.com/")

    assert f"{small.issuer}/end" == location.partition("?")[0]
    assert {
        "id_token_hint": finished.tokens.id_token,
        "client_id": CLIENT_ID,
        "post_logout_redirect_uri": "https://shop.example.com/",
    } == query_of(location)
    await worker.sessions.revoke(session.digest)
    assert await logout_url(worker, session, None) is None


@pytest.mark.parametrize("changed", ["client_id", "issuer"])
async def test_nobody_else_is_shown_a_sessions_tokens(worker, small, changed):
    """The name in the file may be another client's, or issuer's, by now: no hint, and no refresh."""
    session, _, _ = await worker.sign_in(small)
    provider = worker.login.providers["corp"]
    assert await logout_url(worker, session, None) is not None
    setattr(provider, changed, "https://other.example")

    assert await logout_url(worker, session, None) is None
    tokens = await worker.login.vault.read(session.digest)
    assert not tokens.are_of(provider)
    assert not tokens.are_of(None)


async def test_a_provider_without_a_logout_or_answer_keeps_nobody_in(worker, start_worker, small):
    """The session here ends all the same."""
    session, _, _ = await worker.sign_in(small)
    small.metadata = {"end_session_endpoint": ...}
    assert await logout_url(start_worker(), session, None) is None

    session, _, _ = await worker.sign_in(small)
    await small.stop()
    assert await logout_url(start_worker(), session, None) is None
