"""What compiling a configuration finds out."""

from __future__ import annotations

from pathlib import Path

import pytest

from proxy.config.loader import parse_config
from proxy.errors import ConfigErrors
from proxy.services.compile import needs_store
from proxy.services.compile_checks import compile_problems

APP = 'upstreams: {app: {servers: ["http://127.0.0.1:1"]}}\n'
JSON = "{type: session, format: json, cookie: c, prefix: 's:', identity: {subject: id}}"


def load(text):
    return parse_config(
        (APP + text).encode(),
        file="gate.yaml",
        base=Path("/base"),
        checks=[compile_problems],
        environment={},
    )


def test_k6_a_foreign_scheme_cannot_take_the_origin_of_others():
    """Its name is its people's origin; `local` is that of native sessions."""
    text = f"schemes: {{local: {JSON}}}\nroutes: [{{auth: local, upstream: app}}]\n"
    with pytest.raises(ConfigErrors, match="origin of other identities"):
        load(text)

    assert load(text.replace("local", "shop")).config.schemes.keys() == {"shop"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("routes: [{auth: none, upstream: app}]\n", False),
        (f"schemes: {{s: {JSON}}}\nroutes: [{{auth: s, upstream: app}}]\n", True),
    ],
)
def test_a_store_runs_only_where_something_needs_it(text, expected):
    """A public gate has no store."""
    assert needs_store(load(text).config) is expected


def test_p4_a_weaker_way_to_an_upstream_is_a_warning():
    """`check` says by which route a guarded path of the application can be reached."""
    loaded = load(
        "schemes: {w: {type: session, format: native}}\n"
        "routes:\n"
        "  - {match: {host: a.example.com, path: /admin/**}, auth: w, upstream: app}\n"
        "  - {match: {host: b.example.com, path: /**}, auth: none, upstream: app}\n"
    )

    assert any(error.path == "routes[1].match" for error in loaded.warnings)


def test_p4_a_way_without_proof_is_a_weaker_one():
    """Who has stolen a token would take the route that asks for no proof."""
    text = (
        "tokens: {issuer: 'https://t', audience: a}\n"
        "schemes: {s: {type: jwt, keys: {local: true}}}\n"
        "routes:\n"
        "  - {match: {host: a.example.com, path: /**}, auth: s, dpop: required, upstream: app}\n"
        "  - {match: {host: b.example.com, path: /**}, auth: s, upstream: app}\n"
    )

    assert any(error.path == "routes[1].match" for error in load(text).warnings)
    same = text.replace("auth: s, upstream", "auth: s, dpop: required, upstream")
    assert not any(error.path == "routes[1].match" for error in load(same).warnings)
    fresh = same.replace("dpop: required", "dpop: nonce", 1)
    assert any(error.path == "routes[1].match" for error in load(fresh).warnings)


def test_p4_a_way_that_only_reports_is_a_weaker_one():
    """Who is refused by the one route would take the other, while that lets everybody through."""
    text = (
        "schemes: {w: {type: session, format: native}}\n"
        "routes:\n"
        "  - {match: {host: a.example.com, path: /**}, auth: w, upstream: app}\n"
        "  - {match: {host: b.example.com, path: /**}, auth: w, upstream: app, mode: enforce}\n"
    )

    assert not any(error.path == "routes[1].match" for error in load(text).warnings)
    weak = text.replace("mode: enforce", "mode: {report: {until: 2099-12-31}}")
    assert any(error.path == "routes[1].match" for error in load(weak).warnings)


@pytest.mark.parametrize(
    "path",
    ["/_auth", "/_auth/", "/_auth/**", "/_auth/jwks.json", "/_auth/x", "/%5fauth/{x}", "/_AUTH/x"],
)
@pytest.mark.parametrize("host", ["", "host: a.example.com, "])
def test_what_lies_under_the_gates_own_paths_is_no_route(host, path):
    """The gate answers there itself, so that a route would never match; it is told at its path."""
    with pytest.raises(ConfigErrors) as caught:
        load(f'routes: [{{match: {{{host}path: "{path}"}}, auth: none, upstream: app}}]\n')

    assert [error.path for error in caught.value.errors] == ["routes[0].match.path"]
    assert "/_auth is the gate's own" in caught.value.errors[0].message


@pytest.mark.parametrize("path", ["/**", "/{x}/**", "/_authority", "/x/_auth/**"])
def test_a_route_may_lie_around_the_gates_own_paths(path):
    """A wider pattern loses `/_auth` to the gate and keeps the rest."""
    text = f'routes: [{{match: {{path: "{path}"}}, auth: none, upstream: app}}]\n'

    assert load(text).config.routes[0].match.path == path


def test_an_exact_upstream_tells_other_cases_from_the_gates_own_paths():
    """With `paths: exact` another case is another path, which may be a route."""
    text = "routes: [{match: {path: /_AUTH/x}, auth: none, upstream: app}]\n"
    exact = APP.replace("]}", "], paths: exact}")

    found = parse_config(
        (exact + text).encode(), file="f", base=Path("/"), checks=[compile_problems], environment={}
    )
    assert found.config.routes[0].match.path == "/_AUTH/x"


@pytest.mark.parametrize(
    "mistake",
    [
        'identity: {headers: {Host: "{sub}"}}',
        'identity: {headers: {"a b": "{sub}"}}',
        'identity: {headers: {X-User: "{sub"}}',
        "identity: {headers: [X-User]}",
        "cross_site: never",
        "unknown: 1",
    ],
)
def test_two_equal_routes_are_told_beside_another_mistake(mistake):
    """All mistakes are told at once: a bad key of a route says nothing about its match."""
    with pytest.raises(ConfigErrors) as caught:
        load(
            "schemes: {web: {type: session, format: native}}\n"
            "routes:\n"
            "  - {match: {path: /**}, auth: web, upstream: app}\n"
            f"  - {{match: {{path: /**}}, auth: web, upstream: app, {mistake}}}\n"
        )
    equal = [error.path for error in caught.value.errors if "matches the same" in error.message]

    assert (["routes[1].match"], 2) == (equal, len(caught.value.errors))
