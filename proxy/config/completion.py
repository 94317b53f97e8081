"""Defaults that depend on another key, filled in once all keys are read."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from proxy.config.foreign_formats import FASTIFY_COOKIE, FORMATS
from proxy.config.models import (
    Config,
    JwtSchemeConfig,
    LoginConfig,
    RouteConfig,
    SchemeConfig,
    SessionSchemeConfig,
    StoreConfig,
    TokensConfig,
    UpstreamConfig,
)
from proxy.config.scheme_models import SessionIdentityMapping


def complete(config: Config, base: Path) -> Config:
    """Return `config` with the names, audiences and paths that follow from its other keys.

    What stays empty has no source, which is for the checks to say. `base` is the directory of the
    file. Keys that were written keep their value; `model_fields_set` tells what was written, and
    grows by what is filled in here.
    """
    return config.model_copy(
        update={
            "store": _store(config.store, base),
            "upstreams": {name: _upstream(name, item) for name, item in config.upstreams.items()},
            "schemes": {
                name: _shared(_scheme(item, config.tokens), name, config.login)
                for name, item in config.schemes.items()
            },
            "routes": _named(config.routes),
        }
    )


def _store(store: StoreConfig, base: Path) -> StoreConfig:
    if "url" in store.model_fields_set or store.url.path is None:
        return store
    return store.model_copy(update={"url": replace(store.url, path=base / store.url.path)})


def _upstream(name: str, upstream: UpstreamConfig) -> UpstreamConfig:
    return upstream if upstream.audience else upstream.model_copy(update={"audience": name})


def _scheme(scheme: SchemeConfig, tokens: TokensConfig | None) -> SchemeConfig:
    if isinstance(scheme, SessionSchemeConfig):
        return _session(scheme)
    if not isinstance(scheme, JwtSchemeConfig) or not scheme.keys.local or tokens is None:
        return scheme
    update: dict[str, object] = {}
    if not scheme.issuer:
        update["issuer"] = tokens.issuer
    if not scheme.audience:
        update["audience"] = [tokens.audience]
    if "algorithms" not in scheme.model_fields_set:
        update["algorithms"] = [tokens.algorithm]
    return scheme.model_copy(update=update)


def _session(scheme: SessionSchemeConfig) -> SessionSchemeConfig:
    """Fill in what the framework of a foreign format does unless it is told otherwise."""
    known = FORMATS.get(scheme.format)
    if known is None:
        return scheme
    written = scheme.model_fields_set
    update = {key: value for key, value in known.defaults.items() if key not in written}
    if scheme.variant == "fastify" and "cookie" not in written:
        update["cookie"] = FASTIFY_COOKIE
    if known.serializers and not scheme.serializer:
        update["serializer"] = known.serializers[0]
    if scheme.format == "aiohttp-session" and "prefix" not in written:
        update["prefix"] = f"{update.get('cookie', scheme.cookie)}_"  # as its storage does
    if known.identity and (scheme.identity is None or not scheme.identity.subject):
        given = {} if scheme.identity is None else scheme.identity.model_dump(exclude_unset=True)
        update["identity"] = SessionIdentityMapping(**{**known.identity, **given})
    return scheme.model_copy(update=update)


def _shared(scheme: SchemeConfig, name: str, login: LoginConfig | None) -> SchemeConfig:
    """Give the cookie of a login for several hosts a name that browsers let have a domain."""
    if not isinstance(scheme, SessionSchemeConfig) or "cookie" in scheme.model_fields_set:
        return scheme
    if login is None or login.cookie_domain is None or login.scheme != name:
        return scheme
    return scheme.model_copy(update={"cookie": scheme.cookie.replace("__Host-", "__Secure-")})


def _named(routes: list[RouteConfig]) -> list[RouteConfig]:
    taken = {route.name for route in routes}
    named = []
    for route in routes:
        if route.name:
            named.append(route)
            continue
        name = wanted = _name(route)
        number = 2
        while name in taken:
            name = f"{wanted} ({number})"
            number += 1
        taken.add(name)
        named.append(route.model_copy(update={"name": name}))
    return named


def _name(route: RouteConfig) -> str:
    methods = f"{','.join(route.match.methods)} " if route.match.methods else ""
    return f"{methods}{route.match.host or ''}{route.match.path}"
