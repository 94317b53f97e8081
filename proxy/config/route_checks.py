"""Checks of routes: who may pass, as whom, and what the application is told."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from typing import Final

from proxy.config.header_names import fold, why_not_mapped, why_not_passed
from proxy.config.models import (
    Config,
    JwtSchemeConfig,
    MtlsSchemeConfig,
    RouteConfig,
    SchemeConfig,
    SessionSchemeConfig,
)
from proxy.config.scheme_checks import jwt_schemes
from proxy.config.survey import Survey
from proxy.errors import Problem

_PLACEHOLDER: Final = re.compile(r"\{[^{}]*\}")


def origin_of(config: Config, name: str) -> str:
    """Return the origin of the people of scheme `name` (K6): (origin, sub) is a person."""
    scheme = config.schemes[name]
    if isinstance(scheme, JwtSchemeConfig):
        return scheme.issuer
    if isinstance(scheme, SessionSchemeConfig) and scheme.format == "native":
        return config.tokens.issuer if config.tokens is not None else "local"
    return name


def check_public(survey: Survey) -> Iterator[Problem]:
    """Find routes that are open to all and yet ask who comes."""
    tls = survey.config.server.tls
    has_client_ca = (
        tls is not None and tls.client_ca is not None
    )  # where S3 has something to refuse
    for index, route in enumerate(survey.config.routes):
        if route.auth or not survey.is_whole("routes", index, "auth"):
            continue
        path = ("routes", index)
        if route.require.model_fields_set:
            message = "a public route (`auth: none`) asks nobody; name a scheme, or leave this out"
            yield Problem((*path, "require"), message)
        if route.mode != "enforce" and not has_client_ca:
            message = "says nothing: a public route (`auth: none`) refuses nobody"
            yield Problem((*path, "mode"), message, is_warning=True)
        for key in ("assertion", "bearer"):
            if getattr(route.identity, key):
                message = "a public route has no caller to speak for"
                yield Problem((*path, "identity", key), message)


def check_limits(survey: Survey) -> Iterator[Problem]:
    """Find words about a rate where there is none, and keys that nobody has."""
    for index, route in enumerate(survey.config.routes):
        limits, path = route.limits, ("routes", index, "limits")
        if not survey.is_whole(*path):
            continue
        said = limits.model_fields_set
        if limits.rate is None:
            for key, name in (("per", "per"), ("in_", "in")):
                if key in said:
                    yield Problem((*path, name), "says how to count, and there is no `rate`")
        elif limits.per == "subject" and "per" in said and not route.auth:
            message = "nobody is known on a public route (`auth: none`): write `per: address`"
            yield Problem((*path, "per"), message)


def check_requirements(survey: Survey) -> Iterator[Problem]:
    """Find roles and scopes that one of a route's schemes can never yield."""
    config = survey.config
    for index, route in enumerate(config.routes):
        for name in route.auth:
            scheme = config.schemes.get(name)
            if scheme is None or not survey.is_whole("schemes", name, "identity"):
                continue
            for key in ("roles", "scopes"):
                if getattr(route.require, key) and not _yields(scheme, key):
                    hint = f"schemes.{name}.identity.{key} says where they are"
                    message = f"scheme `{name}` yields no {key}, so it could never pass: {hint}"
                    yield Problem(("routes", index, "require", key), message)


def check_freshness(survey: Survey) -> Iterator[Problem]:
    """Find routes that ask when somebody signed in of a scheme that never says (S7).

    Beside an application's session the gate keeps a factor of its own, for `mfa_within`.
    """
    config = survey.config
    for index, route in enumerate(config.routes):
        silent = [name for name in route.auth if _is_silent(config.schemes.get(name))]
        if route.require.login_within is not None and silent:
            message = (
                f"scheme `{silent[0]}` does not say when somebody signed in, so it could never pass: only"
                " the gate's own sessions and tokens with auth_time and amr do. `mfa_within` asks for a code"
            )
            yield Problem(("routes", index, "require", "login_within"), message)


def check_proofs(survey: Survey) -> Iterator[Problem]:
    """Find routes that want a proof with a credential that cannot have one."""
    config = survey.config
    for index, route in enumerate(config.routes):
        if route.dpop == "optional":
            continue
        path = ("routes", index, "dpop")
        if not _has_name(config) and survey.is_whole("server", "public_url"):
            message = (
                "proofs for other servers may be used here, as the gate does not know what it is called:"
                " set server.public_url, or match.host"
            )
            yield Problem(path, message, is_warning=True)
        if not route.auth and survey.is_whole("routes", index, "auth"):
            yield Problem(path, "a public route (`auth: none`) asks for no token")
        for name in route.auth:
            scheme = config.schemes.get(name)
            if isinstance(scheme, SessionSchemeConfig):
                message = f"scheme `{name}` is of sessions, which are bound to no key, so it could never pass"
                yield Problem(path, message)
            elif isinstance(scheme, MtlsSchemeConfig):
                message = f"scheme `{name}` is of certificates, which need no proof, so it could never pass"
                yield Problem(path, message)
            elif scheme is not None and all(source.kind != "bearer" for source in scheme.from_):
                message = (
                    f"scheme `{name}` reads no Authorization, where a token is sent with its proof, so"
                    " it could never pass: add bearer to its `from`"
                )
                yield Problem(path, message)


