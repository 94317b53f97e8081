"""The gate's own signing keys: which one signs, and when the next one takes over (design.md §6).

A key is published before it signs, and stays published until nothing that it signed is still
valid: keys rotate without a gap. Pure: making keys is the only chance in it. What never belongs
here: the store, and sealing.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
)

from proxy.core.compact import to_json
from proxy.core.keyset import PrivateKey, public_members, thumbprint
from proxy.core.strict_json import loads_object

SIGNING_ALGORITHMS: Final = ("EdDSA", "ES256", "RS256")
RSA_BITS: Final = 2048
MAX_RECORD_BYTES: Final = 256 * 1024

_KINDS: Final[dict[str, type[PrivateKey]]] = {
    "EdDSA": Ed25519PrivateKey,
    "ES256": ec.EllipticCurvePrivateKey,
    "RS256": rsa.RSAPrivateKey,
}


@dataclass(frozen=True, slots=True)
class SigningKey:
    """One private key and its times, in whole epoch seconds."""

    kid: str
    """The RFC 7638 thumbprint: no two keys share one."""
    algorithm: str
    private: PrivateKey = field(repr=False, compare=False)
    made_at: int
    signs_from: int
    ends_at: int | None = None
    """From here on nothing that it signed is valid; `None` while it has no successor."""

    def public_jwk(self) -> dict[str, str]:
        """Return the JWK to publish (RFC 7517 §4)."""
        members = public_members(self.private.public_key())
        return {**members, "kid": self.kid, "use": "sig", "alg": self.algorithm}


@dataclass(frozen=True, slots=True)
class Rotation:
    """The times of a rotation, in seconds."""

    period_s: float
    """How long one key signs."""
    token_life_s: float
    """The longest life of what is signed."""
    publish_s: float = 900.0
    """From publishing to signing: three times the usual refresh of those who verify."""
    slack_s: float = 300.0
    """How long after its last token a key stays: for clocks that differ."""


@dataclass(frozen=True, slots=True)
class KeyRing:
    """Every key of one purpose that is published, oldest first."""

    keys: tuple[SigningKey, ...] = ()

    def signing_key(self, algorithm: str, now: float) -> SigningKey | None:
        """Return the newest key of `algorithm` whose time to sign has come.

        A lone key signs even before its time: the host that made it has a faster clock.
        """
        own = [key for key in self.keys if key.algorithm == algorithm]
        ready = [key for key in own if key.signs_from <= now]
        if not ready:
            return min(own, key=_by_time, default=None)
        return max(ready, key=_by_time)

    def is_due(self, algorithm: str, rotation: Rotation, now: float) -> bool:
        """Tell whether a new key of `algorithm` is needed."""
        own = [key for key in self.keys if key.algorithm == algorithm]
        return not own or max(key.made_at for key in own) + rotation.period_s <= now

    def pending_key(self, algorithm: str, now: float) -> SigningKey | None:
        """Return the key of `algorithm` that is published and does not sign yet, if there is one."""
        current = self.signing_key(algorithm, now)
        waiting = (key for key in self.keys if key.algorithm == algorithm and key.signs_from > now)
        return next((key for key in waiting if key != current), None)

    def with_key(self, new: SigningKey, rotation: Rotation) -> KeyRing:
        """Return the ring with `new`, and with an end for the keys that it takes over from."""
        ends_at = new.signs_from + int(rotation.token_life_s + rotation.slack_s)
        older = tuple(
            replace(key, ends_at=ends_at)
            if key.algorithm == new.algorithm and key.ends_at is None
            else key
            for key in self.keys
        )
        return KeyRing((*older, new))

    def pruned(self, algorithm: str, rotation: Rotation, now: float) -> KeyRing:
        """Return the ring without keys whose end has come.

        A key of an algorithm that is no longer configured never gets a successor; it goes when
        one would have relieved it. Where another gate still uses it, that gate does rotate it.
        """
        lonely_s = (
            rotation.period_s + 2 * rotation.publish_s + rotation.token_life_s + rotation.slack_s
        )

        def is_over(key: SigningKey) -> bool:
            if key.ends_at is not None:
                return key.ends_at <= now
            return key.algorithm != algorithm and key.made_at + lonely_s <= now

        return KeyRing(tuple(key for key in self.keys if not is_over(key)))

    def encode(self) -> bytes:
        """Return the record, which holds the private keys in the clear: to be sealed at once."""
        return to_json({"v": 1, "keys": [_encode_key(key) for key in self.keys]})

    @classmethod
    def decode(cls, record: bytes) -> KeyRing:
        """Read `encode`'s record; raises `ValueError` without a word of it."""
        members = loads_object(record, max_bytes=MAX_RECORD_BYTES)
        items = members.get("keys")
        if members.get("v") != 1 or not isinstance(items, list):
            raise ValueError("not a record of signing keys of version 1")
        return cls(tuple(_decode_key(item) for item in items))


def _by_time(key: SigningKey) -> tuple[int, int, str]:
    return key.signs_from, key.made_at, key.kid


def make_key(algorithm: str, *, now: float, signs_from: float) -> SigningKey:
    """Make a new key of one of `SIGNING_ALGORITHMS`; RS256 takes a good part of a second."""
    private: PrivateKey
    match algorithm:
        case "EdDSA":
            private = Ed25519PrivateKey.generate()
        case "ES256":
            private = ec.generate_private_key(ec.SECP256R1())
        case "RS256":
            private = rsa.generate_private_key(65537, RSA_BITS)
        case _:
            raise ValueError(f"{algorithm} is not an algorithm for signing")
    return SigningKey(
        kid=thumbprint(private.public_key()),
        algorithm=algorithm,
        private=private,
        made_at=int(now),
        signs_from=int(signs_from),
    )


def jwks_document(keys: Sequence[SigningKey]) -> bytes:
    """Return the JWK Set to publish; nothing of it is secret."""
    return to_json({"keys": [key.public_jwk() for key in keys]})


def _encode_key(key: SigningKey) -> dict[str, Any]:
    der = key.private.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    return {
        "alg": key.algorithm,
        "pkcs8": base64.b64encode(der).decode(),
        "made_at": key.made_at,
        "signs_from": key.signs_from,
        "ends_at": key.ends_at,
    }


def _decode_key(item: object) -> SigningKey:
    match item:
        case {
            "alg": str(algorithm),
            "pkcs8": str(pkcs8),
            "made_at": int(made_at),
            "signs_from": int(signs_from),
            "ends_at": int() | None as ends_at,
        } if algorithm in _KINDS:
            try:
                private = load_der_private_key(base64.b64decode(pkcs8, validate=True), None)
            except (ValueError, TypeError, binascii.Error):
                raise ValueError("a signing key of the record cannot be read") from None
        case _:
            raise ValueError("an entry of the record is not a signing key")
    if not isinstance(private, _KINDS[algorithm]):
        raise ValueError("a signing key of the record does not fit its algorithm")  # noqa: TRY004 - as above
    public = private.public_key()
    return SigningKey(thumbprint(public), algorithm, private, made_at, signs_from, ends_at)
