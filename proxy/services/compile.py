"""From configuration models to what a request needs; everything that can fail, fails at load.

No I/O but for the files that the configuration names. What never belongs here: connections.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, time, timedelta
from typing import Final, TypeVar

from proxy.config.models import (
    Config,
    CookieName,
    CorsConfig,
    HashBalance,
    IdentityMapping,
    JwtSchemeConfig,
    LoginConfig,
    MtlsSchemeConfig,
    RequireConfig,
    RouteConfig,
    SchemeConfig,
    SessionSchemeConfig,
    TokenIdentityMapping,
    UpstreamConfig,
)
from proxy.core.cookies import find_cookie, parse_cookies
from proxy.core.cors import CorsPolicy
from proxy.core.cross_site import CrossSitePolicy
from proxy.core.dpop import ALGORITHMS as PROOF_ALGORITHMS
from proxy.core.dressing import Dressing
from proxy.core.freshness import Freshness, challenge
from proxy.core.headers import fold
from proxy.core.identity import PROVIDER_TOKEN, IdentityPlan
from proxy.core.jose import TokenVerifier, assertion_issuer
from proxy.core.keyset import KeySet
from proxy.core.mapping import IdentityReader, compile_mapping
from proxy.core.routing import RouteSpec
from proxy.core.rules import ClaimRule, compile_require
from proxy.model import ClientInfo, Header, Identity, RequestView
from proxy.services.route import HashKey, Require
from proxy.services.schemes.port import Place

T = TypeVar("T")

DEFAULT_OWN_PATH: Final = LoginConfig.model_fields["path"].default


def needs_store(config: Config) -> bool:
    """Tell whether anything of the configuration reads or writes the gate's own store."""
    if config.tokens is not None or needs_assertions(config):
        return True
    if any(route.dpop != "optional" for route in config.routes):
        return True
    if stepped_up_schemes(config):
        return True
    if any(route.limits.in_ == "store" and route.limits.rate for route in config.routes):
        return True
    return any(map(_needs_store, config.schemes.values()))


def _needs_store(scheme: SchemeConfig) -> bool:
    match scheme:
        case JwtSchemeConfig():
            return scheme.revocation == "store"
        case SessionSchemeConfig():
            return scheme.format == "native" or scheme.store is None
    return False


def longest_factor_s(config: Config, scheme: str) -> float | None:
    """Return how old a factor beside a session of `scheme` may be, in seconds, where any route takes it.

    `None` for the gate's own sessions, which say so themselves, for tokens, and where no route asks.
    """
    settings = config.schemes[scheme]
    if not isinstance(settings, SessionSchemeConfig) or settings.format == "native":
        return None
    limits = [route.require.mfa_within for route in config.routes if scheme in route.auth]
    return max((limit for limit in limits if limit is not None), default=None)


def stepped_up_schemes(config: Config) -> frozenset[str]:
    """Return the schemes beside whose sessions the gate keeps factors."""
    return frozenset(name for name in config.schemes if longest_factor_s(config, name) is not None)


def needs_nonces(config: Config) -> bool:
    """Tell whether any proof has to carry a nonce of the gate's (RFC 9449 §8 and §9)."""
    asks = config.tokens is not None and config.tokens.dpop_nonce
    return asks or any(route.dpop == "nonce" for route in config.routes)


def needs_assertions(config: Config) -> bool:
    """Tell whether a route tells its upstream in signed form who came in."""
    return any(route.identity.assertion or route.identity.bearer for route in config.routes)


def assertion_base(config: Config) -> str | None:
    """Return what the issuer of assertions is made of (security.md, K4)."""
    if config.tokens is not None:
        return config.tokens.issuer
    return config.server.public_url


def own_issuers(config: Config) -> frozenset[str]:
    """Return the issuers of everything that this gate signs."""
    base = assertion_base(config)
    issuers = {assertion_issuer(base)} if base is not None else set()
    if config.tokens is not None:
        issuers.add(config.tokens.issuer)
    return frozenset(issuers)


# Routes


def route_specs(config: Config, payload: Callable[[RouteConfig], T]) -> list[RouteSpec[T]]:
    """Return what the router needs of each route, and finds for it."""
    specs = []
    for route in config.routes:
        upstream = config.upstreams[route.upstream]
        methods = route.match.methods
        specs.append(
            RouteSpec(
                name=route.name,
                host=route.match.host,
                path=route.match.path,
                methods=None if methods is None else frozenset(methods),
                policy=_policy(route),
                is_folded=upstream.paths == "folded",
                allow_paths=frozenset(route.allow_paths),
                strip_prefix=route.strip_prefix,
                payload=payload(route),
            )
        )
    return specs


def own_path(config: Config) -> str:
    """Return the path below which everything is the gate's own."""
    path: str = DEFAULT_OWN_PATH if config.login is None else config.login.path
    return path


def reserved_hosts(config: Config) -> list[str | None]:
    """Return every host pattern under which the gate's own paths must win over the routes."""
    hosts: dict[str | None, None] = {None: None}
    hosts.update({route.match.host: None for route in config.routes})
    hosts.update(dict.fromkeys(own_hosts(config)))
    return list(hosts)


