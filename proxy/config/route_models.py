"""Sections about the routes: what is matched, who may pass, what the application is told."""

from __future__ import annotations

import datetime as dt
import re
from typing import Annotated, Any, Final, Literal
from urllib.parse import unquote_to_bytes

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Discriminator,
    PlainValidator,
    Tag,
    WithJsonSchema,
)

from proxy.config.addresses import HostPattern, OriginValue
from proxy.config.limit_models import RouteLimitsConfig
from proxy.config.response_models import ResponseHeadersConfig
from proxy.config.strict import Section
from proxy.config.upstream_models import OTHER, WORD, word_or_other
from proxy.config.values import (
    Duration,
    DurationOrZero,
    Flag,
    Name,
    NoneWord,
    Text,
    Token,
    matching,
    not_empty,
    one_or_many,
    parse_text,
    unique,
)

Scalar = str | bool | int | float
AllowedPath = Literal[
    "encoded_slash",
    "encoded_dot",
    "dot_segments",
    "backslash",
    "double_slash",
    "semicolon",
    "double_encoding",
    "non_utf8",
]

MAX_SEGMENTS: Final = 64
"""Segments of one path pattern."""

_LOGIN_URL: Final = re.compile(
    r"(?:https://[A-Za-z0-9.-]+(?::[0-9]{1,5})?)?/(?:[!$-;=?-\[\]_a-z~]|\{next\})*"
)
_PLACEHOLDER: Final = re.compile(r"\{[A-Za-z_][A-Za-z0-9_]*\}")


def parse_path_pattern(value: object) -> str:
    """Return a path pattern: literal segments, `{x}` for one segment, a final `**` for the rest.

    proxy.core.patterns compiles it; what is refused there is refused here with a place in the file.
    """
    text = parse_text(value)
    if not text.startswith("/"):
        raise ValueError("a path starts with /")
    if re.search(r"[?#]", text):
        raise ValueError("a path has no query and no fragment; write %3F or %23 for the character")
    segments = text[1:].split("/")
    if len(segments) > MAX_SEGMENTS:
        raise ValueError(f"a path has at most {MAX_SEGMENTS} segments")
    for index, segment in enumerate(segments):
        is_last = index == len(segments) - 1
        if not (is_last and segment in {"", "**"}):
            _check_segment(segment)
    return text


def _check_segment(segment: str) -> None:
    if not segment:
        raise ValueError("a path has no empty segments; write one /")
    if "*" in segment:
        raise ValueError("** stands alone, as the last segment; one segment is {x}")
    if _PLACEHOLDER.fullmatch(segment):
        return
    if "{" in segment or "}" in segment:
        raise ValueError("{x} stands for a whole segment, and x is a word")
    if re.search(r"%(?![0-9A-Fa-f]{2})", segment):
        raise ValueError("% is followed by two hexadecimal digits; write %25 for itself")
    decoded = unquote_to_bytes(segment)
    if decoded in {b".", b".."} or b"/" in decoded or re.search(rb"[\x00-\x1f\x7f]", decoded):
        raise ValueError("a dot segment, encoded slash or control character never matches")


def parse_prefix(value: object) -> str:
    """Return a literal path to cut off: starts with a slash, does not end with one."""
    text = parse_path_pattern(value)
    if text.endswith("/") or "*" in text or "{" in text:
        raise ValueError("must be a plain path such as /api, without a final slash")
    return text


PlainPath = Annotated[
    str,
    PlainValidator(parse_prefix),
    WithJsonSchema({"type": "string", "pattern": "^/", "examples": ["/api"]}),
]
"""A literal path without a final slash."""


def parse_login_url(value: object) -> str:
    """Return a page for signing in: a path of this host, or an https:// URL."""
    text = parse_text(value)
    if _LOGIN_URL.fullmatch(text) is None or text.startswith("//") or text.count("{next}") > 1:
        raise ValueError(
            "must be a path or an https:// URL in visible ASCII, with {next} once at most,"
            " such as /login?back={next}"
        )
    return text


LoginUrl = Annotated[
    str,
    PlainValidator(parse_login_url),
    WithJsonSchema(
        {"type": "string", "pattern": "^(/|https://)", "examples": ["/login?back={next}"]}
    ),
]


