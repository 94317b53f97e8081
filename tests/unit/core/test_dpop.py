"""DPoP proofs: what one must say, and of which request (RFC 9449 §4.3)."""

from __future__ import annotations

import json

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from proxy.core.dpop import (
    ALGORITHMS,
    MAX_AGE_S,
    MAX_AHEAD_S,
    ProofRequest,
    ProofVerifier,
    bound_key,
    normal_path,
)
from proxy.core.keyset import public_key
from proxy.errors import ProofInvalid, TokenInvalid
from proxy.model import ClientInfo
from tests import proof_maker
from tests import token_workshop as workshop
from tests.token_workshop import NOW

URL = "https://shop.example.com/orders/1"
TOKEN = b"a.b.c"


def client(scheme="https", host="shop.example.com", port=None, **more):
    return ClientInfo(None, scheme, host, port, **({"is_trusted_peer": False} | more))


def made(method="GET", url=URL, token=TOKEN, **more):
    return proof_maker.proof(method, url, token, **({"iat": int(NOW)} | more)).encode()


def check(*proofs, now=NOW, public_url=None, hosts=(), path=b"/orders/1", token=TOKEN, by=None):
    request = ProofRequest(proofs, "GET", path, by or client())
    return ProofVerifier(public_url, hosts).verify(request, now, token)


def refusal(*proofs, **how):
    with pytest.raises(ProofInvalid) as refused:
        check(*proofs, **how)
    return refused.value.detail


@pytest.mark.parametrize(("algorithm", "kind"), proof_maker.ALGORITHMS.items())
def test_a_good_proof_says_which_key_made_it(algorithm, kind):
    """The key is named by its RFC 7638 thumbprint, whatever its kind."""
    proof = check(made(algorithm=algorithm, kind=kind, jti="one"))

    assert (proof.jkt, proof.jti, proof.nonce) == (proof_maker.thumbprint(kind), "one", None)


def test_a_proof_says_which_nonce_it_repeats():
    """What that is worth, whoever wants one decides (RFC 9449 §8)."""
    assert check(made(nonce="n-1")).nonce == "n-1"


def test_the_thumbprint_is_that_of_the_rfc():
    """RFC 7638 §3.1 gives a key and its thumbprint; cnf.jkt of others was made so."""
    n = (
        "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMs"
        "tn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5h"
        "ajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"
    )
    key = public_key({"kty": "RSA", "n": n, "e": "AQAB", "alg": "RS256"}, "RS256")

    assert key.thumbprint == "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"


@pytest.mark.parametrize("proofs", [(), (made(), made()), (made(), b"")])
def test_there_is_exactly_one_proof(proofs):
    """Two headers could be two requests' (RFC 9449 §4.3, 1)."""
    assert refusal(*proofs) == "not exactly one DPoP header"


PRIVATE = workshop.b64(workshop.private_key("Ed25519").private_bytes_raw())
BAD_HEADERS = {
    "another type": {"typ": "JWT"},
    "no type": {"typ": ...},
    "an access token's": {"typ": "at+jwt"},
    "no signature": {"alg": "none"},
    "a shared secret": {"alg": "HS256"},
    "an unknown algorithm": {"alg": "ES999"},
    "not a name": {"alg": 1},
    "an extension": {"crit": ["b64"], "b64": False},
    "no key": {"jwk": ...},
    "no object": {"jwk": "P-256"},
    "a secret key": {"jwk": {"kty": "oct", "k": "AAAA"}},
    "another curve": {"jwk": workshop.jwk("P-384")},
    "another kind": {"jwk": workshop.jwk("RSA")},
    "another use": {"jwk": workshop.jwk("P-256", use="enc")},
    "no point": {"jwk": workshop.jwk("P-256", x=workshop.b64(bytes(32)))},
}


@pytest.mark.parametrize("header", BAD_HEADERS.values(), ids=BAD_HEADERS.keys())
def test_k1_a_header_that_is_no_proofs_is_refused(header):
    """K1: type, algorithm and public key fit each other, or nothing was proved."""
    assert refusal(made(header=header))


