"""What an explanation says of headers, places and preflights; whole ones are in the command's tests."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from proxy.config.loader import parse_config
from proxy.config.request_line import parse_request_line
from proxy.model import Absent, Authenticated, Identity
from proxy.services.assembly import Assembly
from proxy.services.explanation import explain, masked_target
from proxy.services.outgoing import outgoing_headers
from proxy.services.rehearsal import assemble_rehearsal, request_view
from proxy.services.schemes.port import Ambiguous, Found, Place
from proxy.services.trace import Trace

ROOT = Path(__file__).parents[3]

GATE = """\
store: {url: "redis://127.0.0.1:1"}
upstreams: {app: {servers: ["http://127.0.0.1:1"], host: app.internal}}
schemes:
  old: {type: session, format: json, cookie: sid, prefix: "s:", identity: {subject: user}}
  idp: {type: jwt, issuer: https://id.example.com/, audience: [a], from: [{header: X-Token}, {query: jwt}], keys: {jwks_url: "https://id.example.com/k"}, identity: {subject: "{iss}|{sub}"}}
routes:
  - {name: all, match: {path: "/**"}, auth: [idp, old], upstream: app}
  - {name: open, match: {path: "/open"}, auth: none, upstream: app, cors: upstream}
  - {name: answered, match: {path: "/answered"}, auth: none, upstream: app, cors: {origins: ["https://a.example"]}}
"""


class Certain:
    """A scheme that finds its credential as the real one does, and believes it."""

    issuer = None
    is_native = False

    def __init__(self, name: str, *places: Place) -> None:
        self.name = name
        self.places = places

    def find(self, carried):
        for place in self.places:
            if place.kind == "cookie":
                values = {v for n, v in carried.cookies if n == place.name.encode()}
                if len(values) > 1:
                    raise Ambiguous(place, (place.name.encode(),))
            else:
                values = set(carried.view.values(place.name.lower().encode()))
            if values:
                return Found(place, values.pop())
        return None

    async def judge(self, found, _now):
        if found.value == b"old":
            return Absent("session_expired", "its lifetime is over")
        return Authenticated(Identity("here", "ada", self.name), found.place.is_ambient)


@pytest.fixture
def config(tmp_path):
    return parse_config(GATE.encode(), file="f", base=tmp_path, environment={}).config


@pytest.fixture
def assembly(config) -> Assembly:
    schemes = {
        "old": Certain("old", Place("cookie", "sid")),
        "idp": Certain("idp", Place("header", "x-token"), Place("query", "jwt")),
    }
    return assemble_rehearsal(config, schemes)


@pytest.fixture
def explained(config, assembly):
    async def explained(request, **headers):
        lines = [
            (name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()
        ]
        view = request_view(config, parse_request_line(request), lines)
        trace = Trace()
        decision = await assembly.gate.decide(view, 0.0, trace)
        return explain(config, assembly, view, decision, trace)

    return explained


async def test_every_header_is_removed_for_a_reason_or_kept(explained):
    """Names, never values; what is of the connection only, what only the gate says, what is a credential."""
    found = await explained(
        "GET /a",
        Cookie="sid=secret1; theme=dark",
        X_Token="secret2",
        X_Auth_Subject="root",
        X_Forwarded_For="secret3",
        TE="trailers",
        Accept="secret4",
    )

    assert {
        ("X-Auth-Subject", "only the gate says who somebody is"),
        ("X-Forwarded-For", "not taken from this client, or written anew"),
        ("TE", "of this connection only"),
        ("Cookie", "without sid"),
    } == {(item["name"], item["reason"]) for item in found["headers"]["removed"]}
    assert {"X-Token", "Accept", "Cookie"} == set(found["headers"]["kept"])
    assert {"scheme": "idp", "place": "header x-token", "travels_on": True} == found["credential"]
    assert "secret" not in json.dumps(found)


async def test_the_other_schemes_credential_does_not_travel(explained):
    """Only the one that decided may."""
    found = await explained("GET /a", X_Token="old", Cookie="sid=good")

    assert [("idp", "absent"), ("old", "authenticated")] == [
        (scheme["name"], scheme["outcome"]) for scheme in found["schemes"]
    ]
    assert ["a credential that does not travel on"] == [
        item["reason"] for item in found["headers"]["removed"] if item["name"] == "X-Token"
    ]


async def test_an_ambiguous_credential_keeps_every_scheme_from_being_asked(explained):
    """The reason is that of the refusal."""
    found = await explained("GET /a", Cookie="sid=a; sid=b")

    assert "cookie_duplicate" == found["answer"]["code"]
    assert {"two different values of cookie sid"} == {s["detail"] for s in found["schemes"]}


async def test_a_preflight_comes_before_authentication(explained):
    """Passed on or answered: no scheme is asked."""
    headers = {"Origin": "https://a.example", "Access_Control_Request_Method": "PUT"}
    passed = await explained("OPTIONS /open", Cookie="sid=a", **headers)
    answered = await explained("OPTIONS /answered", **headers)

    assert (True, "PUT", []) == (
        passed["route"]["preflight"],
        passed["matching"]["method"],
        passed["schemes"],
    )
    assert "Cookie" not in passed["headers"]["kept"]
    assert ("answer", 204) == (answered["decision"], answered["answer"]["status"])


async def test_what_is_said_to_be_sent_is_what_is_sent(config, assembly):
    """The forwarder and the explanation take the headers from one place."""
    view = request_view(config, parse_request_line("GET /a"), [(b"X-Token", b"good")])
    trace = Trace()
    decision = await assembly.gate.decide(view, 0.0, trace)
    sent = outgoing_headers(
        view, decision, forwarding=assembly.forwarding, gate_id=assembly.gate_id, authority=b"x"
    )
    found = explain(config, assembly, view, decision, trace)

    shown = [item["name"] for item in found["headers"]["set"]] + found["headers"]["kept"]
    assert sorted(name.decode() for name, _ in sent) == sorted(shown)
    assert (b"Host", b"app.internal") == sent[0]


def test_a_target_is_shown_without_what_a_scheme_reads(config):
    """In every spelling that some server reads; other values stay."""
    assert "/a?x=1&jwt=…&%6Awt=…&b" == masked_target(config, b"/a?x=1&jwt=s&%6Awt=s&b")
    assert "/a" == masked_target(config, b"/a")


def test_the_page_names_every_member():
    """docs/explain.md and the golden file have the same members."""
    page = (ROOT / "docs" / "explain.md").read_text()
    golden = json.loads((ROOT / "tests" / "golden" / "explain.json").read_text())

    assert [] == [name for name in golden if f"`{name}`" not in page]
    for member in ("configuration", "request", "route", "matching", "cross_site"):
        assert [] == [name for name in golden[member] if f"`{name}`" not in page]
