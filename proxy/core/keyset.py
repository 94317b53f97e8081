"""Verification keys: what a scheme may be opened with, and by which algorithms (security.md, K1).

A `Key` knows its algorithms when it is loaded, from its own type and members and from the scheme's
configuration; a token can only pick among what both allow. PyJWT does the arithmetic, with an
algorithm and a key that are chosen here. What never belongs here: I/O, tokens, time.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import (
    EllipticCurvePrivateKey,
    EllipticCurvePublicKey,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from jwt.algorithms import (
    Algorithm,
    ECAlgorithm,
    OKPAlgorithm,
    RSAAlgorithm,
    get_default_algorithms,
)
from jwt.exceptions import InvalidKeyError

from proxy.core.compact import decode_segment, encode_segment, to_json
from proxy.core.strict_json import loads_object
from proxy.errors import KeysUnavailable

SYMMETRIC: Final = frozenset({"HS256", "HS384", "HS512"})
"""Algorithms whose key is a shared secret."""

_RSA: Final = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"})
_CURVES: Final = {"P-256": "ES256", "P-384": "ES384", "P-521": "ES512"}
_CURVE_NAMES: Final = {"secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521"}

ASYMMETRIC: Final = _RSA | frozenset(_CURVES.values()) | {"EdDSA"}
"""Algorithms whose key may be published. EdDSA means Ed25519 (RFC 8037); Ed448 is not offered."""

ALGORITHMS: Final = SYMMETRIC | ASYMMETRIC

MIN_SECRET_BYTES: Final = 32
MIN_RSA_BITS: Final = 2048
MAX_RSA_BITS: Final = 16384
"""OpenSSL's own bound: a larger modulus only makes each verification a denial of service."""
MAX_DOCUMENT_BYTES: Final = 1024 * 1024
MAX_KEYS: Final = 1000
MAX_ATTEMPTS: Final = 16
"""Signature checks that one token may cost when several keys could have made it."""
MAX_KID_CHARS: Final = 512

_PEM_BLOCK: Final = re.compile(
    rb"-----BEGIN ([A-Z0-9 ]{1,40})-----[A-Za-z0-9+/=\s]{1,20000}-----END \1-----"
)

_LIBRARY: Final[dict[str, Algorithm]] = {
    name: algorithm for name, algorithm in get_default_algorithms().items() if name in ALGORITHMS
}

PublicKey = RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey
PrivateKey = RSAPrivateKey | EllipticCurvePrivateKey | Ed25519PrivateKey


class KeySetInvalid(KeysUnavailable):
    """A key document that cannot be used; the text names the reason and never a key."""


def canonical_algorithm(name: str) -> str:
    """Return the configuration's word for an algorithm: `Ed25519` (RFC 9864) is `EdDSA`."""
    return "EdDSA" if name == "Ed25519" else name


def check_algorithms(names: Iterable[str]) -> frozenset[str]:
    """Return the allow-list in canonical words; unknown, none or mixed kinds are a `ValueError`."""
    algorithms = frozenset(map(canonical_algorithm, names))
    if unknown := algorithms - ALGORITHMS:
        raise ValueError(f"unknown algorithms: {', '.join(sorted(unknown))}")
    if not algorithms:
        raise ValueError("no algorithm is allowed")
    if algorithms & SYMMETRIC and algorithms & ASYMMETRIC:
        raise ValueError("symmetric and asymmetric algorithms never go together")
    return algorithms


@dataclass(frozen=True, slots=True, eq=False)
class Key:
    """One verification key and everything that may be verified with it."""

    kid: str | None
    thumbprint: str = field(repr=False)
    """RFC 7638 (SHA-256) of a public key; of a secret a digest that must not be logged."""
    algorithms: frozenset[str]
    _verifiers: Mapping[str, Callable[[bytes, bytes], bool]] = field(repr=False)

    def verify(self, algorithm: str, signing_input: bytes, signature: bytes) -> bool:
        """Tell whether `signature` fits; False also for an algorithm that is not this key's."""
        verifier = self._verifiers.get(algorithm)
        return verifier is not None and verifier(signing_input, signature)


