"""What another proxy has to do so that the gate's decisions hold, taken from the configuration.

`latchgate emit` writes it in that proxy's words. What never belongs here: those words.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from proxy.config.addresses import Address, UpstreamServer
from proxy.config.models import Config, CorsConfig, DialectName, JwtSchemeConfig, RouteConfig
from proxy.core.headers import CLIENT_ADDRESS_NAMES, FORWARDING_NAMES, OVERRIDE_NAMES
from proxy.errors import ProxyError
from proxy.services.compile import identity_names, own_path
from proxy.services.issuing import metadata
from proxy.services.letting import (
    DECISION,
    REMOVE,
    STRIP,
    TARGET,
    TOLD_CLIENTS,
    UPGRADE,
    UPSTREAM,
    Letting,
)

SET_ANEW: Final = frozenset(
    {b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host", b"x-forwarded-port"}
)
"""What every proxy writes itself for the application."""

_OF_FAMILIES: Final = (
    "X-Forwarded-Method",
    "X-Forwarded-Uri",
    "X-Forwarded-Server",
    "X-Forwarded-Ssl",
    "X-Forwarded-Scheme",
    "X-Forwarded-User",
    "X-Forwarded-Email",
    "X-Forwarded-Groups",
    "X-Forwarded-Preferred-Username",
    "Ssl-Client-Cert",
    "Ssl-Client-Verify",
    "Ssl-Client-Subject-Dn",
    "Ssl-Client-Issuer-Dn",
    "Ssl-Client-S-Dn",
    "Ssl-Client-I-Dn",
)
"""The names that are known of families which the gate removes whole (security.md, H2)."""

_PLAIN: Final = re.compile(r"[A-Za-z0-9-]+")
_OWN_WORDS: Final = (DECISION, UPSTREAM, TARGET, STRIP, UPGRADE, REMOVE)
_ANYWHERE: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}
"""A listener on every address is reached on this machine's own."""


class CannotEmit(ProxyError):
    """The configuration asks for something that this proxy cannot do; the text says what."""


@dataclass(frozen=True, slots=True)
class EdgeUpstream:
    """An application, as the proxy reaches it."""

    name: str
    servers: tuple[UpstreamServer, ...]
    host: str
    """`preserve`, `upstream` or a name."""
    is_tls: bool
    ca: str | None
    server_name: str
    connect_s: float
    response_s: float
    strips: tuple[str, ...]
    """The prefixes that its routes take off; those of no route are not among them."""


@dataclass(frozen=True, slots=True)
class EdgeRoute:
    """A route, for proxies that choose the application before they ask."""

    number: int
    host: str | None
    segments: tuple[str, ...]
    methods: tuple[str, ...]
    upstream: str
    strip: str
    has_cors: bool
    rank: int
    """Higher is more specific."""


@dataclass(frozen=True, slots=True)
class EdgePlan:
    """Everything that is written."""

    file: str
    gate: Address
    decision: Address
    own_path: str
    metadata_path: str | None
    hosts: tuple[str, ...]
    """Every host that a route names."""
    has_any_host: bool
    """True where some route serves all other hosts."""
    identity: tuple[str, ...]
    credentials: tuple[str, ...]
    removed: tuple[str, ...]
    told: tuple[str, ...]
    upstreams: tuple[EdgeUpstream, ...]
    routes: tuple[EdgeRoute, ...]
    has_upgrades: bool
    replaces_cors: bool
    """True where the gate alone speaks of CORS."""
    is_trusted: bool
    """True where the gate believes what this proxy tells its pages of their visitors."""
    query_credentials: tuple[str, ...]
    """Query parameters that only some proxies can take out."""


def edge_plan(config: Config, dialect: DialectName, file: str) -> EdgePlan:
    """Return what a proxy of `dialect` has to do. Raises `CannotEmit`."""
    decision = config.decision
    if decision is None or all(caller.dialect != dialect for caller in decision.callers):
        words = f"decision: {{listen: …, callers: [{{from: …, dialect: {dialect}}}]}}"
        raise CannotEmit(f"no {dialect} may ask this gate: `{words}` is missing")
    if config.server.tls is not None and not config.server.listen[0].is_unix:
        raise CannotEmit(
            "the gate's first listener speaks TLS: give it one on a unix socket before that"
        )
    if config.server.forwarded != "x-forwarded":
        raise CannotEmit(
            "the proxy tells the gate's own pages who comes in X-Forwarded-…, and "
            "server.forwarded has the gate read another family"
        )
    letting = Letting.from_config(config)
    names = (*sorted(identity_names(config)), *(name.decode() for name in letting.credential_names))
    for name in names:
        if _PLAIN.fullmatch(name) is None:
            raise CannotEmit(f"header {name}: other proxies want letters, digits and `-` alone")
    described = metadata(config)
    hosts = dict.fromkeys(route.match.host for route in config.routes)
    return EdgePlan(
        file=file,
        gate=_reached(config.server.listen[0]),
        decision=_reached(decision.listen),
        own_path=own_path(config),
        metadata_path=None if described is None else described[0],
        hosts=tuple(host for host in hosts if host is not None),
        has_any_host=None in hosts,
        identity=tuple(sorted(identity_names(config))),
        credentials=tuple(name.decode("ascii") for name in letting.credential_names),
        removed=tuple(_removed(config)),
        told=tuple(name.decode("ascii") for name in TOLD_CLIENTS),
        upstreams=tuple(_upstreams(config)),
        routes=tuple(_routes(config)),
        has_upgrades=any(route.upgrades for route in config.routes),
        replaces_cors=_replaces_cors(config),
        is_trusted=_is_trusted(config, dialect),
        query_credentials=tuple(_query_credentials(config)),
    )


