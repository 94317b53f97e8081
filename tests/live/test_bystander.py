"""A look at a gate's decision, with real keys and stores, that leaves no trace in them."""

from __future__ import annotations

import json

import pytest
from aiohttp import web

from proxy.config.loader import parse_config
from proxy.config.request_line import parse_request_line
from proxy.model import Authenticated
from proxy.run.bystander import open_bystander
from proxy.services.decision import Forward, Refuse
from proxy.services.rehearsal import request_view
from tests.token_workshop import AUDIENCE, ISSUER, NOW, jwk, token

GATE = """\
store: {{url: "{store}", eviction: {eviction}}}
upstreams: {{app: {{servers: ["http://127.0.0.1:1"]}}}}
schemes:
  idp: {{type: jwt, issuer: "{issuer}", audience: [{audience}], keys: {{jwks_url: "{keys}", http: accept}}, identity: {{subject: "{{iss}}|{{sub}}"}}}}
  old: {{type: session, format: json, cookie: sid, prefix: "s:", store: "{store}", identity: {{subject: user}}}}
routes:
  - {{match: {{path: "/**"}}, auth: [idp, old], upstream: app}}
"""


class Keys:
    """A provider that counts how often it is asked."""

    def __init__(self):
        self.asked = 0
        self.url = ""

    async def answer(self, _request):
        self.asked += 1
        return web.json_response({"keys": [jwk("RSA")]})


@pytest.fixture
async def keys():
    provider = Keys()
    app = web.Application()
    app.router.add_get("/keys", provider.answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    provider.url = f"http://127.0.0.1:{runner.addresses[0][1]}/keys"
    yield provider
    await runner.cleanup()


@pytest.fixture
def look(keys, valkey, tmp_path):
    """Return a function that lets a bystander decide one request."""

    async def look(*headers, eviction="refuse", store=None):
        text = GATE.format(
            store=store or valkey.url,
            eviction=eviction,
            issuer=ISSUER,
            audience=AUDIENCE,
            keys=keys.url,
        )
        config = parse_config(text.encode(), file="f", base=tmp_path, environment={}).config
        view = request_view(config, parse_request_line("GET /a"), headers)
        async with open_bystander(config) as bystander:
            decision, trace = await bystander.decide(view, NOW)
            return decision, trace, bystander.problem

    return look


def bearer(raw):
    return (b"Authorization", b"Bearer " + raw)


async def test_keys_are_fetched_for_a_token_only(look, keys, valkey):
    """A request without one asks no provider; and a lost deny-list is not repaired."""
    decision, _, _ = await look()
    assert isinstance(decision, Refuse)
    assert ("credential_missing", 0) == (decision.refusal.code, keys.asked)
    decision, trace, _ = await look(bearer(token()))
    assert isinstance(decision, Refuse)
    assert ("store_unavailable", 1) == (decision.refusal.code, keys.asked)
    assert "lost" in trace.verdicts[0].detail
    with valkey.client() as client:
        assert [] == client.keys()
        client.set("latchgate:{revoked}:epoch", "1")
    decision, trace, _ = await look(bearer(token()))
    assert isinstance(decision, Forward)
    assert isinstance(trace.verdicts[0].outcome, Authenticated)


async def test_a_provider_that_is_down_is_unavailable(look, keys):
    """Never a rejected token."""
    keys.url = "http://127.0.0.1:1/keys"
    decision, _, _ = await look(bearer(token()))

    assert isinstance(decision, Refuse)
    assert "keys_unavailable" == decision.refusal.code


async def test_a_store_that_can_evict_is_not_relied_on(look, valkey):
    """As the gate itself would have it (R4)."""
    with valkey.client() as client:
        client.set("latchgate:{revoked}:epoch", "1")
        client.config_set("maxmemory", "100mb")
        client.config_set("maxmemory-policy", "allkeys-lru")
        try:
            decision, _, _ = await look(bearer(token()))
            accepted, _, _ = await look(bearer(token()), eviction="accept")
        finally:
            client.config_set("maxmemory", "0")
            client.config_set("maxmemory-policy", "noeviction")
    assert isinstance(decision, Refuse)
    assert "can evict keys" in decision.refusal.detail
    assert isinstance(accepted, Forward)


async def test_an_applications_own_session_is_looked_up(look, valkey):
    """In its store, which is only read."""
    with valkey.client() as client:
        client.set("s:0123456789abcdef0123", json.dumps({"user": "ada"}))
        decision, _, problem = await look((b"Cookie", b"sid=0123456789abcdef0123"))
        assert [b"s:0123456789abcdef0123"] == client.keys()
    assert isinstance(decision, Forward)
    assert decision.identity is not None
    assert ("old", "ada", None) == (decision.identity.origin, decision.identity.subject, problem)


async def test_a_store_that_is_down_is_told(look):
    """What was asked and what came of it."""
    decision, _, problem = await look(bearer(token()), store="redis://127.0.0.1:1/0")

    assert isinstance(decision, Refuse)
    assert "unavailable" == decision.kind
    assert problem
