"""What is wrong with a configuration that only compiling it finds out: a check of `load`.

What never belongs here: what can be seen in the file itself (`proxy.config`).
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Hashable, Iterator
from functools import partial
from typing import Final

from proxy.adapters.upstreams.settings import tls_context
from proxy.config.logo import read_logo
from proxy.config.models import (
    Config,
    IdentityMapping,
    JwtSchemeConfig,
    MtlsSchemeConfig,
    RequireConfig,
    SessionSchemeConfig,
    UpstreamConfig,
)
from proxy.core.certificates import dns_names
from proxy.core.formats.native import native_origin
from proxy.core.headers import HeaderRules, compile_pass_headers
from proxy.core.overlaps import overlaps
from proxy.core.paths import fold
from proxy.core.patterns import parse_pattern
from proxy.core.routing import RouteConflicts, Router
from proxy.core.templates import parse_template
from proxy.errors import Problem, ProxyError
from proxy.services.compile import (
    compile_cors,
    compile_dressing,
    compile_identity,
    compile_requirements,
    compile_verifier,
    identity_names,
    own_path,
    route_specs,
    scheme_issuer,
    static_keys,
)
from proxy.services.schemes.foreign_formats import format_of

_PROVING: Final[tuple[Hashable, ...]] = ("optional", "required", "nonce")
"""`dpop:`, each stricter than the one before."""
_NOTHING_REQUIRED: Final = RequireConfig().model_dump_json()


def compile_problems(config: Config) -> Iterator[Problem]:
    """Yield what is wrong (or weak) with a configuration that is well-formed: a check of `load`."""
    for name, scheme in config.schemes.items():
        path = ("schemes", name)
        if isinstance(scheme, JwtSchemeConfig):
            yield from _attempt(path, partial(compile_verifier, config, scheme))
            yield from _attempt((*path, "keys"), partial(static_keys, scheme))
        elif isinstance(scheme, SessionSchemeConfig) and scheme.format != "native":
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
    yield from _certificate_problems(config)
    yield from _origin_problems(config)
    yield from _route_problems(config)
    yield from _match_problems(config)


def _certificate_problems(config: Config) -> Iterator[Problem]:
    """Find certificates that nobody could ask for, or that another one stands before."""
    taken: set[str] = set()
    tls = config.server.tls
    for index, pair in enumerate(() if tls is None else tls.certificates):
        path = ("server", "tls", "certificates", index, "cert")
        if not pair.cert.is_file():  # a named pipe would be waited for
            continue
        try:
            names = dns_names(pair.cert.read_bytes())
        except (OSError, ValueError):
            continue  # which is said where cert and key are tried together
        if not names:
            yield Problem(path, "names no host in its SAN, so no client could ask for it")
        elif taken.issuperset(names):
            message = "is never shown: certificates before it have all of its names"
            yield Problem(path, message, is_warning=True)
        taken.update(names)


def _origin_problems(config: Config) -> Iterator[Problem]:
    """Find foreign schemes whose name is the origin of other people (security.md, K6)."""
    taken = {native_origin(config.tokens.issuer if config.tokens is not None else None)}
    taken |= {
        scheme_issuer(config, scheme)
        for scheme in config.schemes.values()
        if isinstance(scheme, JwtSchemeConfig)
    }
    for name, scheme in config.schemes.items():
        is_session = isinstance(scheme, SessionSchemeConfig) and scheme.format != "native"
        if (is_session or isinstance(scheme, MtlsSchemeConfig)) and name in taken:
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
    yield from _attempt(("server", "response_headers", "set"), partial(compile_dressing, config))
    rules = HeaderRules(identity_names(config))
    for index, route in enumerate(config.routes):
        yield from _attempt(
            ("routes", index, "pass_headers"),
            partial(compile_pass_headers, route.pass_headers, rules),
        )
        if route.response_headers.set:
            yield from _attempt(
                ("routes", index, "response_headers", "set"),
                partial(compile_dressing, config, route),
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
    auth, *_, require, _, dpop, reports = one
    other_auth, *_, other_require, _, other_dpop, other_reports = other
    if not other_auth:
        return False
    if reports is not None and other_reports is None:
        return True
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