def _reached(address: Address) -> Address:
    return Address(_ANYWHERE.get(address.host, address.host), address.port, address.path)


def _removed(config: Config) -> Iterator[str]:
    """Yield every header that goes before anything is asked, but for what a route lets through."""
    passed = {name.lower() for route in config.routes for name in route.pass_headers}
    own = {name.lower() for name in identity_names(config)}
    folded = OVERRIDE_NAMES | FORWARDING_NAMES | CLIENT_ADDRESS_NAMES
    names = {name.decode("ascii").title() for name in folded} | set(_OF_FAMILIES)
    names |= {name.decode("ascii") for name in _OWN_WORDS}
    for name in sorted(names):
        lower = name.lower()
        if lower not in passed and lower not in own and lower.encode() not in SET_ANEW:
            yield name


def _upstreams(config: Config) -> Iterator[EdgeUpstream]:
    used = dict.fromkeys(route.upstream for route in config.routes)
    for name in used:
        upstream = config.upstreams[name]
        schemes = {server.scheme for server in upstream.servers}
        if "https" in schemes and len(schemes) > 1:
            raise CannotEmit(f"upstream {name} has servers with and without TLS")
        routes = [route for route in config.routes if route.upstream == name]
        strips = dict.fromkeys(route.strip_prefix for route in routes if route.strip_prefix)
        yield EdgeUpstream(
            name=name,
            servers=tuple(upstream.servers),
            host=upstream.host,
            is_tls="https" in schemes,
            ca=None if upstream.tls.ca is None else str(upstream.tls.ca),
            server_name=upstream.tls.server_name or upstream.servers[0].host,
            connect_s=upstream.timeouts.connect,
            response_s=upstream.timeouts.response,
            strips=tuple(sorted(strips, key=len, reverse=True)),
        )


def _routes(config: Config) -> Iterator[EdgeRoute]:
    """Yield the routes, the most specific first."""
    ordered = sorted(enumerate(config.routes), key=lambda item: _specificity(item[1]), reverse=True)
    for place, (number, route) in enumerate(ordered):
        methods = set(route.match.methods or ())
        if "GET" in methods:
            methods.add("HEAD")
        yield EdgeRoute(
            number=number,
            host=route.match.host,
            segments=tuple(route.match.path.split("/")[1:]),
            methods=tuple(sorted(methods)),
            upstream=route.upstream,
            strip=route.strip_prefix or "",
            has_cors=isinstance(route.cors, CorsConfig),
            rank=len(ordered) - place,
        )


def _specificity(route: RouteConfig) -> tuple[object, ...]:
    """Order as the gate does: exact hosts before wildcards before any, then segment by segment."""
    host = route.match.host
    by_host = (0, 0) if host is None else (1, len(host)) if host.startswith("*") else (2, 0)
    weights = tuple(
        0 if segment == "**" else 1 if segment.startswith("{") else 2
        for segment in route.match.path.split("/")[1:]
    )
    return (by_host, weights, route.match.methods is not None)


def _replaces_cors(config: Config) -> bool:
    said = [route.cors for route in config.routes]
    return any(isinstance(cors, CorsConfig) for cors in said) and "upstream" not in said


def _is_trusted(config: Config, dialect: DialectName) -> bool:
    """Tell whether every caller of the dialect is among `server.trusted_proxies`, as far as known.

    Who asks by a socket may come to the pages from anywhere on this machine.
    """
    decision = config.decision
    callers = () if decision is None else decision.callers
    for caller in callers:
        network = caller.from_
        if caller.dialect != dialect or isinstance(network, str):
            continue
        trusted = (t for t in config.server.trusted_proxies if not isinstance(t, str))
        if not any(network.version == t.version and network.subnet_of(t) for t in trusted):  # type: ignore[arg-type] # of one version, as was just seen
            return False
    return bool(config.server.trusted_proxies)


def _query_credentials(config: Config) -> Iterator[str]:
    """Yield query parameters with tokens that some route must not show its application."""
    for name, scheme in config.schemes.items():
        if not isinstance(scheme, JwtSchemeConfig):
            continue
        for source in scheme.from_:
            reading = [route for route in config.routes if name in route.auth]
            kept = all(route.forward_credentials for route in reading)
            if source.kind == "query" and reading and not kept:
                yield source.name
