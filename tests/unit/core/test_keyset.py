"""Which keys a scheme may be opened with, and by which algorithms (K1)."""

from __future__ import annotations

import base64
import datetime as dt
import json

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec

from proxy.core.keyset import (
    ALGORITHMS,
    ASYMMETRIC,
    MAX_ATTEMPTS,
    MAX_KEYS,
    KeySet,
    KeySetInvalid,
    check_algorithms,
    thumbprint,
)
from tests.token_workshop import SECRET, b64, jwk, pem, private_key, raw_sign

FITTING = {
    "RSA": {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"},
    "P-256": {"ES256"},
    "P-384": {"ES384"},
    "P-521": {"ES512"},
    "Ed25519": {"EdDSA"},
}


def jwks(*members):
    """Return a JWK Set as bytes."""
    return json.dumps({"keys": members}).encode()


def only_reason(member, algorithms=ASYMMETRIC):
    """Return why the only key of a set is not used."""
    keys = KeySet.from_jwks(jwks(member), algorithms=algorithms)
    assert () == keys.keys
    (reason,) = keys.skipped
    return reason.removeprefix("keys[0]: ")


@pytest.mark.parametrize("kind", FITTING)
def test_k1_a_key_knows_its_algorithms_by_its_type(kind):
    """RSA, each curve and Ed25519 fit exactly their own algorithms, and verify with them alone."""
    (key,) = KeySet.from_jwks(jwks(jwk(kind)), algorithms=ASYMMETRIC)

    assert FITTING[kind] == key.algorithms
    for algorithm in ALGORITHMS:
        signer = algorithm if algorithm in FITTING[kind] else min(FITTING[kind])
        signature = raw_sign(signer, private_key(kind), b"message")
        assert (algorithm in FITTING[kind]) is key.verify(algorithm, b"message", signature)


@pytest.mark.parametrize("kind", FITTING)
def test_another_message_or_signature_does_not_verify(kind):
    """A signature is for its message, and of its length."""
    (key,) = KeySet.from_jwks(jwks(jwk(kind)), algorithms=ASYMMETRIC)
    (algorithm,) = sorted(FITTING[kind])[:1]
    good = raw_sign(algorithm, private_key(kind), b"message")

    assert key.verify(algorithm, b"message", good)
    for bad in (b"", b"\0", good[:-1], good + b"\0", b"\0" + good, b"\0" * len(good), good * 9):
        assert not key.verify(algorithm, b"message", bad)
    assert not key.verify(algorithm, b"Message", good)


def test_k1_a_key_is_narrowed_by_configuration_and_by_its_own_alg():
    """What both the key and the allow-list name is all that a key may be used for."""
    narrow = KeySet.from_jwks(jwks(jwk("RSA", alg="PS256")), algorithms=["RS256", "PS256"])

    assert [frozenset({"PS256"})] == [key.algorithms for key in narrow]
    assert "no allowed algorithm fits it" == only_reason(jwk("RSA", alg="PS256"), ["RS256"])
    assert "no allowed algorithm fits it" == only_reason(jwk("RSA", alg="RSA-OAEP"))
    assert "no allowed algorithm fits it" == only_reason(jwk("P-256", alg="RS256"))
    assert "no allowed algorithm fits it" == only_reason(jwk("P-256"), ["RS256"])
    assert "its `alg` is not a text" == only_reason(jwk("RSA", alg=["RS256"]))


def test_k2_alg_ed25519_is_eddsa_with_an_ed25519_key():
    """RFC 9864's name is the same algorithm, in keys and in configuration."""
    keys = KeySet.from_jwks(jwks(jwk("Ed25519", alg="Ed25519")), algorithms=["Ed25519"])

    assert [frozenset({"EdDSA"})] == [key.algorithms for key in keys]


@pytest.mark.parametrize(
    ("member", "reason"),
    [
        ({"kty": "oct", "k": b64(SECRET)}, "a shared secret does not belong into a key document"),
        ({"kty": "oct", "k": b64(SECRET), "alg": "RS256"}, "a shared secret does not belong"),
        ({"use": "enc"}, "its `use` is not sig"),
        ({"use": None}, "its `use` is not sig"),
        ({"key_ops": ["encrypt"]}, "its `key_ops` do not include verify"),
        ({"key_ops": []}, "its `key_ops` do not include verify"),
        ({"key_ops": "verify"}, "its `key_ops` do not include verify"),
        ({"key_ops": None}, "its `key_ops` do not include verify"),
        ({"d": "AA"}, "it is a private key"),
        ({"kid": 7}, "its `kid` is not a usable name"),
        ({"kid": ""}, "its `kid` is not a usable name"),
        ({"kid": "a\nb"}, "its `kid` is not a usable name"),
        ({"kid": "x" * 513}, "its `kid` is not a usable name"),
        ({"kty": "EC"}, "its curve is not one of"),
        ({"kty": "rsa"}, "its `kty` is not RSA"),
        ({"kty": ["RSA"]}, "its `kty` is not RSA"),
        ({"kty": "EC", "crv": []}, "its curve is not one of"),
        ({"kty": "OKP", "crv": {}}, "its curve is not Ed25519"),
        ({"n": ...}, "its `n` is missing"),
        ({"n": 5}, "its `n` is missing"),
        ({"n": ""}, "its `n` is missing"),
        ({"n": "A" * 5000}, "its `n` is missing or of no sensible length"),
        ({"n": "AQAB=="}, "not base64url"),
        ({"e": "AA"}, ""),
        ({"e": "Ag"}, ""),
        ({"n": "AQAB"}, ""),
    ],
)
def test_k1_a_key_that_does_not_fit_is_left_out(member, reason):
    """Symmetric, private, wrongly used or broken keys never verify anything; the reason is kept."""
    broken = {n: v for n, v in (jwk("RSA") | member).items() if v is not ...}

    assert only_reason(broken).startswith(reason)


@pytest.mark.parametrize("member", [None, 1, "RSA", [], {}])
def test_what_is_no_key_is_left_out(member):
    """An odd member of `keys` does not spoil the others (RFC 7517 §5)."""
    keys = KeySet.from_jwks(jwks(member, jwk("Ed25519")), algorithms=ASYMMETRIC)

    assert (1, 1) == (len(keys), len(keys.skipped))


def test_k1_rsa_below_2048_bits_is_left_out():
    """A short RSA key is refused, in a key set and in PEM."""
    assert "an RSA key needs 2048 to 16384 bits" == only_reason(jwk("RSA-1024"))
    with pytest.raises(KeySetInvalid, match="2048"):
        KeySet.from_pem(pem("RSA-1024"), algorithms=["RS256"])


def test_k1_other_curves_are_left_out():
    """secp256k1 and Ed448 are no keys of any algorithm that is offered."""
    assert "its curve is not Ed25519" == only_reason(jwk("Ed448"))
    assert "its curve is not one of P-256, P-384, P-521" == only_reason(
        jwk("P-256", crv="secp256k1")
    )
    for kind in ("Ed448", "secp256k1"):
        with pytest.raises(KeySetInvalid, match="PEM block 1"):
            KeySet.from_pem(pem(kind), algorithms=ASYMMETRIC)


def test_a_point_that_is_not_on_the_curve_is_left_out():
    """Coordinates are checked before anything is verified with them."""
    assert only_reason(jwk("P-256", x=jwk("P-256")["y"]))
    assert only_reason(jwk("P-256", crv="P-384"))
    assert only_reason(jwk("Ed25519", x="AAAA"))


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b'{"keys": {}}',
        b'{"keys": null}',
        b'{"keys": [], "keys": []}',
        b"<html>",
        b"\xff\xfe",
        b'{"keys": ' + b"[" * 5000 + b"]" * 5000 + b"}",
        json.dumps({"keys": [1] * (MAX_KEYS + 1)}).encode(),
        b'{"keys": [], "x": "' + b"x" * 1024 * 1024 + b'"}',
    ],
)
def test_what_is_no_jwk_set_is_an_error(document):
    """A document that is not a JWK Set yields no set, also not an empty one."""
    with pytest.raises(KeySetInvalid):
        KeySet.from_jwks(document, algorithms=["RS256"])


