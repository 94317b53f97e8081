"""What a change of the file does to who may pass where."""

from __future__ import annotations

import pytest

from proxy.services.effects import Effects, effects_of
from proxy.services.runtime import load
from proxy.services.strictness import compare_routes

BEFORE = """
upstreams: {app: {servers: ["http://127.0.0.1:1"]}, other: {servers: ["http://127.0.0.1:3"]}}
schemes:
  api: {type: jwt, issuer: "https://id.test", audience: [a], algorithms: [HS256], keys: {secret: "SECRET"}, revocation: none, max_lifetime: 15m}
  web: {type: session, format: native, cookie: sid}
routes:
  - {name: open, match: {path: /open/**}, auth: none, upstream: app}
  - {name: api, match: {path: /api/**}, auth: api, upstream: app, require: {roles: [a, b]}}
  - {name: staff, match: {host: staff.test, path: /**}, auth: [api, web], upstream: app, require: {mfa_within: 5m}}
""".replace("SECRET", "s" * 64)


@pytest.fixture
def effects(tmp_path):
    """Return a function that compares BEFORE with what replacements make of it."""

    def compared(*replacements, base=BEFORE):
        after = base
        for old, new in replacements:
            assert old in after
            after = after.replace(old, new)
        made = []
        for number, text in enumerate((base, after)):
            path = tmp_path / f"{number}.yaml"
            path.write_text(text)
            made.append(load(path).config)
        return effects_of(*made)

    return compared


def test_a_file_that_is_the_same_changes_nothing(effects):
    """Comments and names do not either."""
    found = effects(("routes:", "# a word\nroutes:"))
    assert found == Effects()
    assert not found.may_open
    assert found.summary() == "changes nothing of who may pass where"


OPENING = {
    "a route": ("routes:", "routes:\n  - {match: {path: /new/**}, auth: api, upstream: app}"),
    "a public one below a guarded one": (
        "routes:",
        "routes:\n  - {name: hole, match: {path: /api/hole}, auth: none, upstream: app}",
    ),
    "guarded becomes public": (
        "auth: api, upstream: app, require: {roles: [a, b]}",
        "auth: none, upstream: app",
    ),
    "one more scheme": ("auth: api, upstream", "auth: [api, web], upstream"),
    "one more role": ("roles: [a, b]", "roles: [a, b, c]"),
    "no roles": (", require: {roles: [a, b]}", ""),
    "a longer time": ("mfa_within: 5m", "mfa_within: 6m"),
    "report mode": ("roles: [a, b]}", "roles: [a, b]}, mode: {report: {until: 2999-01-01}}"),
    "other sites": ("roles: [a, b]}", "roles: [a, b]}, cross_site: allow"),
    "another audience": ("audience: [a]", "audience: [a, b]"),
    "a trusted proxy": ("upstreams:", "server: {trusted_proxies: [10.0.0.0/8]}\nupstreams:"),
    "another application": ("auth: none, upstream: app", "auth: none, upstream: other"),
    "another place in it": (
        "auth: none, upstream: app",
        "auth: none, upstream: app, strip_prefix: /open",
    ),
    "another server": (
        'app: {servers: ["http://127.0.0.1:1"]}',
        'app: {servers: ["http://127.0.0.1:2"]}',
    ),
    "the order of schemes": ("auth: [api, web]", "auth: [web, api]"),
    "another key for what is stored": ("upstreams:", f"secrets: {{key: '{'0' * 64}'}}\nupstreams:"),
}


@pytest.mark.parametrize("how", OPENING, ids=lambda how: how.replace(" ", "-"))
def test_what_lets_in_more_is_never_called_anything_else(effects, how):
    """Opened, or changed in a way that may open; the way back is not silent either."""
    found = effects(OPENING[how])
    assert found.may_open
    assert not found.summary().startswith("closes")


