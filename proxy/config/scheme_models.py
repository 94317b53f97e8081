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
    """The person's identifier; without a value the session opens nothing."""


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
    """Sessions: a cookie names a record in a store."""
    format: Literal[
        "native", "json", "express", "django", "flask",
        "php", "laravel", "spring", "better-auth", "aiohttp-session", "starsessions", "rails",
    ]  # fmt: skip
    """native: the gate's own records; all others: those that an application keeps in Redis."""
    cookie: Token = "__Host-sid"
    """The cookie's name; the default is native's, others have their framework's, json has none."""
    idle_timeout: Duration = 1_800.0
    """native: how long a session lives without use."""
    lifetime: Duration = 43_200.0
    """native: how long a session lives at most."""
    issued_by: Annotated[list[Name], AfterValidator(unique)] = []
    """Upstreams that may set the cookie. native: empty means none; others: empty means any."""
    prefix: SessionPrefix = ""
    """Not native: begin of the application's session keys."""
    store: StoreUrlValue | None = None
    """Not native: the application's store; default the gate's own."""
    identity: SessionIdentityMapping | None = None
    """Not native: where the record says who it is."""
    secrets: Annotated[
        list[SecretValue],
        BeforeValidator(one_or_many, json_schema_input_type=SecretValue | list[SecretValue]),
    ] = Field(default=[])
    """What the application signs or encrypts its cookie with, the newest first."""
    signer: Flag = False
    """flask: SESSION_USE_SIGNER; then `secrets` are needed."""
    variant: Literal["express", "fastify"] = "express"
    """express: fastify for sessions of @fastify/session."""
    cookie_prefix: Text | None = None
    """express: what stands before the id, `s:`, or nothing with `variant: fastify`."""
    serializer: Text = ""
    """How the application writes a session; which words, the format says."""
    compressor: Literal["none", "zlib", "gzip", "lzma", "zstd", "lz4"] = "none"
    """django: COMPRESSOR of django-redis; zstd and lz4 need `pip install 'latchgate[compressors]'`."""
    id_length: Count | None = None
    """Letters of a session's id."""
    id_bits: Literal[4, 5, 6] = 4
    """php: session.sid_bits_per_character."""
    cipher: Literal["AES-128-CBC", "AES-256-CBC", "AES-128-GCM", "AES-256-GCM"] = "AES-256-CBC"
    """laravel: app.cipher."""
    encrypted: Flag = False
    """laravel: session.encrypt."""
    attributes: Annotated[list[Text], AfterValidator(unique)] = []
    """spring: further attributes that are read."""
    cookie_encoding: Literal["base64", "plain"] = "base64"
    """spring: plain with WebFlux, or where useBase64Encoding is off."""
    jvm_route: Text | None = None
    """spring: jvmRoute, which ends the cookie's value."""
    max_age: Duration | None = None
    """aiohttp-session: max_age of the application's storage."""


class KeysConfig(Section):
    """Where the keys come from that verify tokens: one of the first five."""

    jwks_url: HttpUrl | None = None
    """A JSON Web Key Set, fetched in the background; https unless on this machine."""
    discovery: Flag = False
    """The provider's discovery document (below the issuer) names its key set."""
    file: FilePath | None = None
    """A public key or certificate in PEM, or a JSON Web Key Set."""
    secret: SecretValue | None = None
    """A shared secret of at least 32 bytes, for HS256, HS384 and HS512."""
    local: Flag = False
    """The gate's own signing keys (section tokens)."""
    max_stale: Duration = 86_400.0
    """How long fetched keys are used while the provider cannot be reached."""
    http: Literal["refuse", "accept"] = "refuse"
    """accept: fetch keys without TLS from another machine; whoever is in between can replace them."""


class JwtSchemeConfig(Section):
    """Signed tokens, verified locally."""

    type: Literal["jwt"]
    """JSON Web Tokens (RFC 7519)."""
    issuer: Text = ""
    """The `iss` that tokens must have; for local keys the loader fills in tokens.issuer."""
    audience: Annotated[
        Annotated[Literal["any"], Tag(WORD)]
        | Annotated[list[Text], AfterValidator(unique), Tag(OTHER)],
        Discriminator(word_or_other),
        BeforeValidator(_parse_audience, json_schema_input_type=Text | list[Text]),
    ] = Field(default_factory=list)
    """Any of these must be in the token's `aud`; `any` must be written out. Local keys: tokens.audience."""
    algorithms: Annotated[list[Algorithm], AfterValidator(unique)] = Field(
        default=["RS256", "ES256", "EdDSA"], min_length=1
    )
    """Accepted signatures; symmetric (HS…) and asymmetric never together."""
    keys: KeysConfig
    """The verification keys."""
    from_: Annotated[
        list[SourceValue],
        BeforeValidator(one_or_many, json_schema_input_type=SourceValue | list[SourceValue]),
        AfterValidator(unique),
    ] = Field(default=[TokenSource("bearer")], alias="from", min_length=1)
    """Where the token is looked for: bearer, basic, {cookie: …}, {header: …}, {query: …}."""
    leeway: DurationOrZero = 30.0
    """Tolerance for clocks that differ."""
    max_lifetime: Duration = 86_400.0
    """Longest exp - iat; bounds how long a revocation is kept."""
    revocation: Literal["store", "none"] = "store"
    """store: revocations are looked up; none: never, and tokens live at most 15 minutes."""
    identity: TokenIdentityMapping = TokenIdentityMapping()
    """Where the token says who it is."""


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