def test_an_empty_set_is_believed():
    """A provider that publishes no keys means that nothing opens."""
    keys = KeySet.from_jwks({"keys": []}, algorithms=["RS256"])

    assert (0, ()) == (len(keys), keys.candidates(None, "RS256"))


def test_candidates_are_found_by_name_and_algorithm():
    """A named token is for the keys of that name; keys without a name are for every token."""
    keys = KeySet.from_jwks(
        jwks(jwk("RSA", kid="a"), jwk("RSA-other", kid="b"), jwk("P-256", kid="a"), jwk("P-384")),
        algorithms=ASYMMETRIC,
    )

    def kinds(kid, algorithm):
        return [key.kid for key in keys.candidates(kid, algorithm)]

    assert ["a", "b"] == kinds(None, "RS256")
    assert ["b"] == kinds("b", "RS256")
    assert ["a"] == kinds("a", "ES256")
    assert [] == kinds("b", "ES256")
    assert [None] == kinds("a", "ES384")
    assert [None] == kinds("c", "ES384")
    assert [] == kinds("c", "RS256")
    assert [] == kinds("a", "none")
    assert [True, False] == [keys.has_kid("b"), keys.has_kid("c")]


def test_the_same_key_twice_counts_once():
    """A document cannot make a token cost more by repeating a key."""
    keys = KeySet.from_jwks(jwks(*[jwk("RSA", kid="a")] * 5), algorithms=["RS256"])

    assert 1 == len(keys)


