"""Tokens: verified with every promise kept, or `TokenInvalid`.

Input: a letter and the rest. `r`: raw bytes as they stand in a request. `h` and `e`: a header, a
line's end and a payload, which are signed here, by HMAC or Ed25519: what is behind the signature
is fuzzed too. `l`: the same for a scheme of locally issued tokens.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from proxy.core.compact import decode_segment, encode_segment
from proxy.core.credentials import basic_password, bearer_token, unverified_issuer
from proxy.core.jose import MAX_TIME, TokenVerifier, VerifiedToken
from proxy.core.keyset import KeySet
from proxy.errors import TokenInvalid

NOW = 1_800_000_000.0
ISSUER = "https://id.example.com/"
AUDIENCE = "shop-api"
SECRET = b"a-secret-that-only-these-inputs-are-signed-with"
PRIVATE = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = {
    "keys": [
        {
            "kty": "OKP",
            "crv": "Ed25519",
            "kid": "k1",
            "x": encode_segment(PRIVATE.public_key().public_bytes_raw()).decode(),
        }
    ]
}


def _verifier(**settings: Any) -> TokenVerifier:
    return TokenVerifier(issuer=ISSUER, audiences=frozenset({AUDIENCE}), **settings)


HMAC = (_verifier(algorithms=["HS256"]), KeySet.from_secret(SECRET, algorithms=["HS256"]))
KEYS = KeySet.from_jwks(PUBLIC, algorithms=["EdDSA"])
SIGNED = (_verifier(algorithms=["EdDSA"], max_lifetime=86_400.0), KEYS)
LOCAL = (_verifier(algorithms=["EdDSA"], is_local=True), KEYS)

WORDS = (
    *(b'"alg"', b'"HS256"', b'"EdDSA"', b'"Ed25519"', b'"none"', b'"RS256"', b'"typ"', b'"JWT"'),
    *(b'"at+jwt"', b'"logout+jwt"', b'"kid"', b'"k1"', b'"crit":["b64"]', b'"b64":false', b'"jwk"'),
    *(b'"jku"', b'"x5c"', b'"iss"', b'"aud"', b'"exp"', b'"nbf"', b'"iat"', b'"jti"', b'"sub"'),
    *(b'"cnf"', b'"events"', b"1800000000", b"1e400", b"-1", b"0.5", b"NaN", b"true", b"null"),
    *(b"[", b"]", b"{", b"}", b",", b":", b'""', b"\n", b".", b"=", b"-", b"_", b"\\u0000"),
    *(b"\\ud800", b"\xff", b"\xef\xbb\xbf", b'"sub":"ann"', b'"exp":1800000300', b"[" * 70),
    *(b'"https://id.example.com/"', b'"shop-api"', b'["shop-api"]', b"9" * 25, b"eyJ", b"Bearer "),
)


def one_input(data: bytes) -> None:
    """Verify one token, wherever it is from."""
    kind, rest = data[:1], data[1:]
    header, _, payload = rest.partition(b"\n")
    signing_input = encode_segment(header) + b"." + encode_segment(payload)
    if kind == b"h":
        signature = hmac.digest(SECRET, signing_input, hashlib.sha256)
        _verify(signing_input + b"." + encode_segment(signature), *HMAC)
    elif kind in {b"e", b"l"}:
        token = signing_input + b"." + encode_segment(PRIVATE.sign(signing_input))
        _verify(token, *(SIGNED if kind == b"e" else LOCAL))
    else:
        issuer = unverified_issuer(rest)
        assert issuer is None or isinstance(issuer, str)
        assert [bearer_token(rest), basic_password(rest)].count(None) >= 1
        for check, keys in (HMAC, SIGNED, LOCAL):
            _verify(rest, check, keys)


def _verify(token: bytes, check: TokenVerifier, keys: KeySet) -> None:
    try:
        verified = check.verify(token, keys, NOW)
    except TokenInvalid:
        return
    _check_promises(verified)
    for segment in token.split(b"."):
        assert encode_segment(decode_segment(segment)) == segment, "one spelling of each token"


def _check_promises(verified: VerifiedToken) -> None:
    claims = verified.claims
    assert claims["iss"] == ISSUER
    audience = claims["aud"]
    assert AUDIENCE in ([audience] if isinstance(audience, str) else audience)
    assert "cnf" not in claims
    assert isinstance(claims.get("sub", ""), str)
    assert isinstance(verified.jti_name, str)
    assert verified.jti_name
    assert NOW - 31 < claims["exp"] <= MAX_TIME
    assert claims["iat"] <= NOW + 31
    json.dumps(dict(claims), ensure_ascii=False, allow_nan=False).encode()
