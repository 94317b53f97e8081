"""Sections about the ways to authenticate: session and jwt schemes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Discriminator,
    Field,
    PlainValidator,
    Tag,
    WithJsonSchema,
)

from proxy.config.addresses import HttpUrl, StoreUrlValue
from proxy.config.mtls_models import MtlsSchemeConfig
from proxy.config.secret import SecretValue
from proxy.config.strict import Section
from proxy.config.upstream_models import OTHER, WORD, word_or_other
from proxy.config.values import (
    Count,
    Duration,
    DurationOrZero,
    FilePath,
    Flag,
    Name,
    NoneWord,
    Text,
    Token,
    matching,
    one_or_many,
    parse_text,
    unique,
)

Algorithm = Literal[
    "HS256", "HS384", "HS512",
    "RS256", "RS384", "RS512",
    "PS256", "PS384", "PS512",
    "ES256", "ES384", "ES512",
    "EdDSA",
]  # fmt: skip

_TOKEN: Final = matching(
    r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}", "must name a cookie or header as RFC 9110 allows"
)
_SOURCES: Final = "must be bearer, basic, {cookie: name}, {header: name} or {query: name}"


@dataclass(frozen=True, slots=True)
class TokenSource:
    """A place in the request where a token is looked for."""

    kind: Literal["bearer", "basic", "cookie", "header", "query"]
    name: str = ""
    """Name of the cookie, header (as written) or query parameter; else empty."""


def parse_source(value: object) -> TokenSource:
    """Return the place that `bearer`, `basic`, `{cookie: …}`, `{header: …}`, `{query: …}` names."""
    if isinstance(value, TokenSource):
        return value
    if value == "bearer":
        return TokenSource("bearer")
    if value == "basic":
        return TokenSource("basic")
    if not isinstance(value, dict) or len(value) != 1:
        raise ValueError(_SOURCES)
    kind, name = next(iter(value.items()))
    if kind == "cookie":
        return TokenSource("cookie", _TOKEN(name))
    if kind == "header":
        return TokenSource("header", _TOKEN(name))
    if kind == "query":
        return TokenSource("query", parse_text(name))
    raise ValueError(_SOURCES)


def _parse_audience(value: object) -> object:
    return value if value == "any" else one_or_many(value)


def _named(kind: str) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {kind: {"type": "string", "minLength": 1}},
        "required": [kind],
        "additionalProperties": False,
    }


SessionPrefix = Annotated[
    str,
    PlainValidator(matching(r"[!-~]{1,256}", "must be at most 256 visible ASCII characters")),
    WithJsonSchema({"type": "string", "pattern": "^[!-~]{1,256}$"}),
]
SourceValue = Annotated[
    TokenSource,
    PlainValidator(parse_source),
    WithJsonSchema(
        {
            "anyOf": [
                {"enum": ["bearer", "basic"]},
                _named("cookie"),
                _named("header"),
                _named("query"),
            ]
        }
    ),
]


class IdentityMapping(Section):
    """Where a record or token says who it is: dotted paths, or templates such as "{iss}|{sub}"."""

    subject: Text
    """The person's identifier; without a value the credential opens nothing."""
    email: Annotated[Text | None, NoneWord()] = None
    """The e-mail address."""
    name: Annotated[Text | None, NoneWord()] = None
    """The name to show."""
    roles: Annotated[Text | None, NoneWord()] = None
    """A list of roles, or one text with spaces between them."""
    scopes: Annotated[Text | None, NoneWord()] = None
    """A list of scopes, or one text with spaces between them."""


class SessionIdentityMapping(IdentityMapping):
    """The same for an application's sessions: frameworks that sign people in have a usual place."""

    subject: Text = ""
    """The person's identifier; without a value the credential opens nothing."""


class TokenIdentityMapping(IdentityMapping):
    """The same for tokens, which have usual names."""

    subject: Text = "sub"
    """The person's identifier; without a value the credential opens nothing."""
    email: Annotated[Text | None, NoneWord()] = "email"
    """The e-mail address."""
    name: Annotated[Text | None, NoneWord()] = "name"
    """The name to show."""
    roles: Annotated[Text | None, NoneWord()] = "roles"
    """A list of roles, or one text with spaces between them."""
    scopes: Annotated[Text | None, NoneWord()] = "scope"
    """A list of scopes, or one text with spaces between them."""


