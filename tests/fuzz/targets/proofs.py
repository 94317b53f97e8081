"""Proofs of possession (DPoP): one that another reader finds good for this request, or `ProofInvalid`.

Input: a letter and the rest. `r`: the values of DPoP headers, one a line. `s`: a header, a line's end
and a payload, which are signed here by Ed25519. `m`: the same as members that are put into good ones.
`h`: as `s`, but by HMAC under the public key, which must never pass. `u`: an `htu`, a line's end and the
path of the request. `n`: a path, which must be found equal to itself once it was made normal. `c`: the
`cnf` of a token.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import string
import warnings
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from joserfc import jws
from joserfc.errors import SecurityWarning
from joserfc.jwk import import_key

from proxy.core.compact import decode_segment, encode_segment
from proxy.core.dpop import (
    MAX_AGE_S,
    MAX_AHEAD_S,
    Proof,
    ProofRequest,
    ProofVerifier,
    bound_key,
    normal_path,
)
from proxy.core.nonces import WINDOW_S, Nonces
from proxy.errors import ProofInvalid, TokenInvalid
from proxy.model import ClientInfo

NOW = 1_800_000_000.0
TOKEN = b"a.b.c"
ATH = encode_segment(hashlib.sha256(TOKEN).digest()).decode()
HOST = "shop.example.com"
CLIENT = ClientInfo(None, "https", HOST, None, is_trusted_peer=False)
PRIVATE = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
RAW_PUBLIC = PRIVATE.public_key().public_bytes_raw()
JWK = {"kty": "OKP", "crv": "Ed25519", "x": encode_segment(RAW_PUBLIC).decode()}
HEADER_MEMBERS = {"typ": "dpop+jwt", "alg": "EdDSA", "jwk": JWK}
HEADER = json.dumps(HEADER_MEMBERS).encode()
CLAIMS = {"jti": "j", "htm": "GET", "htu": f"https://{HOST}/x", "iat": int(NOW), "ath": ATH}
NONCES = Nonces([b"n" * 32])
KNOWING = ProofVerifier()
"""Remembers the headers of all inputs; a fresh one must come to the same."""
PRIVATE_MEMBERS = {"d", "p", "q", "dp", "dq", "qi", "oth", "k"}
ALGORITHMS = [f"{kind}{size}" for kind in ("RS", "PS", "ES") for size in (256, 384, 512)]
REGISTRY = jws.JWSRegistry(algorithms=[*ALGORITHMS, "EdDSA", "Ed25519"])

WORDS = (
    *(b'"typ"', b'"dpop+jwt"', b'"application/dpop+jwt"', b'"at+jwt"', b'"alg"', b'"EdDSA"'),
    *(b'"Ed25519"', b'"ES256"', b'"RS256"', b'"PS512"', b'"HS256"', b'"none"', b'"crit":["b64"]'),
    *(b'"b64":false', b'"jwk"', b'"kty"', b'"OKP"', b'"EC"', b'"RSA"', b'"oct"', b'"crv"', b'"x"'),
    *(
        b'"y"',
        b'"n"',
        b'"e":"AQAB"',
        b'"e":"Aw"',
        b'"d":"AA"',
        b'"k":"AA"',
        b'"use":"enc"',
        b'"kid"',
    ),
    *(b'"jku"', b'"x5c"', b'"key_ops":["sign"]', b'"jti"', b'"htm"', b'"GET"', b'"get"', b'"htu"'),
    *(b'"iat"', b'"ath"', b'"nonce"', b'"jkt"', b'"x5t#S256"', b"1800000000", b"1799999900"),
    *(b"1e400", b"-0.0", b"NaN", b"true", b"null", b"\\ud800", b"\\u0000", b"9" * 25, b"[" * 70),
    *(
        b"https://",
        b"HTTPS://",
        b"http://",
        HOST.encode(),
        b"evil.example",
        b":443",
        b":8443",
        b"@",
    ),
    *(
        b"/x",
        b"/%78",
        b"/%2e%2e/",
        b"/../",
        b"/./",
        b"//",
        b"%2F",
        b"%",
        b"?a=b",
        b"#",
        b"\\",
        b";",
    ),
    *(
        b"[::1]",
        b"xn--",
        b"\xff",
        b"\xc3\xa4",
        b" ",
        b"\t",
        b"\n",
        b".",
        b",",
        b"=",
        b"-",
        b"_",
        b'"',
    ),
    *(b"{", b"}", b"[", b"]", b":", encode_segment(HEADER), ATH.encode(), JWK["x"].encode()),
)


def one_input(data: bytes) -> None:
    """Check one proof, wherever it is from."""
    kind, rest = data[:1], data[1:]
    first, _, second = rest.partition(b"\n")
    if kind == b"s":
        _verify([_signed(first, second)])
    elif kind == b"m":
        _verify([_signed(_merged(HEADER_MEMBERS, first), _merged(CLAIMS, second))])
    elif kind == b"h":
        for key in (RAW_PUBLIC, JWK["x"].encode(), json.dumps(JWK).encode()):
            made = encode_segment(first) + b"." + encode_segment(second)
            mac = encode_segment(hmac.digest(key, made, hashlib.sha256))
            assert _verify([made + b"." + mac]) is None, "a public key is no shared secret"
    elif kind == b"u":
        _verify([_made_for(first)], b"/" + second)
    elif kind == b"n":
        path = b"/" + rest.replace(b"?", b"").replace(b"#", b"")
        for sent in (path, normal_path(path)):
            made = _made_for(b"https://" + HOST.encode() + normal_path(sent))
            assert _verify([made], sent) is not None, "a path is where its normal form is"
    elif kind == b"c":
        _bind(rest)
    else:
        _verify(rest.split(b"\n"))


def _made_for(htu: bytes) -> bytes:
    return _signed(HEADER, json.dumps(CLAIMS | {"htu": htu.decode("utf-8", "replace")}).encode())


def _merged(good: Mapping[str, Any], members: bytes) -> bytes:
    """Return good members with others put in or over them; what is no JSON puts nothing in."""
    try:
        said = json.loads(members)
    except (ValueError, RecursionError):
        said = {}
    return json.dumps({**good, **(said if isinstance(said, dict) else {})}).encode()


def _signed(header: bytes, payload: bytes) -> bytes:
    made = encode_segment(header) + b"." + encode_segment(payload)
    return made + b"." + encode_segment(PRIVATE.sign(made))


def _verify(proofs: list[bytes], path: bytes = b"/x") -> Proof | None:
    request = ProofRequest(proofs, "GET", path, CLIENT)
    found = [_outcome(verifier, request) for verifier in (ProofVerifier(), KNOWING, KNOWING)]
    assert found[0] == found[1] == found[2], "what was seen before changes nothing"
    if found[0] is not None:
        _check_promises(found[0], proofs, path)
    return found[0]


def _outcome(verifier: ProofVerifier, request: ProofRequest) -> Proof | None:
    try:
        return verifier.verify(request, NOW, TOKEN)
    except ProofInvalid:
        return None


def _check_promises(proof: Proof, proofs: list[bytes], path: bytes) -> None:
    """Read the proof again by other means (joserfc, urllib), and find the same."""
    (raw,) = proofs
    segments = raw.strip(b" \t").split(b".")
    assert all(encode_segment(decode_segment(one)) == one for one in segments), "one spelling"
    header, claims = (json.loads(decode_segment(one)) for one in segments[:2])
    assert header["typ"].lower().removeprefix("application/") == "dpop+jwt"
    assert not {"crit", "b64"} & header.keys()
    jwk = header["jwk"]
    assert not PRIVATE_MEMBERS & jwk.keys()
    key = import_key(_public(jwk))
    assert proof.jkt == key.thumbprint()
    made, _, signature = raw.strip(b" \t").rpartition(b".")
    assert _algorithm(header["alg"]).verify(made, decode_segment(signature), key)
    assert (claims["htm"], claims["ath"]) == ("GET", ATH)
    assert (proof.jti, proof.nonce) == (claims["jti"], claims.get("nonce"))
    assert NOW - MAX_AGE_S <= claims["iat"] <= NOW + MAX_AHEAD_S
    is_ours = proof.nonce in {NONCES.newest(NOW), NONCES.newest(NOW - WINDOW_S)}
    assert is_ours is (NONCES.judge(proof.nonce, NOW) != "bad")
    _check_url(claims["htu"], path)


def _public(jwk: dict[str, Any]) -> dict[str, str]:
    return {name: jwk[name] for name in ("kty", "crv", "x", "y", "n", "e") if name in jwk}


def _algorithm(name: str) -> Any:
    """Return what joserfc has of this name."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SecurityWarning)  # it would rather have Ed25519 than EdDSA
        return REGISTRY.get_alg(name)