HIDDEN = {
    "methods that nobody names": (
        "match: {path: /open/**}",
        "match: {path: /open/**, methods: [GET, POST, PUT, DELETE, OPTIONS, HEAD]}",
    ),
    "a host that falls to a wildcard": (
        "host: staff.test, path: /**}",
        'host: other.test, path: /**}, auth: api, upstream: app}\n  - {name: wild, match: {host: "*.test", path: /deep/wild}',
    ),
    "another reading of paths": ('1:1"]}', '1:1"], paths: exact}'),
    "another audience of assertions": ('1:1"]}', '1:1"], audience: others}'),
    "sessions of the gate's own pages": (
        "cookie: sid}",
        "cookie: sid}\n  own: {type: session, format: native, cookie: own}\nlogin: {scheme: own}",
    ),
    "connections that stay": ("roles: [a, b]}", "roles: [a, b]}, streams: {on_expiry: keep}"),
    "shared caches": ("roles: [a, b]}", "roles: [a, b]}, cache: shared"),
    "no confirmation any more": ("upstreams:", "reload: {refuse_opening: true}\nupstreams:"),
    "another origin": ("upstreams:", 'server: {public_url: "https://a.test"}\nupstreams:'),
}


@pytest.mark.parametrize("how", HIDDEN, ids=lambda how: how.replace(" ", "-"))
def test_what_is_easily_overlooked_is_told_both_ways(effects, how):
    """One of the two directions opens, so that one of them at least asks."""
    old, new = HIDDEN[how]
    there, back = effects((old, new)), effects((new, old), base=BEFORE.replace(old, new))
    assert there.changes
    assert back.changes
    assert there.may_open or back.may_open


CLOSING = {
    "a route is gone": (
        "  - {name: open, match: {path: /open/**}, auth: none, upstream: app}\n",
        "",
    ),
    "public becomes guarded": ("auth: none, upstream: app}", "auth: api, upstream: app }"),
    "a role less": ("roles: [a, b]", "roles: [a]"),
    "every role": ("roles: [a, b]", "roles: {all: [a, b]}"),
    "a scheme less": ("auth: [api, web]", "auth: web"),
    "a shorter time": ("mfa_within: 5m", "mfa_within: 4m"),
    "one more demand": ("mfa_within: 5m", "mfa_within: 5m, scopes: [x]"),
    "proofs": ("roles: [a, b]}", "roles: [a, b]}, dpop: required"),
}


@pytest.mark.parametrize("how", CLOSING, ids=lambda how: how.replace(" ", "-"))
def test_what_lets_in_less_asks_nobody(effects, how):
    """What is plainly stricter may be taken without a word, and its opposite may not."""
    found = effects(CLOSING[how])
    assert {change.kind for change in found.changes} <= {"closes"} or how == "every role"
    assert found.changes
    if how != "every role":
        assert not found.may_open
    old, new = CLOSING[how]
    if old in BEFORE and new:
        after = BEFORE.replace(old, new)
        assert effects((new, old), base=after).may_open


def test_what_a_nearer_route_does_not_take_is_told_by_a_request(effects):
    """A public page more hides the other methods of its path: that is not a route that is gone."""
    home = "routes:\n  - {name: home, match: {path: /open/a, methods: [GET]}, auth: none, upstream: app}"
    (closed,) = [one for one in effects(("routes:", home)).changes if one.kind == "closes"]
    assert ("open", "POST /open/a has no route any more") == (closed.route, closed.detail)


def test_each_effect_is_told_once_by_its_route(effects):
    """However many paths and methods it has."""
    found = effects(
        ("routes:", "routes:\n  - {name: new, match: {path: /new/**}, auth: none, upstream: app}"),
        ("  - {name: open, match: {path: /open/**}, auth: none, upstream: app}\n", ""),
        ("roles: [a, b]", "roles: [a, c]"),
    )
    assert [(one.kind, one.route) for one in found.changes] == [
        ("opens", "new"),
        ("closes", "open"),
        ("changes", "api"),
    ]
    assert found.summary() == "opens 1 route, closes 1, changes 1"


OVERLAPS = {
    "where two patterns meet": (
        ("/{x}/b/**", "none", "none"),
        ("/a/**", "api", None),
    ),
    "far below a rest": (
        ("/{x}/{y}/{z}/{v}/c", "none", "none"),
        ("/a/**", "api", None),
    ),
    "beside a word that stands for any": (("/p/any", "api", "api"), ("/p/{x}", "api", "none")),
    "beside letters that stand for any": (("/p/x", "api", "api"), ("/p/{x}", "api", "none")),
    "an escape": (("/caf%C3%A9/a%20b/**", "api", "none"),),
    "beside a host": (("any.test/**", "api", "api"), ("*.test/**", "api", "none")),
    "beside no host": (("other.invalid/**", "api", "api"), ("/**", "api", "none")),
}
"""Patterns with how they are guarded before and after; `None`: not at all, as there is no such route."""