class KeySet:
    """An immutable set of keys, indexed by what a token's header may ask for."""

    def __init__(self, keys: Sequence[Key], *, skipped: Sequence[str] = ()) -> None:
        self.keys = tuple(keys)
        self.skipped = tuple(skipped)
        """Why members of the document are not used, for the log."""
        self.thumbprints = frozenset(key.thumbprint for key in keys)
        self._identities = frozenset((key.kid, key.thumbprint, key.algorithms) for key in keys)
        self._kids = frozenset(key.kid for key in keys if key.kid is not None)
        self._by_algorithm = {
            name: tuple(key for key in keys if name in key.algorithms) for name in ALGORITHMS
        }
        self._by_name = {
            (kid, name): tuple(key for key in fitting if key.kid in (kid, None))
            for name, fitting in self._by_algorithm.items()
            for kid in self._kids
        }
        self._unnamed = {
            name: tuple(key for key in fitting if key.kid is None)
            for name, fitting in self._by_algorithm.items()
        }

    def __contains__(self, thumbprint: object) -> bool:
        return thumbprint in self.thumbprints

    def __len__(self) -> int:
        return len(self.keys)

    def __iter__(self) -> Iterator[Key]:
        return iter(self.keys)

    def __repr__(self) -> str:
        return f"KeySet({list(self.keys)!r})"

    def holds(self, key: Key) -> bool:
        """Tell whether `key` is here, under its name and for the same algorithms."""
        return (key.kid, key.thumbprint, key.algorithms) in self._identities

    def has_kid(self, kid: str) -> bool:
        """Tell whether a key of this name is here, whatever it may be used for."""
        return kid in self._kids

    def candidates(self, kid: str | None, algorithm: str) -> tuple[Key, ...]:
        """Return the keys that may verify a token that says `kid` and `algorithm`.

        A named token is for the keys of that name, and for keys without a name (PEM files and
        secrets have none); a token without a name is for every key that fits.
        """
        if kid is None:
            return self._by_algorithm.get(algorithm, ())
        if kid in self._kids:
            return self._by_name.get((kid, algorithm), ())
        return self._unnamed.get(algorithm, ())

    @classmethod
    def from_jwks(cls, document: bytes | Mapping[str, Any], *, algorithms: Iterable[str]) -> KeySet:
        """Read a JWK Set (RFC 7517 §5). Keys that do not fit are left out, and listed in `skipped`.

        Raises `KeySetInvalid` if it is not a JWK Set. An empty set is one: nothing opens.
        """
        allowed = _asymmetric(algorithms)
        if isinstance(document, bytes):
            try:
                document = loads_object(document, max_bytes=MAX_DOCUMENT_BYTES)
            except ValueError as error:
                raise KeySetInvalid(f"the JWK Set cannot be read: {_reason(error)}") from error
        members = document.get("keys")
        if not isinstance(members, list):
            raise KeySetInvalid("the document is not a JWK Set: it has no list `keys`")
        if len(members) > MAX_KEYS:
            raise KeySetInvalid(f"the JWK Set has more than {MAX_KEYS} keys")
        keys: dict[tuple[str | None, str], Key] = {}
        skipped: list[str] = []
        for position, member in enumerate(members):
            try:
                key = _read_jwk(member, allowed)
            except ValueError as error:
                skipped.append(f"keys[{position}]: {_reason(error)}")
            else:
                keys[key.kid, key.thumbprint] = key
        return cls(list(keys.values()), skipped=skipped)

    @classmethod
    def from_pem(cls, document: bytes, *, algorithms: Iterable[str]) -> KeySet:
        """Read public keys and certificates; one that does not fit is an error, as it was given.

        A certificate stands for its key: its dates and issuer are not looked at, because the file
        itself is what is trusted.
        """
        allowed = _asymmetric(algorithms)
        keys: dict[str, Key] = {}
        for number, block in enumerate(_PEM_BLOCK.finditer(document), start=1):
            try:
                public = _load_pem_block(block.group(1), block.group(0))
                key = _make_key(None, public, allowed)
            except ValueError as error:
                raise KeySetInvalid(f"PEM block {number}: {_reason(error)}") from error
            keys[key.thumbprint] = key
        if not keys:
            raise KeySetInvalid("there is no public key or certificate in PEM form")
        if len(keys) > MAX_ATTEMPTS:
            raise KeySetInvalid(f"more than {MAX_ATTEMPTS} keys without names")
        return cls(list(keys.values()))

    @classmethod
    def from_file(cls, document: bytes, *, algorithms: Iterable[str]) -> KeySet:
        """Read a file that holds PEM blocks or a JWK Set; a file that yields no key is an error."""
        if b"-----BEGIN " in document:
            return cls.from_pem(document, algorithms=algorithms)
        keys = cls.from_jwks(document, algorithms=algorithms)
        if not keys:
            raise KeySetInvalid("; ".join(("no key can be used", *keys.skipped)))
        return keys

    @classmethod
    def from_secret(cls, *secrets: bytes, algorithms: Iterable[str]) -> KeySet:
        """Make the keys of a symmetric scheme: the only place where `oct` keys come from (K1)."""
        allowed = check_algorithms(algorithms)
        if not allowed <= SYMMETRIC:
            raise KeySetInvalid("a secret is for symmetric algorithms only")
        if not secrets or len(secrets) > MAX_ATTEMPTS:
            raise KeySetInvalid(f"between 1 and {MAX_ATTEMPTS} secrets are needed")
        return cls([_secret_key(secret, allowed) for secret in secrets])