def _has_name(config: Config) -> bool:
    """Tell whether the configuration says under what host people see the gate."""
    hosts = [route.match.host for route in config.routes]
    if config.login is not None:
        hosts += config.login.hosts or []
    return config.server.public_url is not None or any(host is not None for host in hosts)


def check_roles_rules(survey: Survey) -> Iterator[Problem]:
    """Find rules that say neither `any` nor `all`, or both."""
    for index, route in enumerate(survey.config.routes):
        path = ("routes", index, "require")
        rules = [((*path, "claims", name), rule) for name, rule in route.require.claims.items()]
        if route.require.roles is not None:
            yield from _check_rule(survey, (*path, "roles"), route.require.roles)
        for place, rule in rules:
            yield from _check_rule(survey, place, rule)


def check_both(survey: Survey) -> Iterator[Problem]:
    """Find comparisons of subjects that mean different people (K6)."""
    config = survey.config
    for index, route in enumerate(config.routes):
        path = ("routes", index, "both")
        if "both" in route.model_fields_set and len(route.auth) < 2:
            yield Problem(path, "says nothing: the route has one scheme", is_warning=True)
        if route.both != "same_subject" or route.same_subjects:
            continue
        if not all(_is_known(survey, name) for name in route.auth):
            continue
        if len({origin_of(config, name) for name in route.auth}) > 1:
            message = (
                "the route's schemes have different issuers, whose subjects are different people; "
                "write `same_subjects: true` where they are not"
            )
            yield Problem(path, message)


def check_shared_upstreams(survey: Survey) -> Iterator[Problem]:
    """Find applications to which two issuers could name two people alike (K6).

    Where it is certain each route has the mistake; a warning is said once for the same schemes.
    """
    config = survey.config
    doubtful: dict[frozenset[str], list[int]] = {}
    for upstream in config.upstreams:
        indexes = [i for i, route in enumerate(config.routes) if route.upstream == upstream]
        names = {name for i in indexes for name in config.routes[i].auth}
        alike = {
            name: origin_of(config, name)
            for name in names
            if _is_known(survey, name) and not _is_separate(config.schemes[name])
        }
        issuers = {
            origin
            for name, origin in alike.items()
            if isinstance(config.schemes[name], JwtSchemeConfig)
        }
        if not issuers or len(set(alike.values())) < 2:
            continue
        concerned = [i for i in indexes if _is_undecided(config.routes[i], alike)]
        if len(issuers) > 1:
            for index in concerned:
                message = _confusion([upstream], "two issuers", "here")
                yield Problem(("routes", index, "auth"), message)
        else:
            doubtful.setdefault(frozenset(alike), []).extend(concerned)
    for concerned in filter(None, doubtful.values()):
        yield _doubt(config, sorted(concerned))


def check_same_place(survey: Survey) -> Iterator[Problem]:
    """Find two schemes of a route that read one place and wait for one issuer."""
    config = survey.config
    for index, route in enumerate(config.routes):
        seen: dict[tuple[str, str, str], str] = {}
        for place, name in enumerate(route.auth):
            scheme = config.schemes.get(name)
            if not isinstance(scheme, JwtSchemeConfig) or not scheme.issuer:
                continue
            for source in scheme.from_:
                earlier = seen.setdefault((scheme.issuer, source.kind, source.name), name)
                if earlier == name:
                    continue
                message = f"never asked: scheme `{earlier}` reads the same place for this issuer"
                yield Problem(("routes", index, "auth", place), message, is_warning=True)
                break


def check_speaking(survey: Survey) -> Iterator[Problem]:
    """Find assertions without an issuer, and bearers that could open another door (K4)."""
    config = survey.config
    has_issuer = config.tokens is not None or config.server.public_url is not None
    is_certain = survey.is_whole("tokens") and survey.is_whole("server", "public_url")
    for index, route in enumerate(config.routes):
        path = ("routes", index, "identity")
        for key in ("assertion", "bearer"):
            if getattr(route.identity, key) and not has_issuer and is_certain:
                yield Problem(
                    (*path, key), "needs tokens.issuer or server.public_url as its issuer"
                )
        if route.identity.bearer and route.upstream in config.upstreams:
            yield from _check_bearer(config, (*path, "bearer"), route)


def check_identity_headers(survey: Survey) -> Iterator[Problem]:
    """Find mappings onto headers that are not for identity (H1)."""
    for index, route in enumerate(survey.config.routes):
        seen: dict[str, str] = {}
        for name in route.identity.headers:
            path = ("routes", index, "identity", "headers", name)
            if (reason := why_not_mapped(name)) is not None:
                yield Problem(path, f"identity is not mapped onto this header: {reason}")
            elif seen.setdefault(fold(name), name) != name:
                message = f"servers take this and {seen[fold(name)]} for the same name"
                yield Problem(path, message)


