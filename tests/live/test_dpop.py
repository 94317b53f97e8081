"""Tokens that are bound to a key (RFC 9449), on real gates that share a store: who holds both gets in."""

from __future__ import annotations

import asyncio
import json
import time
from base64 import b64encode
from functools import partial

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from cryptography.hazmat.primitives.asymmetric import ec

from proxy.core.refresh import new_family
from proxy.model import Peer, RequestView
from proxy.services.gate import decide_again
from proxy.services.schemes.build import open_sessions
from proxy.services.sessions import Login
from tests import node_provider
from tests import token_workshop as workshop
from tests.live.callers import BASIC, KEY, OTHER_KEY, SECRET, App, Caller
from tests.proof_maker import ath, proof, thumbprint

CONFIG = """
server: {server}
store: {{url: "{store}", timeout: {timeout}, on_outage: {{serve_cached: 30s}}}}
secrets: {{key: "{key}"}}
upstreams: {{app: {{servers: ["{app}"]}}}}
schemes:
  api: {{type: jwt, keys: {{local: true}}, from: [bearer, {{cookie: token}}]}}
  idp: {{type: jwt, issuer: "https://id.example.com/", audience: [shop-api], algorithms: [RS256], keys: {{file: "{keys}"}}}}
  free:
    type: jwt
    issuer: "https://id.example.com/"
    audience: [shop-api]
    algorithms: [RS256]
    keys: {{file: "{keys}"}}
    revocation: none
    max_lifetime: 10m
  odd: {{type: jwt, keys: {{local: true}}, from: [{{query: t}}, {{header: X-Token}}, basic]}}
  web: {{type: session, format: native, cookie: sid}}
tokens: {{issuer: "http://127.0.0.1", audience: shop, access: 10m, refresh: 1d, reuse_grace: 10s}}
clients:
  spa: {{public: true, grants: [refresh_token]}}
  backend: {{secret: "{secret}", grants: [client_credentials, refresh_token]}}
login: {{scheme: web}}
routes:
  - {{match: {{path: /public}}, auth: none, upstream: app}}
  - {{match: {{path: /bound/**}}, auth: [api, idp], dpop: required, same_subjects: false, upstream: app}}
  - {{match: {{path: /scoped}}, auth: api, dpop: required, require: {{scopes: [x]}}, same_subjects: false, upstream: app}}
  - {{match: {{path: /free}}, auth: free, same_subjects: false, upstream: app}}
  - {{match: {{path: /web}}, auth: web, same_subjects: false, upstream: app}}
  - {{match: {{path: /odd}}, auth: odd, same_subjects: false, upstream: app}}
  - {{match: {{path: /kept}}, auth: api, forward_credentials: true, same_subjects: false, upstream: app}}
  - {{match: {{path: /spoken}}, auth: api, identity: {{bearer: true}}, same_subjects: false, upstream: app}}
  - {{match: {{path: /**}}, auth: [api, idp, web], same_subjects: false, upstream: app}}
"""


NO_STORE = """
store: {{url: "{store}"}}
upstreams: {{app: {{servers: ["{app}"]}}}}
schemes:
  idp:
    type: jwt
    issuer: "https://id.example.com/"
    audience: [shop-api]
    algorithms: [RS256]
    keys: {{file: "{keys}"}}
    revocation: none
    max_lifetime: 10m
routes: [{{match: {{path: /**}}, auth: idp, dpop: {dpop}, upstream: app}}]
"""


@pytest.fixture
async def app():
    told = App()
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
async def start(valkey, app, start_gate, http, tmp_path):
    """Return a function that starts gates which share one store."""
    keys = tmp_path / "keys.json"
    keys.write_text(json.dumps({"keys": [workshop.jwk("RSA")]}))

    async def begin(number=1, store=valkey.url, timeout="5s", server="{}"):  # noqa: ASYNC109 - a setting
        said = {"store": store, "timeout": timeout, "app": app.url, "keys": keys}
        said["server"] = server
        text = CONFIG.format(key="00" * 32, secret=SECRET, **said)
        return [Caller(await start_gate(text), http) for _ in range(number)]

    return begin


@pytest.fixture
async def gate(start):
    (one,) = await start()
    return one


def foreign(**said):
    """Return a token of the other issuer, as it is now."""
    now = int(time.time())
    claims = {"iat": now, "exp": now + 300, "cnf": {"jkt": thumbprint(KEY)}} | said
    return workshop.token("RS256", "RSA", **claims).decode()


