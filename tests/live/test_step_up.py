"""Ways around a fresh factor: cached verdicts, stale ones, words of others, open connections."""

from __future__ import annotations

import asyncio
import time
import uuid

import aiohttp
import jwt
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from proxy.core.binding import Binding
from proxy.services.schemes.build import open_sessions
from proxy.services.sessions import Login

SECRET = "s" * 64
ISSUER = "https://id.test"
CONFIG = """
store: {{url: "{store}", {timing}{more}}}
upstreams: {{app: {{servers: ["{app}"]}}}}
schemes:
  web: {{type: session, format: native, cookie: sid}}
  api: {{type: jwt, issuer: "{issuer}", audience: [app], algorithms: [HS256], keys: {{secret: "{secret}"}}}}
routes:
  - {{match: {{path: /plain}}, auth: [web, api], upstream: app, same_subjects: true}}
  - {{match: {{path: /mfa}}, auth: [web, api], require: {{mfa_within: 2s}}, upstream: app, same_subjects: true}}
  - {{match: {{path: /login}}, auth: [web, api], require: {{login_within: 2s}}, upstream: app, same_subjects: true}}
  - {{match: {{path: /kept}}, auth: web, require: {{mfa_within: 2s}}, upstream: app, same_subjects: true, streams: {{on_expiry: keep}}}}
  - {{match: {{path: /admin}}, auth: [web, api], require: {{roles: [admin], mfa_within: 2s}}, upstream: app, same_subjects: true}}
"""


DONE = web.AppKey("done", asyncio.Event)


async def _answer(request):
    if request.query_string != "stream":
        return web.json_response({"subject": request.headers.get("X-Auth-Subject")})
    response = web.StreamResponse()
    await response.prepare(request)
    await response.write(b"begun")
    await request.app[DONE].wait()
    return response


class Callers:
    """Somebody with a session, somebody with tokens, and a gate."""

    def __init__(self, gate, http):
        self.gate, self.http = gate, http
        config = gate.runtime.config
        self.sessions = open_sessions(config, config.schemes["web"], gate.runtime.store)
        self.counters = gate.runtime.coherence.counters

    async def cookie(self, *amr, age_s=0.0, **said):
        """Return the header of a session whose last factor is so old."""
        made = await self.sessions.create(Login("ada", amr=amr, **said), time.time() - age_s)
        return {"Cookie": f"sid={made.cookie}"}

    async def ask(self, path, headers, method="GET"):
        async with self.http.request(method, self.gate.url + path, headers=headers) as answer:
            return answer.status, await answer.json(), answer.headers

    async def statuses(self, headers, *paths):
        return [(await self.ask(path, headers))[0] for path in paths]


def token(**claims):
    """Return the header of a token that says so."""
    now = int(time.time())
    said = {"iss": ISSUER, "aud": "app", "sub": "ada", "jti": uuid.uuid4().hex, "iat": now}
    said |= {"exp": now + 3000, **claims}
    return {"Authorization": f"Bearer {jwt.encode(said, SECRET)}"}


@pytest.fixture
async def callers(start_gate, mortal_valkey):
    """Return a function that starts a gate."""
    application = web.Application()
    application[DONE] = asyncio.Event()
    application.router.add_route("*", "/{tail:.*}", _answer)
    jar = aiohttp.DummyCookieJar()
    async with TestServer(application) as app, aiohttp.ClientSession(cookie_jar=jar) as http:

        async def start(timing="timeout: 30s, max_staleness: 60s", more=""):
            text = CONFIG.format(
                store=mortal_valkey.url,
                app=f"http://127.0.0.1:{app.port}",
                issuer=ISSUER,
                secret=SECRET,
                timing=timing,
                more=more,
            )
            return Callers(await start_gate(text), http)

        yield start
        application[DONE].set()


async def test_s7_r1_no_cached_verdict_is_a_fresh_factor(callers):
    """R1, S7: the age is asked of every request: one verdict opens now, and does not a moment later."""
    them = await callers()
    mfa, password = await them.cookie("pwd", "otp", "mfa"), await them.cookie("pwd")
    paths = ("/plain", "/mfa", "/login")
    assert [200, 200, 200] == await them.statuses(mfa, *paths)
    assert [200, 403, 200] == await them.statuses(password, *paths)
    misses = them.counters.misses
    await asyncio.sleep(2.0)  # time itself is what is tested

    assert [200, 403, 403] == await them.statuses(mfa, *paths)
    assert [200, 403, 403] == await them.statuses(password, *paths)
    assert misses == them.counters.misses, "every one of them was a hit"


