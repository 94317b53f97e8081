"""What a refusal tells a caller who could do better."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from proxy.model import Refusal
from proxy.services.challenges import challenges, with_challenge

ROUTE = SimpleNamespace(
    challenges=((b"WWW-Authenticate", b'Bearer realm="a"'), (b"WWW-Authenticate", b"Cookie")),
    scope_challenge=((b"WWW-Authenticate", b"scope"),),
    step_up_challenge=((b"WWW-Authenticate", b"newer"),),
)


@pytest.mark.parametrize(
    ("code", "headers"),
    [
        ("scope_missing", ROUTE.scope_challenge),
        ("step_up_required", ROUTE.step_up_challenge),
        ("role_missing", ()),
    ],
)
def test_what_would_open_the_route_is_told(code, headers):
    """A scope and a newer factor can be had (RFC 6750 §3.1, RFC 9470 §3); a role cannot."""
    assert headers == with_challenge(Refusal(code), ROUTE).headers


@pytest.mark.parametrize(
    ("code", "value"),
    [
        ("token_revoked", b'Bearer realm="a", error="invalid_token"'),
        ("credential_missing", b'Bearer realm="a"'),
    ],
)
def test_a_bad_token_is_told_apart_from_none(code, value):
    """`error` stands in the Bearer challenge alone, and only where a token was sent."""
    assert (value, b"Cookie") == tuple(value for _, value in challenges(ROUTE, code))


BEARER, PROOF = b'Bearer realm="a"', b'DPoP realm="a", algs="ES256"'
TOKEN, PROVED = b"Bearer x", b"DPoP x"


@pytest.mark.parametrize(
    ("code", "sent", "told"),
    [
        ("token_invalid", TOKEN, [BEARER + b', error="invalid_token"']),
        ("token_invalid", PROVED, [PROOF + b', error="invalid_token"', BEARER]),
        ("proof_invalid", PROVED, [PROOF + b', error="invalid_dpop_proof"', BEARER]),
        ("proof_nonce_missing", PROVED, [PROOF + b', error="use_dpop_nonce"', BEARER]),
        (
            "proof_missing",
            TOKEN,
            [PROOF + b', error="invalid_token"', BEARER + b', error="invalid_token"'],
        ),
        ("credential_missing", None, [BEARER]),
    ],
)
def test_the_kind_that_was_sent_is_blamed(code, sent, told):
    """RFC 9449 §7.1: a client that sends proofs is told by DPoP, others as before."""
    route = SimpleNamespace(
        challenges=((b"WWW-Authenticate", BEARER),),
        proof_challenges=((b"WWW-Authenticate", PROOF),),
        wants_proof=False,
    )

    assert told == [value for _, value in challenges(route, code, sent=sent)]