# Who gets in


@pytest.mark.parametrize("path", ["/any", "/bound/x?a=b", "/bound/%7Ea"])
async def test_a_bound_token_opens_with_its_proof(gate, path):
    """The token says whose it is, the proof that it is in the right hands."""
    token = await gate.token()
    answer = await gate.get(path, token)

    assert (answer.status, answer.body["x-auth-subject"]) == (200, "client:backend")


@pytest.mark.parametrize("path", ["/any", "/bound/x", "/free"])
async def test_a_foreign_token_opens_with_its_proof(gate, path):
    """Issuers that bind tokens need not be told of this gate, nor applications of DPoP."""
    answer = await gate.get(path, foreign())

    assert (answer.status, answer.body["x-auth-subject"]) == (200, "ann")


@pytest.mark.parametrize("algorithm", [("ES384", "P-384"), ("EdDSA", "Ed25519"), ("PS256", "RSA")])
async def test_a_client_chooses_its_kind_of_key(gate, algorithm):
    """Whatever the metadata names is good at both ends."""
    how = {"algorithm": algorithm[0], "kind": algorithm[1]}

    assert (await gate.get("/any", await gate.token(**how), **how)).status == 200


# Who does not


async def test_a_proof_is_good_once_on_every_gate(start, app):
    """A replayed proof is refused by the gate that saw it and by each that shares its store."""
    here, there = await start(2)
    token = await here.token()
    url = "http://shop.example/any"
    used = [proof("GET", url, token)]
    headers = [("Host", "shop.example"), ("Authorization", f"DPoP {token}"), ("DPoP", used[0])]

    assert (await here.ask("/any", headers)).status == 200
    for caller in (here, there):
        again = await caller.ask("/any", headers)
        assert (again.status, again.code) == (401, "proof_invalid")
    assert app.asked == 1


async def test_of_many_uses_at_once_one_counts(start, app):
    """Two workers that see one proof at the same moment do not both believe it."""
    here, there = await start(2)
    token = await here.token()
    sent = [
        ("Host", "shop.example"),
        ("Authorization", f"DPoP {token}"),
        ("DPoP", proof("GET", "http://shop.example/any", token)),
    ]
    answers = await asyncio.gather(*(caller.ask("/any", sent) for caller in (here, there) * 10))

    assert sorted(answer.status for answer in answers) == [200] + [401] * 19
    assert app.asked == 1


async def test_k5_a_bound_token_is_no_bearer(gate, app):
    """K5: a thief would only have to leave the proof away, or to send the token elsewhere."""
    for token in (await gate.token(), foreign()):
        good = proof("GET", f"{gate.url}/any", token)
        for headers in (
            [("Authorization", f"Bearer {token}")],
            [("Authorization", f"Bearer {token}"), ("DPoP", good)],
        ):
            answer = await gate.ask("/any", headers)
            assert (answer.status, answer.code) == (401, "proof_missing")
            assert answer.challenges[0].startswith('DPoP realm="')
            assert answer.challenges[0].endswith('", error="invalid_token"')
    assert app.asked == 0


ELSEWHERE = {
    "a cookie": ("/any", lambda token: [("Cookie", f"token={token}")]),
    "the query": ("/odd?t={token}", lambda _token: []),
    "a header": ("/odd", lambda token: [("X-Token", token)]),
    "a password": (
        "/odd",
        lambda token: [("Authorization", "Basic " + b64encode(f":{token}".encode()).decode())],
    ),
}


@pytest.mark.parametrize(("path", "headers"), ELSEWHERE.values(), ids=ELSEWHERE.keys())
async def test_k5_no_other_place_makes_a_bound_token_a_bearer(gate, app, path, headers):
    """K5: wherever else a scheme reads tokens, with a good proof beside it or none."""
    token, bearer = await gate.token(), await gate.bearer()
    url = gate.url + path.partition("?")[0]
    for more in ([], [("DPoP", proof("GET", url, token))]):
        answer = await gate.ask(path.format(token=token), headers(token) + more)
        assert (answer.status, answer.code) == (401, "proof_missing")
    assert (await gate.ask(path.format(token=bearer), headers(bearer))).status == 200
    assert app.asked == 1


