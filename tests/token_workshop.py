"""Forges tokens of every shape for the tests: nothing here checks what it makes.

Keys are made once for a test run. What never belongs here: code of the product that is tested.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import hmac
import json

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

NOW = 1_800_000_000.0
ISSUER = "https://id.example.com/"
AUDIENCE = "shop-api"
SECRET = b"0123456789abcdef0123456789abcdef-a-secret-of-the-tests-of-64-bytes"

HASHES = {"256": hashes.SHA256(), "384": hashes.SHA384(), "512": hashes.SHA512()}
DIGESTS = {"256": hashlib.sha256, "384": hashlib.sha384, "512": hashlib.sha512}
CURVES = {"P-256": ec.SECP256R1(), "P-384": ec.SECP384R1(), "P-521": ec.SECP521R1()}


@functools.cache
def private_key(kind):
    """Return the run's private key of a kind, such as RSA, RSA-1024, RSA-other or P-256."""
    match kind:
        case "RSA" | "RSA-other":
            return rsa.generate_private_key(65537, 2048)
        case "RSA-1024":
            return rsa.generate_private_key(65537, 1024)  # noqa: S505 - to be refused
        case "P-256" | "P-384" | "P-521":
            return ec.generate_private_key(CURVES[kind])
        case "secp256k1":
            return ec.generate_private_key(ec.SECP256K1())
        case "Ed448":
            return ed448.Ed448PrivateKey.generate()
        case _:
            return ed25519.Ed25519PrivateKey.generate()


def b64(raw):
    """Return base64url without padding, as text."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def unb64(text):
    """Return what base64url without padding stands for."""
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def number(value, size=None):
    """Return an unsigned integer as a JWK has it."""
    return b64(value.to_bytes(size or (value.bit_length() + 7) // 8, "big"))


def jwk(kind, **members):
    """Return the public JWK of `private_key(kind)`, with and overridden by `members`."""
    public = private_key(kind).public_key()
    if kind.startswith("RSA"):
        numbers = public.public_numbers()
        made = {"kty": "RSA", "n": number(numbers.n), "e": number(numbers.e)}
    elif kind.startswith("Ed"):
        raw = public.public_bytes(Encoding.Raw, PublicFormat.Raw)
        made = {"kty": "OKP", "crv": kind.removesuffix("-other"), "x": b64(raw)}
    else:
        point, size = public.public_numbers(), (public.curve.key_size + 7) // 8
        made = {"kty": "EC", "crv": kind, "x": number(point.x, size), "y": number(point.y, size)}
    return made | members


def pem(kind):
    """Return the public key of `private_key(kind)` as PEM."""
    public = private_key(kind).public_key()
    return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def raw_sign(algorithm, key, message):
    """Sign with any key by any algorithm, also where that makes no sense: forgers do."""
    family, size = algorithm[:2], algorithm[2:]
    if algorithm in ("EdDSA", "Ed25519", "Ed448"):
        return key.sign(message)
    if family == "HS":
        return hmac.new(key, message, DIGESTS[size]).digest()
    if family == "RS":
        return key.sign(message, padding.PKCS1v15(), HASHES[size])
    if family == "PS":
        length = HASHES[size].digest_size
        return key.sign(message, padding.PSS(padding.MGF1(HASHES[size]), length), HASHES[size])
    r, s = decode_dss_signature(key.sign(message, ec.ECDSA(HASHES[size])))
    width = (key.curve.key_size + 7) // 8
    return r.to_bytes(width, "big") + s.to_bytes(width, "big")


def claims(**changes):
    """Return the claims of a good token at `NOW`; a change to `...` removes a claim."""
    good = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "ann",
        "jti": "t-1",
        "iat": int(NOW),
        "exp": int(NOW) + 300,
    }
    return {name: value for name, value in (good | changes).items() if value is not ...}


def token(algorithm="RS256", kind="RSA", *, key=None, header=None, payload=None, **changes):
    """Return a token as bytes; `header` adds to alg, `payload` is bytes or claims."""
    head = {"alg": algorithm} | (header or {})
    head = {name: value for name, value in head.items() if value is not ...}
    body = claims(**changes) if payload is None else payload
    return assemble(
        json.dumps(head).encode(),
        body if isinstance(body, bytes) else json.dumps(body).encode(),
        algorithm,
        private_key(kind) if key is None else key,
    )


def assemble(raw_header, raw_payload, algorithm, key):
    """Sign exactly these bytes."""
    signing_input = f"{b64(raw_header)}.{b64(raw_payload)}".encode()
    return signing_input + b"." + b64(raw_sign(algorithm, key, signing_input)).encode()