def parse_method(value: object) -> str:
    """Return a method, in the upper case that HTTP's own methods have."""
    text = parse_text(value)
    if not re.fullmatch(r"[A-Z][A-Z0-9_-]{0,31}", text):
        raise ValueError("must be a method in upper case, such as GET")
    if text in {"CONNECT", "TRACE"}:
        raise ValueError("CONNECT and TRACE are never forwarded")
    return text


def _parse_auth(value: object) -> object:
    if value == "none":
        return []
    names = one_or_many(value)
    if names == [] or (isinstance(names, list) and "none" in names):
        raise ValueError("write `auth: none` for a public route, or name its schemes")
    return names


def _parse_upgrade(value: object) -> str:
    text = matching(
        r"[!#$%&'*+.^_`|~0-9A-Za-z/-]{1,64}", "must be a protocol's name, such as websocket"
    )(value).lower()
    if text in {"h2c", "h2"} or text.startswith(("http/", "tls/")):
        raise ValueError("HTTP and TLS themselves are never upgraded to")
    return text


def _parse_scalar(value: object) -> Scalar:
    if isinstance(value, str):
        return parse_text(value)
    if isinstance(value, bool | int | float):
        return value
    raise ValueError("must be a text, a number, true or false")


def _parse_claim(value: Any) -> Any:
    if isinstance(value, list):
        raise ValueError("write {any: […]} or {all: […]}")
    return value if isinstance(value, dict | ClaimRule) else {"any": [value]}


def _parse_roles(value: Any) -> Any:
    if isinstance(value, list):
        return {"any": value}
    if not isinstance(value, dict | RolesRule):
        raise ValueError("must be a list of roles, {any: […]} or {all: […]}")
    return value


Roles = Annotated[list[Text], AfterValidator(unique), AfterValidator(not_empty)]
ScalarValue = Annotated[
    Scalar,
    PlainValidator(_parse_scalar),
    WithJsonSchema({"type": ["string", "number", "boolean"]}),
]
Scalars = Annotated[list[ScalarValue], AfterValidator(not_empty)]


class MatchConfig(Section):
    """The requests that a route is for. The most specific host and path win."""

    host: HostPattern | None = None
    """A name, `*.name` or an address, without port. A host that any route names uses its own routes
    only; absent: all other hosts."""
    path: Annotated[
        str,
        PlainValidator(parse_path_pattern),
        WithJsonSchema({"type": "string", "pattern": "^/", "examples": ["/api/{id}/**"]}),
    ] = "/**"
    """Literal segments, `{x}` for one segment, a final `**` for the rest."""
    methods: (
        Annotated[
            list[
                Annotated[
                    str,
                    PlainValidator(parse_method),
                    WithJsonSchema({"type": "string", "examples": ["GET", "POST"]}),
                ]
            ],
            AfterValidator(unique),
            AfterValidator(not_empty),
        ]
        | None
    ) = None
    """Methods in upper case; `GET` includes `HEAD`; absent: all."""


class RolesRule(Section):
    """Roles that a caller must have: any of a list, or all of it. One of the two is given."""

    any: Roles | None = None
    """One of these is enough. A plain list means the same."""
    all: Roles | None = None
    """Every one of these."""


class ClaimRule(Section):
    """Values that a claim must equal or contain: any of a list, or all of it."""

    any: Scalars | None = None
    """One of these is enough. A plain value means the same."""
    all: Scalars | None = None
    """Every one of these."""


class RequireConfig(Section):
    """What a caller must have beyond being known. Everything given must hold."""

    roles: Annotated[
        RolesRule | None,
        BeforeValidator(_parse_roles, json_schema_input_type=list[Text] | RolesRule),
    ] = None
    """`[a, b]`: any of these. `{all: [a, b]}`: every one."""
    scopes: Annotated[list[Text], AfterValidator(unique), AfterValidator(not_empty)] = []
    """Every one of these."""
    claims: dict[
        Text,
        Annotated[
            ClaimRule,
            BeforeValidator(_parse_claim, json_schema_input_type=ScalarValue | ClaimRule),
        ],
    ] = {}
    """Dotted path of a claim, and the value that it must equal or contain, `{any: […]}` or `{all:
    […]}`."""
    mfa_within: Duration | None = None
    """Two factors, the last of them proved within this time: else 403 `step_up_required`. Over an
    application's session the gate asks for a code of its own, which needs [`secrets`](#secrets)
    with a store of others. See [otp.md](otp.md#routes-that-want-a-fresh-factor)."""
    login_within: Duration | None = None
    """A factor proved within this time, whichever it was: else 403 `step_up_required`."""