async def test_k5_a_server_that_was_called_by_mistake_cannot_use_the_proof(start, app):
    """K5: it has token and proof, and says the host for which the proof was made; that is not the gate's."""
    (gate,) = await start(server="{public_url: https://shop.example.com}")
    ours = ("Host", "shop.example.com")
    made = proof("POST", "https://shop.example.com/_auth/token")
    form = {"grant_type": "client_credentials"}
    token = (await gate.post(form, made, headers=[ours, *BASIC.items()])).body["access_token"]
    sent = ("Authorization", f"DPoP {token}")
    for hosts in (
        [("Host", "evil.example")],
        [ours, ("X-Forwarded-Host", "evil.example")],
        [ours, ("Forwarded", "host=evil.example;proto=https")],
    ):
        theirs = ("DPoP", proof("GET", "https://evil.example/any", token))
        answer = await gate.ask("/any", [*hosts, sent, theirs])
        assert (answer.status, answer.code) == (401, "proof_invalid")
    stolen = proof("POST", "https://evil.example/_auth/token")
    headers = [("Host", "evil.example"), *BASIC.items()]
    assert (await gate.post(form, stolen, headers=headers)).body == {"error": "invalid_dpop_proof"}
    assert app.asked == 0
    good = ("DPoP", proof("GET", "https://shop.example.com/any", token))
    assert (await gate.ask("/any", [ours, sent, good])).status == 200


@pytest.mark.parametrize("name", ["DPoP", "dpop", "DPOP"])
async def test_two_spellings_of_the_header_are_two_proofs(gate, app, name):
    """RFC 9449 §4.3, 1: names have no case, and nobody could say which of the two another server reads."""
    token = await gate.token()
    first, second = (proof("GET", "http://a.example/any", token) for _ in range(2))
    head = (
        f"GET /any HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\nAuthorization: DPoP {token}"
    )
    raw = f"{head}\r\nDPoP: {first}\r\n{name}: {second}\r\n\r\n"
    answer = await gate.gate.exchange(raw.encode())

    assert answer.startswith(b"HTTP/1.1 401 ")
    assert app.asked == 0


ATTACKS = {
    "no proof": lambda _good, _url, _token: [],
    "two proofs": lambda good, _url, _token: [good(), good()],
    "two in one": lambda good, _url, _token: [f"{good()}, {good()}"],
    "another method": lambda good, _url, _token: [good(htm="POST")],
    "another path": lambda good, url, _token: [good(htu=f"{url}/x")],
    "another host": lambda good, _url, _token: [good(htu="http://evil.example/any")],
    "another scheme": lambda good, url, _token: [good(htu=url.replace("http:", "https:"))],
    "another token": lambda good, _url, token: [good(ath=ath(token + "x"))],
    "no token": lambda good, _url, _token: [good(ath=...)],
    "too old": lambda good, _url, _token: [good(iat=time.time() - 62)],
    "of tomorrow": lambda good, _url, _token: [good(iat=time.time() + 86_400)],
    "a shared secret": lambda good, _url, _token: [
        good(algorithm="HS256", key=json.dumps(workshop.jwk(KEY)).encode())
    ],
    "unsigned": lambda good, _url, _token: [good(header={"alg": "none"}).rpartition(".")[0] + "."],
    "a private key": lambda good, _url, _token: [good(header={"jwk": workshop.jwk(KEY, d="AA")})],
    "another's signature": lambda good, _url, _token: [
        good(key=ec.generate_private_key(ec.SECP256R1()))
    ],
    "a token's type": lambda good, _url, _token: [good(header={"typ": "at+jwt"})],
    "the token": lambda _good, _url, token: [token],
}


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS.keys())
async def test_a_proof_of_anything_else_opens_nothing(gate, app, attack):
    """Each check of RFC 9449 §4.3 by itself, and what the client is told (§7.1)."""
    token = await gate.token()
    url = f"{gate.url}/any"
    answer = await gate.get("/any", token, attack(partial(proof, "GET", url, token), url, token))

    assert (answer.status, answer.code, app.asked) == (401, "proof_invalid", 0)
    assert answer.challenges[0].startswith('DPoP realm="api", algs="ES256 ')
    assert answer.challenges[0].endswith('", error="invalid_dpop_proof"')
    assert not any("error" in other for other in answer.challenges[2:])


