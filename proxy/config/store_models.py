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
    """How long cached verdicts still answer GET, HEAD and OPTIONS without upgrade, and keep such
    answers open, since the store was last known to be there; longer than `max_staleness`, at most
    `1h`. What is revoked meanwhile is not noticed."""


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
    """How many replicas. `all`: as many as the master has, and one at least."""
    timeout: Duration = 0.05
    """How long they may take; shorter than `store.timeout`."""


class StoreConfig(Section):
    """The Redis or Valkey that holds sessions and revocations."""

    url: StoreUrlValue = StoreUrl("embedded", path=Path("var/store"))
    """`embedded:directory` is a private Valkey that the gate starts itself. Else
    `redis://user:password@host:6379/0`, `rediss://…` (TLS; `?ssl_ca_certs=`, `ssl_certfile=`,
    `ssl_keyfile=` name files) `redis+sentinel://h1,h2,h3/name`, `redis+cluster://h1,h2`
    ([stores.md](stores.md)) or `unix:///run/redis.sock?db=0`. `{file: path}` names a file that
    holds the URL."""
    prefix: KeyPrefix = "latchgate:"
    """Begin of every key that the gate writes."""
    timeout: Duration = 0.5
    """Longest time of one look-up; then 503. A reply older than `max_staleness` does not count
    either."""
    max_staleness: Duration = 2.0
    """How long a cached verdict may be used since the store was last known to tell what changes:
    `200ms` to `60s`. A heartbeat is sent four times in it. See [coherence.md](coherence.md)."""
    on_outage: Annotated[
        Annotated[Literal["deny"], Tag(WORD)] | Annotated[ServeCachedConfig, Tag(OTHER)],
        Discriminator(word_or_other),
    ] = "deny"
    """What cached verdicts are worth while the store is out. `deny`: nothing, the answer is 503."""
    on_loss: Literal["revoke_all", "accept"] = "revoke_all"
    """What a running gate does when the store has lost revocations: refuse everything that was
    issued before (`revoke_all`), or go on (`accept`)."""
    eviction: Literal["refuse", "accept"] = "refuse"
    """`refuse`: a store with `maxmemory` whose policy can evict keys is not used, because an
    evicted revocation means *allow*."""
    durability: Annotated[
        Annotated[Literal["none"], Tag(WORD)] | Annotated[DurabilityConfig, Tag(OTHER)],
        Discriminator(word_or_other),
    ] = "none"
    """`none`: a change is answered when the master has it. A section: when replicas have it too,
    else 503 `store_unavailable` ([stores.md](stores.md)). Not with `embedded:`."""

    @property
    def grace_s(self) -> float | None:
        """Seconds of `serve_cached`; `None` with `deny`."""
        return self.on_outage.serve_cached if self.on_outage != "deny" else None


class VerdictsConfig(Section):
    """The verdicts that each worker keeps in memory."""

    entries: Count = 100_000
    """How many credentials' verdicts one worker keeps."""
    bytes: Size = 64 * 1024 * 1024
    """How much memory they take, by an estimate that is rather too high; at least `64KiB`."""


class TokenKeysConfig(Section):
    """The gate's own signing keys."""

    rotate: Duration = 30 * 86_400.0
    """Age at which a signing key is replaced. `latchgate keys rotate` does it at once."""


class OtpAfterConfig(Section):
    """A refresh asks for a one-time password now and then."""

    after: Duration
    """So long after the last one, or after the login."""


class TokensConfig(Section):
    """The access tokens that the gate issues itself (RFC 9068)."""

    issuer: Text
    """The `iss` of the tokens; also where native sessions come from (routes: `same_subjects`)."""
    audience: Text
    """The `aud` of the tokens."""
    algorithm: Literal["EdDSA", "ES256", "RS256"] = "EdDSA"
    """Signature of the tokens and of assertions."""
    access: Duration = 600.0
    """Life of an access token."""
    refresh: Duration = 30 * 86_400.0
    """Life of a refresh family, from the login on; no use of it moves its end."""
    reuse_grace: DurationOrZero = 10.0
    """How long a spent refresh token gets the same answer again, for one that was lost on the way;
    at most `60s`, `0s` for never."""
    otp: Annotated[
        Annotated[Literal["never", "always", "new_client"], Tag(WORD)]
        | Annotated[OtpAfterConfig, Tag(OTHER)],
        Discriminator(word_or_other),
    ] = "never"
    """When a refresh asks for the one-time password (`otp`) of who has enrolled one: at each, or
    where address block or user agent differ from the last use. Needs `login.otp`."""
    encrypt: Flag = False
    """Whether access tokens are encrypted as well, under `secrets`, so that their clients cannot
    read them. Only this gate can then."""
    dpop_nonce: Flag = False
    """Whether the proofs that the token endpoint takes (DPoP) have to carry a
    [nonce](tokens.md#nonces) of the gate's. Who sends no proof is not asked for one."""
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
    """AES-256 keys: 32 bytes, as 64 hex digits or in base64 (`openssl rand -base64 32`). The first
    encrypts, all decrypt. Where the section is absent, a key is made beside the embedded store;
    with any other store it is required as soon as something is signed, or a proof needs a nonce."""

    def keys(self) -> tuple[bytes, ...]:
        """Return the keys as 32 bytes each, the encrypting one first."""
        return tuple(decode_key(secret) for secret in self.key)
