"""DPoP proofs of whatever bytes: refused in one way, or good, and then they say what was signed."""

from __future__ import annotations

import json

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.core.dpop import ProofRequest, ProofVerifier, normal_path
from proxy.errors import ProofInvalid
from proxy.model import ClientInfo
from tests import proof_maker
from tests import token_workshop as workshop
from tests.token_workshop import NOW, b64

URL = "https://a.example/x"
CLIENT = ClientInfo(None, "https", "a.example", 443, is_trusted_peer=False)
VERIFIER = ProofVerifier("https://a.example")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)
NUMBERS = st.binary(max_size=300).map(b64)
KEYS = st.one_of(
    st.fixed_dictionaries({"kty": st.just("RSA"), "n": NUMBERS, "e": NUMBERS}),
    st.fixed_dictionaries(
        {
            "kty": st.just("EC"),
            "crv": st.sampled_from(["P-256", "P-384", "P-521"]),
            "x": NUMBERS,
            "y": NUMBERS,
        }
    ),
    st.fixed_dictionaries({"kty": st.just("OKP"), "crv": st.just("Ed25519"), "x": NUMBERS}),
    JSON,
)


def verify(raw):
    return VERIFIER.verify(ProofRequest([raw], "GET", b"/x", CLIENT), NOW, b"a.b.c")


@given(st.binary(max_size=200))
def test_bytes_are_no_proof(raw):
    """Nothing but `ProofInvalid` comes of what is no proof."""
    with pytest.raises(ProofInvalid):
        verify(raw)


@given(
    KEYS,
    st.sampled_from(["ES256", "ES384", "ES512", "EdDSA", "Ed25519", "RS256", "PS512"]),
    NUMBERS,
)
@settings(max_examples=300)
def test_a_key_of_any_numbers_proves_nothing(jwk, algorithm, signature):
    """The client writes the key itself: no modulus, exponent or point does more than be refused."""
    header = json.dumps({"typ": "dpop+jwt", "alg": algorithm, "jwk": jwk}).encode()

    with pytest.raises(ProofInvalid):
        verify(f"{b64(header)}.{b64(b'{}')}.{signature}".encode())


@given(st.sampled_from(["jti", "htm", "htu", "iat", "ath", "nonce"]), JSON)
def test_a_claim_of_any_kind_is_refused_or_said(name, value):
    """Signed by a good key, a claim of another type or value is as bad as none."""
    raw = proof_maker.proof("GET", URL, "a.b.c", **({"iat": int(NOW)} | {name: value})).encode()
    try:
        proof = verify(raw)
    except ProofInvalid:
        return
    assert proof.jkt == proof_maker.thumbprint("P-256")
    assert name in ("jti", "iat", "nonce")
    assert name not in ("jti", "nonce") or getattr(proof, name) == value


@given(st.binary(max_size=60) | st.lists(st.sampled_from([*b"%/.4EAe~"]), max_size=20).map(bytes))
def test_a_path_is_normal_once_it_was_made_so(path):
    """Twice is the same as once, and what comes out is visible ASCII."""
    normal = normal_path(b"/" + path)

    assert normal_path(normal) == normal
    assert all(0x21 <= byte <= 0x7E for byte in normal)


@pytest.mark.parametrize("size", [2047, 2048, 4096])
@pytest.mark.parametrize("exponent", [0, 1, 2, 3, 2**64])
def test_odd_rsa_keys_are_refused_without_a_word_of_openssl(size, exponent):
    """A modulus that is even, or an exponent that is none, does nothing but prove nothing."""
    for modulus in (1 << (size - 1), (1 << size) - 1):
        jwk = {"kty": "RSA", "n": workshop.number(modulus), "e": workshop.number(exponent, 9)}
        header = json.dumps({"typ": "dpop+jwt", "alg": "RS256", "jwk": jwk}).encode()
        with pytest.raises(ProofInvalid):
            verify(f"{b64(header)}.{b64(b'{}')}.{b64(bytes(size // 8))}".encode())


def test_a_key_that_is_good_and_somebody_elses_is_told_apart():
    """What is remembered of a header is that header's alone."""
    first = proof_maker.proof("GET", URL, "a.b.c", iat=int(NOW)).encode()
    forged = proof_maker.proof(
        "GET", URL, "a.b.c", iat=int(NOW), key=ec.generate_private_key(ec.SECP256R1())
    ).encode()

    assert verify(first)
    with pytest.raises(ProofInvalid):
        verify(forged)