class SessionSchemeConfig(Section):
    """Sessions in a store, found by a cookie."""

    type: Literal["session"]
    """`session`, or `jwt` or `mtls` (below)."""
    format: Literal[
        "native", "json", "express", "django", "flask",
        "php", "laravel", "spring", "better-auth", "aiohttp-session", "starsessions", "rails",
    ]  # fmt: skip
    """`native`: the gate's own sessions. Those of an application ([sessions of
    applications](application-sessions.md)): `json`, `express`, `django`, `flask`, `php`, `laravel`,
    `spring`, `better-auth`, `aiohttp-session`, `starsessions`, `rails`."""
    cookie: Token = "__Host-sid"
    """The cookie's name. The default is that of `native`; other formats have their framework's, or
    none."""
    idle_timeout: Duration = 1_800.0
    """`native` only: how long a session lives without use."""
    lifetime: Duration = 43_200.0
    """`native` only: how long a session lives at most. Others live as long as their keys."""
    issued_by: Annotated[list[Name], AfterValidator(unique)] = []
    """Upstreams that may set the cookie. Empty: none for `native`, any for others."""
    prefix: SessionPrefix = ""
    """Not `native`: begin of the application's session keys. The framework's, or none. In the
    gate's own database it must not overlap `store.prefix`."""
    store: StoreUrlValue | None = None
    """Not `native`: the application's store; default the gate's own. `redis://`, `rediss://`,
    `redis+sentinel://`, `redis+cluster://` or `unix://`, as for `store.url`."""
    identity: SessionIdentityMapping | None = None
    """Not `native`: where a record says who it is. Required where the framework has no place of its
    own for it."""
    secrets: Annotated[
        list[SecretValue],
        BeforeValidator(one_or_many, json_schema_input_type=SecretValue | list[SecretValue]),
    ] = Field(default=[])
    """What the application signs or encrypts its cookie with, the newest first: `express`, `flask`
    with a signer, `laravel` (APP_KEY), `better-auth`."""
    signer: Flag = False
    """`flask` only: SESSION_USE_SIGNER; then `secrets` are needed."""
    variant: Literal["express", "fastify"] = "express"
    """`express` only: `fastify` for sessions of @fastify/session."""
    cookie_prefix: Text | None = None
    """`express` only: what stands before the id in the cookie: `s:`, and nothing with `variant:
    fastify`."""
    serializer: Text = ""
    """How the application writes a session. `django`: `pickle`, `json`, `msgpack`; `flask`:
    `msgpack`, `json`, `pickle`; `php`: `php`, `php_serialize`, `php_binary`; `laravel`: `php`,
    `json`; `spring`: `jdk`, `json`. The first is the default."""
    compressor: Literal["none", "zlib", "gzip", "lzma", "zstd", "lz4"] = "none"
    """`django` only: COMPRESSOR of django-redis: `zlib`, `gzip`, `lzma`, `zstd` or `lz4`. The last
    two need `pip install 'latchgate[compressors]'` (`zstd` not with Python 3.14)."""
    id_length: Count | None = None
    """Letters of a session's id: `express` (32), `flask` (43; 36 for the UUIDs of version 0.5),
    `php` (32, session.sid_length), `rails` (32; 64 for Rack alone)."""
    id_bits: Literal[4, 5, 6] = 4
    """`php` only: session.sid_bits_per_character."""
    cipher: Literal["AES-128-CBC", "AES-256-CBC", "AES-128-GCM", "AES-256-GCM"] = "AES-256-CBC"
    """`laravel` only: app.cipher."""
    encrypted: Flag = False
    """`laravel` only: session.encrypt."""
    attributes: Annotated[list[Text], AfterValidator(unique)] = []
    """`spring` only: further attributes that are read."""
    cookie_encoding: Literal["base64", "plain"] = "base64"
    """`spring` only: `plain` with WebFlux, or where useBase64Encoding is off."""
    jvm_route: Text | None = None
    """`spring` only: jvmRoute, which ends the cookie's value."""
    max_age: Duration | None = None
    """`aiohttp-session` only: max_age of the application's storage."""


