"""Access tokens that their clients cannot read: signed first, then encrypted (RFC 7516, RFC 7519 §11.2).

By joserfc, which is kept up, typed, and takes algorithms by an explicit list. Every token gets a
content key of its own, wrapped under a key that is derived from `secrets` (A256KW): no number of
tokens wears that key out, as it would with `dir` and random nonces. What never belongs here: what a
token says, and signatures.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import Final

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from joserfc import jwe
from joserfc.errors import JoseError
from joserfc.jwk import OctKey
from joserfc.registry import HeaderParameter

from proxy.core.jose import ACCESS_TYP, MAX_TOKEN_BYTES
from proxy.errors import TokenInvalid

_REGISTRY: Final = jwe.JWERegistry(
    header_registry={"iss": HeaderParameter("Issuer", "str")},
    algorithms=["A256KW", "A256GCM"],  # and so no compression
)


class TokenCipher:
    """Encrypts access tokens of `issuer` with the first of `keys` (32 bytes each), decrypts with any.

    The header says the issuer (RFC 7519 §5.3), by which the gate knows its own tokens on their way to
    applications that must not see them (security.md, H6). Nothing else of the claims is told.
    """

    def __init__(self, keys: Sequence[bytes], issuer: str) -> None:
        if not keys:
            raise ValueError("at least one key is needed")
        made = [_derive(key) for key in keys]
        self._header = {
            "alg": "A256KW",
            "enc": "A256GCM",
            "typ": ACCESS_TYP,
            "cty": "JWT",
            "iss": issuer,
        }
        self._key = made[0]
        self._keys = {self._encrypt(b"", key).partition(".")[0].encode(): key for key in made}

    def __repr__(self) -> str:
        return f"TokenCipher({len(self._keys)} keys)"

    def encrypt(self, token: str) -> str:
        """Return the signed `token`, encrypted."""
        return self._encrypt(token.encode(), self._key)

    def decrypt(self, token: bytes) -> bytes:
        """Return the signed token inside; raises `TokenInvalid` for what this gate did not encrypt.

        The header must be one that `encrypt` writes, to the byte: there is nothing in it to choose,
        no other algorithm and no compression.
        """
        if len(token) > MAX_TOKEN_BYTES:
            raise TokenInvalid("the token is too long")
        key = self._keys.get(token.partition(b".")[0])
        if key is None:
            raise TokenInvalid("the token was not encrypted by this gate")
        try:
            plaintext = jwe.decrypt_compact(token, key, registry=_REGISTRY).plaintext
        except (JoseError, ValueError):
            raise TokenInvalid("the token cannot be decrypted") from None
        return plaintext or b""

    def _encrypt(self, plaintext: bytes, key: OctKey) -> str:
        header = self._header | {"kid": key.kid}
        return jwe.encrypt_compact(header, plaintext, key, registry=_REGISTRY)


def is_encrypted(token: bytes) -> bool:
    """Tell whether a token has the five segments of RFC 7516 §3.1."""
    return token.count(b".") == 4


def _derive(key: bytes) -> OctKey:
    """Return the key for tokens: never the one that seals records, and named by nothing secret."""
    derived = HKDF(SHA256(), 32, salt=None, info=b"latchgate access token encryption").derive(key)
    name = sha256(b"latchgate kid\n" + derived).hexdigest()[:16]
    return OctKey.import_key(derived, {"kid": name})