@pytest.mark.parametrize("name", ["d", "p", "q", "dp", "dq", "qi", "oth", "k"])
def test_a_private_key_proves_nothing(name):
    """Whoever saw the header would hold the key (RFC 9449 §4.3, 7)."""
    key = workshop.jwk("Ed25519") | {name: PRIVATE}

    assert "public" in refusal(made(algorithm="EdDSA", kind="Ed25519", header={"jwk": key}))


def test_k1_a_short_rsa_key_is_refused():
    """K1: 2048 bits at least, whoever brings the key."""
    assert "bits" in refusal(made(algorithm="RS256", kind="RSA-1024"))


HEAVY = {
    "a public exponent like a private one": (2048, (1 << 2047) | 1),
    "an exponent of 40 bits": (2048, (1 << 39) | 1),
    "a modulus of 16,384 bits": (16384, 65537),
}


@pytest.mark.parametrize(("bits", "exponent"), HEAVY.values(), ids=HEAVY.keys())
def test_no_key_makes_its_check_a_burden(bits, exponent):
    """The sender makes the key up, and a worker has nothing else to do while it checks."""
    key = {"kty": "RSA", "n": workshop.number((1 << bits) - 1), "e": workshop.number(exponent)}

    assert "too long" in refusal(made(algorithm="RS256", kind="RSA", header={"jwk": key}))


def test_an_rsa_key_of_8192_bits_is_not_too_large():
    """The largest that is taken is refused for its signature alone."""
    key = {"kty": "RSA", "n": workshop.number((1 << 8192) - 1), "e": "AQAB"}

    assert "signature" in refusal(made(algorithm="RS256", kind="RSA", header={"jwk": key}))


def test_k1_a_public_key_is_no_shared_secret():
    """K1: HMAC with the public key as its secret, the oldest trick of all."""
    point = json.dumps(workshop.jwk("P-256")).encode()

    assert refusal(made(algorithm="HS256", key=point))


ODD = {"kid": "../../dev/null", "jku": "https://evil.example/", "x5u": "https://evil.example/"}
ODD |= {"x5c": ["MIIB"], "x5t#S256": "x" * 43, "cty": "JWT"}


@pytest.mark.parametrize(
    "extra", [{"kid": ["a"]}, {"kid": "x" * 9000}, ODD], ids=["list", "long", "odd"]
)
def test_k1_nothing_but_jwk_names_the_key(extra):
    """K1: other members of the header choose nothing, are not fetched, and make nothing good."""
    assert check(made(header=extra)).jkt == proof_maker.thumbprint("P-256")
    key = ec.generate_private_key(ec.SECP256R1())
    assert "signature" in refusal(made(header=extra, key=key))


def test_what_is_remembered_of_headers_is_bounded():
    """A sender who makes them up fills no memory, neither with many nor with long ones."""
    verifier = ProofVerifier()
    for number in range(1100):
        extra = {"n": number, "pad": "x" * (3000 if number % 2 else 0)}
        raw = made(header=extra, algorithm="EdDSA", kind="Ed25519")
        verifier.verify(ProofRequest([raw], "GET", b"/orders/1", client()), NOW, TOKEN)

    assert 500 < len(verifier._headers) <= 1024
    assert max(map(len, verifier._headers)) < 2048


def test_another_key_did_not_sign():
    """The signature is by the key in the header (RFC 9449 §4.3, 6), also where that was seen before."""
    verifier = ProofVerifier()
    request = ProofRequest([made()], "GET", b"/orders/1", client())
    verifier.verify(request, NOW, TOKEN)
    key = ec.generate_private_key(ec.SECP256R1())

    for raw in (made(key=key), made()[:-8] + b"AAAAAAAA"):
        with pytest.raises(ProofInvalid, match="signature"):
            verifier.verify(ProofRequest([raw], "GET", b"/orders/1", client()), NOW, TOKEN)