def test_k3_a_set_tells_whether_a_key_is_still_in_it():
    """A verdict names its key by thumbprint, and dies when the key leaves the set."""
    before = KeySet.from_jwks(jwks(jwk("RSA"), jwk("P-256")), algorithms=ASYMMETRIC)
    after = KeySet.from_jwks(jwks(jwk("P-256"), jwk("RSA", use="enc")), algorithms=ASYMMETRIC)
    rsa, curve = before

    assert (True, True) == (rsa.thumbprint in before, curve.thumbprint in before)
    assert (False, True) == (rsa.thumbprint in after, curve.thumbprint in after)


def test_the_thumbprint_is_that_of_rfc_7638():
    """The example of RFC 7638 §3.1 has the thumbprint that the RFC says."""
    modulus = (
        "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_"
        "BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_F"
        "DW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4v"
        "MQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"
    )
    document = {"keys": [{"kty": "RSA", "n": modulus, "e": "AQAB", "kid": "2011-04-29"}]}
    (key,) = KeySet.from_jwks(document, algorithms=["RS256"])

    assert "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs" == key.thumbprint


def test_pem_files_hold_keys_and_certificates():
    """Public keys and certificates are read, several of them too; dates are not looked at."""
    private = private_key("P-256")
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "id")])
    day = dt.datetime(2001, 1, 1, tzinfo=dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private.public_key())
        .serial_number(1)
        .not_valid_before(day)
        .not_valid_after(day + dt.timedelta(days=1))
        .sign(private, hashes.SHA256())
        .public_bytes(serialization.Encoding.PEM)
    )
    keys = KeySet.from_file(
        b"# ours\r\n" + pem("RSA") + b"\n" + certificate, algorithms=["RS256", "ES256"]
    )

    assert [{"RS256"}, {"ES256"}] == [key.algorithms for key in keys]
    assert thumbprint(private.public_key()) in keys
    assert 2 == len(keys.candidates("any", "RS256") + keys.candidates(None, "ES256"))


def test_k1_a_pem_file_with_anything_else_is_an_error():
    """Private keys, foreign kinds, unfit keys and garbage are told, not left out."""
    secret = private_key("P-256").private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    foreign = dsa.generate_private_key(2048).public_key()
    dsa_pem = foreign.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    garbage = b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"
    for bad in (secret, dsa_pem, garbage, pem("RSA") + secret, pem("Ed25519"), b"-----BEGIN "):
        with pytest.raises(KeySetInvalid) as caught:
            KeySet.from_file(bad, algorithms=["RS256", "ES256"])
        assert b64(secret)[40:60] not in str(caught.value)


def test_k1_a_pem_file_with_too_many_keys_is_an_error():
    """Keys without names are all tried for each token: there may be a few only."""
    many = b"".join(
        ec.generate_private_key(ec.SECP256R1())
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        for _ in range(MAX_ATTEMPTS + 1)
    )

    with pytest.raises(KeySetInvalid, match="more than 16"):
        KeySet.from_pem(many, algorithms=["ES256"])