def own_hosts(config: Config) -> list[str | None]:
    """Return every host pattern under which the gate's own endpoints answer."""
    if config.login is not None and config.login.hosts is not None:
        return list(config.login.hosts)
    return list({None: None} | {route.match.host: None for route in config.routes})


def _policy(route: RouteConfig) -> tuple[object, ...]:
    """Return what P2 and P5 compare: who may pass, and how strictly."""
    cross_site = route.cross_site if isinstance(route.cross_site, str) else (*route.cross_site,)
    return (
        tuple(route.auth),
        route.both,
        route.same_subjects,
        route.limits.model_dump_json(),
        route.require.model_dump_json(),
        cross_site,
        route.dpop,
        None if route.mode == "enforce" else route.mode.report.until,
    )


def report_until(route: RouteConfig) -> float:
    """Return the end of a route's report mode in epoch seconds, a midnight in UTC; 0 without one."""
    if route.mode == "enforce":
        return 0.0
    after = route.mode.report.until + timedelta(days=1)
    return datetime.combine(after, time(), UTC).timestamp()


def compile_requirements(require: RequireConfig) -> Require | None:
    """Return the check of `require:`; `None` where it asks for nothing."""
    if require.roles is None and not require.scopes and not require.claims:
        return None
    roles = require.roles
    return compile_require(
        roles_any=(roles.any or ()) if roles else (),
        roles_all=(roles.all or ()) if roles else (),
        scopes=require.scopes,
        claims={
            path: ClaimRule(tuple(rule.all or rule.any or ()), is_all=rule.all is not None)
            for path, rule in require.claims.items()
        },
    )


def compile_freshness(require: RequireConfig) -> Freshness | None:
    """Return what `require:` says of the time since a login; `None` where it says nothing."""
    return Freshness(require.mfa_within, require.login_within) or None


def compile_identity(route: RouteConfig) -> IdentityPlan:
    """Return what the upstream is told; raises ValueError for a bad template or header."""
    return IdentityPlan(route.identity.headers, route.identity.preset)


def identity_names(config: Config) -> frozenset[str]:
    """Return every header name that some route or preset of the file sets (security.md, H1)."""
    names = frozenset(name for route in config.routes for name in compile_identity(route).names)
    if any(route.identity.provider_token for route in config.routes):
        names |= {PROVIDER_TOKEN}
    return names


def compile_cors(route: RouteConfig, exposed: Sequence[str] = ()) -> CorsPolicy | None:
    """Return the CORS policy that the gate applies itself; raises ValueError."""
    cors = route.cors
    if not isinstance(cors, CorsConfig):
        return None
    return CorsPolicy(
        cors.origins,
        credentials=cors.credentials,
        headers=cors.headers,
        max_age=cors.max_age,
        methods=route.match.methods or (),
        exposed=exposed,
    )


def compile_dressing(config: Config, route: RouteConfig | None = None) -> Dressing:
    """Return what is set on answers, those of no route where there is none; raises ValueError."""
    server = config.server
    own = None if route is None else route.response_headers
    dressing = Dressing.compile(server.response_headers, own, server.hsts)
    taken = {fold(name.encode()) for name in identity_names(config)}
    for name, _ in dressing.added:
        if fold(name) in taken:
            raise ValueError(f"{name.decode()} tells the application who comes, and nobody else")
    return dressing


def compile_cross_site(
    route: RouteConfig, cors: CorsPolicy | None, public_url: str | None
) -> CrossSitePolicy:
    """Return which unsafe requests of other sites pass (security.md, S3)."""
    cors_origins = cors.credentialed_origins if cors is not None else ()
    if isinstance(route.cross_site, str):
        return CrossSitePolicy(route.cross_site, (), public_url, cors_origins)
    return CrossSitePolicy("refuse", route.cross_site, public_url, cors_origins)


def compile_hash_key(upstream: UpstreamConfig) -> HashKey | None:
    """Return what `balance: {hash: …}` reads of a request; `None` for `least_busy`."""
    if not isinstance(upstream.balance, HashBalance):
        return None
    by = upstream.balance.hash
    if isinstance(by, CookieName):
        return _hash_by_cookie(by.cookie.encode())
    return _hash_by_subject if by == "subject" else _hash_by_address


def _hash_by_cookie(name: bytes) -> HashKey:
    def key(view: RequestView, client: ClientInfo, identity: Identity | None) -> bytes | None:
        del client, identity
        value = find_cookie(parse_cookies(view.values(b"cookie")), name)
        return value if isinstance(value, bytes) else None

    return key


def _hash_by_subject(
    view: RequestView, client: ClientInfo, identity: Identity | None
) -> bytes | None:
    del view, client
    return None if identity is None else f"{identity.origin}\n{identity.subject}".encode()


def _hash_by_address(
    view: RequestView, client: ClientInfo, identity: Identity | None
) -> bytes | None:
    del view, identity
    return client.address.encode() if client.address else None