CLAIMS = {
    "no jti": {"jti": ...},
    "an empty jti": {"jti": ""},
    "a jti that is no text": {"jti": 7},
    "a long jti": {"jti": "x" * 513},
    "a nonce that is no text": {"nonce": 7},
    "a list of nonces": {"nonce": ["a"]},
    "no method": {"htm": ...},
    "another method": {"htm": "POST"},
    "another case": {"htm": "get"},
    "no URL": {"htu": ...},
    "a path": {"htu": "/orders/1"},
    "another scheme": {"htu": "http://shop.example.com/orders/1"},
    "another host": {"htu": "https://shop.example.org/orders/1"},
    "another port": {"htu": "https://shop.example.com:8443/orders/1"},
    "somebody before the host": {"htu": "https://shop.example.com@evil.example/orders/1"},
    "another path": {"htu": "https://shop.example.com/orders/2"},
    "a longer path": {"htu": "https://shop.example.com/orders/1/"},
    "an encoded slash": {"htu": "https://shop.example.com/orders%2F1"},
    "another case of the path": {"htu": "https://shop.example.com/Orders/1"},
    "no time": {"iat": ...},
    "a time that is no number": {"iat": str(int(NOW))},
    "true": {"iat": True},
    "too old": {"iat": NOW - MAX_AGE_S - 1},
    "in the future": {"iat": NOW + MAX_AHEAD_S + 1},
    "no token": {"ath": ...},
    "another token": {"ath": proof_maker.ath("a.b.d")},
    "the token itself": {"ath": "a.b.c"},
    "no text": {"ath": 1},
    "padding": {"ath": proof_maker.ath(TOKEN) + "="},
}


@pytest.mark.parametrize("said", CLAIMS.values(), ids=CLAIMS.keys())
def test_a_proof_of_another_request_is_refused(said):
    """Method, URL, time and token are those of this request (RFC 9449 §4.3, 8 to 12)."""
    assert refusal(made(**said))


@pytest.mark.parametrize("age", [MAX_AGE_S, 0, -MAX_AHEAD_S])
def test_clocks_may_differ_a_little(age):
    """At the edges of the window it is still good."""
    assert check(made(iat=NOW - age))


@pytest.mark.parametrize(
    "url",
    [
        "HTTPS://SHOP.example.com:443/orders/1",
        "https://shop.example.com./orders/1",
        "https://shop.example.com/orders/1?a=b#c",
        "https://shop.example.com/orders/%31",
        "https://shop.example.com/x/../orders/./1",
    ],
)
def test_one_place_has_many_spellings(url):
    """Compared after normalisation, without query and fragment (RFC 3986 §6.2.2, §6.2.3)."""
    assert check(made(url=url))


@pytest.mark.parametrize(
    ("path", "normal"),
    [
        (b"", b"/"),
        (b"/", b"/"),
        (b"/a/./b/../c", b"/a/c"),
        (b"/..", b"/"),
        (b"/a/.", b"/a/"),
        (b"/a/b/..", b"/a/"),
        (b"/a//b", b"/a//b"),
        (b"/%7e%2f%e4", b"/~%2F%E4"),
        ("/ä b".encode(), b"/%C3%A4%20b"),
        (b"/%", b"/%25"),
        (b"/%E%41", b"/%25EA"),
        (b"/%%41%42", b"/%25AB"),
    ],
)
def test_paths_are_normalised_as_the_rfc_says(path, normal):
    """What has a meaning of its own stays encoded; doing it twice changes nothing."""
    assert normal_path(path) == normal
    assert normal_path(normal) == normal


PUBLIC = "https://shop.example.com"
WHERE = {
    "TLS ended before the gate": (client("http"), PUBLIC, PUBLIC),
    "a port of its own": (client(host="shop.example.com:8443"), None, f"{PUBLIC}:8443"),
    "a trusted hop's port": (client(port=8443, is_trusted_peer=True), None, f"{PUBLIC}:8443"),
    "a unix socket": (client(None), None, PUBLIC),
    "a trusted hop's prefix": (
        client(is_trusted_peer=True, prefix="/shop"),
        None,
        f"{PUBLIC}/shop",
    ),
    "a trusted hop with a port of its own": (client(host="shop.example.com:8080"), PUBLIC, PUBLIC),
}


@pytest.mark.parametrize(("by", "public_url", "base"), WHERE.values(), ids=WHERE.keys())
def test_h5_the_url_is_the_one_that_the_client_used(by, public_url, base):
    """H5: what trusted hops say, and `public_url` for its own host; every other URL is another one."""
    assert check(made(url=f"{base}/orders/1"), by=by, public_url=public_url)
    assert refusal(made(url="https://evil.example/orders/1"), by=by, public_url=public_url)


