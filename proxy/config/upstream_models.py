"""Sections about the applications behind the gate."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, Discriminator, Field, PlainValidator, Tag, WithJsonSchema

from proxy.config.addresses import ServerName, ServerValue, UpstreamHost
from proxy.config.strict import Section
from proxy.config.values import (
    VARIABLE,
    Count,
    Duration,
    FilePath,
    NoneWord,
    Text,
    Token,
    matching,
    not_empty,
    parse_count,
    unique,
)

WORD: Final = "<word>"
OTHER: Final = "<other>"
"""Tags of unions. Pydantic puts them into the place of a mistake, so no key may be called so."""


def word_or_other(value: Any) -> str:
    """Discriminate a union of a word and a list or section."""
    return WORD if isinstance(value, str) else OTHER


class CookieName(Section):
    """Names a cookie."""

    cookie: Token
    """The cookie's name."""


class HashBalance(Section):
    """Requests that have this in common go to one server."""

    hash: Annotated[
        Annotated[Literal["subject", "address"], Tag(WORD)] | Annotated[CookieName, Tag(OTHER)],
        Discriminator(word_or_other),
    ]
    """`subject`, `address`, or `{cookie: name}`."""


class UpstreamTimeouts(Section):
    """How long the gate waits for a server."""

    connect: Duration = 2.0
    """Until the connection (with TLS) stands."""
    response: Duration = 60.0
    """From the end of the request to the response's head."""
    idle: Duration = 60.0
    """Without a byte of a body, in either direction; not for event streams and tunnels."""
    keepalive: Duration = 4.0
    """How long an idle connection is kept; never beyond what the server's own `Keep-Alive` allows,
    less a second."""
    tunnel: Annotated[Duration | None, NoneWord()] = None
    """Without a byte in a tunnel."""


class UpstreamTlsConfig(Section):
    """TLS towards https:// servers."""

    ca: FilePath | None = None
    """Authorities in PEM that may have signed the server's certificate; default the system's."""
    cert: FilePath | None = None
    """The gate's own certificate for the server, in PEM."""
    key: FilePath | None = None
    """The private key of `cert`, in PEM."""
    server_name: ServerName | None = None
    """The name that is asked for and checked; default the server's host."""


def _whole(least: int, most: int) -> tuple[PlainValidator, WithJsonSchema]:
    """Return what makes a type of the whole numbers between two."""
    number = {"type": "integer", "minimum": least, "maximum": most}
    return (
        PlainValidator(lambda value: parse_count(value, least=least, most=most)),
        WithJsonSchema({"anyOf": [number, {"type": "string", "pattern": VARIABLE}]}),
    )


Status = Annotated[int, *_whole(200, 599)]
Percent = Annotated[int, *_whole(0, 100)]
CountOrZero = Annotated[int, *_whole(0, 1_000_000)]
HealthPath = Annotated[
    str,
    PlainValidator(
        matching(
            r"/[!-\"$-~]{0,2047}",
            "must be a path that begins with / and has no space, as in /healthz",
        )
    ),
    WithJsonSchema({"type": "string", "pattern": f"^/|{VARIABLE}"}),
]


class UpstreamHealthConfig(Section):
    """Checks of each server, by every worker."""

    path: HealthPath
    """What is asked with GET, without anybody's credentials."""
    interval: Duration = 5.0
    """From the end of a check to the next one."""
    timeout: Duration = 2.0
    """Until the answer's head has come."""
    status: Annotated[list[Status], AfterValidator(not_empty), AfterValidator(unique)] = [200]
    """Answers that are good."""
    failures: Count = 2
    """Failed checks in a row that take a server out; the first good one brings it back."""


class EjectConfig(Section):
    """When a server that fails is left alone."""

    failures: Count = 5
    """Requests in a row without an answer: no connection, a new one that was closed, or silence. An
    answer of any status ends the row."""
    rest: Duration = 0.5
    """For how long, the first time; then one request tries, and the next rest is twice as long."""
    longest: Duration = 10.0
    """The longest rest."""


class UpstreamLimits(Section):
    """What one worker sends a server at the same time."""

    connections: Annotated[Count | None, NoneWord()] = None
    """Connections to each server, tunnels and event streams included."""
    waiting: CountOrZero = 100
    """Requests that wait for one of them, no longer than `timeouts.connect`; beyond that the answer
    is 503 `upstream_busy`."""


class UpstreamConfig(Section):
    """An application: servers that do the same."""

    servers: Annotated[list[ServerValue], AfterValidator(unique)] = Field(min_length=1)
    """`http://host:port`, `https://host:port` or `unix:path`; without a path. Several share the
    load."""
    balance: Annotated[
        Annotated[Literal["least_busy"], Tag(WORD)] | Annotated[HashBalance, Tag(OTHER)],
        Discriminator(word_or_other),
    ] = "least_busy"
    """`least_busy` of two random servers; or by what requests have in common (socket.io's polling
    needs it)."""
    timeouts: UpstreamTimeouts = UpstreamTimeouts()
    """How long the gate waits."""
    host: UpstreamHost = "preserve"
    """The `Host` that the application sees: the client's, the server's, or a name."""
    tls: UpstreamTlsConfig = UpstreamTlsConfig()
    """Certificates for https:// servers."""
    health: Annotated[UpstreamHealthConfig | None, NoneWord()] = None
    """Checks of each server, by every worker. A server that fails them gets no requests until a
    check succeeds."""
    eject: Annotated[EjectConfig | None, NoneWord()] = EjectConfig()
    """When a server that fails is left alone. Where no server is left, the answer is 503
    `upstream_down` at once."""
    retries: Percent = 20
    """Second attempts on a lost connection (F3), in percent of the requests; ten in ten seconds are
    always possible ([upstreams](upstreams.md))."""
    limits: UpstreamLimits = UpstreamLimits()
    """What one worker sends to a server at the same time."""
    resolve: Duration = 30.0
    """How long the addresses of a server's name are used before they are looked up again;
    connections to addresses that are gone are used for nothing new."""
    audience: Text = ""
    """The `aud` of assertions for it; default the upstream's name."""
    paths: Literal["folded", "exact"] = "folded"
    """`folded`: the application may take `/A`, `/a` and `/a/` for one path, so a variant that would
    match a route of another policy is refused. `exact`: it tells them apart."""
