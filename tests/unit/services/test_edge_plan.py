from __future__ import annotations

import pytest

from proxy.core.headers import CLIENT_ADDRESS_NAMES, FORWARDING_NAMES, OVERRIDE_NAMES, fold
from proxy.services.edge_plan import SET_ANEW, CannotEmit, edge_plan
from proxy.services.runtime import load

CONFIG = """
server: {listen: "0.0.0.0:8080"}
decision: {listen: "127.0.0.1:9191", callers: [{from: 127.0.0.1, dialect: nginx}]}
upstreams:
  app: {servers: ["http://127.0.0.1:9001"]}
  api: {servers: ["http://127.0.0.1:9002"], host: api.internal}
schemes:
  key:
    type: jwt
    issuer: "https://id.test"
    audience: [app]
    algorithms: [HS256]
    keys: {secret: "ssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssss"}
    from: [bearer, {header: X-Api-Key}, {query: token}]
    revocation: none
    max_lifetime: 10m
routes:
  - {match: {path: /**}, auth: none, upstream: app, pass_headers: [X-Rewrite-URL]}
  - {match: {path: "/a/{x}"}, auth: key, upstream: api, strip_prefix: /a, forward_credentials: false}
  - {match: {path: /a/b}, auth: key, upstream: api, identity: {headers: {X-Who: "{sub}"}}}
  - {match: {host: "*.shop.test", path: /**}, auth: key, upstream: app}
  - {match: {host: shop.test, path: /**, methods: [GET]}, auth: key, upstream: app}
"""


@pytest.fixture
def plan(tmp_path):
    """Return a function that plans from a changed configuration."""

    def make(change=lambda text: text, dialect="nginx"):
        file = tmp_path / "latchgate.yaml"
        file.write_text(change(CONFIG))
        return edge_plan(load(file).config, dialect, "latchgate.yaml")

    return make


def test_h2_every_name_that_the_gate_removes_is_planned(plan):
    """None can be forgotten: what is added to the gate's lists is in what `emit` writes."""
    removed = {fold(name.encode()) for name in plan().removed}
    everything = OVERRIDE_NAMES | FORWARDING_NAMES | CLIENT_ADDRESS_NAMES

    assert everything - SET_ANEW - {b"x-rewrite-url"} <= removed
    assert b"x-latchgate-decision" in removed


def test_what_a_route_lets_pass_is_not_removed(plan):
    """Elsewhere the gate refuses it."""
    assert "x-rewrite-url" not in {name.lower() for name in plan().removed}


def test_identity_and_credentials_are_those_of_the_whole_file(plan):
    """Whatever any route sets or any scheme reads."""
    found = plan()

    assert {"X-Who", "X-Auth-Subject", "X-Auth-Assertion"} <= set(found.identity)
    assert ("Cookie", "Authorization", "DPoP") == found.credentials[:3]
    assert "x-api-key" in {name.lower() for name in found.credentials}
    assert ("token",) == found.query_credentials


def test_routes_come_the_most_specific_first(plan):
    """As the gate matches: exact hosts, wildcards, any; literal, one segment, the rest."""
    found = plan()

    assert [4, 3, 2, 1, 0] == [route.number for route in found.routes]
    assert [5, 4, 3, 2, 1] == [route.rank for route in found.routes]
    assert ("GET", "HEAD") == found.routes[0].methods


def test_the_gate_is_reached_on_this_machine(plan):
    """A listener on every address has one of its own here."""
    found = plan()

    assert ("127.0.0.1", 8080) == (found.gate.host, found.gate.port)
    assert ("*.shop.test", "shop.test") == found.hosts
    assert found.has_any_host
    assert [(), ("/a",)] == [upstream.strips for upstream in found.upstreams]


@pytest.mark.parametrize(
    ("trusted", "expected"),
    [("[]", False), ("[127.0.0.0/8]", True), ("[10.0.0.0/8]", False), ("[::1, 127.0.0.1]", True)],
)
def test_h5_the_gates_pages_have_to_trust_the_proxy(plan, trusted, expected):
    """Otherwise every visitor of theirs is the proxy."""
    change = '"0.0.0.0:8080", trusted_proxies: ' + trusted

    assert expected == plan(lambda text: text.replace('"0.0.0.0:8080"', change)).is_trusted


@pytest.mark.parametrize(
    ("change", "dialect", "words"),
    [
        (lambda text: text, "caddy", "no caddy may ask"),
        (lambda text: text.replace("decision:", "# "), "nginx", "no nginx may ask"),
        (lambda text: text.replace("X-Who", "X-Who$x"), "nginx", "letters, digits"),
        (
            lambda text: text.replace('["http://127.0.0.1:9001"]', '["http://a", "https://b"]'),
            "nginx",
            "with and without TLS",
        ),
        (
            lambda text: text.replace('"0.0.0.0:8080"', '"0.0.0.0:8080", forwarded: forwarded'),
            "nginx",
            "another family",
        ),
    ],
    ids=["another dialect", "no listener", "odd name", "two schemes", "another family"],
)
def test_what_a_proxy_cannot_do_is_said(plan, change, dialect, words):
    """Nothing is written that would not hold."""
    with pytest.raises(CannotEmit, match=words):
        plan(change, dialect)