async def test_s7_a_foreign_token_without_a_factor_satisfies_nothing(callers):
    """S7: neither one that says nothing, nor one that says it in another way, nor from the future."""
    them = await callers()
    now = int(time.time())
    for claims, expected in (
        ({}, [403, 403]),
        ({"amr": ["mfa"]}, [403, 403]),
        ({"auth_time": now}, [403, 200]),
        ({"auth_time": str(now), "amr": "mfa"}, [403, 403]),
        ({"auth_time": now + 4000, "amr": ["mfa"]}, [403, 403]),
        ({"auth_time": now, "amr": ["pwd", "kba"]}, [403, 200]),
        ({"auth_time": now, "amr": ["pwd", "otp"]}, [200, 200]),
    ):
        assert expected == await them.statuses(token(**claims), "/mfa", "/login")


async def test_a_program_is_told_how_to_go_on(callers):
    """RFC 9470: the code in the problem, and a challenge with the age that a login may have."""
    them = await callers()
    status, problem, headers = await them.ask("/mfa", token())

    assert (403, "step_up_required") == (status, problem["code"])
    assert [
        'Bearer realm="api", error="insufficient_user_authentication", max_age="2"'
    ] == headers.getall("WWW-Authenticate")


async def test_who_may_not_pass_anyway_is_asked_for_no_factor(callers):
    """What is missing for good is said first."""
    them = await callers()
    _, problem, _ = await them.ask("/admin", await them.cookie("pwd"))

    assert "role_missing" == problem["code"]


async def test_a_session_that_moved_opens_nothing_before_a_factor_is_proved(callers):
    """`on_change: step_up`: it opens no route elsewhere, and where it was it goes on."""
    them = await callers(more="}\nlogin: {scheme: web, sessions: {bind: {on_change: step_up}}")
    moved = await them.cookie("mfa", binding=Binding("198.51.100.0/24"))
    here = await them.cookie("mfa", binding=Binding("127.0.0.0/24"))
    for _ in range(2):  # looked up, and from the verdict
        assert [403, 403, 403] == await them.statuses(moved, "/plain", "/mfa", "/kept")
        assert [200, 200, 200] == await them.statuses(here, "/plain", "/mfa", "/kept")
    _, problem, _ = await them.ask("/plain", moved)

    assert "step_up_required" == problem["code"]
    assert 2 == len([one async for one in them.sessions.listed(time.time())])


@pytest.mark.slow
async def test_r8_no_outage_is_bridged_where_two_factors_are_wanted(callers, mortal_valkey):
    """R8: `serve_cached` is for routes without `mfa_within`."""
    them = await callers("timeout: 400ms, max_staleness: 1s", ", on_outage: {serve_cached: 20s}")
    cookie = await them.cookie("mfa", age_s=-200)
    assert [200, 200, 200] == await them.statuses(cookie, "/plain", "/mfa", "/login")
    (tracked,) = them.gate.runtime.coherence.tracked.values()
    mortal_valkey.kill()
    while tracked.source.state != "lost":  # noqa: ASYNC110 - another process brings it about
        await asyncio.sleep(0.01)

    assert [200, 503, 200] == await them.statuses(cookie, "/plain", "/mfa", "/login")


@pytest.mark.slow
async def test_r7_an_open_response_ends_when_its_factor_is_too_old(callers):
    """R7: as at the end of a credential; `on_expiry: keep` lets it go on."""
    them = await callers()
    them.gate.runtime.vigil.after_s = 0.1
    headers = await them.cookie("mfa")
    url = them.gate.url
    async with (
        them.http.get(f"{url}/kept?stream", headers=headers) as kept,
        them.http.get(f"{url}/mfa?stream", headers=headers) as ended,
    ):
        async with asyncio.timeout(10):
            with pytest.raises(aiohttp.ClientPayloadError):
                await ended.content.readexactly(6)
        counters = them.gate.runtime.coherence.streams

        assert (1, 0) == (counters.ended_expired, counters.ended_revoked)
        assert not kept.content.at_eof()
        assert kept.content.exception() is None
        ended.close()
        kept.close()