def _check_url(htu: str, path: bytes) -> None:
    """Read `htu` as Python does: it must name this host and this path, however it is written."""
    there = urlsplit(htu)
    assert there.scheme == "https"
    assert (there.hostname or "").rstrip(".") == HOST
    assert there.port in (None, 443)
    assert there.username is None
    assert _plainest(there.path.encode("utf-8", "surrogatepass")) == _plainest(path)
    assert normal_path(normal_path(path)) == normal_path(path)


def _plainest(path: bytes) -> str:
    """Return a path with its dots resolved and what is not reserved decoded, by other means."""
    text = quote(path, safe=string.punctuation)
    text = re.sub(r"%(?![0-9A-Fa-f]{2})", "%25", text)
    text = re.sub(r"%[0-9A-Fa-f]{2}", lambda escape: _decoded(escape[0]), text)
    kept: list[str] = []
    parts = text.split("/")[1:] or [""]
    for place, part in enumerate(parts):
        if part == "..":
            kept = kept[:-1]
        elif part != ".":
            kept.append(part)
        if part in (".", "..") and place == len(parts) - 1:
            kept.append("")
    return "/" + "/".join(kept)


def _decoded(escape: str) -> str:
    letter = unquote(escape, "latin-1")
    return letter if re.fullmatch(r"[A-Za-z0-9._~-]", letter) else escape.upper()


def _bind(cnf: bytes) -> None:
    """Find what binds a token: a thumbprint and nothing beside it, or a refusal."""
    try:
        said = json.loads(cnf)
    except (ValueError, RecursionError):
        said = cnf.decode("latin-1")
    try:
        jkt = bound_key(said)
    except TokenInvalid:
        return
    assert said == {"jkt": jkt}
    assert re.fullmatch(r"[A-Za-z0-9_-]{43}", jkt)
