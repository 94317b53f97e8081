"""Which signing keys a configuration needs, and under what they are sealed (security.md, K4, S10)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from proxy.adapters.jwe import TokenCipher
from proxy.adapters.secrets import SecretBox, load_or_create_secret
from proxy.adapters.store import Store
from proxy.config.models import Config
from proxy.core.compact import to_json
from proxy.core.keyring import Rotation
from proxy.core.nonces import Nonces
from proxy.errors import SecretsError
from proxy.services.compile import needs_assertions, needs_nonces
from proxy.services.signing import EncryptingSigner, Purpose, SigningKeys
from proxy.services.tokens import MAX_ASSERTION_LIFE_S, Signer

SECRET_FILE: Final = "secrets.key"
"""Beside the embedded store, in its directory of mode 0700."""

LONGEST_TOKEN_S: Final = 86_400.0
"""A local scheme's `max_lifetime` may be longer; the key then stays for that."""


@dataclass(frozen=True, slots=True)
class SigningPlan:
    """The key rings of a gate; tokens and assertions never share one."""

    tokens: SigningKeys | None
    assertions: SigningKeys | None
    cipher: TokenCipher | None = None
    """Of the gate's own tokens; it decrypts what was encrypted before `encrypt` was switched off."""
    encrypts: bool = False

    def token_signer(self) -> Signer:
        """Return what signs access tokens, and encrypts them where the configuration says so."""
        assert self.tokens is not None  # noqa: S101 - whoever calls has found `tokens:`
        if self.encrypts and self.cipher is not None:
            return EncryptingSigner(self.tokens, self.cipher)
        return self.tokens

    def all(self) -> Iterable[SigningKeys]:
        """Return the rings that there are."""
        return [ring for ring in (self.tokens, self.assertions) if ring is not None]

    def published(self) -> bytes:
        """Return the JWK Set (RFC 7517 §5) of everything that the gate signs with."""
        keys = [key for ring in self.all() for key in ring.public_jwks()["keys"]]
        return to_json({"keys": keys})


def open_signing_keys(config: Config, store: Store | None) -> SigningPlan:
    """Return the rings that `config` needs, not read yet. Raises `SecretsError`."""
    has_tokens, has_assertions = config.tokens is not None, needs_assertions(config)
    if store is None or not (has_tokens or has_assertions):
        return SigningPlan(None, None)
    secret_keys = _secret_keys(config)
    box = SecretBox(secret_keys)
    algorithm = config.tokens.algorithm if config.tokens is not None else "EdDSA"
    period = config.tokens.keys.rotate if config.tokens is not None else 30 * 86_400.0

    def ring(purpose: Purpose, life_s: float) -> SigningKeys:
        record_key = f"{config.store.prefix}signing:{purpose}"
        return SigningKeys(store, box, record_key, algorithm, Rotation(period, life_s))

    tokens = config.tokens
    return SigningPlan(
        cipher=None if tokens is None else TokenCipher(secret_keys, tokens.issuer),
        encrypts=tokens is not None and tokens.encrypt,
        tokens=ring("token", _longest_token_s(config)) if has_tokens else None,
        assertions=ring("assertion", float(MAX_ASSERTION_LIFE_S)) if has_assertions else None,
    )


def open_box(config: Config) -> SecretBox:
    """Return what seals and opens the gate's secrets in the store (S10). Raises `SecretsError`."""
    return SecretBox(_secret_keys(config))


def open_nonces(config: Config) -> Nonces | None:
    """Return the nonces that proofs have to carry; `None` where none has to. Raises `SecretsError`.

    Their keys are derived from `secrets`, so that all gates that share those share them.
    """
    return (
        Nonces([_nonce_key(key) for key in _secret_keys(config)]) if needs_nonces(config) else None
    )


def _nonce_key(secret: bytes) -> bytes:
    return HKDF(SHA256(), 32, salt=None, info=b"latchgate nonces of proofs").derive(secret)


def _longest_token_s(config: Config) -> float:
    local = [
        scheme.max_lifetime
        for scheme in config.schemes.values()
        if scheme.type == "jwt" and scheme.keys.local
    ]
    return max([LONGEST_TOKEN_S, *local])


def can_keep_secrets(config: Config) -> bool:
    """Tell whether there are keys for what must be kept secret in the store (S10)."""
    return config.secrets is not None or config.store.url.kind == "embedded"


def _secret_keys(config: Config) -> tuple[bytes, ...]:
    if config.secrets is not None:
        return config.secrets.keys()
    directory = config.store.url.path
    if config.store.url.kind != "embedded" or directory is None:
        raise SecretsError("secrets: {key: …} is needed with a store that is not embedded")
    return (load_or_create_secret(directory / SECRET_FILE),)


Published = Callable[[], bytes]
