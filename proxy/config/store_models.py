"""Sections about what the gate keeps: store, tokens of its own, encryption keys."""

from __future__ import annotations

import base64
import binascii
import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    BeforeValidator,
    Discriminator,
    Field,
    PlainValidator,
    Tag,
    WithJsonSchema,
)

from proxy.config.addresses import StoreUrlValue
from proxy.config.secret import Secret, SecretValue
from proxy.config.store_url import StoreUrl
from proxy.config.strict import Section
from proxy.config.upstream_models import OTHER, WORD, word_or_other
from proxy.config.values import (
    Count,
    Duration,
    DurationOrZero,
    Flag,
    Size,
    Text,
    matching,
    one_or_many,
    parse_count,
)

KeyPrefix = Annotated[
    str,
    PlainValidator(
        matching(
            r"[!-z|~]{1,128}",
            "must be at most 128 visible ASCII characters without spaces and braces",
        )
    ),
    WithJsonSchema({"type": "string", "pattern": "^[!-z|~]{1,128}$"}),
]
"""Braces would be taken for the hash tag of a Cluster, and move the markers apart."""


class ServeCachedConfig(Section):
    """What may go on while the store is out."""

    serve_cached: Duration
    """How long cached verdicts answer safe requests, since the store was last known to be there."""


def parse_replicas(value: object) -> int | Literal["all"]:
    """Return `all`, or a number of replicas above 0."""
    if isinstance(value, str) and value == "all":
        return "all"
    try:
        return parse_count(value)
    except ValueError as error:
        message = "must be all or a whole number" if isinstance(value, str) else str(error)
        raise ValueError(message) from None


class DurabilityConfig(Section):
    """Logins and revocations are answered only once replicas have them."""

    replicas: Annotated[
        int | Literal["all"],
        PlainValidator(parse_replicas),
        WithJsonSchema({"anyOf": [{"const": "all"}, {"type": "integer", "minimum": 1}]}),
    ]
    """How many; `all` is as many as the master has, and one at least."""
    timeout: Duration = 0.05
    """How long they may take; then the answer is 503."""


class StoreConfig(Section):
    """The Redis or Valkey that holds sessions and revocations."""

    url: StoreUrlValue = StoreUrl("embedded", path=Path("var/store"))
    """embedded:directory, redis://, rediss://, unix://, redis+sentinel:// or redis+cluster://; or {file: path}."""
    prefix: KeyPrefix = "latchgate:"
    """Begin of every key that the gate writes."""
    timeout: Duration = 0.5
    """Longest time of one look-up; then 503."""
    max_staleness: Duration = 2.0
    """How long a cached verdict may be used without proof that the store's word still arrives."""
    on_outage: Annotated[
        Annotated[Literal["deny"], Tag(WORD)] | Annotated[ServeCachedConfig, Tag(OTHER)],
        Discriminator(word_or_other),
    ] = "deny"
    """What cached verdicts are worth while the store is out: nothing, or {serve_cached: 30s}."""
    on_loss: Literal["revoke_all", "accept"] = "revoke_all"
    """What a running gate does when the store has lost revocations."""
    eviction: Literal["refuse", "accept"] = "refuse"
    """Whether a store with a memory bound whose policy can evict keys is used at all."""
    durability: Annotated[
        Annotated[Literal["none"], Tag(WORD)] | Annotated[DurabilityConfig, Tag(OTHER)],
        Discriminator(word_or_other),
    ] = "none"
    """Whether a change is answered before the replicas have it, or {replicas: all, timeout: 50ms}."""

    @property
    def grace_s(self) -> float | None:
        """Seconds of `serve_cached`; `None` with `deny`."""
        return self.on_outage.serve_cached if self.on_outage != "deny" else None


class VerdictsConfig(Section):
    """The verdicts that each worker keeps in memory."""

    entries: Count = 100_000
    """How many credentials' verdicts one worker keeps."""
    bytes: Size = 64 * 1024 * 1024
    """How much memory they take, by estimate."""


class TokenKeysConfig(Section):
    """The gate's own signing keys."""

    rotate: Duration = 30 * 86_400.0
    """Age at which a signing key is replaced."""


class OtpAfterConfig(Section):
    """A refresh asks for a one-time password now and then."""

    after: Duration
    """How long after the last one, or after the login."""


class TokensConfig(Section):
    """The access tokens that the gate issues itself (RFC 9068)."""

    issuer: Text
    """The `iss` of the tokens; also the origin of native sessions."""
    audience: Text
    """The `aud` of the tokens."""
    algorithm: Literal["EdDSA", "ES256", "RS256"] = "EdDSA"
    """Signature of the tokens and of assertions."""
    access: Duration = 600.0
    """Life of an access token."""
    refresh: Duration = 30 * 86_400.0
    """Life of a refresh family, from the login on: no use of it moves its end."""
    reuse_grace: DurationOrZero = 10.0
    """How long a spent refresh token gets the same answer again, for an answer that was lost."""
    otp: Annotated[
        Annotated[Literal["never", "always", "new_client"], Tag(WORD)]
        | Annotated[OtpAfterConfig, Tag(OTHER)],
        Discriminator(word_or_other),
    ] = "never"
    """When a refresh asks for the one-time password of who has enrolled one."""
    encrypt: Flag = False
    """Whether access tokens are encrypted as well, so that their clients cannot read them."""
    dpop_nonce: Flag = False
    """Whether the proofs that the token endpoint takes have to carry a nonce of the gate's (RFC 9449)."""
    keys: TokenKeysConfig = TokenKeysConfig()
    """The signing keys."""


def decode_key(secret: Secret) -> bytes:
    """Return the 32 bytes of an AES-256 key written as 64 hex digits or in base64.

    Raises `ValueError` without a word of the key.
    """
    sentence = "must be 32 random bytes, as 64 hex digits or in base64 (openssl rand -base64 32)"
    text = secret.reveal().strip()
    try:
        if re.fullmatch(r"[0-9A-Fa-f]{64}", text):
            return bytes.fromhex(text)
        plain = text.replace("-", "+").replace("_", "/").rstrip("=")
        key = base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except (ValueError, binascii.Error):
        raise ValueError(sentence) from None
    if len(key) != 32:
        raise ValueError(sentence)
    return key


class SecretsConfig(Section):
    """Keys for what must be kept secret in the store."""

    key: Annotated[
        list[SecretValue],
        BeforeValidator(one_or_many, json_schema_input_type=SecretValue | list[SecretValue]),
    ] = Field(min_length=1)
    """AES-256-GCM keys, 32 bytes in hex or base64; the first encrypts, all decrypt."""

    def keys(self) -> tuple[bytes, ...]:
        """Return the keys as 32 bytes each, the encrypting one first."""
        return tuple(decode_key(secret) for secret in self.key)
