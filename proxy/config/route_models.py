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
    """A name, *.name or address; absent: any host that no other route names."""
    path: Annotated[
        str,
        PlainValidator(parse_path_pattern),
        WithJsonSchema({"type": "string", "pattern": "^/", "examples": ["/api/{id}/**"]}),
    ] = "/**"
    """Literal segments, {x} for one segment, a final ** for the rest."""
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
    """Methods in upper case; GET includes HEAD; absent: all."""


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
    """[a, b]: any of these; {all: […]}: every one."""
    scopes: Annotated[list[Text], AfterValidator(unique), AfterValidator(not_empty)] = []
    """Every one of these."""
    claims: dict[
        Text,
        Annotated[
            ClaimRule,
            BeforeValidator(_parse_claim, json_schema_input_type=ScalarValue | ClaimRule),
        ],
    ] = {}
    """Dotted path of a claim, and the value that it must equal or contain, {any: […]} or {all: […]}."""
    mfa_within: Duration | None = None
    """Two factors, the last of them proved within this time; else 403 step_up_required."""
    login_within: Duration | None = None
    """A factor proved within this time, whichever; else 403 step_up_required."""


class RouteIdentityConfig(Section):
    """What the application is told about the caller, beside X-Auth-Subject and its like."""

    headers: dict[Token, Text] = {}
    """Header name, and a template over the claims, such as "{sub}"."""
    preset: Annotated[
        Literal["remote-user", "oauth2-proxy", "cloudflare-access"] | None, NoneWord()
    ] = None
    """Headers as another gate sets them."""
    assertion: Flag = False
    """X-Auth-Assertion: a token of at most 60 s, signed by the gate."""
    bearer: Flag = False
    """Authorization: Bearer with such a token, in place of the caller's own."""
    provider_token: Flag = False
    """X-Auth-Provider-Token: the access token of the provider that the caller signed in with."""


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
    """close: they end with the credential's time; keep: they outlive it. Revocation always closes."""


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
    """The last day of it, in UTC; from the next one on the route enforces by itself."""


class ModeConfig(Section):
    """What becomes of a request that the route would refuse."""

    report: ReportConfig
    """Let it through until a day, counted and logged, where schemes, require or cross_site would refuse."""


class RouteConfig(Section):
    """One route: requests, who may make them, and where they go."""

    name: Text = ""
    """The name in logs; the loader makes one from the match."""
    match: MatchConfig = MatchConfig()
    """The requests that this route is for."""
    auth: Annotated[
        list[Name],
        BeforeValidator(_parse_auth, json_schema_input_type=Literal["none"] | Name | list[Name]),
        AfterValidator(unique),
    ]
    """none (public), one scheme, or several of which any opens. Empty means public."""
    both: Literal["first", "same_subject", "refuse"] = "first"
    """When a request carries several credentials: the first listed decides, or stricter."""
    same_subjects: Flag = False
    """Declares that the route's schemes name the same people alike."""
    dpop: Literal["optional", "required", "nonce"] = "optional"
    """required: only tokens that are bound to a key, with its proof (RFC 9449); nonce: with one that carries a nonce of the gate's; optional: others too."""
    require: RequireConfig = RequireConfig()
    """Roles, scopes, claims, and how long ago somebody signed in; the same for every scheme."""
    upstream: Name
    """The application."""
    strip_prefix: PlainPath | None = None
    """Begin of the path that the application does not see."""
    identity: RouteIdentityConfig = RouteIdentityConfig()
    """What the application is told."""
    forward_credentials: Flag | None = None
    """Whether the credential travels on; default false for the gate's own, true for foreign ones."""
    cross_site: Annotated[
        Annotated[Literal["refuse", "same_site", "allow"], Tag(WORD)]
        | Annotated[list[OriginValue], AfterValidator(not_empty), Tag(OTHER)],
        Discriminator(word_or_other),
    ] = "refuse"
    """Unsafe requests that another site makes with the browser's credentials: refuse, same_site, allow, or origins."""
    cors: (
        Annotated[
            Annotated[Literal["upstream"], Tag(WORD)] | Annotated[CorsConfig, Tag(OTHER)],
            Discriminator(word_or_other),
        ]
        | None
    ) = None
    """Origins that the gate answers itself, or upstream: preflights are passed on."""
    login_url: LoginUrl | None = None
    """Where page loads without a credential go: a path or https:// URL; {next} is where they came from."""
    allow_paths: Annotated[list[AllowedPath], AfterValidator(unique)] = []
    """Odd forms of a path that pass, where every reading of them has the same policy."""
    limits: RouteLimitsConfig = RouteLimitsConfig()
    """How often somebody may ask, how many requests at once, how long a body may be."""
    pass_headers: Annotated[list[Token], AfterValidator(unique)] = []
    """Headers that are removed by default, and pass here."""
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
    """Protocols that a connection may change to."""
    streams: StreamsConfig = StreamsConfig()
    """What becomes of open connections when the credential's time is over."""
    cache: Literal["private", "shared"] = "private"
    """private: caches in between are told to keep nothing; shared: they are left alone."""
    response_headers: ResponseHeadersConfig = ResponseHeadersConfig()
    """Headers of answers on this route, in the place of server.response_headers of the same name."""
    mode: Annotated[
        Annotated[Literal["enforce"], Tag(WORD)] | Annotated[ModeConfig, Tag(OTHER)],
        Discriminator(word_or_other),
    ] = "enforce"
    """enforce, or {report: {until: 2027-01-31}}: what schemes, require and cross_site would refuse passes, and is counted and logged."""
