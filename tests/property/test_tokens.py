"""Whatever arrives is a verified token or a `TokenInvalid`, never anything else (K1, K2)."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.compact import decode_segment, encode_segment
from proxy.core.jose import MAX_TIME, TokenVerifier
from proxy.core.keyset import ASYMMETRIC, KeySet, KeySetInvalid
from proxy.errors import TokenExpired, TokenInvalid
from tests.token_workshop import (
    AUDIENCE,
    ISSUER,
    NOW,
    SECRET,
    assemble,
    b64,
    claims,
    jwk,
    private_key,
    token,
    unb64,
)

KINDS = {"RS256": "RSA", "PS256": "RSA", "ES256": "P-256", "ES512": "P-521", "EdDSA": "Ed25519"}
KEYS = KeySet.from_jwks(
    {"keys": [jwk(kind, kid=kind) for kind in sorted(set(KINDS.values()))]},
    algorithms=sorted(KINDS),
)
CHECK = TokenVerifier(issuer=ISSUER, audiences=frozenset({AUDIENCE}), algorithms=sorted(KINDS))
HMAC_KEYS = KeySet.from_secret(SECRET, algorithms=["HS256"])
HMAC_CHECK = TokenVerifier(
    issuer=ISSUER, audiences=frozenset({AUDIENCE}), algorithms=["HS256"], max_lifetime=86_400.0
)
GOOD = {
    algorithm: token(algorithm, kind, header={"kid": kind}) for algorithm, kind in KINDS.items()
}

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)


def claims_of(raw, check=CHECK, keys=KEYS, now=NOW):
    """Return the claims of a token, or `None` if it is refused."""
    try:
        return check.verify(raw, keys, now).claims
    except TokenInvalid:
        return None


@given(st.binary(max_size=300))
def test_any_bytes_are_refused(raw):
    """Garbage is a refusal, never a crash."""
    assert claims_of(raw) is None


@given(st.sampled_from(sorted(GOOD)), st.data())
def test_no_changed_byte_is_accepted(algorithm, data):
    """A token that differs in one byte, anywhere, opens nothing (field.md §3 #41)."""
    raw = bytearray(GOOD[algorithm])
    raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))

    assert (claims() if bytes(raw) == GOOD[algorithm] else None) == claims_of(bytes(raw))


@given(
    st.sampled_from(sorted(GOOD)), st.integers(0, 900), st.integers(0, 900), st.binary(max_size=3)
)
def test_no_cut_or_spliced_token_is_accepted(algorithm, start, length, put):
    """Pieces removed and bytes put in: only the token itself opens."""
    good = GOOD[algorithm]
    raw = good[:start] + put + good[start + length :]

    assert (claims() if raw == good else None) == claims_of(raw)


@given(st.sampled_from(sorted(GOOD)), st.binary(max_size=600))
def test_no_other_signature_is_accepted(algorithm, signature):
    """Signatures of any length and content are refused, without an error of a library."""
    body, _, own = GOOD[algorithm].rpartition(b".")
    forged = body + b"." + b64(signature).encode()

    assert (claims() if unb64(own.decode()) == signature else None) == claims_of(forged)


@given(st.dictionaries(st.sampled_from(["alg", "typ", "kid", "crit", "b64", "jwk", "x"]), JSON))
def test_any_signed_header_is_a_token_or_a_refusal(header):
    """Also what the issuer signed may be odd."""
    raw = assemble(json.dumps(header).encode(), json.dumps(claims()).encode(), "HS256", SECRET)
    accepted = claims_of(raw, HMAC_CHECK, HMAC_KEYS)

    if accepted is not None:
        assert "HS256" == header["alg"]
        assert header.keys().isdisjoint({"crit", "b64"})