class RouteIdentityConfig(Section):
    """What the application is told about the caller, beside X-Auth-Subject and its like."""

    headers: dict[Token, Text] = {}
    """Header name and [template](#templates-of-identityheaders) over the identity, such as
    `{X-Remote-User: "{sub}"}`. Set beside `X-Auth-Subject` and its like; removed from what clients
    send on every route."""
    preset: Annotated[
        Literal["remote-user", "oauth2-proxy", "cloudflare-access"] | None, NoneWord()
    ] = None
    """Headers as another gate sets them."""
    assertion: Flag = False
    """`X-Auth-Assertion`: a token of at most 60 s, signed by the gate. Needs `tokens.issuer` or
    `server.public_url`."""
    bearer: Flag = False
    """`Authorization: Bearer` with such a token, in place of the caller's own."""
    provider_token: Flag = False
    """`X-Auth-Provider-Token`: the access token of the OpenID provider that the caller signed in
    with, renewed in time. Needs `login.providers` and `login.scheme` among the route's keys
    ([oidc](oidc.md#a-providers-tokens))."""


class CorsConfig(Section):
    """Cross-origin requests that the gate answers itself."""

    origins: Annotated[list[OriginValue], AfterValidator(unique), AfterValidator(not_empty)]
    """Origins of pages that may call."""
    credentials: Flag = False
    """Whether those pages may call with the browser's cookies."""
    headers: Annotated[
        Annotated[Literal["any"], Tag(WORD)] | Annotated[list[Token], Tag(OTHER)],
        Discriminator(word_or_other),
    ] = "any"
    """Request headers that may be sent: any, or a list."""
    max_age: DurationOrZero = 600.0
    """How long a browser may remember the answer."""


class StreamsConfig(Section):
    """Tunnels, and responses that go on for longer than 5 s."""

    on_expiry: Literal["close", "keep"] = "close"
    """When the time of their credential is over: `close` ends them, `keep` lets them go on. What is
    revoked ends them always. See [coherence.md](coherence.md#open-connections)."""


def parse_day(value: object) -> dt.date:
    """Return a day of the calendar, `2027-01-31`."""
    if isinstance(value, dt.date):
        return value
    text = parse_text(value)
    message = "must be a day of the calendar, such as 2027-01-31"
    if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
        raise ValueError(message)
    try:
        day = dt.date.fromisoformat(text)
    except ValueError:
        raise ValueError(message) from None
    if day == dt.date.max:
        raise ValueError("must be a day after which there is another one")
    return day


class ReportConfig(Section):
    """For how long a route only reports."""

    until: Annotated[
        dt.date,
        PlainValidator(parse_day),
        WithJsonSchema({"type": "string", "format": "date", "examples": ["2027-01-31"]}),
    ]
    """The last day of it, in UTC. From the next one on the route enforces, without a reload."""


class ModeConfig(Section):
    """What becomes of a request that the route would refuse."""

    report: ReportConfig
    """For how long the route only reports."""


