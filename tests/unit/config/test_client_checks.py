"""Clients, and the tokens that are issued to them."""

from __future__ import annotations

import pytest

SECRET = "0123456789abcdef0123456789abcdef"
TOKENS = "tokens: {issuer: 'https://a', audience: b}\n"


def told(reading, text):
    return [line.split(" ", 1)[1] for line in reading.mistakes(reading.good + TOKENS + text)]


@pytest.mark.parametrize(
    "text",
    [
        "clients: {spa: {public: true}}",
        f"clients: {{a: {{secret: {SECRET}}}}}",
        f"clients: {{a: {{secret: [{SECRET}, {SECRET}x], grants: client_credentials, scopes: [x]}}}}",
        f"clients: {{a: {{secret: {SECRET}, grants: [password, refresh_token]}}}}",
        "clients: {spa: {public: true, grants: [password]}}",
    ],
)
def test_clients_that_can_be_served(reading, text):
    """One secret or several, one grant or several, public or not."""
    assert [] == told(reading, text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("clients: {a: {}}", "clients.a: needs a `secret`, or `public: true`"),
        (
            f"clients: {{a: {{public: true, secret: {SECRET}}}}}",
            "clients.a.secret: a public client",
        ),
        ("clients: {a: {secret: short}}", "clients.a.secret: must be 32 bytes at least"),
        (f"clients: {{a: {{secret: [{SECRET}, short]}}}}", "clients.a.secret[1]: must be 32 bytes"),
        (
            "clients: {a: {public: true, grants: client_credentials}}",
            "clients.a.grants: a public client has nothing",
        ),
        ("clients: {a: {public: true, scopes: x}}", "clients.a.scopes: is for the grant client_cr"),
        ("clients: {a: {public: true, roles: x}}", "clients.a.roles: is for the grant client_cred"),
        (
            f"clients: {{a: {{secret: {SECRET}, grants: client_credentials, scopes: ['a b']}}}}",
            "clients.a.scopes[0]: must be printable ASCII",
        ),
        ("clients: {a: {public: true, grants: []}}", "clients.a.grants: must not be empty"),
        ("clients: {a: {public: true, grants: [implicit]}}", "clients.a.grants[0]: must be"),
        ("clients: {latchgate: {public: true}}", "clients.latchgate: is the client_id of tokens"),
    ],
)
def test_clients_that_make_no_sense(reading, text, expected):
    """One mistake, one sentence, where it is."""
    found = told(reading, text)

    assert len(found) == 1, found
    assert found[0].startswith(expected)


def test_clients_need_tokens(reading):
    """Without `tokens:` the gate issues none."""
    found = reading.mistakes(reading.good + "clients: {a: {public: true}}\n")

    assert ["clients: needs the section `tokens`, which says what tokens the gate issues"] == [
        line.split(" ", 1)[1] for line in found
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("access: 10m, refresh: 5m", "tokens.refresh: is shorter than tokens.access"),
        ("reuse_grace: 2m", "tokens.reuse_grace: must be at most 60s"),
        ("reuse_grace: 0s", None),
        ("refresh: 90d, encrypt: true", None),
    ],
)
def test_lives_of_tokens(reading, text, expected):
    """A refresh token outlives what it renews; the grace is for lost answers only."""
    found = reading.mistakes(f"{reading.good}tokens: {{issuer: a, audience: b, {text}}}\n")

    assert ([] if expected is None else [expected]) == [
        line.split(" ", 1)[1][: len(expected or "")] for line in found
    ]


def test_s9_clients_tokens_can_be_ended(reading):
    """S9: a scheme that never asks for revocations would go on taking what a family's end has ended."""
    text = """\
        upstreams: {a: {servers: ["http://127.0.0.1:1"]}}
        schemes: {api: {type: jwt, keys: {local: true}, revocation: none, max_lifetime: 15m}}
        routes: [{match: {path: /**}, auth: api, upstream: a}]
        tokens: {issuer: 'https://a', audience: b}
        clients: {spa: {public: true}}
        """

    assert "schemes.api.revocation: with `clients` it must be `store`" in reading.mistakes(text)[0]
