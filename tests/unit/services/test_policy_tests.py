from __future__ import annotations

import pytest

from proxy.errors import ConfigErrors
from proxy.run.loading import load

GATE = """\
server: {public_url: https://shop.example.com}
store: {url: "redis://127.0.0.1:1"}
secrets: {key: "0000000000000000000000000000000000000000000000000000000000000000"}
tokens: {issuer: https://shop.example.com, audience: shop}
upstreams: {app: {servers: ["https://127.0.0.1:1"], balance: {hash: subject}}}
schemes:
  web: {type: session, format: native}
  api: {type: jwt, keys: {local: true}}
  idp:
    type: jwt
    issuer: https://id.example.com/
    audience: [shop]
    identity: {subject: "{iss}|{sub}"}
    keys: {jwks_url: "https://id.example.com/keys"}
  app: {type: session, format: json, cookie: sid, store: "redis://127.0.0.1:1/1", identity: {subject: user}}
routes:
  - {name: all, match: {path: "/**"}, auth: [api, web], upstream: app}
  - {name: mine, match: {path: "/mine"}, auth: app, upstream: app}
  - {name: admin, match: {path: "/admin/**"}, auth: [api, idp], require: {roles: [admin]}, upstream: app}
  - {name: scoped, match: {path: "/scoped"}, auth: idp, require: {scopes: [a], claims: {t.n: x}}, upstream: app}
  - {name: signed, match: {path: "/signed"}, auth: web, upstream: app, identity: {assertion: true}}
  - {name: fresh, match: {path: "/fresh"}, auth: [api, web], require: {mfa_within: 15m, login_within: 1h}, upstream: app}
  - {name: open, match: {path: "/open", methods: [GET]}, auth: none, upstream: app}
  - {name: inner, match: {host: inner.example.com, path: "/**"}, auth: web, upstream: app}
tests:
"""


@pytest.fixture
def run(tmp_path):
    """Return a function that loads the gate with tests, and tells which of them fail and why."""

    def run(*tests: str) -> list[str]:
        file = tmp_path / "latchgate.yaml"
        file.write_text(GATE + "".join(f"  - {{{test}}}\n" for test in tests))
        try:
            load(file)
        except ConfigErrors as errors:
            return [str(error).removeprefix(f"{file}:") for error in errors.errors]
        return []

    return run


@pytest.mark.parametrize(
    "test",
    [
        "request: GET /open, expect: forward",
        "request: GET /open, expect: 200",
        "request: HEAD /open, expect: forward",
        "request: POST /open, expect: 405",
        "request: POST /open, expect: method_not_allowed",
        "request: GET /x, expect: credential_missing",
        "request: GET /x, as: {scheme: web}, expect: forward",
        "request: GET /fresh, as: {scheme: web}, expect: step_up_required",
        "request: GET /fresh, as: {scheme: web, login_age: 1m, amr: [pwd]}, expect: step_up_required",
        "request: GET /fresh, as: {scheme: web, login_age: 1m, amr: [pwd, otp]}, expect: forward",
        "request: GET /fresh, as: {scheme: api, login_age: 0s, amr: [mfa]}, expect: forward",
        "request: GET /fresh, as: {scheme: web, login_age: 15m, amr: [mfa]}, expect: step_up_required",
        "request: GET /x, as: {scheme: api}, expect: forward",
        "request: GET /x, as: {scheme: idp}, expect: 401",
        "request: GET /mine, as: {scheme: app}, expect: forward",
        "request: GET /signed, as: {scheme: web}, expect: forward",
        "request: GET /admin/x, as: {scheme: idp, roles: [admin]}, expect: forward",
        "request: GET /admin/x, as: {scheme: api, roles: [admin]}, expect: forward",
        "request: GET /admin/x, as: {scheme: idp, roles: [user]}, expect: role_missing",
        "request: GET /admin/x, as: {scheme: idp}, expect: 403",
        "request: GET /scoped, as: {scheme: idp, scopes: [a], claims: {t: {n: x}}}, expect: forward",
        "request: GET /scoped, as: {scheme: idp, scopes: [b], claims: {t: {n: x}}}, expect: scope_missing",
        "request: GET /scoped, as: {scheme: idp, scopes: [a]}, expect: claim_mismatch",
        "request: GET /_auth/jwks.json, expect: 200",
        "request: GET /_auth/login, expect: 404",
        "request: GET /admin%2fx, expect: path_ambiguous",
        "request: GET http://inner.example.com/open, expect: 401",
        "request: GET inner.example.com/open, expect: 401",
        "request: POST /x, as: {scheme: web}, expect: forward",
    ],
)
def test_a_test_that_holds_is_silent(run, test):
    """Through the gate itself: routes, schemes, requirements, path policy, methods."""
    assert [] == run(test)