def check_pass_headers(survey: Survey) -> Iterator[Problem]:
    """Find headers that a client must never be allowed to send (H1, H2)."""
    mapped = {fold(name) for route in survey.config.routes for name in route.identity.headers}
    for index, route in enumerate(survey.config.routes):
        for place, name in enumerate(route.pass_headers):
            path = ("routes", index, "pass_headers", place)
            if fold(name) in mapped:
                message = "a route of this file sets this header, so no client may"
                yield Problem(path, message)
            elif (reason := why_not_passed(name)) is not None:
                yield Problem(path, f"cannot be passed: {reason}")


def check_prefixes(survey: Survey) -> Iterator[Problem]:
    """Find prefixes to strip that a route's paths do not begin with."""
    for index, route in enumerate(survey.config.routes):
        if route.strip_prefix is None or not survey.is_whole("routes", index, "match"):
            continue
        prefix = route.strip_prefix[1:].split("/")
        if route.match.path[1:].split("/")[: len(prefix)] != prefix:
            message = "the route's match.path does not begin with it"
            yield Problem(("routes", index, "strip_prefix"), message)


def check_forwarding(survey: Survey) -> Iterator[Problem]:
    """Find routes that would send two credentials in one place."""
    config = survey.config
    for index, route in enumerate(config.routes):
        if not (route.forward_credentials and route.identity.bearer):
            continue
        kinds = {
            source.kind
            for name, scheme in jwt_schemes(config)
            if name in route.auth
            for source in scheme.from_
        }
        if kinds & {"bearer", "basic"}:
            message = "`identity.bearer` takes the place of the caller's own Authorization"
            yield Problem(("routes", index, "forward_credentials"), message)


def _yields(scheme: SchemeConfig, key: str) -> bool:
    if isinstance(scheme, MtlsSchemeConfig):
        return key == "roles" and bool(scheme.roles)
    identity = scheme.identity
    return identity is None or getattr(identity, key) is not None


def _is_silent(scheme: SchemeConfig | None) -> bool:
    return isinstance(scheme, SessionSchemeConfig) and scheme.format != "native"


def _check_rule(survey: Survey, path: tuple[str | int, ...], rule: object) -> Iterator[Problem]:
    is_any, is_all = (getattr(rule, key) is not None for key in ("any", "all"))
    if is_any == is_all and survey.is_whole(*path) and not survey.is_odd(*path):
        yield Problem(path, "must be {any: […]} or {all: […]}, one of the two")


def _is_known(survey: Survey, name: str) -> bool:
    is_whole = survey.is_whole("schemes", name, "issuer") and survey.is_whole("tokens")
    return name in survey.config.schemes and is_whole


def _is_separate(scheme: SchemeConfig) -> bool:
    """Tell whether the subject's template says more than the subject itself."""
    template = scheme.identity.subject if scheme.identity is not None else ""
    rest = _PLACEHOLDER.sub("", template)
    return "{iss}" in template or ("{" in template and bool(rest))


def _is_undecided(route: RouteConfig, alike: Collection[str]) -> bool:
    is_settled = "same_subjects" in route.model_fields_set
    return not is_settled and any(name in alike for name in route.auth)


def _doubt(config: Config, indexes: list[int]) -> Problem:
    upstreams = list(dict.fromkeys(config.routes[index].upstream for index in indexes))
    others = len(indexes) - 1
    where = "here" if not others else f"here and in {others} more route{'s' if others > 1 else ''}"
    message = _confusion(upstreams, "an issuer and sessions of another origin", where)
    return Problem(("routes", indexes[0], "auth"), message, is_warning=True)


def _confusion(upstreams: list[str], whom: str, where: str) -> str:
    is_one = len(upstreams) == 1
    names = ", ".join(f"`{name}`" for name in upstreams)
    return (
        f"{'upstream' if is_one else 'upstreams'} {names} {'hears' if is_one else 'hear'} of people "
        f"from {whom}, where one name may be two people; write `same_subjects: true` {where} if it is one "
        f"person at both, `false` if the application looks at X-Auth-Issuer as well, "
        f'or keep them apart by `subject: "{{iss}}|{{sub}}"` in the schemes'
    )


def _check_bearer(
    config: Config, path: tuple[str | int, ...], route: RouteConfig
) -> Iterator[Problem]:
    audience = config.upstreams[route.upstream].audience
    for name, scheme in jwt_schemes(config):
        if scheme.keys.local and (scheme.audience == "any" or audience in scheme.audience):
            message = f"scheme `{name}` accepts the audience of this upstream; give it another"
            yield Problem(path, message)
    for name, upstream in config.upstreams.items():
        if name != route.upstream and upstream.audience == audience:
            message = f"upstream `{name}` has the same audience; each could use the other's bearer"
            yield Problem(path, message)


CHECKS: Final = (
    check_public,
    check_limits,
    check_requirements,
    check_freshness,
    check_proofs,
    check_roles_rules,
    check_both,
    check_shared_upstreams,
    check_same_place,
    check_speaking,
    check_identity_headers,
    check_pass_headers,
    check_prefixes,
    check_forwarding,
)
