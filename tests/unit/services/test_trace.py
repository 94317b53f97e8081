"""What a trace notes, and that it changes nothing (the gate's own rules are tested live)."""

from __future__ import annotations

import pytest

from proxy.config.request_line import parse_request_line
from proxy.model import Absent, Authenticated, Refusal
from proxy.run.loading import load
from proxy.services.assembly import Assembly
from proxy.services.decision import Forward, Refuse
from proxy.services.rehearsal import assemble_rehearsal, request_view
from proxy.services.schemes.stand_in import stand_ins
from proxy.services.trace import Trace

GATE = """\
tokens: {issuer: https://shop.example.com, audience: shop}
upstreams: {app: {servers: ["http://127.0.0.1:1"]}}
schemes:
  web: {type: session, format: native}
  api: {type: jwt, keys: {local: true}}
routes:
  - {name: all, match: {path: "/**"}, auth: [api, web], require: {roles: [user]}, upstream: app}
  - {name: open, match: {path: "/open"}, auth: none, upstream: app, cors: upstream}
tests:
  - {request: GET /, as: {scheme: web, roles: [user]}, expect: forward}
"""


@pytest.fixture
def config(tmp_path):
    file = tmp_path / "latchgate.yaml"
    file.write_text(GATE)
    return load(file).config


@pytest.fixture
def known(config) -> Assembly:
    """Give a gate to whom every request comes from a known person with a session."""
    return assemble_rehearsal(config, stand_ins(config, config.tests[0].as_))


@pytest.fixture
def unknown(config) -> Assembly:
    """Give a gate to whom nobody says who they are."""
    return assemble_rehearsal(config, stand_ins(config, None))


async def decided(config, assembly, request, *headers):
    """Decide with a trace, and without one: the same."""
    view = request_view(config, parse_request_line(request), headers)
    trace = Trace()
    decision = await assembly.gate.decide(view, 0.0, trace)
    untraced = await assembly.gate.decide(view, 0.0)
    assert type(untraced) is type(decision)
    if isinstance(decision, Refuse):
        assert untraced.refusal == decision.refusal
    return decision, trace


async def test_the_way_of_a_request_that_passes(config, known):
    """Route, what each scheme said, which one counted, requirement and cross-site check."""
    decision, trace = await decided(config, known, "POST /a")

    assert isinstance(decision, Forward)
    assert ("localhost", b"/a", "POST", "all") == (
        trace.host,
        trace.path,
        trace.method,
        trace.route and trace.route.name,
    )
    assert [("api", Absent), ("web", Authenticated)] == [
        (verdict.scheme.name, type(verdict.outcome)) for verdict in trace.verdicts
    ]
    assert trace.opened_by is trace.verdicts[1]
    assert ("passed", "passed", None) == (trace.require, trace.cross_site, trace.kept)


async def test_checks_that_were_not_reached_were_not_asked(config, unknown):
    """Without a credential nobody asks for roles or sites."""
    decision, trace = await decided(config, unknown, "POST /a")

    assert isinstance(decision, Refuse)
    assert ("not_asked", "not_asked", None) == (trace.require, trace.cross_site, trace.opened_by)
    assert 2 == len(trace.verdicts)


async def test_another_sites_request_is_refused_before_its_roles_are_looked_at(config, known):
    """The refusal is noted where it was made."""
    _, trace = await decided(config, known, "POST /a", (b"Origin", b"https://evil.example"))

    assert isinstance(trace.cross_site, Refusal)
    assert ("cross_site", "not_asked") == (trace.cross_site.code, trace.require)


async def test_what_never_reaches_the_router_has_no_path(config, known):
    """A request that cannot be read has asked nobody."""
    _, trace = await decided(config, known, "GET /a", (b"Host", b"a b"))

    assert (None, None) == (trace.path, trace.route)


async def test_a_preflight_is_matched_by_the_method_that_it_asks_for(config, known):
    """And goes on without authentication."""
    headers = [(b"Origin", b"https://a.example"), (b"Access-Control-Request-Method", b"PUT")]
    decision, trace = await decided(config, known, "OPTIONS /open", *headers)

    assert isinstance(decision, Forward)
    assert ("PUT", True, []) == (trace.method, trace.is_preflight, trace.verdicts)