@pytest.mark.parametrize("path", ["/any", "/bound/x"])
async def test_another_key_opens_nothing(gate, app, path):
    """A thief's own proof is perfect, and of the wrong key."""
    how = {"algorithm": "EdDSA", "kind": OTHER_KEY}
    for token in (await gate.token(), foreign()):
        answer = await gate.get(path, token, **how)
        assert (answer.status, answer.code) == (401, "token_invalid")
        assert answer.challenges[0].endswith('error="invalid_token"')
    assert app.asked == 0


async def test_r1_a_cached_verdict_is_no_proof(gate, app):
    """R1: the token is known, and yet each request is asked for a proof of its own."""
    token = await gate.token()
    assert (await gate.get("/any", token)).status == 200
    hits = gate.gate.runtime.coherence.counters.hits

    assert (await gate.get("/any", token, [])).code == "proof_invalid"
    assert (await gate.get("/any", token, iat=time.time() - 90)).code == "proof_invalid"
    assert (await gate.ask("/any", [("Authorization", f"Bearer {token}")])).code == "proof_missing"
    assert (await gate.get("/any", token)).status == 200
    assert app.asked == 2
    assert gate.gate.runtime.coherence.counters.hits == hits + 4


@pytest.mark.parametrize(
    "cnf",
    [
        {"jkt": thumbprint(KEY), "x5t#S256": thumbprint(KEY)},
        {"jkt": thumbprint(KEY), "new": True},
        {"x5t#S256": thumbprint(KEY)},
        {},
        None,
    ],
)
async def test_k5_what_else_a_token_is_bound_to_is_a_refusal(gate, cnf):
    """K5: a good proof of one binding says nothing of another."""
    answer = await gate.get("/any", foreign(cnf=cnf))

    assert (answer.status, answer.code) == (401, "token_invalid")


async def test_a_token_that_is_bound_to_nothing_is_a_bearer(gate):
    """Sent as DPoP it would only look as if it were safe; where a proof is wanted it opens nothing."""
    token = await gate.bearer()
    headers = [("Authorization", f"Bearer {token}")]
    answer = await gate.ask("/bound/x", headers)

    assert (await gate.ask("/any", headers)).status == 200
    assert (await gate.get("/any", token)).code == "token_invalid"
    assert (answer.status, answer.code) == (401, "proof_missing")
    assert all(challenge.startswith("DPoP ") for challenge in answer.challenges)
    assert [c.partition(" ")[0] for c in (await gate.ask("/bound/x")).challenges] == ["DPoP"] * 2


async def test_what_a_bound_token_lacks_is_told_in_its_own_words(gate):
    """A missing scope is asked for by the kind of token that the route takes."""
    answer = await gate.get("/scoped", await gate.token())

    assert (answer.status, answer.code) == (403, "scope_missing")
    assert answer.challenges == ['DPoP realm="api", error="insufficient_scope", scope="x"']


# The store


async def test_r8_a_proof_that_might_have_been_used_opens_nothing(start, mortal_valkey, app):
    """R8: without the store no proof is new, whatever bridges outages; bearers are served meanwhile."""
    (gate,) = await start(store=mortal_valkey.url, timeout="500ms")
    token, bearer = await gate.token(), await gate.bearer()
    plain = [("Authorization", f"Bearer {bearer}")]
    assert (await gate.get("/any", token)).status == 200
    assert (await gate.ask("/any", plain)).status == 200
    mortal_valkey.kill()

    answers = [await gate.get("/any", token), await gate.get("/free", foreign())]
    assert [(a.status, a.code) for a in answers] == [(503, "store_unavailable")] * 2
    assert (await gate.ask("/any", plain)).status == 200
    assert app.asked == 3


async def test_the_store_holds_a_hash_of_a_proof_for_a_while(gate, valkey):
    """Neither key nor proof is in the store, and nothing stays there."""
    token = await gate.token(jti="told-once")
    with valkey.client() as client:
        (key,) = client.keys("latchgate:dpop:*")
        life_s, value = client.ttl(key), client.get(key)

    assert (len(key), value) == (len("latchgate:dpop:{}") + 64, b"1")
    assert 90 < life_s <= 150
    assert token


