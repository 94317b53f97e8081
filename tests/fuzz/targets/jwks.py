"""Documents of keys: a set in which every key keeps K1, or `KeySetInvalid`.

Input: a JWK Set, a PEM file, or a discovery document, as bytes.
"""

from __future__ import annotations

from proxy.adapters.jwks import FetchFailed, _metadata
from proxy.core.keyset import ASYMMETRIC, MAX_KEYS, KeySet, KeySetInvalid

RSA = {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}
KINDS = (RSA, {"ES256"}, {"ES384"}, {"ES512"}, {"EdDSA"})
SIGNATURES = (b"", b"\x00" * 64, b"\x01" * 256)

WORDS = (
    *(b'"keys"', b'"kty"', b'"RSA"', b'"EC"', b'"OKP"', b'"oct"', b'"k"', b'"crv"', b'"P-256"'),
    *(b'"P-384"', b'"P-521"', b'"secp256k1"', b'"Ed25519"', b'"Ed448"', b'"X25519"', b'"n"'),
    *(b'"e"', b'"x"', b'"y"', b'"d"', b'"p"', b'"use"', b'"sig"', b'"enc"', b'"key_ops"'),
    *(b'["verify"]', b'"alg"', b'"RS256"', b'"none"', b'"HS256"', b'"kid"', b'"x5c"', b'"AQAB"'),
    *(b'"AA"', b'"AQ"', b"{", b"}", b"[", b"]", b",", b":", b"null", b"1", b'""', b"=", b"-"),
    *(
        b"-----BEGIN PUBLIC KEY-----\n",
        b"\n-----END PUBLIC KEY-----",
        b"-----BEGIN CERTIFICATE-----",
    ),
    *(b"-----BEGIN RSA PRIVATE KEY-----", b"\xff", b"\\ud800", b"9" * 25, b"[" * 70, b"MIIB"),
    *(b'"issuer"', b'"jwks_uri"', b'"https://id.example"'),
)


def one_input(data: bytes) -> None:
    """Read one document in every way."""
    for read in (KeySet.from_jwks, KeySet.from_file, KeySet.from_pem):
        try:
            keys = read(data, algorithms=ASYMMETRIC)
        except KeySetInvalid:
            continue
        _check(keys)
    try:
        metadata = _metadata(data)
    except FetchFailed:
        return
    assert isinstance(metadata, dict)


def _check(keys: KeySet) -> None:
    assert len(keys) <= MAX_KEYS
    for key in keys:
        assert any(set(key.algorithms) <= kind for kind in KINDS), (
            "one kind of key, one of algorithm"
        )
        assert key.algorithms
        assert key.thumbprint in keys
        for algorithm in key.algorithms:
            for signature in SIGNATURES:
                assert not key.verify(algorithm, b"said by nobody", signature)
