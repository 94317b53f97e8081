"""Tokens that try to choose their own algorithm or key (K1): each was somebody's advisory."""

from __future__ import annotations

import json

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from proxy.core.jose import TokenVerifier
from proxy.core.keyset import ALGORITHMS, ASYMMETRIC, SYMMETRIC, KeySet, KeySetInvalid
from proxy.core.revocation import RevocationKeys
from proxy.errors import TokenInvalid
from tests.token_workshop import (
    AUDIENCE,
    HASHES,
    ISSUER,
    NOW,
    SECRET,
    b64,
    claims,
    jwk,
    pem,
    private_key,
    raw_sign,
    token,
    unb64,
)

KINDS = ["RSA", "P-256", "P-384", "P-521", "Ed25519", "secret"]
OWN = {
    "RSA": {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"},
    "P-256": {"ES256"},
    "P-384": {"ES384"},
    "P-521": {"ES512"},
    "Ed25519": {"EdDSA", "Ed25519"},
    "secret": {"HS256", "HS384", "HS512"},
}
HEADER_ALGS = [
    *sorted(ALGORITHMS),
    *("none", "None", "NONE", "nOnE", "", "Ed25519", "Ed448", "ES256K", "ES521", "HS1", "RS1"),
    *("rs256", "RS256 ", "dir", "RSA-OAEP", "A128KW"),
]
ORDERS = {
    "P-256": 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551,
    "P-521": int(
        "1" + "F" * 65 + "A51868783BF2F966B7FCC0148F709A5D03BB5C9B8899C47AEBB6FB71E91386409", 16
    ),
}
ALLOWED = [frozenset({name}) for name in sorted(ALGORITHMS)] + [ASYMMETRIC, SYMMETRIC]


def verifier(algorithms):
    """Return a verifier with one allow-list."""
    return TokenVerifier(
        issuer=ISSUER, audiences=frozenset({AUDIENCE}), algorithms=algorithms, leeway=0.0
    )


def key_set(kind, algorithms):
    """Return the set that a scheme has of a key of `kind`."""
    if kind == "secret":
        return KeySet.from_secret(SECRET, algorithms=algorithms)
    return KeySet.from_jwks({"keys": [jwk(kind, kid="a")]}, algorithms=algorithms)


def forgeries(kind, header_alg):
    """Give every signature that somebody could put under a header that says `header_alg`.

    The key owner's own by every algorithm that the key can do, those made with what is public
    taken for a secret, and empty ones.
    """
    head = {"alg": header_alg, "kid": "a"}
    signing_input = f"{b64(json.dumps(head).encode())}.{b64(json.dumps(claims()).encode())}"
    message = signing_input.encode()
    key = SECRET if kind == "secret" else private_key(kind)
    for algorithm in OWN[kind]:
        yield algorithm, message, raw_sign(algorithm, key, message)
    if kind.startswith("P-"):
        for algorithm in ("ES256", "ES384", "ES512"):
            yield f"{algorithm} by {kind}", message, raw_sign(algorithm, key, message)
    if kind != "secret":
        publics = [pem(kind), pem(kind).strip(), json.dumps(jwk(kind)).encode(), b""]
        for public in publics:
            for algorithm in SYMMETRIC:
                yield "public", message, raw_sign(algorithm, public, message)
    yield "empty", message, b""
    yield "zeros", message, bytes(64)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("allowed", ALLOWED, ids=lambda names: "+".join(sorted(names))[:24])
def test_k1_header_key_and_allow_list_must_agree(kind, allowed):
    """The full matrix: a token opens only if all three say the same, field.md §3 #36."""
    try:
        keys = key_set(kind, allowed)
    except KeySetInvalid:
        assert (kind == "secret") is not (allowed <= SYMMETRIC)
        return
    check = verifier(allowed)
    for header_alg in HEADER_ALGS:
        means = "EdDSA" if header_alg == "Ed25519" else header_alg
        for signed_by, message, signature in forgeries(kind, header_alg):
            by = "EdDSA" if signed_by == "Ed25519" else signed_by
            is_good = means in allowed and means in OWN[kind] and by.startswith(means)
            raw = message + b"." + b64(signature).encode()
            assert is_good is opens(check, keys, raw), (header_alg, signed_by)


def opens(check, keys, raw):
    """Tell whether a token is accepted; anything but a refusal is a bug."""
    try:
        check.verify(raw, keys, NOW)
    except TokenInvalid:
        return False
    return True


@pytest.mark.parametrize("alg", [..., None, 1, True, [], ["RS256"], {"RS256": 1}, "RS256\0"])
def test_k1_an_algorithm_that_is_no_text_is_refused(alg):
    """Missing, null and lists: nothing is guessed from the key."""
    keys = key_set("RSA", ["RS256"])
    head = {"kid": "a"} if alg is ... else {"kid": "a", "alg": alg}
    body = f"{b64(json.dumps(head).encode())}.{b64(json.dumps(claims()).encode())}".encode()
    raw = body + b"." + b64(raw_sign("RS256", private_key("RSA"), body)).encode()

    assert not opens(verifier(["RS256"]), keys, raw)


def test_k1_a_token_without_a_signature_is_refused():
    """`none` in every spelling, with and without the last dot."""
    keys = key_set("RSA", ["RS256"])
    for name in ("none", "None", "NONE", "nonE", "RS256", ""):
        head = b64(json.dumps({"alg": name}).encode())
        body = f"{head}.{b64(json.dumps(claims()).encode())}".encode()
        for raw in (body, body + b".", body + b"..", body + b".AA"):
            assert not opens(verifier(["RS256"]), keys, raw)


@pytest.mark.parametrize(
    "injected",
    [
        {"jwk": jwk("RSA-other", kid="x", alg="RS256")},
        {"jwk": jwk("RSA-other"), "kid": "a"},
        {"jku": "https://evil.example.com/jwks.json"},
        {"x5u": "https://evil.example.com/cert.pem"},
        {"x5c": ["MIIB"]},
        {"x5t": "AAAA"},
        {"x5t#S256": "AAAA"},
        {"key": "x"},
    ],
)
def test_k1_a_header_never_brings_or_fetches_a_key(injected):
    """Embedded and linked keys choose nothing, field.md §3 #38; they are no reason to refuse."""
    keys = key_set("RSA", ["RS256"])
    check = verifier(["RS256"])

    assert not opens(check, keys, token(kind="RSA-other", header=injected))
    assert opens(check, keys, token(kind="RSA", header={"kid": "a"} | injected))


@pytest.mark.parametrize(
    "kid",
    [
        "../../../../dev/null",
        "/dev/null",
        "a' OR '1'='1",
        "a\x00",
        "a\n",
        "A",
        "",
        " a",
        "x" * 513,
        None,
        1,
        0,
        True,
        ["a"],
        {"a": 1},
        "keys[0]",
        "__class__",
        "\u0430",
    ],
)
def test_k1_an_odd_kid_chooses_nothing(kid):
    """A `kid` is compared with names, and is neither path, query nor index."""
    keys = key_set("RSA", ["RS256"])

    assert not opens(verifier(["RS256"]), keys, token(header={"kid": kid}))
    empty = b64(json.dumps({"alg": "HS256", "kid": kid}).encode())
    body = f"{empty}.{b64(json.dumps(claims()).encode())}".encode()
    raw = body + b"." + b64(raw_sign("HS256", b"", body)).encode()
    assert not opens(verifier(["RS256"]), keys, raw)


def test_k1_another_keys_name_does_not_help():
    """A token signed with one key of the set under the name of another is refused."""
    keys = KeySet.from_jwks(
        {"keys": [jwk("RSA", kid="a"), jwk("RSA-other", kid="b")]}, algorithms=["RS256"]
    )

    assert not opens(verifier(["RS256"]), keys, token(kind="RSA-other", header={"kid": "a"}))
    assert opens(verifier(["RS256"]), keys, token(kind="RSA-other", header={"kid": "b"}))


def test_k1_a_token_cannot_make_the_gate_try_a_thousand_keys():
    """A token without a name is not tried against more keys than a few."""
    members = [
        jwk("P-256") | public_point(ec.generate_private_key(ec.SECP256R1())) for _ in range(17)
    ]
    keys = KeySet.from_jwks({"keys": members}, algorithms=["ES256"])

    with pytest.raises(TokenInvalid, match="too many"):
        verifier(["ES256"]).verify(token("ES256", "P-256"), keys, NOW)


def public_point(private):
    """Return the coordinates of a fresh P-256 key."""
    point = private.public_key().public_numbers()
    return {"x": b64(point.x.to_bytes(32, "big")), "y": b64(point.y.to_bytes(32, "big"))}


@pytest.mark.parametrize(("algorithm", "kind"), [("ES256", "P-256"), ("ES512", "P-521")])
def test_k1_psychic_signatures_are_refused(algorithm, kind):
    """R and s of zero, of the order and beyond, or in the wrong form, verify nothing."""
    keys = key_set(kind, [algorithm])
    raw = token(algorithm, kind, header={"kid": "a"})
    body, _, signature = raw.rpartition(b".")
    good = unb64(signature.decode())
    width = len(good) // 2
    order = ORDERS[kind]
    n = order.to_bytes(width, "big")
    zero, one = bytes(width), (1).to_bytes(width, "big")
    r, s = good[:width], good[width:]
    plus = (int.from_bytes(s, "big") + order).to_bytes(width + 1, "big")
    for bad in (
        zero + zero,
        zero + s,
        r + zero,
        n + n,
        n + s,
        r + n,
        one + one,
        s + r,
        r + plus,
        b"\0" + r + b"\0" + s,
        private_key(kind).sign(body, ec.ECDSA(HASHES[algorithm[2:]])),
    ):
        assert not opens(verifier([algorithm]), keys, body + b"." + b64(bad).encode())
    assert opens(verifier([algorithm]), keys, raw)


@pytest.mark.parametrize(
    ("algorithm", "kind"),
    [("ES256", "P-384"), ("ES256", "P-521"), ("ES384", "P-256"), ("ES512", "P-256")],
)
def test_k1_a_curve_is_for_its_algorithm(algorithm, kind):
    """ES256 with a P-384 key is refused, although the arithmetic would work out."""
    everything = key_set(kind, ASYMMETRIC)

    assert not opens(verifier(ASYMMETRIC), everything, token(algorithm, kind, header={"kid": "a"}))


def test_k1_ed448_is_not_accepted():
    """An Ed448 key is no key here, whatever the token calls it."""
    keys = KeySet.from_jwks(
        {"keys": [jwk("Ed448", kid="a"), jwk("Ed25519", kid="b")]}, algorithms=["EdDSA"]
    )
    for name in ("EdDSA", "Ed448", "Ed25519"):
        for kid in ("a", "b", ...):
            raw = token(name, "Ed448", header={"kid": kid})
            assert not opens(verifier(["EdDSA"]), keys, raw)
    for name in ("EdDSA", "Ed25519"):
        assert opens(verifier(["EdDSA"]), keys, token(name, "Ed25519", header={"kid": "b"}))


def test_k1_short_rsa_keys_open_nothing():
    """A token signed with 1024 bits is refused although the key is published."""
    keys = KeySet.from_jwks({"keys": [jwk("RSA-1024", kid="a")]}, algorithms=["RS256"])

    assert not opens(verifier(["RS256"]), keys, token(kind="RSA-1024", header={"kid": "a"}))


def test_r3_another_signature_is_the_same_token():
    """Field.md §3 #41: (r, n - s) also verifies, and must be revoked by the same name."""
    order = ORDERS["P-256"]
    keys = key_set("P-256", ["ES256"])
    check = verifier(["ES256"])
    names = RevocationKeys("p:")
    for jti in ("t-1", ...):
        raw = token("ES256", "P-256", header={"kid": "a"}, jti=jti)
        body, _, signature = raw.rpartition(b".")
        r, s = unb64(signature.decode())[:32], unb64(signature.decode())[32:]
        mirrored = r + (order - int.from_bytes(s, "big")).to_bytes(32, "big")
        twin = body + b"." + b64(mirrored).encode()
        again = body + b"." + b64(raw_sign("ES256", private_key("P-256"), body)).encode()
        asked = {
            names.for_token(ISSUER, verified.claims, verified.jti_name)
            for verified in (check.verify(form, keys, NOW) for form in (raw, twin, again))
        }

        assert 3 == len({raw, twin, again})
        assert 1 == len(asked)


def test_signatures_in_der_are_refused():
    """JOSE's form of an ECDSA signature is fixed (RFC 7518 §3.4); DER is another spelling."""
    keys = key_set("P-256", ["ES256"])
    body, _, _ = token("ES256", "P-256", header={"kid": "a"}).rpartition(b".")
    der = private_key("P-256").sign(body, ec.ECDSA(HASHES["256"]))
    r, s = decode_dss_signature(der)

    assert not opens(verifier(["ES256"]), keys, body + b"." + b64(der).encode())
    raw = r.to_bytes(32, "big") + s.to_bytes(32, "big")
    assert opens(verifier(["ES256"]), keys, body + b"." + b64(raw).encode())