def test_k1_a_key_of_an_unknown_kind_in_a_certificate_is_an_error():
    """An identifier that OpenSSL does not know ends as a mistake of the file."""
    der = pem("P-256").split(b"\n")
    broken = base64.b64decode(b"".join(der[1:-2])).replace(
        bytes.fromhex("2a8648ce3d0201"), bytes.fromhex("2a8648ce3d7f7f")
    )
    block = (
        b"-----BEGIN PUBLIC KEY-----\n" + base64.b64encode(broken) + b"\n-----END PUBLIC KEY-----"
    )

    with pytest.raises(KeySetInvalid, match="PEM block 1"):
        KeySet.from_pem(block, algorithms=["ES256"])


def test_a_file_may_be_a_jwk_set_with_a_usable_key():
    """A file is the operator's: a set of which nothing can be used is an error at once."""
    assert 1 == len(KeySet.from_file(jwks(jwk("RSA")), algorithms=["RS256"]))
    with pytest.raises(KeySetInvalid, match="2048"):
        KeySet.from_file(jwks(jwk("RSA-1024")), algorithms=["RS256"])


def test_k1_secrets_are_symmetric_and_long_enough():
    """`oct` keys come from `secret` only, have 32 bytes at least, and are no public keys."""
    (key,) = KeySet.from_secret(SECRET, algorithms=["HS256", "HS512"])

    assert {"HS256", "HS512"} == key.algorithms
    assert key.verify("HS512", b"m", raw_sign("HS512", SECRET, b"m"))
    for secret, algorithms in [
        (SECRET[:31], ["HS256"]),
        (b"", ["HS256"]),
        (SECRET, ["RS256"]),
        (pem("RSA"), ["HS256"]),
        (json.dumps(jwk("RSA")).encode(), ["HS256"]),
    ]:
        with pytest.raises(KeySetInvalid):
            KeySet.from_secret(secret, algorithms=algorithms)
    with pytest.raises(KeySetInvalid):
        KeySet.from_secret(algorithms=["HS256"])
    with pytest.raises(KeySetInvalid):
        KeySet.from_secret(*[SECRET] * (MAX_ATTEMPTS + 1), algorithms=["HS256"])


def test_a_secret_is_never_shown():
    """Neither a key nor a set says anything of a secret, its digest included."""
    keys = KeySet.from_secret(SECRET, algorithms=["HS256"])
    shown = repr(keys) + repr(keys.keys[0])

    assert keys.keys[0].thumbprint not in shown
    assert SECRET.decode() not in shown


@pytest.mark.parametrize(
    "names",
    [[], ["none"], ["HS256", "RS256"], ["HS256", "EdDSA"], ["rs256"], ["ES256K"], ["RS256", ""]],
)
def test_k1_symmetric_and_asymmetric_never_go_together(names):
    """An allow-list is of one kind, not empty, and names only what is offered."""
    with pytest.raises(ValueError):
        check_algorithms(names)


def test_k1_a_document_is_never_for_a_symmetric_scheme():
    """A published key cannot become an HMAC secret: the set refuses the scheme itself."""
    for read in (KeySet.from_jwks, KeySet.from_pem, KeySet.from_file):
        with pytest.raises(KeySetInvalid, match="secret"):
            read(pem("RSA"), algorithms=["HS256"])


def test_k3_a_set_holds_a_key_under_its_name_and_algorithms():
    """K3: the same document read again holds it; without it, renamed or narrowed, it does not."""
    document = {"keys": [jwk("RSA", kid="a")]}
    (key,) = KeySet.from_jwks(document, algorithms=["RS256", "PS256"])

    assert KeySet.from_jwks(document, algorithms=["RS256", "PS256"]).holds(key)
    assert not KeySet.from_jwks({"keys": []}, algorithms=["RS256"]).holds(key)
    assert not KeySet.from_jwks(document, algorithms=["RS256"]).holds(key)
    renamed = {"keys": [jwk("RSA", kid="b")]}
    assert not KeySet.from_jwks(renamed, algorithms=["RS256", "PS256"]).holds(key)