@pytest.mark.parametrize(
    ("test", "mistake"),
    [
        (
            "request: GET /open, expect: 401",
            "26:34: tests[0].expect: expected 401, but the request is let through (open)",
        ),
        (
            "request: GET /x, expect: forward",
            (
                "26:31: tests[0].expect: expected it to be let through, but the answer is"
                " 401 credential_missing (all)"
            ),
        ),
        (
            "request: GET /admin/x, as: {scheme: api, roles: [user]}, expect: 200",
            (
                "26:71: tests[0].expect: expected it to be let through, but the answer is"
                " 403 role_missing (admin): has user, the route wants one of the roles admin"
            ),
        ),
        (
            "request: GET /_auth/jwks.json, expect: forward",
            "26:45: tests[0].expect: expected it to be let through, but the gate answers 200 itself",
        ),
    ],
)
def test_a_test_that_fails_is_a_mistake_at_its_expectation(run, test, mistake):
    """With its place, what was expected and what came."""
    assert [mistake] == run(test)


def test_every_failing_test_is_told(run):
    """All at once, as of every mistake."""
    found = run("request: GET /open, expect: 401", "request: GET /x, expect: 200")

    assert ["26:34", "27:31"] == [line.partition(": ")[0] for line in found]


def test_tests_are_run_on_a_whole_configuration_only(run):
    """On one with a gap they would tell of the gap."""
    found = run(
        "request: GET /x, as: {scheme: wep}, expect: 401", "request: GET /open, expect: 401"
    )

    assert ["26:36"] == [line.partition(": ")[0] for line in found]


def test_a_command_that_has_to_work_now_does_without_them(run, tmp_path):
    """Ending a session does not wait for a test to pass."""
    run("request: GET /open, expect: 401")

    assert load(tmp_path / "latchgate.yaml", runs_tests=False).config.tests


@pytest.mark.parametrize("dpop", ["required", "nonce"])
def test_a_good_token_has_its_proof(tmp_path, dpop):
    """Who is said to come with a good token comes with all that belongs to it, also a proof."""
    wanted = GATE.replace("auth: idp, require", f"auth: idp, dpop: {dpop}, require")
    file = tmp_path / "latchgate.yaml"
    file.write_text(
        wanted
        + "  - {request: GET /scoped, as: {scheme: idp, scopes: [a], claims: {t: {n: x}}}, expect: forward}\n"
        + "  - {request: GET /scoped, as: {scheme: idp}, expect: scope_missing}\n"
        + "  - {request: GET /scoped, expect: 401}\n"
    )

    assert load(file).config.routes[3].dpop == dpop


def test_s14_a_route_in_report_mode_is_tested_as_it_will_be(run, monkeypatch):
    """The tests of a file say what is to be refused: they hold before the route enforces and after."""
    text = GATE.replace(
        "auth: app, upstream", "auth: app, mode: {report: {until: 2099-12-31}}, upstream"
    )
    monkeypatch.setitem(globals(), "GATE", text)
    assert [] == run('request: "GET /mine", expect: 401')
    (failure,) = run('request: "GET /mine", expect: forward')
    assert failure.endswith("the answer would be 401 credential_missing (mine: report mode)")