async def test_r8_no_connection_of_a_bound_token_bridges_an_outage(gate):
    """R8: what is let through with a proof is never told to live on an old verdict."""
    token, bearer = await gate.token(), await gate.bearer()
    peer = Peer("127.0.0.1", 1, is_unix=False, is_tls=False)

    async def decide(*headers):
        view = RequestView("GET", b"/any", ((b"Host", b"a.example"), *headers), peer)
        decision = await gate.gate.runtime.gate.decide(view, time.time())
        return decision.may_be_stale, [one.found.may_be_stale for one in decision.held]

    made = proof("GET", "http://a.example/any", token).encode()
    sent = (b"Authorization", b"DPoP " + token.encode())
    assert await decide(sent, (b"DPoP", made)) == (False, [False])
    assert await decide((b"Authorization", b"Bearer " + bearer.encode())) == (True, [True])


async def test_r7_an_open_connection_ends_where_a_proof_is_wanted_from_now_on(gate):
    """R7: decided again, a bearer's is refused, and one that a proof has opened asks for no other."""
    peer = Peer("127.0.0.1", 1, is_unix=False, is_tls=False)

    async def opened(path, *headers):
        view = RequestView("GET", path, ((b"Host", b"a.example"), *headers), peer)
        return await gate.gate.runtime.gate.decide(view, time.time())

    async def by_proof(path, token):
        made = proof("GET", f"http://a.example{path.decode()}", token).encode()
        sent = (b"Authorization", b"DPoP " + token.encode())
        return await opened(path, sent, (b"DPoP", made))

    bearer = (b"Authorization", b"Bearer " + (await gate.bearer()).encode())
    loose, bound = await opened(b"/any", bearer), await by_proof(b"/bound/x", await gate.token())
    now = time.time()

    refusal = await decide_again(bound.route, loose.held, loose.identity, now)
    assert refusal.code == "proof_missing"
    assert await decide_again(bound.route, bound.held, bound.identity, now) == bound.identity


@pytest.mark.parametrize(("dpop", "status"), [("optional", 401), ("required", 200)])
async def test_k5_without_a_store_no_token_is_bound(
    start_gate, http, app, valkey, tmp_path, dpop, status
):
    """K5: where nobody would notice a second use no proof is good; who asks for proofs gets a store."""
    (tmp_path / "keys.json").write_text(json.dumps({"keys": [workshop.jwk("RSA")]}))
    text = NO_STORE.format(store=valkey.url, app=app.url, keys=tmp_path / "keys.json", dpop=dpop)
    gate = Caller(await start_gate(text), http)

    assert (gate.gate.runtime.store is None) is (status == 401)
    answer = await gate.get("/any", foreign())
    assert (answer.status, answer.code) == (status, "token_invalid" if status == 401 else None)


# What goes on to applications


async def test_h6_a_proof_goes_where_its_token_goes(gate):
    """H6: an application that gets the one could use both; that of a kept token gets both."""
    own, other = await gate.token(), foreign()
    taken = (await gate.get("/any", own)).body
    kept = (await gate.get("/kept", own)).body
    foreign_kept = (await gate.get("/any", other)).body
    spoken = (await gate.get("/spoken", own)).body

    assert not {"authorization", "dpop"} & taken.keys()
    assert kept["authorization"] == f"DPoP {own}"
    assert kept["dpop"].count(".") == 2
    assert foreign_kept["authorization"] == f"DPoP {other}"
    assert "dpop" in foreign_kept
    assert spoken["authorization"].startswith("Bearer ")
    assert "dpop" not in spoken


async def test_h6_an_applications_own_proofs_are_its_business(gate):
    """H6: on a route that reads no tokens DPoP stays, but the gate's own tokens never get through."""
    theirs = [("Authorization", "DPoP opaque"), ("DPoP", "a.b.c")]
    ours = [("Authorization", f"DPoP {await gate.token()}"), ("DPoP", "a.b.c")]
    config = gate.gate.runtime.config
    sessions = open_sessions(config, config.schemes["web"], gate.gate.runtime.store)
    made = await sessions.create(Login(subject="ann"), time.time())
    cookie = ("Cookie", f"sid={made.cookie}")

    for path, more in (("/public", []), ("/web", [cookie])):
        left = (await gate.ask(path, [*theirs, *more])).body
        assert (left["authorization"], left["dpop"]) == ("DPoP opaque", "a.b.c")
        assert not {"authorization", "dpop"} & (await gate.ask(path, [*ours, *more])).body.keys()


# The token endpoint


