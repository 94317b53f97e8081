from __future__ import annotations

import io

import pytest
from rich.console import Console

from proxy.cli.routes import say_policies

POLICY = """
upstreams: {app: {servers: ["http://127.0.0.1:1"]}, big: {servers: ["http://127.0.0.1:2"]}}
tokens: {issuer: https://shop.example.com, audience: shop}
schemes:
  web: {type: session, format: native}
  api: {type: jwt, keys: {local: true}}
routes:
  - {name: all, match: {path: "/**"}, auth: [api, web], both: refuse, upstream: app}
  - name: odd
    match: {host: a.example.com, path: "/odd/**", methods: [GET, POST]}
    auth: web
    require: {roles: {all: [a, b]}, claims: {tenant: acme}, mfa_within: 15m, login_within: 8h}
    upstream: big
    strip_prefix: /odd
    identity: {preset: remote-user, headers: {X-Who: "{sub}"}, assertion: true}
    cors: {origins: ["https://b.example.com"]}
    cross_site: ["https://c.example.com"]
    allow_paths: [encoded_slash]
    forward_credentials: true
    upgrades: []
    streams: {on_expiry: keep}
    cache: shared
  - {name: open, match: {path: "/open"}, auth: none, upstream: app}
"""


def test_public_routes_come_first_and_all_defaults_are_filled_in(latchgate):
    """One line for each route: who may pass where, and what is not as usual."""
    latchgate.write(POLICY)
    result = latchgate.run("routes")
    assert 0 == result.exit_code, result.output
    rows = [line.rstrip() for line in result.stdout.splitlines()]
    assert ["ROUTE", "open", "all", "odd"] == [row.split()[0] for row in rows]
    assert "none: PUBLIC" in rows[1]
    assert "api, web (both: refuse)" in rows[2]
    for words in (
        "GET, POST",
        "roles all of a, b; claim tenant any of acme; mfa within 900 s; login within 28800 s",
        "https://c.example.com",
        "big (without /odd)",
        (
            "identity: X-Who; identity: remote-user; identity: assertion; cors: https://b.example.com;"
            " allow_paths: encoded_slash; forward_credentials: true; upgrades: none;"
            " on_expiry: keep; cache: shared"
        ),
    ):
        assert words in rows[3]


def test_the_same_for_programs(latchgate):
    """In the configuration's words; public routes first as well."""
    latchgate.write(POLICY)
    found = latchgate.json("routes")
    assert [True, False, False] == [route["public"] for route in found["routes"]]
    assert {
        "name": "open",
        "public": True,
        "host": None,
        "path": "/open",
        "methods": None,
        "auth": "none",
        "both": "first",
        "same_subjects": False,
        "dpop": "optional",
        "require": {},
        "cross_site": "refuse",
        "upstream": "app",
        "strip_prefix": None,
        "identity": {},
        "cors": None,
        "forward_credentials": None,
        "allow_paths": [],
        "pass_headers": [],
        "upgrades": ["websocket"],
        "streams": {"on_expiry": "close"},
        "cache": "private",
        "mode": "enforce",
    } == found["routes"][0]
    assert {
        "roles": {"all": ["a", "b"]},
        "claims": {"tenant": {"any": ["acme"]}},
        "mfa_within": 900.0,
        "login_within": 28800.0,
    } == found["routes"][2]["require"]
    assert "file" == found["configuration"]["from"]


@pytest.mark.parametrize(("no_color", "is_red"), [("", True), ("1", False)])
def test_what_is_public_is_red_on_a_terminal(latchgate, monkeypatch, no_color, is_red):
    """Not in a pipe, and not where NO_COLOR asks for none."""
    latchgate.write(POLICY)
    monkeypatch.setenv("NO_COLOR", no_color)
    assert "\x1b[" not in latchgate.run("routes").stdout
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    shown = latchgate.run("routes").stdout
    assert is_red == ("31m" in shown)


def test_mistakes_are_told_as_by_check(latchgate):
    """Status 2; a failing policy test is none, so that one can look into it."""
    latchgate.write(POLICY.replace("auth: none", "auth: nobody"))
    assert 2 == latchgate.run("routes").exit_code
    latchgate.write(POLICY + 'tests: [{request: "GET /open", expect: 401}]\n')
    assert 0 == latchgate.run("routes").exit_code


def test_a_terminal_that_is_too_narrow_shows_blocks(latchgate):
    """Nothing is cut or broken at 80 columns; what fits is a table there too."""
    latchgate.write(POLICY)
    found = latchgate.json("routes")["routes"]

    def shown(width):
        console = Console(file=io.StringIO(), force_terminal=True, color_system=None, width=width)
        say_policies(found, console)
        return [line.rstrip() for line in console.file.getvalue().splitlines()]

    narrow, wide = shown(80), shown(400)
    assert all(len(line) <= 80 for line in narrow)
    assert "\u2026" not in "".join(narrow)
    assert ["ROUTE", "open"] == narrow[0].split()
    assert "UPSTREAM    big (without /odd)" in narrow
    assert 2 == narrow.count("")
    assert ["ROUTE", "METHODS"] == wide[0].split()[:2]
    assert len(found) + 1 == len(wide)
