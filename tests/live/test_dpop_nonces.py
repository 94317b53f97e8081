"""Nonces of the gate's (RFC 9449 §8, §9): a proof that was made ahead of time opens nothing."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from tests import node_provider
from tests.live.callers import BASIC, SECRET, App, Caller
from tests.proof_maker import proof

OLD, NEW, FOREIGN = "11" * 32, "22" * 32, "33" * 32
PAGE = "https://app.example.com"

CONFIG = """
store: {{url: "{store}", timeout: 5s}}
secrets: {{key: {keys}}}
upstreams: {{app: {{servers: ["{app}"]}}}}
schemes:
  api: {{type: jwt, keys: {{local: true}}}}
  web: {{type: session, format: native, cookie: sid}}
tokens: {{issuer: "http://127.0.0.1", audience: shop, dpop_nonce: {asks}}}
clients:
  spa: {{public: true, grants: [refresh_token]}}
  backend: {{secret: "{secret}", grants: [client_credentials, refresh_token]}}
login: {{scheme: web}}
routes:
  - {{match: {{path: /fresh/**}}, auth: api, dpop: nonce, upstream: app}}
  - {{match: {{path: /scoped}}, auth: api, dpop: nonce, require: {{scopes: [x]}}, upstream: app}}
  - {{match: {{path: /page}}, auth: api, dpop: nonce, cors: {{origins: ["{page}"]}}, upstream: app}}
  - {{match: {{path: /site}}, auth: web, cors: {{origins: ["{page}"]}}, upstream: app}}
  - {{match: {{path: /**}}, auth: api, upstream: app}}
"""


class NonceApp(App):
    """An application that has nonces of its own, and lets its answers be kept."""

    async def echo(self, request):
        answer = await super().echo(request)
        answer.headers["DPoP-Nonce"] = "the-applications"
        answer.headers["Cache-Control"] = "max-age=60"
        return answer


@pytest.fixture
async def app():
    told = NonceApp()
    application = web.Application()
    application.router.add_route("*", "/{tail:.*}", told.echo)
    async with TestServer(application) as server:
        told.url = f"http://127.0.0.1:{server.port}"
        yield told


@pytest.fixture
async def http():
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:
        yield session


@pytest.fixture
async def start(valkey, app, start_gate, http):
    """Return a function that starts a gate on the one store, with these `secrets`."""

    async def begin(*keys, asks="true"):
        said = {"store": valkey.url, "app": app.url, "keys": list(keys), "asks": asks}
        return Caller(await start_gate(CONFIG.format(secret=SECRET, page=PAGE, **said)), http)

    return begin


@pytest.fixture
async def gate(start):
    return await start(NEW)


async def nonce_of(caller):
    """Return the nonce that a gate's token endpoint gives to whoever comes without one."""
    answer = await caller.post({"grant_type": "client_credentials"}, caller.token_proof())
    return answer.nonce


# At a route


async def test_a_client_is_told_the_nonce_and_let_in_with_it(gate, app, valkey):
    """RFC 9449 §9: 401 `use_dpop_nonce` with a nonce, which opens; nothing was used up before."""
    token = await gate.token(nonce=await nonce_of(gate))
    with valkey.client() as client:
        used = len(client.keys("latchgate:dpop:*"))
    refused = await gate.get("/fresh/x", token)
    with valkey.client() as client:
        assert len(client.keys("latchgate:dpop:*")) == used
    opened = await gate.get("/fresh/x", token, nonce=refused.nonce)

    assert (refused.status, refused.code) == (401, "proof_nonce_missing")
    assert refused.challenges[0].startswith('DPoP realm="api", algs="ES256 ')
    assert refused.challenges[0].endswith('", error="use_dpop_nonce"')
    assert refused.headers["Cache-Control"] == "no-store"
    assert (opened.status, opened.nonce, app.asked) == (200, None, 1)
    assert opened.headers["Cache-Control"] == "max-age=60, private"


@pytest.mark.parametrize("nonce", ["", "x", "of another gate"])
async def test_k5_a_nonce_of_nobody_opens_nothing(gate, start, app, nonce):
    """K5: it was given by a gate with these secrets, or it is none."""
    if nonce == "of another gate":
        nonce = await nonce_of(await start(FOREIGN, OLD, NEW))
    token = await gate.token(nonce=await nonce_of(gate))
    answer = await gate.get("/fresh/x", token, nonce=nonce)

    assert (answer.status, answer.code, app.asked) == (401, "proof_nonce_missing", 0)
    assert (await gate.get("/fresh/x", token, nonce=answer.nonce)).status == 200


async def test_k5_a_nonce_makes_no_proof_good_twice(gate, app):
    """K5: within the life of a nonce each proof counts once, on whichever worker."""
    token = await gate.token(nonce=await nonce_of(gate))
    made = [proof("GET", f"{gate.url}/fresh/x", token, nonce=await nonce_of(gate))]
    answers = await asyncio.gather(*(gate.get("/fresh/x", token, made) for _ in range(10)))

    assert sorted(answer.status for answer in answers) == [200] + [401] * 9
    assert {answer.code for answer in answers} == {None, "proof_invalid"}
    assert app.asked == 1


async def test_k5_a_nonce_is_told_to_holders_of_the_key_only(gate, app):
    """K5: what is wrong with a proof comes first, with or without a nonce in it."""
    nonce = await nonce_of(gate)
    token = await gate.token(nonce=nonce)
    other = {"algorithm": "EdDSA", "kind": "Ed25519"}
    for how, code in (
        ({"htm": "POST"}, "proof_invalid"),
        ({"htm": "POST", "nonce": nonce}, "proof_invalid"),
        (other, "token_invalid"),
        (other | {"nonce": nonce}, "token_invalid"),
    ):
        answer = await gate.get("/fresh/x", token, **how)
        assert (answer.status, answer.code, answer.nonce) == (401, code, None)
    plain = await gate.ask("/fresh/x", [("Authorization", f"Bearer {token}")])
    assert (plain.code, plain.nonce, app.asked) == ("proof_missing", None, 0)


async def test_a_nonce_that_is_about_to_end_is_replaced_in_time(start, app):
    """RFC 9449 §8.2: the answer brings the next one, whatever the answer is, and is not kept.

    Here the older nonce is that of a key that is being replaced, which no clock can make a newer one.
    """
    old, gate = await start(OLD), await start(NEW, OLD)
    ending = await nonce_of(old)
    token = await gate.token(nonce=ending)
    answers = [
        await gate.get("/fresh/x", token, nonce=ending),
        await gate.get("/scoped", token, nonce=ending),
        await gate.get("/fresh/x", token, nonce=await nonce_of(gate)),
    ]

    assert [answer.status for answer in answers] == [200, 403, 200]
    assert answers[0].nonce == answers[1].nonce
    assert answers[0].nonce not in (None, ending)
    assert answers[2].nonce is None
    assert answers[0].headers.getall("Cache-Control") == ["no-store"]
    assert answers[1].headers.getall("Cache-Control") == ["no-store"]
    assert (await gate.get("/fresh/x", token, nonce=answers[0].nonce)).nonce is None
    assert app.asked == 3


async def test_where_none_is_asked_for_a_nonce_means_nothing(gate):
    """A client sends the nonce of one route to all; another application's nonces are its business."""
    token = await gate.token(nonce=await nonce_of(gate))
    for how in ({}, {"nonce": "x"}, {"nonce": await nonce_of(gate)}):
        answer = await gate.get("/any", token, **how)
        assert (answer.status, answer.nonce) == (200, "the-applications")


async def test_pages_may_read_what_they_need_for_the_next_proof(gate):
    """A script of another origin sees no header that is not exposed to it (Fetch §3.2)."""
    exposed = "Access-Control-Expose-Headers"
    nonce = await nonce_of(gate)
    token = await gate.token(nonce=nonce)
    url = f"{gate.url}/page"
    answers = []
    for how in ({}, {"nonce": nonce}):
        headers = [
            ("Origin", PAGE),
            ("Authorization", f"DPoP {token}"),
            ("DPoP", proof("GET", url, token, **how)),
        ]
        answers.append(await gate.ask("/page", headers))

    assert [answer.status for answer in answers] == [401, 200]
    assert [a.headers[exposed] for a in answers] == ["WWW-Authenticate, DPoP-Nonce"] * 2
    assert exposed not in (await gate.ask("/page", [("Origin", "https://evil.example")])).headers
    site = await gate.ask("/site", [("Origin", PAGE)])
    assert site.headers["Access-Control-Allow-Origin"] == PAGE
    assert exposed not in site.headers


# At the token endpoint


async def test_the_token_endpoint_asks_for_a_nonce(gate):
    """RFC 9449 §8: 400 `use_dpop_nonce` with a nonce, and the refresh token is as good as before."""
    token = await gate.begin()
    refused = await gate.refresh(token, gate.token_proof())
    answer = await gate.refresh(token, gate.token_proof(nonce=refused.nonce))

    assert (refused.status, refused.body) == (
        400,
        {
            "error": "use_dpop_nonce",
            "error_description": "the proof needs the nonce of DPoP-Nonce",
        },
    )
    assert refused.headers["Cache-Control"] == "no-store"
    assert (answer.status, answer.body["token_type"], answer.nonce) == (200, "DPoP", None)


async def test_the_token_endpoint_replaces_a_nonce_in_time(start):
    """RFC 9449 §8.2: with the token comes the nonce for the next one."""
    old, gate = await start(OLD), await start(NEW, OLD)
    made = gate.token_proof(nonce=await nonce_of(old))
    answer = await gate.post({"grant_type": "client_credentials"}, made, headers=BASIC.items())

    assert answer.status == 200
    assert answer.nonce == await nonce_of(gate)


async def test_a_bearer_needs_no_nonce(gate):
    """Who sends no proof is asked for nothing that belongs into one."""
    assert await gate.bearer()


@pytest.mark.parametrize("asks", ["true", "false"])
async def test_one_nonce_is_good_at_every_gate_and_endpoint(start, app, asks):
    """Gates that share `secrets` take one another's without a word between them, whoever gave it."""
    here, there = await start(NEW), await start(NEW, asks=asks)
    nonce = await nonce_of(here)
    token = await there.token(nonce=nonce)

    assert (await there.get("/fresh/x", token, nonce=nonce)).status == 200
    assert (await here.get("/fresh/x", token, nonce=nonce)).status == 200
    told = (await there.get("/fresh/x", token)).nonce
    assert (await here.get("/fresh/x", token, nonce=told)).status == 200
    assert (await nonce_of(there) is None) is (asks == "false")
    assert app.asked == 3


# Others


async def test_a_client_library_finds_its_way(gate):
    """Npm's oauth4webapi takes a nonce at its first request, and needs no other for the next ones."""
    try:
        place = node_provider.installed()
    except node_provider.NotHere as reason:
        pytest.skip(str(reason))
    told = {
        "issuer": "http://127.0.0.1",
        "token_endpoint": f"{gate.url}/_auth/token",
        "resource": f"{gate.url}/fresh/x?page=2",
        "machine": {"id": "backend", "secret": SECRET},
        "phone": {"id": "spa", "refresh_token": await gate.begin()},
    }
    said = await node_provider.run_client(place, "bound_client.mjs", told)

    let_in = ["dpop", [200, 200, 200], 1]
    kinds = ("ES256", "Ed25519", "RS256", "PS256", "refreshed")
    assert {name: said[name] for name in kinds} == dict.fromkeys(kinds, let_in)
    assert said["stolen"] == [401, 401, 401]