@pytest.mark.parametrize("how", OVERLAPS, ids=lambda how: how.replace(" ", "-"))
def test_what_opens_between_routes_is_seen_wherever_they_overlap(effects, how):
    """Every set of routes that some path matches is asked about, whatever words the file uses."""

    def listed(which):
        lines = []
        for pattern, *guards in OVERLAPS[how]:
            host, slash, path = pattern.partition("/")
            named = f'host: "{host}", ' if host else ""
            if guards[which] is not None:
                match = f'{{{named}path: "{slash}{path}"}}'
                lines.append(f"  - {{match: {match}, auth: {guards[which]}, upstream: app}}")
        return "routes:\n" + "\n".join(lines) + "\n"

    head = BEFORE[: BEFORE.index("routes:")]
    found = effects((listed(0), listed(1)), base=head + listed(0))
    assert any(change.kind == "opens" for change in found.changes)


def test_a_method_that_only_one_route_names_does_not_hide_what_all_others_may_do(effects):
    """There is a method that stands for all that no route names."""
    route = "  - {{match: {{path: /m, methods: [ANYTHING, X]}}, auth: api, upstream: app}}\n"
    base = BEFORE + route.format()
    more = "  - {match: {path: /m}, auth: none, upstream: app}\n"
    found = effects(("\n" + route.format(), "\n" + route.format() + more), base=base)
    assert [(one.kind, one.route) for one in found.changes] == [("opens", "/m")]


def test_patterns_that_overlap_in_too_many_ways_may_open(effects, monkeypatch):
    """What is not looked at is not called harmless."""
    monkeypatch.setattr("proxy.services.effects.MOST_PATHS", 3)
    found = effects(("# a word\n", "# another\n"), base=BEFORE + "# a word\n")
    assert found.may_open


def test_a_server_less_is_no_move(effects):
    """Servers of an upstream do the same, so that nothing is reached that was not."""
    base = BEFORE.replace('["http://127.0.0.1:1"]', '["http://127.0.0.1:1", "http://127.0.0.1:2"]')
    assert not effects((', "http://127.0.0.1:2"', ""), base=base).may_open
    assert effects((', "http://127.0.0.1:2"', ', "http://127.0.0.1:4"'), base=base).may_open


def test_a_longer_session_of_the_gates_own_pages_is_told(effects):
    """A scheme opens them even where no route names it."""
    base = BEFORE.replace("[api, web]", "api") + "login: {scheme: web}\n"
    found = effects(("cookie: sid", "cookie: sid, idle_timeout: 10h"), base=base)
    assert [one.detail for one in found.changes] == ["scheme web is another one: idle_timeout"]
    assert found.may_open


def test_fewer_trusted_proxies_may_open_too(effects):
    """Everybody behind one that is not believed has its address: sessions are bound to less."""
    trusting = "server: {trusted_proxies: [10.0.0.0/8]}\n"
    assert effects((trusting, ""), base=trusting + BEFORE).may_open


def test_what_reads_alike_is_not_confirmed_by_one_digest(effects):
    """It is of the configurations, and not only of the words about them; of secrets it says nothing."""
    one, other = effects(("[a]", "[a, b]")), effects(("[a]", "[a, c]"))
    assert one == other
    assert one.digest != other.digest
    secret = effects(("s" * 64, "t" * 64)), effects(("s" * 64, "u" * 64))
    assert secret[0].may_open
    assert secret[0].digest == secret[1].digest


def test_a_confirmation_is_for_these_effects_alone(effects):
    """Another change has another digest, and a program reads back what was told."""
    one, other = effects(OPENING["a route"]), effects(OPENING["no roles"])
    assert one.digest != other.digest
    assert Effects.from_json(one.to_json()) == one


def test_two_equal_routes_do_not_differ(tmp_path):
    """Nothing is told where nothing has changed."""
    path = tmp_path / "gate.yaml"
    path.write_text(BEFORE)
    config = load(path).config
    for route in config.routes:
        assert not list(compare_routes(config, route, config, route))