class RouteConfig(Section):
    """One route: requests, who may make them, and where they go."""

    name: Text = ""
    """The name in logs; default made from the match."""
    match: MatchConfig = MatchConfig()
    """The requests that this route is for."""
    auth: Annotated[
        list[Name],
        BeforeValidator(_parse_auth, json_schema_input_type=Literal["none"] | Name | list[Name]),
        AfterValidator(unique),
    ]
    """`none` is public, and must be written out. One scheme, or several of which any opens the
    route."""
    both: Literal["first", "same_subject", "refuse"] = "first"
    """When a request carries several credentials: the first scheme listed decides; or all must be
    of the `same_subject`; or `refuse`."""
    same_subjects: Flag = False
    """`true` declares that the route's schemes name the same people alike. Written either way, it
    settles what `check` says about two issuers for one upstream."""
    dpop: Literal["optional", "required", "nonce"] = "optional"
    """`optional`: a token that is bound to a key (`cnf`) comes with a proof of it, and others
    without. `required`: tokens that are bound to none are refused, and sessions cannot be listed
    ([tokens.md](tokens.md#bound-tokens)). `nonce`: the same, and each proof carries a
    [nonce](tokens.md#nonces) of the gate's."""
    require: RequireConfig = RequireConfig()
    """What a caller must have beyond being known; everything given must hold, whichever scheme
    opened the route."""
    upstream: Name
    """The application."""
    strip_prefix: PlainPath | None = None
    """Begin of the path that the application does not see; `match.path` must begin with it."""
    identity: RouteIdentityConfig = RouteIdentityConfig()
    """What the application is told."""
    forward_credentials: Flag | None = None
    """Whether the credential that opened the route travels on. Default `false` for native sessions
    and local tokens, `true` for foreign ones."""
    cross_site: Annotated[
        Annotated[Literal["refuse", "same_site", "allow"], Tag(WORD)]
        | Annotated[list[OriginValue], AfterValidator(not_empty), Tag(OTHER)],
        Discriminator(word_or_other),
    ] = "refuse"
    """Unsafe requests and upgrades that another site makes with credentials which browsers add by
    themselves. A list names the origins that may. A callback that another site posts to (SAML, a
    payment) needs a route of its own with `auth: none`, and behind `client_ca` that site's origin
    here."""
    cors: (
        Annotated[
            Annotated[Literal["upstream"], Tag(WORD)] | Annotated[CorsConfig, Tag(OTHER)],
            Discriminator(word_or_other),
        ]
        | None
    ) = None
    """Origins that the gate answers itself; `upstream`: preflights are passed on, without
    credentials or identity. Absent: a preflight is a request like any other."""
    login_url: LoginUrl | None = None
    """Where the page loads of somebody without a credential go; `{next}` becomes what they asked
    for, percent-encoded. Absent: the gate's own sign-in where the route takes its sessions, else
    401. Forms get a page with a link, and programs 401."""
    allow_paths: Annotated[list[AllowedPath], AfterValidator(unique)] = []
    """Odd forms of a path that pass, where every reading of them has the same policy:
    `encoded_slash` `encoded_dot` `dot_segments` `backslash` `double_slash` `semicolon`
    `double_encoding` `non_utf8`."""
    limits: RouteLimitsConfig = RouteLimitsConfig()
    """What the route takes; what is beyond never reaches the application ([limits](limits.md))."""
    pass_headers: Annotated[list[Token], AfterValidator(unique)] = []
    """Headers that are removed from requests by default, and pass here: `X-Original-URL` and its
    like, or an `X-Auth-…` of the application's own. Never with a preflight."""
    upgrades: Annotated[
        list[
            Annotated[
                str,
                PlainValidator(_parse_upgrade),
                WithJsonSchema({"type": "string", "examples": ["websocket"]}),
            ]
        ],
        AfterValidator(unique),
    ] = ["websocket"]
    """Protocols that a connection may change to; never HTTP/2 or TLS."""
    streams: StreamsConfig = StreamsConfig()
    """Tunnels, and responses that run for longer than 5 s."""
    cache: Literal["private", "shared"] = "private"
    """`private`: shared caches are told to keep nothing of a guarded route. `shared`: the
    application's own word stands."""
    response_headers: ResponseHeadersConfig = ResponseHeadersConfig()
    """Headers of answers on this route, in the place of `server.response_headers` of the same name
    ([edge](edge.md#headers-of-answers))."""
    mode: Annotated[
        Annotated[Literal["enforce"], Tag(WORD)] | Annotated[ModeConfig, Tag(OTHER)],
        Discriminator(word_or_other),
    ] = "enforce"
    """`{report: {until: 2027-01-31}}`: what the route's schemes, `require` and `cross_site` would
    refuse is let through, counted and logged ([guide](guides/running-service.md)). Everything else
    is enforced as ever."""