async def test_a_public_clients_refresh_token_is_bound_too(gate):
    """RFC 9449 §5: whoever steals it needs the key as well; a try with another one ends the family."""
    first = await gate.refresh(await gate.begin(), gate.token_proof())
    second = await gate.refresh(first.body["refresh_token"], gate.token_proof())
    assert (first.body["token_type"], second.body["token_type"]) == ("DPoP", "DPoP")
    assert (await gate.get("/bound/x", second.body["access_token"])).status == 200

    stolen = second.body["refresh_token"]
    thief = gate.token_proof(algorithm="EdDSA", kind=OTHER_KEY)
    assert (await gate.refresh(stolen, thief)).body == {"error": "invalid_grant"}
    assert (await gate.refresh(stolen, gate.token_proof())).body == {"error": "invalid_grant"}


async def test_s9_a_bound_refresh_token_without_proof_is_a_thiefs(gate):
    """S9: leaving the proof away is no way round it."""
    first = await gate.refresh(await gate.begin(), gate.token_proof())

    assert (await gate.refresh(first.body["refresh_token"])).body == {"error": "invalid_grant"}
    answer = await gate.refresh(first.body["refresh_token"], gate.token_proof())
    assert answer.body == {"error": "invalid_grant"}


async def test_a_client_with_a_secret_may_change_its_key(gate):
    """RFC 9449 §5: it proves itself by its secret; each access token is bound to the key of its request."""
    other = {"algorithm": "EdDSA", "kind": OTHER_KEY}
    token = await gate.begin("backend")
    answers = []
    for proofs in ([gate.token_proof()], [gate.token_proof(**other)], []):
        answer = await gate.refresh(token, *proofs, client="backend", headers=BASIC.items())
        token = answer.body["refresh_token"]
        answers.append(answer.body)

    assert [answer["token_type"] for answer in answers] == ["DPoP", "DPoP", "Bearer"]
    assert (await gate.get("/any", answers[0]["access_token"])).status == 200
    assert (await gate.get("/any", answers[1]["access_token"], **other)).status == 200
    assert (await gate.get("/any", answers[1]["access_token"])).code == "token_invalid"


async def test_s9_a_lost_answer_is_told_again_to_the_same_key(gate):
    """S9: the spent token comes again with a new proof of the same key, and gets the same tokens."""
    token = await gate.begin()
    first = await gate.refresh(token, gate.token_proof())
    again = await gate.refresh(token, gate.token_proof())

    assert first.body == again.body


@pytest.mark.parametrize(
    "proofs",
    [
        lambda gate: [gate.token_proof(htm="GET")],
        lambda gate: [gate.token_proof(htu=f"{gate.url}/_auth/revoke")],
        lambda gate: [gate.token_proof(iat=time.time() - 100)],
        lambda gate: [gate.token_proof(), gate.token_proof()],
        lambda gate: [gate.token_proof(header={"jwk": workshop.jwk(KEY, d="AA")})],
        lambda _gate: ["x"],
        lambda gate: [gate.token_proof(jti="used")],
    ],
)
async def test_a_bad_proof_gets_no_token_and_spends_none(gate, proofs):
    """RFC 9449 §5: `invalid_dpop_proof`, and the refresh token is as good as before."""
    token = await gate.begin()
    await gate.post(
        {"grant_type": "client_credentials"}, gate.token_proof(jti="used"), headers=BASIC.items()
    )
    answer = await gate.refresh(token, *proofs(gate))

    assert (answer.status, answer.body) == (400, {"error": "invalid_dpop_proof"})
    assert (await gate.refresh(token, gate.token_proof())).status == 200


NOBODY = {
    "a wrong secret": (
        {"grant_type": "client_credentials", "client_id": "backend", "client_secret": "x" * 32},
        "invalid_client",
    ),
    "no client": ({"grant_type": "client_credentials"}, "invalid_client"),
    "a client that may not": (
        {"grant_type": "client_credentials", "client_id": "spa"},
        "unauthorized_client",
    ),
    "a refresh token of nobody": (
        {
            "grant_type": "refresh_token",
            "client_id": "spa",
            "refresh_token": new_family().text,
        },
        "invalid_grant",
    ),
    "no session": ({"grant_type": "urn:latchgate:grant:session"}, "invalid_grant"),
    "no such grant": ({"grant_type": "x"}, "unsupported_grant_type"),
}