@given(
    st.dictionaries(
        st.sampled_from(["iss", "sub", "aud", "exp", "iat", "nbf", "jti", "cnf", "events", "x"]),
        JSON | st.just(ISSUER) | st.just(AUDIENCE) | st.integers(int(NOW) - 99, int(NOW) + 99),
    ),
    st.booleans(),
)
def test_any_signed_claims_are_a_token_or_a_refusal(changes, is_based_on_good):
    """What is accepted holds every promise of K2, whatever else it says."""
    said = (claims() if is_based_on_good else {}) | changes
    raw = assemble(b'{"alg":"HS256"}', json.dumps(said).encode(), "HS256", SECRET)
    accepted = claims_of(raw, HMAC_CHECK, HMAC_KEYS)
    if accepted is None:
        return

    assert ISSUER == accepted["iss"]
    assert AUDIENCE in accepted["aud"]
    assert "cnf" not in accepted
    assert isinstance(accepted.get("sub", ""), str)
    assert isinstance(accepted.get("jti", ""), str)
    assert NOW - 30 < accepted["exp"] + 1 <= MAX_TIME + 1
    assert accepted["iat"] <= NOW + 31
    assert accepted["exp"] - accepted["iat"] <= 86_401
    json.dumps(accepted, ensure_ascii=False, allow_nan=False).encode()


@given(st.integers(0, 100_000), st.floats(-1000, 200_000))
def test_a_token_is_good_exactly_in_its_time(life, later):
    """Before `exp` and the leeway it is good, from then on it is expired, and nothing else."""
    raw = token("HS256", key=SECRET, exp=NOW + life)
    now = NOW + later
    try:
        HMAC_CHECK.verify(raw, HMAC_KEYS, now)
        outcome = "good"
    except TokenExpired:
        outcome = "expired"
    except TokenInvalid:
        outcome = "refused"

    if life > 86_400 or later < -30:
        assert "refused" == outcome
    else:
        assert ("good" if later < life + 30 else "expired") == outcome


@given(st.binary(max_size=64))
def test_base64url_is_a_bijection(raw):
    """Each value has one spelling, and each accepted spelling is that one."""
    assert raw == decode_segment(encode_segment(raw))


@given(st.text("ABab01-_+/= \n.", max_size=12))
def test_what_decodes_is_canonical(text):
    """If a segment is accepted, encoding its value gives the segment back."""
    segment = text.encode()
    try:
        decoded = decode_segment(segment)
    except ValueError:
        return
    assert segment == encode_segment(decoded)


@given(
    st.lists(
        JSON
        | st.builds(
            lambda kind, changes: jwk(kind) | changes,
            st.sampled_from(["RSA", "P-256", "P-521", "Ed25519", "Ed448", "RSA-1024"]),
            st.dictionaries(
                st.sampled_from(
                    ["kty", "crv", "n", "e", "x", "y", "d", "k", "kid", "use", "key_ops", "alg"]
                ),
                JSON
                | st.sampled_from(["RSA", "EC", "OKP", "oct", "P-256", "AQAB", "sig", "RS256"]),
                max_size=2,
            ),
        ),
        max_size=3,
    )
)
def test_any_key_document_is_a_set_or_an_error(members):
    """A provider's document never crashes the gate, and K1 holds for every key that is used."""
    document = json.dumps({"keys": members}).encode()
    try:
        keys = KeySet.from_jwks(document, algorithms=ASYMMETRIC)
    except KeySetInvalid:
        return
    for key in keys:
        assert key.algorithms <= ASYMMETRIC
        assert key.algorithms
    assert len(keys) + len(keys.skipped) <= len(members)


@given(st.binary(max_size=200))
def test_any_key_file_is_a_set_or_an_error(document):
    """A file of garbage is told; it never makes an empty scheme."""
    for raw in (document, b"-----BEGIN PUBLIC KEY-----\n" + document, document + b'{"keys":[]}'):
        with pytest.raises(KeySetInvalid):
            KeySet.from_file(raw, algorithms=ASYMMETRIC)


def test_the_workshop_agrees_with_the_product():
    """The forger's own base64 is the product's, or the tests above would show nothing."""
    private = private_key("Ed25519")

    assert private.public_key().public_bytes_raw() == decode_segment(jwk("Ed25519")["x"].encode())