# Schemes


def places_of(config: SchemeConfig) -> tuple[Place, ...]:
    """Return where a scheme reads credentials."""
    if isinstance(config, SessionSchemeConfig):
        return (Place("cookie", config.cookie),)
    if isinstance(config, MtlsSchemeConfig):
        return (Place("certificate"),)
    return tuple(
        place
        for source in config.from_
        for place in (
            (Place("bearer"), Place("dpop"))
            if source.kind == "bearer"
            else (
                Place(source.kind, source.name.lower() if source.kind == "header" else source.name),
            )
        )
    )


def scheme_issuer(config: Config, scheme: JwtSchemeConfig) -> str:
    """Return whose tokens a scheme takes; the gate's own for `keys: {local: true}`."""
    if scheme.keys.local and config.tokens is not None:
        return config.tokens.issuer
    return scheme.issuer or ""


def compile_verifier(config: Config, scheme: JwtSchemeConfig) -> TokenVerifier:
    """Return the rules of a jwt scheme; raises ValueError for a contradiction in them."""
    audiences = None if scheme.audience == "any" else frozenset(scheme.audience)
    return TokenVerifier(
        issuer=scheme_issuer(config, scheme),
        audiences=audiences,
        algorithms=scheme.algorithms,
        leeway=scheme.leeway,
        max_lifetime=scheme.max_lifetime,
        requires_iat=scheme.revocation == "store",
        is_local=scheme.keys.local,
        accepts_bound=needs_store(config),
    )


def compile_reader(mapping: IdentityMapping | TokenIdentityMapping) -> IdentityReader:
    """Return the identity mapping of a scheme; raises ValueError for a bad template."""
    return compile_mapping(
        subject=mapping.subject,
        email=mapping.email,
        name=mapping.name,
        roles=mapping.roles,
        scopes=mapping.scopes,
    )


def static_keys(scheme: JwtSchemeConfig) -> KeySet | None:
    """Return the keys of a file or secret; `None` where keys are fetched or the gate's own.

    Raises OSError, and KeySetInvalid where the file holds no usable key.
    """
    keys = scheme.keys
    if keys.file is not None:
        if not keys.file.is_file():  # a named pipe would be waited for
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        return KeySet.from_file(keys.file.read_bytes(), algorithms=scheme.algorithms)
    if keys.secret is not None:
        return KeySet.from_secret(keys.secret.reveal_bytes(), algorithms=scheme.algorithms)
    return None


def challenges_of(schemes: dict[str, SchemeConfig]) -> tuple[Header, ...]:
    """Return WWW-Authenticate for a route with these schemes (reference.md §2)."""
    headers: list[Header] = []
    for name, scheme in schemes.items():
        if not isinstance(scheme, JwtSchemeConfig):
            continue
        realm = name.encode()
        headers.append((b"WWW-Authenticate", b'Bearer realm="%b"' % realm))
        if any(source.kind == "basic" for source in scheme.from_):
            headers.append((b"WWW-Authenticate", b'Basic realm="%b"' % realm))
    if not headers:
        headers.extend(
            (b"WWW-Authenticate", b'%b realm="%b"' % (_kind_of(scheme), name.encode()))
            for name, scheme in schemes.items()
        )
    return tuple(headers)


def _kind_of(scheme: SchemeConfig) -> bytes:
    return b"Certificate" if isinstance(scheme, MtlsSchemeConfig) else b"Cookie"


def proof_challenges_of(
    schemes: dict[str, SchemeConfig],
) -> tuple[Header, ...]:
    """Return WWW-Authenticate for tokens that are bound to a key (RFC 9449 §7.1)."""
    return tuple(
        (
            b"WWW-Authenticate",
            b'DPoP realm="%b", algs="%b"' % (name.encode(), " ".join(PROOF_ALGORITHMS).encode()),
        )
        for name, scheme in schemes.items()
        if isinstance(scheme, JwtSchemeConfig) and Place("dpop") in places_of(scheme)
    )


def scope_challenge_of(
    schemes: dict[str, SchemeConfig], scopes: Iterable[str]
) -> tuple[Header, ...]:
    """Return WWW-Authenticate for a token that lacks a scope (RFC 6750 §3.1)."""
    wanted = " ".join(scopes).replace("\\", "").replace('"', "").encode("ascii", "replace")
    return tuple(
        (
            b"WWW-Authenticate",
            b'Bearer realm="%b", error="insufficient_scope", scope="%b"' % (name.encode(), wanted),
        )
        for name, scheme in schemes.items()
        if isinstance(scheme, JwtSchemeConfig)
    )


def step_up_challenge_of(
    schemes: dict[str, SchemeConfig], require: RequireConfig
) -> tuple[Header, ...]:
    """Return WWW-Authenticate for a token whose owner has to prove again who they are."""
    freshness = compile_freshness(require)
    if freshness is None:
        return ()
    return tuple(
        challenge(name.encode(), freshness.max_age_s)
        for name, scheme in schemes.items()
        if isinstance(scheme, JwtSchemeConfig)
    )