@pytest.mark.parametrize(("form", "error"), NOBODY.values(), ids=NOBODY.keys())
async def test_k5_whoever_is_nobody_leaves_no_proof_behind(gate, valkey, form, error):
    """K5: a stranger cannot fill the store with proofs, and what was refused used none up."""
    made = gate.token_proof()
    answer = await gate.post(form, made)

    assert answer.body["error"] == error
    with valkey.client() as client:
        assert client.keys("latchgate:dpop:*") == []
    form = {"grant_type": "client_credentials"}
    assert (await gate.post(form, made, headers=BASIC.items())).status == 200
    again = await gate.post(form, made, headers=BASIC.items())
    assert (again.status, again.body) == (400, {"error": "invalid_dpop_proof"})


@pytest.mark.parametrize("is_known", [False, True])
async def test_a_bad_proof_is_refused_whoever_the_client_is(gate, is_known):
    """Nobody learns from a bad proof whether a secret is right."""
    headers = BASIC.items() if is_known else [("Authorization", "Basic YmFja2VuZDp4")]
    answer = await gate.post(
        {"grant_type": "client_credentials"}, gate.token_proof(htm="GET"), headers=headers
    )

    assert (answer.status, answer.body) == (400, {"error": "invalid_dpop_proof"})


async def test_of_many_token_requests_with_one_proof_one_is_answered(start):
    """A proof buys one token, on whichever worker and however quickly it comes again."""
    here, there = await start(2)
    made = proof("POST", "http://shop.example/_auth/token")
    sent = [("Host", "shop.example"), *BASIC.items()]
    form = {"grant_type": "client_credentials"}
    asked = [caller.post(form, made, headers=sent) for caller in (here, there) * 10]
    answers = await asyncio.gather(*asked)

    assert sorted(answer.status for answer in answers) == [200] + [400] * 19


async def test_a_proof_for_the_token_endpoint_opens_no_route(gate):
    """Each proof is for one place."""
    token = await gate.token()
    used = proof("POST", f"{gate.url}/_auth/token", jti="one", ath=ath(token))

    assert (await gate.get("/any", token, [used])).code == "proof_invalid"


async def test_a_session_gets_a_bound_token(gate):
    """A page can have even its short token bound, by a key that no script can read out."""
    config = gate.gate.runtime.config
    sessions = open_sessions(config, config.schemes["web"], gate.gate.runtime.store)
    made = await sessions.create(Login(subject="ann"), time.time())
    form = {"grant_type": "urn:latchgate:grant:session"}
    headers = [("Cookie", f"sid={made.cookie}"), ("Origin", gate.url)]
    answer = await gate.post(form, gate.token_proof(), headers=headers)

    assert answer.body["token_type"] == "DPoP"
    assert (await gate.get("/bound/x", answer.body["access_token"])).status == 200


async def test_what_a_bound_token_is_worth_is_told(gate, http):
    """RFC 9449 §6.2: other gates learn by introspection what to check; the metadata names algorithms."""
    token = await gate.token()
    async with http.post(
        f"{gate.url}/_auth/introspect", data={"token": token}, headers=BASIC
    ) as answer:
        told = await answer.json()
    async with http.get(f"{gate.url}/.well-known/oauth-authorization-server") as answer:
        described = await answer.json()

    assert (told["token_type"], told["cnf"]) == ("DPoP", {"jkt": thumbprint(KEY)})
    assert "ES256" in described["dpop_signing_alg_values_supported"]
    assert "HS256" not in described["dpop_signing_alg_values_supported"]


# Others


async def test_a_client_library_that_knows_nothing_of_this_gate(start, tmp_path):
    """Grants, refreshes and requests by npm's oauth4webapi, each with a proof that it has made."""
    try:
        place = node_provider.installed()
    except node_provider.NotHere as reason:
        pytest.skip(str(reason))
    (gate,) = await start()
    told = {
        "issuer": "http://127.0.0.1",
        "token_endpoint": f"{gate.url}/_auth/token",
        "resource": f"{gate.url}/bound/x?page=2",
        "machine": {"id": "backend", "secret": SECRET},
        "phone": {"id": "spa", "refresh_token": await gate.begin()},
    }
    said = await node_provider.run_client(place, "bound_client.mjs", told)

    let_in = ["dpop", [200, 200, 200], 0]
    kinds = ("ES256", "Ed25519", "RS256", "PS256", "refreshed")
    assert {name: said[name] for name in kinds} == dict.fromkeys(kinds, let_in)
    assert said["stolen"] == [401, 401, 401]
