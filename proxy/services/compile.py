"""From configuration models to what a request needs; everything that can fail, fails at load.

No I/O but for the files that the configuration names. What never belongs here: connections.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from functools import partial
from typing import Final, TypeVar

from proxy.adapters.upstreams.settings import tls_context
from proxy.config.logo import read_logo
from proxy.config.models import (
    Config,
    CookieName,
    CorsConfig,
    HashBalance,
    IdentityMapping,
    JwtSchemeConfig,
    LoginConfig,
    RequireConfig,
    RouteConfig,
    SessionSchemeConfig,
    TokenIdentityMapping,
    UpstreamConfig,
)
from proxy.core.cookies import find_cookie, parse_cookies
from proxy.core.cors import CorsPolicy
from proxy.core.cross_site import CrossSitePolicy
from proxy.core.dpop import ALGORITHMS as PROOF_ALGORITHMS
from proxy.core.formats.native import native_origin
from proxy.core.freshness import Freshness, challenge
from proxy.core.headers import HeaderRules, compile_pass_headers
from proxy.core.identity import PROVIDER_TOKEN, IdentityPlan
from proxy.core.jose import TokenVerifier, assertion_issuer
from proxy.core.keyset import KeySet
from proxy.core.mapping import IdentityReader, compile_mapping
from proxy.core.overlaps import overlaps
from proxy.core.paths import fold
from proxy.core.patterns import parse_pattern
from proxy.core.routing import RouteConflicts, Router, RouteSpec
from proxy.core.rules import ClaimRule, compile_require
from proxy.core.templates import parse_template
from proxy.errors import Problem, ProxyError
from proxy.model import ClientInfo, Header, Identity, RequestView
from proxy.services.route import HashKey, Require
from proxy.services.schemes.foreign_formats import format_of
from proxy.services.schemes.port import Place

T = TypeVar("T")

DEFAULT_OWN_PATH: Final = LoginConfig.model_fields["path"].default
_PROVING: Final[tuple[Hashable, ...]] = ("optional", "required", "nonce")
"""`dpop:`, each stricter than the one before."""
_NOTHING_REQUIRED: Final = RequireConfig().model_dump_json()


def needs_store(config: Config) -> bool:
    """Tell whether anything of the configuration reads or writes the gate's own store."""
    if config.tokens is not None or needs_assertions(config):
        return True
    if any(route.dpop != "optional" for route in config.routes):
        return True
    return any(
        scheme.revocation == "store"
        if isinstance(scheme, JwtSchemeConfig)
        else scheme.format == "native" or scheme.store is None
        for scheme in config.schemes.values()
    )


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
        route.require.model_dump_json(),
        cross_site,
        route.dpop,
    )


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


def places_of(config: SessionSchemeConfig | JwtSchemeConfig) -> tuple[Place, ...]:
    """Return where a scheme reads credentials."""
    if isinstance(config, SessionSchemeConfig):
        return (Place("cookie", config.cookie),)
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
        return KeySet.from_file(keys.file.read_bytes(), algorithms=scheme.algorithms)
    if keys.secret is not None:
        return KeySet.from_secret(keys.secret.reveal_bytes(), algorithms=scheme.algorithms)
    return None


def challenges_of(schemes: dict[str, SessionSchemeConfig | JwtSchemeConfig]) -> tuple[Header, ...]:
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
            (b"WWW-Authenticate", b'Cookie realm="%b"' % name.encode()) for name in schemes
        )
    return tuple(headers)