def thumbprint(public: PublicKey) -> str:
    """Return the RFC 7638 thumbprint: base64url of the SHA-256 of the required members."""
    members = public_members(public)
    canonical = {name: members[name] for name in sorted(members)}
    return encode_segment(hashlib.sha256(to_json(canonical)).digest()).decode()


def public_members(public: PublicKey) -> dict[str, str]:
    """Return the members that RFC 7518 §6 and RFC 8037 §2 require of a public key, and no other."""
    if isinstance(public, RSAPublicKey):
        numbers = public.public_numbers()
        return {"kty": "RSA", "n": _uint(numbers.n), "e": _uint(numbers.e)}
    if isinstance(public, EllipticCurvePublicKey):
        size = (public.curve.key_size + 7) // 8
        point = public.public_numbers()
        curve = _CURVE_NAMES[public.curve.name]
        return {"kty": "EC", "crv": curve, "x": _uint(point.x, size), "y": _uint(point.y, size)}
    raw = public.public_bytes_raw()
    return {"kty": "OKP", "crv": "Ed25519", "x": encode_segment(raw).decode()}


def public_key(member: object, algorithm: str) -> Key:
    """Return the key of one JWK for one asymmetric algorithm; `ValueError` says why there is none."""
    return _read_jwk(member, _asymmetric([algorithm]))


def _asymmetric(algorithms: Iterable[str]) -> frozenset[str]:
    allowed = check_algorithms(algorithms)
    if allowed & SYMMETRIC:
        raise KeySetInvalid("a symmetric scheme takes its key from `secret` only")
    return allowed


def _read_jwk(member: object, allowed: frozenset[str]) -> Key:
    """Make the key of one JWK; `ValueError` says why it is not used."""
    if not isinstance(member, dict):
        raise ValueError("not an object")  # noqa: TRY004 - one error for whatever is unfit
    kid = member.get("kid")
    if kid is not None and not is_plain_kid(kid):
        raise ValueError("its `kid` is not a usable name")
    if member.get("use", "sig") != "sig":
        raise ValueError("its `use` is not sig")
    operations = member.get("key_ops", ["verify"])
    if not isinstance(operations, list) or "verify" not in operations:
        raise ValueError("its `key_ops` do not include verify")
    if "d" in member:
        raise ValueError("it is a private key: whoever can read this document can forge tokens")
    declared = member.get("alg")
    if declared is not None:
        if not isinstance(declared, str):
            raise ValueError("its `alg` is not a text")
        allowed = allowed & {canonical_algorithm(declared)}
    return _make_key(kid, _load_jwk(member), allowed)


def _load_jwk(member: Mapping[str, Any]) -> PublicKey:
    """Load the public members alone, so that nothing else in the JWK can have a meaning."""
    match member.get("kty"):
        case "RSA":
            return _load_with(RSAAlgorithm, _only(member, "n", "e"))
        case "EC":
            curve = member.get("crv")
            if not isinstance(curve, str) or curve not in _CURVES:
                raise ValueError("its curve is not one of P-256, P-384, P-521")
            return _load_with(ECAlgorithm, _only(member, "x", "y"))
        case "OKP":
            if member.get("crv") != "Ed25519":
                raise ValueError("its curve is not Ed25519")
            return _load_with(OKPAlgorithm, _only(member, "x"))
        case "oct":
            raise ValueError("a shared secret does not belong into a key document")
        case _:
            raise ValueError("its `kty` is not RSA, EC or OKP")


