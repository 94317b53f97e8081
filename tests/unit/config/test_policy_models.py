from __future__ import annotations

import pytest

TESTS = """\
upstreams:
  shop: {servers: ["http://127.0.0.1:9001"]}
schemes:
  web: {type: session, format: native}
routes:
  - {match: {path: /**}, auth: web, upstream: shop}
tests:
  - %s
"""


def test_a_test_is_a_request_somebody_and_an_expectation(reading):
    """Only request and expectation are needed; who is not named is somebody."""
    config = reading.config(TESTS % '{request: GET /a, as: {scheme: web}, expect: "role_missing"}')
    (test,) = config.tests

    assert ("GET /a", "role_missing") == (test.request, test.expect)
    assert test.as_ is not None
    assert ("web", "somebody", None) == (test.as_.scheme, test.as_.subject, test.as_.roles)


def test_claims_are_whatever_a_token_says(reading):
    """Objects, lists, numbers and flags."""
    line = "{request: GET /a, as: {scheme: web, claims: {a: {b: [1, true]}}}, expect: 200}"
    (test,) = reading.config(TESTS % line).tests

    assert test.as_ is not None
    assert {"a": {"b": [1, True]}} == test.as_.claims


@pytest.mark.parametrize(
    ("line", "mistake"),
    [
        ("{request: /a, expect: 401}", "8:15: tests[0].request: must be a method and a path"),
        ("{request: GET /a}", "8:5: tests[0].expect: is required"),
        ("{request: GET /a, expect: 299}", "8:31: tests[0].expect: must be 200 (let through)"),
        ("{request: GET /a, expect: true}", "8:31: tests[0].expect: must be forward, a status"),
        (
            "{request: GET /a, expect: role_mising}",
            (
                "8:31: tests[0].expect: must be forward, a status, or a code of docs/codes.md;"
                " did you mean `role_missing`?"
            ),
        ),
        (
            "{request: GET /a, as: {scheme: wep}, expect: 200}",
            "8:36: tests[0].as.scheme: there is no such name in `schemes`; did you mean `web`?",
        ),
        (
            "{request: GET /a, as: {scheme: web, role: [a]}, expect: 200}",
            "8:41: tests[0].as.role: unknown key; did you mean `roles`?",
        ),
    ],
)
def test_mistakes_have_their_place(reading, line, mistake):
    """At the value that is wrong, with the nearest word."""
    (found,) = reading.mistakes(TESTS % line)

    assert found.startswith(mistake)