def proof_challenges_of(
    schemes: dict[str, SessionSchemeConfig | JwtSchemeConfig],
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
    schemes: dict[str, SessionSchemeConfig | JwtSchemeConfig], scopes: Iterable[str]
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
    schemes: dict[str, SessionSchemeConfig | JwtSchemeConfig], require: RequireConfig
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


# What is found out by compiling


def compile_problems(config: Config) -> Iterator[Problem]:
    """Yield what is wrong (or weak) with a configuration that is well-formed: a check of `load`."""
    for name, scheme in config.schemes.items():
        path = ("schemes", name)
        if isinstance(scheme, JwtSchemeConfig):
            yield from _attempt(path, partial(compile_verifier, config, scheme))
            yield from _attempt((*path, "keys"), partial(static_keys, scheme))
        elif scheme.format != "native":
            yield from _attempt((*path, "secrets"), partial(format_of, scheme))
        if scheme.identity is not None:
            yield from _mapping_problems((*path, "identity"), scheme.identity)
    for name, upstream in config.upstreams.items():
        if any(server.scheme == "https" for server in upstream.servers):
            yield from _attempt(("upstreams", name, "tls"), partial(tls_context, upstream.tls))
    for name, provider in config.login.providers.items() if config.login is not None else ():
        yield from _mapping_problems(("login", "providers", name, "identity"), provider.identity)
    if config.branding.logo is not None:
        yield from _attempt(("branding", "logo"), partial(read_logo, config.branding.logo))
    yield from _origin_problems(config)
    yield from _route_problems(config)
    yield from _match_problems(config)


def _origin_problems(config: Config) -> Iterator[Problem]:
    """Find foreign schemes whose name is the origin of other people (security.md, K6)."""
    taken = {native_origin(config.tokens.issuer if config.tokens is not None else None)}
    taken |= {
        scheme_issuer(config, scheme)
        for scheme in config.schemes.values()
        if isinstance(scheme, JwtSchemeConfig)
    }
    for name, scheme in config.schemes.items():
        if isinstance(scheme, SessionSchemeConfig) and scheme.format != "native" and name in taken:
            message = "the name is the origin of other identities: people of both would be the same"
            yield Problem(("schemes", name), message)


def _mapping_problems(path: tuple[str, ...], mapping: IdentityMapping) -> Iterator[Problem]:
    """Yield what is wrong with the templates of a scheme, each at its own key."""
    for key in type(mapping).model_fields:
        text = getattr(mapping, key)
        if text is not None and "{" in text:
            yield from _attempt((*path, key), partial(parse_template, text))


def _route_problems(config: Config) -> Iterator[Problem]:
    sound = True
    for index, route in enumerate(config.routes):
        path = ("routes", index)
        found = [
            problem
            for name, text in route.identity.headers.items()
            for problem in _attempt(
                (*path, "identity", "headers", name), partial(parse_template, text)
            )
        ]
        found = found or list(_attempt((*path, "identity"), partial(compile_identity, route)))
        sound = sound and not found
        yield from found
        yield from _attempt((*path, "require"), partial(compile_requirements, route.require))
        yield from _attempt((*path, "cors"), partial(compile_cors, route))
    if not sound:
        return
    rules = HeaderRules(identity_names(config))
    for index, route in enumerate(config.routes):
        yield from _attempt(
            ("routes", index, "pass_headers"),
            partial(compile_pass_headers, route.pass_headers, rules),
        )


def _match_problems(config: Config) -> Iterator[Problem]:
    for index, route in enumerate(config.routes):
        if _is_reserved(config, route.match.path, config.upstreams[route.upstream]):
            message = f"everything under {own_path(config)} is the gate's own, so the route would never match"
            yield Problem(("routes", index, "match", "path"), message)
    specs = route_specs(config, lambda route: route.upstream)
    try:
        Router(specs)
    except RouteConflicts as conflicts:
        for index, message in conflicts.conflicts:
            yield Problem(("routes", index, "match"), message)
        return
    for found in overlaps(specs, upstream_of=lambda upstream: upstream, is_weaker=_is_weaker):
        yield Problem(("routes", found.index, "match"), found.message, is_warning=True)


def _is_reserved(config: Config, path: str, upstream: UpstreamConfig) -> bool:
    """Tell whether a pattern lies wholly under the gate's own paths, as they are compared (P5)."""
    try:
        pattern = parse_pattern(path)
    except ValueError:  # which the router says
        return False
    own = parse_pattern(own_path(config))
    if upstream.paths == "folded":
        pattern, own = pattern.folded(fold), own.folded(fold)
    return pattern.steps[: len(own.steps)] == own.steps


def _is_weaker(one: Hashable, other: Hashable) -> bool:
    """Tell whether policy `one` lets in requests that `other` refuses (see `_policy`)."""
    if not isinstance(one, tuple) or not isinstance(other, tuple):
        return False
    auth, *_, require, _, dpop = one
    other_auth, *_, other_require, _, other_dpop = other
    if not other_auth:
        return False
    if _PROVING.index(dpop) < _PROVING.index(other_dpop):
        return True
    if not set(auth) <= set(other_auth) or not auth:
        return True
    return other_require not in (_NOTHING_REQUIRED, require)


def _attempt(path: tuple[str | int, ...], build: Callable[[], object]) -> Iterator[Problem]:
    try:
        build()
    except (ssl.SSLError, OSError) as error:
        yield Problem(path, f"a file cannot be used: {error.strerror or type(error).__name__}")
    except ProxyError as error:
        yield Problem(path, error.detail)
    except ValueError as error:
        yield Problem(path, str(error))