HOSTS = ("api.example.com", "*.apps.example.com", "[0::1]")
NAMED = {
    "a route's": "api.example.com",
    "a route's, with a port": "api.example.com:8443",
    "in another case": "API.Example.com",
    "with a final dot": "api.example.com.",
    "below a wildcard": "a.apps.example.com",
    "further below a wildcard": "b.a.apps.example.com",
    "an address": "[::1]",
}
FOREIGN = {
    "somebody else's": "evil.example",
    "with ours in front": "api.example.com.evil.example",
    "with ours behind": "evil-api.example.com",
    "the wildcard itself": "apps.example.com",
    "a wildcard by its end": "evilapps.example.com",
    "another address": "[::2]",
    "a port of the public host": "shop.example.com:8443",
}


@pytest.mark.parametrize("host", NAMED.values(), ids=NAMED.keys())
@pytest.mark.parametrize("public_url", [None, PUBLIC])
def test_h5_a_host_that_the_configuration_names_is_this_gate(host, public_url):
    """H5: routes and `login.hosts` say what else the gate is called."""
    raw = made(url=f"https://{host}/orders/1")

    assert check(raw, by=client(host=host), hosts=HOSTS, public_url=public_url)


@pytest.mark.parametrize("host", FOREIGN.values(), ids=FOREIGN.keys())
@pytest.mark.parametrize("hosts", [(), HOSTS])
def test_k5_a_proof_for_another_server_is_none_whatever_host_says(host, hosts):
    """K5: a server that was called with a proof sends it on to the gate, under its own name."""
    raw = made(url=f"https://{host}/orders/1")

    assert "origin" in refusal(raw, by=client(host=host), hosts=hosts, public_url=PUBLIC)
    if hosts and not host.startswith("shop"):
        assert "origin" in refusal(raw, by=client(host=host), hosts=hosts)


def test_a_gate_without_a_name_believes_host():
    """Where the configuration says nothing there is nothing to compare with; `check` warns."""
    assert check(made(url="https://any.example/orders/1"), by=client(host="any.example"))


@pytest.mark.parametrize(
    "host", ["", "a b", "a.example:x", "[::1", "a" * 300, "ä.example", "\ud800"]
)
def test_h5_what_is_no_host_is_not_this_gate(host):
    """H5: a trusted hop may pass on whatever a client says."""
    assert "origin" in refusal(made(), by=client(host=host))


def test_a_proof_for_one_host_is_none_for_another():
    """`public_url` says how its own host is seen, not that every host of the gate is that one."""
    by = client(host="api.example.com")
    assert refusal(made(), by=by, public_url=PUBLIC, hosts=HOSTS)
    assert refusal(
        made(url="http://shop.example.com/orders/1"), by=client("http"), public_url=PUBLIC
    )


@pytest.mark.parametrize(
    "raw",
    [b"", b"a.b", b"a.b.c.d", b"..", b"x" * 20_000, made() + b"=", made().replace(b".", b",", 1)],
)
def test_what_is_no_compact_token_is_refused(raw):
    """A value of two proofs, or none at all, is no proof."""
    assert refusal(raw)


def test_a_proof_is_bound_to_its_key():
    """`cnf` names exactly one way of binding, which is checked."""
    jkt = proof_maker.thumbprint("P-256")

    assert bound_key({"jkt": jkt}) == jkt


@pytest.mark.parametrize(
    "cnf",
    [
        None,
        {},
        "x" * 43,
        {"jkt": 1},
        {"jkt": "x" * 42},
        {"jkt": "x" * 42 + "="},
        {"x5t#S256": "x" * 43},
        {"jkt": "x" * 43, "x5t#S256": "x" * 43},
        {"jkt": "x" * 43, "new": None},
    ],
)
def test_k5_an_unknown_way_of_binding_is_a_refusal(cnf):
    """K5: who binds a token in two ways wants both proved."""
    with pytest.raises(TokenInvalid):
        bound_key(cnf)


def test_every_algorithm_is_told():
    """No shared secret is among what clients are told to use."""
    assert {"ES256", "EdDSA", "RS256"} < set(ALGORITHMS)
    assert not any(name.startswith("HS") for name in ALGORITHMS)
