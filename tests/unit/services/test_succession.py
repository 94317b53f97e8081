"""What a configuration makes of decisions and upstreams of the one before it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from proxy.model import Peer, Refusal, RequestView
from proxy.services.decision import Forward
from proxy.services.runtime import Runtime, load
from proxy.services.succession import open_upstreams, renewed

CONFIG = """
upstreams: {app: {servers: ["http://127.0.0.1:1"]}}
schemes:
  api: {type: jwt, issuer: "https://id.test", audience: [a], algorithms: [HS256], keys: {secret: "SECRET"}, revocation: none, max_lifetime: 15m}
routes:
  - {match: {path: /open/**}, auth: none, upstream: app}
  - {match: {path: /api/**}, auth: api, upstream: app}
""".replace("SECRET", "s" * 64)


@pytest.fixture
async def start(tmp_path):
    """Return a function that starts a configuration."""
    made = []

    async def started(text=CONFIG, before=None):
        path = tmp_path / f"{len(made)}.yaml"
        path.write_text(text)
        made.append(await Runtime.start(load(path), before=before))
        return made[-1]

    yield started
    for runtime in made:
        await runtime.close()


async def decided(runtime):
    view = RequestView(
        "GET",
        b"/open/x?y=1",
        ((b"Host", b"here"),),
        Peer("127.0.0.1", 1, is_unix=False, is_tls=False),
    )
    decision = await runtime.gate.decide(view, 0.0)
    assert isinstance(decision, Forward)
    return decision


async def test_a_decision_is_led_to_its_route_of_now(start):
    """Host, path and method lead there, whatever the route is called."""
    old = await start()
    new = await start(
        CONFIG.replace("- {match: {path: /open", "- {name: other, match: {path: /open")
    )
    told = renewed(new.gate, await decided(old), 0.0)
    assert isinstance(told, Forward)
    assert told.route.name == "other"
    assert told.route in new.gate.routes


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (("/open/**", "/gone/**"), "route_not_found"),
        (("auth: none", "auth: api"), "credential_missing"),
    ],
    ids=["gone", "guarded"],
)
async def test_r7_what_is_let_in_no_more_is_refused(start, change, code):
    """A route that is gone, or guarded now, lets nobody stay who showed nothing."""
    old, new = await start(), await start(CONFIG.replace(*change))
    told = renewed(new.gate, await decided(old), 0.0)
    assert isinstance(told, Refusal)
    assert told.code == code


async def test_r7_a_decision_without_its_request_is_refused(start):
    """What cannot be led to a route is not left open."""
    runtime = await start()
    decision = replace(await decided(runtime), asked=None)
    assert isinstance(renewed(runtime.gate, decision, 0.0), Refusal)


async def test_s14_report_mode_lets_go_on_what_it_would_refuse(start):
    """A route that is guarded now, and only reports, tells of what is open."""
    reporting = "auth: api, mode: {report: {until: 2999-01-01}}"
    old, new = await start(), await start(CONFIG.replace("auth: none", reporting))
    told = renewed(new.gate, await decided(old), 0.0)
    assert isinstance(told, Forward)
    assert told.reported is not None


async def test_upstreams_with_the_same_settings_are_the_same(start):
    """Another timeout makes another upstream."""
    old = await start()
    assert open_upstreams(old.config, frozenset(), old.upstreams) == old.upstreams
    slower = CONFIG.replace(':1"]', ':1"], timeouts: {response: 7s}')
    new = await start(slower, before=old)
    assert new.upstreams["app"] is not old.upstreams["app"]
    again = await start(CONFIG, before=old)
    assert again.upstreams["app"] is old.upstreams["app"]