class KeysConfig(Section):
    """Where the keys come from that verify tokens: one of the first five."""

    jwks_url: HttpUrl | None = None
    """A JSON Web Key Set, fetched in the background; `https://` unless it is on this machine."""
    discovery: Flag = False
    """`true`: the provider's discovery document, below the issuer, names its key set."""
    file: FilePath | None = None
    """A public key or certificate in PEM, or a JSON Web Key Set."""
    secret: SecretValue | None = None
    """A shared secret of at least 32 bytes, with `algorithms: [HS256]` or longer ones."""
    local: Flag = False
    """`true`: the gate's own signing keys; needs `tokens`."""
    max_stale: Duration = 86_400.0
    """How long fetched keys are used while the provider cannot be reached; then 503."""
    http: Literal["refuse", "accept"] = "refuse"
    """`accept`: keys of another machine are fetched without TLS. Whoever is in between can replace
    them, so `check` warns."""


class JwtSchemeConfig(Section):
    """Signed tokens, verified locally."""

    type: Literal["jwt"]
    """`jwt`."""
    issuer: Text = ""
    """The `iss` that tokens must have. Required; with `keys: {local: true}` it is
    `tokens.issuer`."""
    audience: Annotated[
        Annotated[Literal["any"], Tag(WORD)]
        | Annotated[list[Text], AfterValidator(unique), Tag(OTHER)],
        Discriminator(word_or_other),
        BeforeValidator(_parse_audience, json_schema_input_type=Text | list[Text]),
    ] = Field(default_factory=list)
    """One of these must be in the token's `aud`. Required (`any` accepts tokens that were made for
    anybody); with `keys: {local: true}` it is `tokens.audience`."""
    algorithms: Annotated[list[Algorithm], AfterValidator(unique)] = Field(
        default=["RS256", "ES256", "EdDSA"], min_length=1
    )
    """Accepted signatures: `HS256` `HS384` `HS512`, or any of `RS256` … `RS512`, `PS256` … `PS512`,
    `ES256` … `ES512` and `EdDSA`; the two kinds never together. With local keys:
    `tokens.algorithm`."""
    keys: KeysConfig
    """Exactly one of `jwks_url`, `discovery`, `file`, `secret` and `local`."""
    from_: Annotated[
        list[SourceValue],
        BeforeValidator(one_or_many, json_schema_input_type=SourceValue | list[SourceValue]),
        AfterValidator(unique),
    ] = Field(default=[TokenSource("bearer")], alias="from", min_length=1)
    """Where the token is looked for: `bearer`, `basic` (the password is the token), `{cookie:
    name}`, `{header: name}`, `{query: name}`. With local keys no upstream may set that cookie."""
    leeway: DurationOrZero = 30.0
    """Tolerance for clocks that differ."""
    max_lifetime: Duration = 86_400.0
    """Longest `exp` - `iat`. A revocation is kept as long."""
    revocation: Literal["store", "none"] = "store"
    """`store`: revocations are looked up. `none`: they are not, and `max_lifetime` must be written,
    `15m` at most."""
    identity: TokenIdentityMapping = TokenIdentityMapping()
    """Where a token says who it is. A key that is left out has its default."""


def _scheme_type(value: Any) -> str | None:
    kind = value.get("type") if isinstance(value, dict) else getattr(value, "type", "session")
    is_known = isinstance(kind, str) and kind in {"session", "jwt", "mtls"}
    return f"<{kind}>" if is_known else None


SchemeConfig = Annotated[
    Annotated[SessionSchemeConfig, Tag("<session>")]
    | Annotated[JwtSchemeConfig, Tag("<jwt>")]
    | Annotated[MtlsSchemeConfig, Tag("<mtls>")],
    Discriminator(
        _scheme_type,
        custom_error_type="scheme_type",
        custom_error_message="`type` must be session, jwt or mtls",
    ),
]