def _only(member: Mapping[str, Any], *names: str) -> dict[str, str]:
    """Return type, curve and the members called `names`, which must be canonical base64url."""
    jwk = {name: member[name] for name in ("kty", "crv") if name in member}
    for name in names:
        text = member.get(name)
        if not isinstance(text, str) or not text or len(text) > MAX_RSA_BITS // 4:
            raise ValueError(f"its `{name}` is missing or of no sensible length")
        decode_segment(text.encode())
        jwk[name] = text
    return jwk


def _load_with(library: type[ECAlgorithm | OKPAlgorithm | RSAAlgorithm], jwk: Any) -> PublicKey:
    try:
        loaded = library.from_jwk(jwk)
    except InvalidKeyError as error:
        raise ValueError(str(error)) from error
    return _public(loaded)


def _load_pem_block(label: bytes, block: bytes) -> PublicKey:
    if label not in (b"CERTIFICATE", b"PUBLIC KEY", b"RSA PUBLIC KEY"):
        raise ValueError("only public keys and certificates can be used for verification")
    try:
        if label == b"CERTIFICATE":
            return _public(x509.load_pem_x509_certificate(block).public_key())
        return _public(load_pem_public_key(block))
    except UnsupportedAlgorithm as error:
        raise ValueError("it is a kind of key that is not supported") from error


def _public(loaded: object) -> PublicKey:
    if isinstance(loaded, RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey):
        return loaded
    raise ValueError("it is not a public key of a supported kind")


def _make_key(kid: str | None, public: PublicKey, allowed: frozenset[str]) -> Key:
    algorithms = _fitting(public) & allowed
    if not algorithms:
        raise ValueError("no allowed algorithm fits it")
    return Key(
        kid=kid,
        thumbprint=thumbprint(public),
        algorithms=algorithms,
        _verifiers={name: _verifier(name, public) for name in algorithms},
    )


def _fitting(public: PublicKey) -> frozenset[str]:
    """Return the algorithms that the key's own type allows."""
    if isinstance(public, RSAPublicKey):
        if not MIN_RSA_BITS <= public.key_size <= MAX_RSA_BITS:
            raise ValueError(f"an RSA key needs {MIN_RSA_BITS} to {MAX_RSA_BITS} bits")
        return _RSA
    if isinstance(public, EllipticCurvePublicKey):
        curve = _CURVE_NAMES.get(public.curve.name)
        if curve is None:
            raise ValueError("its curve is not one of P-256, P-384, P-521")
        return frozenset({_CURVES[curve]})
    return frozenset({"EdDSA"})


def _verifier(name: str, key: PublicKey | bytes) -> Callable[[bytes, bytes], bool]:
    """Bind PyJWT's arithmetic to one algorithm and one key, both chosen here."""
    library = _LIBRARY[name]
    prepared = library.prepare_key(key)

    def verify(signing_input: bytes, signature: bytes) -> bool:
        return library.verify(signing_input, prepared, signature)

    return verify


def _secret_key(secret: bytes, algorithms: frozenset[str]) -> Key:
    if len(secret) < MIN_SECRET_BYTES:
        raise KeySetInvalid(f"a secret needs at least {MIN_SECRET_BYTES} bytes")
    try:
        verifiers = {name: _verifier(name, secret) for name in algorithms}
    except InvalidKeyError as error:
        raise KeySetInvalid("the secret is a public key, a certificate or a JWK") from error
    digest = hashlib.sha256(b"latchgate secret key\x00" + secret).digest()
    return Key(
        kid=None,
        thumbprint=encode_segment(digest).decode(),
        algorithms=algorithms,
        _verifiers=verifiers,
    )


def make_signer(name: str, private: PrivateKey) -> Callable[[bytes], bytes]:
    """Bind PyJWT's arithmetic to one algorithm and one private key."""
    library = _LIBRARY[name]
    prepared = library.prepare_key(private)

    def sign(signing_input: bytes) -> bytes:
        return library.sign(signing_input, prepared)

    return sign


def is_plain_kid(kid: object) -> bool:
    """Tell whether a `kid` can be the name of a key: a short text of printable characters."""
    return isinstance(kid, str) and 0 < len(kid) <= MAX_KID_CHARS and kid.isprintable()


def _uint(number: int, size: int | None = None) -> str:
    """Return Base64urlUInt (RFC 7518 §2), left-padded with zeros to `size` bytes."""
    size = size or max(1, (number.bit_length() + 7) // 8)
    return encode_segment(number.to_bytes(size, "big")).decode()


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__
