"""Checks of schemes, and of the keys, tokens and secrets that they lean on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from proxy.config.addresses import host_of, is_loopback, parse_http_url
from proxy.config.foreign_checks import check_foreign, only_for
from proxy.config.header_names import why_no_source
from proxy.config.models import (
    Config,
    JwtSchemeConfig,
    KeysConfig,
    SessionSchemeConfig,
    TokensConfig,
)
from proxy.config.store_models import decode_key
from proxy.config.store_url import StoreUrl
from proxy.config.survey import Survey
from proxy.errors import Problem

MAX_UNREVOKED_S: Final = 900.0
"""Longest life of a token that nobody can take back (`revocation: none`)."""
MIN_SECRET_BYTES: Final = 32
"""Of a key for HS256…512 (K1)."""
ASSERTION_SUFFIX: Final = "/assertion"
"""Ends the issuer of every gate's assertions (K4)."""

_NATIVE: Final = frozenset({"type", "format", "cookie", "issued_by", "idle_timeout", "lifetime"})
"""Keys of the gate's own sessions."""
_NATIVE_ONLY: Final = ("idle_timeout", "lifetime")
_KEY_SOURCES: Final = ("jwks_url", "discovery", "file", "secret", "local")
_LOOPBACK: Final = "<loopback>"


def session_schemes(config: Config) -> Iterator[tuple[str, SessionSchemeConfig]]:
    """Yield the session schemes with their names."""
    for name, scheme in config.schemes.items():
        if isinstance(scheme, SessionSchemeConfig):
            yield name, scheme


def jwt_schemes(config: Config) -> Iterator[tuple[str, JwtSchemeConfig]]:
    """Yield the jwt schemes with their names."""
    for name, scheme in config.schemes.items():
        if isinstance(scheme, JwtSchemeConfig):
            yield name, scheme


def check_session_keys(survey: Survey) -> Iterator[Problem]:
    """Find keys that mean nothing in a scheme's format, and those that it cannot do without."""
    for name, scheme in session_schemes(survey.config):
        written = scheme.model_fields_set
        path = ("schemes", name)
        if scheme.format == "native":
            for key in sorted(written - _NATIVE):
                yield Problem((*path, key), only_for(key))
            if scheme.idle_timeout > scheme.lifetime:
                message = "is longer than lifetime, which ends the session first"
                yield Problem((*path, "idle_timeout"), message, is_warning=True)
            continue
        for key in _NATIVE_ONLY:
            if key in written:
                message = "is for `format: native` only; others live as long as their keys"
                yield Problem((*path, key), message)
        yield from check_foreign(survey, path, scheme)


def check_cookies(survey: Survey) -> Iterator[Problem]:
    """Find cookies of native schemes that something else reads or sets too."""
    readers: dict[str, list[str]] = {}
    for name, scheme in survey.config.schemes.items():
        if isinstance(scheme, SessionSchemeConfig):
            cookies = [scheme.cookie] if _has_cookie(survey, name, scheme) else []
        elif isinstance(scheme, JwtSchemeConfig):
            cookies = [source.name for source in scheme.from_ if source.kind == "cookie"]
        else:
            continue
        for cookie in cookies:
            readers.setdefault(cookie, []).append(name)
    for name, scheme in session_schemes(survey.config):
        if scheme.format != "native":
            continue
        path = ("schemes", name, "cookie")
        others = [other for other in readers.get(scheme.cookie, ()) if other != name]
        if others:
            yield Problem(path, f"scheme `{others[0]}` reads this cookie too")
        yield from _check_cookie_name(path, scheme.cookie)


def check_foreign_stores(survey: Survey) -> Iterator[Problem]:
    """Find application sessions whose keys could be taken for the gate's own (S12)."""
    own = survey.config.store
    for name, scheme in session_schemes(survey.config):
        if scheme.format == "native" or not survey.is_whole("store", "url"):
            continue
        path = ("schemes", name)
        if scheme.store is not None and scheme.store.kind == "embedded":
            yield Problem((*path, "store"), "the embedded store is the gate's own")
            continue
        if scheme.store is None and own.url.kind == "embedded":
            message = "no application can reach the gate's embedded store; name its own `store:`"
            yield Problem((*path, "store"), message, is_warning=True)
        is_shared = scheme.store is None or _is_same(scheme.store, own.url)
        is_overlap = own.prefix.startswith(scheme.prefix) or scheme.prefix.startswith(own.prefix)
        if is_shared and is_overlap and survey.is_whole(*path, "prefix"):
            message = "overlaps store.prefix in one database: a cookie could name the gate's keys"
            yield Problem((*path, "prefix"), message)


def check_key_sources(survey: Survey) -> Iterator[Problem]:
    """Find jwt schemes that have no keys or several kinds of them, or fetch them in the clear (K3)."""
    for name, scheme in jwt_schemes(survey.config):
        path = ("schemes", name, "keys")
        if not survey.is_whole(*path):
            continue
        keys = scheme.keys
        source = _key_source(keys)
        if source is None:
            names = ", ".join(_KEY_SOURCES)
            yield Problem(path, f"exactly one of these must be given: {names}")
            continue
        if source in {"jwks_url", "discovery"}:
            yield from _check_remote(survey, name, scheme)
            continue
        for key in ("max_stale", "http"):
            if key in keys.model_fields_set:
                yield Problem((*path, key), "is for jwks_url and discovery only")


def check_algorithms(survey: Survey) -> Iterator[Problem]:
    """Find algorithms that do not fit together or to the keys (K1)."""
    for name, scheme in jwt_schemes(survey.config):
        path = ("schemes", name, "algorithms")
        if not survey.is_whole(*path) or not survey.is_whole("schemes", name, "keys"):
            continue
        if _key_source(scheme.keys) is None:
            continue
        symmetric = [item.startswith("HS") for item in scheme.algorithms]
        if any(symmetric) and not all(symmetric):
            yield Problem(path, "symmetric (HS…) and asymmetric algorithms never go together")
        elif scheme.keys.secret is not None and not all(symmetric):
            message = "`keys.secret` is for HS256, HS384 and HS512: write `algorithms: [HS256]`"
            yield Problem(path, message)
        elif scheme.keys.secret is None and any(symmetric):
            yield Problem(path, "HS256, HS384 and HS512 need `keys.secret`")


def check_secret_lengths(survey: Survey) -> Iterator[Problem]:
    """Find shared secrets that can be guessed (K1)."""
    for name, scheme in jwt_schemes(survey.config):
        secret = scheme.keys.secret
        if secret is not None and len(secret.reveal_bytes()) < MIN_SECRET_BYTES:
            message = f"must be {MIN_SECRET_BYTES} bytes at least"
            yield Problem(("schemes", name, "keys", "secret"), message)


def check_issuers(survey: Survey) -> Iterator[Problem]:
    """Find jwt schemes that would accept anybody's tokens, or an assertion in a token's place."""
    for name, scheme in jwt_schemes(survey.config):
        path = ("schemes", name)
        is_filled = scheme.keys.local and not survey.is_whole("tokens")
        if not scheme.issuer and not is_filled and survey.is_whole(*path, "issuer"):
            yield Problem((*path, "issuer"), "is required: the `iss` that the tokens must have")
        if not scheme.audience and not is_filled and survey.is_whole(*path, "audience"):
            message = "is required: one or several; `audience: any` accepts tokens for anybody"
            yield Problem((*path, "audience"), message)
        if scheme.issuer.rstrip("/").endswith(ASSERTION_SUFFIX):
            message = "is the issuer of a gate's assertions, which are never taken as tokens"
            yield Problem((*path, "issuer"), message)


def check_local_keys(survey: Survey) -> Iterator[Problem]:
    """Find schemes that would not accept the very tokens that the gate issues."""
    tokens = survey.config.tokens
    for name, scheme in jwt_schemes(survey.config):
        if _key_source(scheme.keys) != "local" or not survey.is_whole("tokens"):
            continue
        if tokens is None:
            message = "needs the section `tokens`, which makes the gate's own keys"
            yield Problem(("schemes", name, "keys", "local"), message)
        else:
            yield from _check_local(survey, name, scheme, tokens)


def check_revocation(survey: Survey) -> Iterator[Problem]:
    """Find long-lived tokens that nobody can take back."""
    for name, scheme in jwt_schemes(survey.config):
        path = ("schemes", name, "max_lifetime")
        is_long = scheme.max_lifetime > MAX_UNREVOKED_S
        if scheme.revocation == "none" and is_long and survey.is_whole(*path):
            message = "with `revocation: none` it is required, and 15m at most"
            yield Problem(path, message)


def check_sources(survey: Survey) -> Iterator[Problem]:
    """Find places in a request that a token cannot be read from."""
    for name, scheme in jwt_schemes(survey.config):
        for index, source in enumerate(scheme.from_):
            reason = why_no_source(source.name) if source.kind == "header" else None
            if reason is not None:
                yield Problem(("schemes", name, "from", index), f"not from this header: {reason}")


def check_secrets(survey: Survey) -> Iterator[Problem]:
    """Find encryption keys that are none, and a store that needs them without any (S10)."""
    config = survey.config
    if config.secrets is not None:
        for index, secret in enumerate(config.secrets.key):
            try:
                decode_key(secret)
            except ValueError as error:
                yield Problem(("secrets", "key", index), str(error))
        return
    if config.store.url.kind == "embedded" or not survey.is_whole("store", "url"):
        return
    if not survey.is_whole("secrets"):
        return
    for path, reason in _needing_secrets(config):
        yield Problem(path, f"needs `secrets: {{key: …}}`, {reason}")
        return


def _key_source(keys: KeysConfig) -> str | None:
    """Return which source of keys is given; `None` for none or several."""
    given = [key for key in _KEY_SOURCES if getattr(keys, key)]
    return given[0] if len(given) == 1 else None


def _has_cookie(survey: Survey, name: str, scheme: SessionSchemeConfig) -> bool:
    is_known = scheme.format == "native" or "cookie" in scheme.model_fields_set
    return is_known and survey.is_whole("schemes", name, "cookie")


def _check_cookie_name(path: tuple[str, ...], cookie: str) -> Iterator[Problem]:
    for prefix in ("__Host-", "__Secure-"):
        if cookie.startswith(prefix):
            return
        if cookie.lower().startswith(prefix.lower()):
            yield Problem(path, f"browsers read this as {prefix}; write it so")
            return
    message = "without __Host- another site below the same domain can set this cookie"
    yield Problem(path, message, is_warning=True)


def _is_same(one: StoreUrl, other: StoreUrl) -> bool:
    if one.path is not None or other.path is not None:
        return one.path == other.path and one.db == other.db
    hosts = [_LOOPBACK if is_loopback(url.host) else url.host for url in (one, other)]
    return hosts[0] == hosts[1] and (one.port, one.db) == (other.port, other.db)


def _check_remote(survey: Survey, name: str, scheme: JwtSchemeConfig) -> Iterator[Problem]:
    """K3: keys come over TLS, except from this machine or where the file accepts the risk."""
    keys = scheme.keys
    url = keys.jwks_url or ""
    path: tuple[str, ...] = ("schemes", name, "keys", "jwks_url")
    if keys.discovery:
        url, path = scheme.issuer, ("schemes", name, "issuer")
        if not url or not survey.is_whole(*path):
            return
        try:
            parse_http_url(url)
        except ValueError:
            yield Problem(path, "must be a URL with `keys: {discovery: true}`")
            return
        if "?" in url:
            yield Problem(path, "has no query with `keys: {discovery: true}`")
    if url.lower().startswith("https://") or is_loopback(host_of(url)):
        return
    if keys.http == "accept":
        message = "keys are fetched without TLS: who is in between can replace them"
        yield Problem(path, message, is_warning=True)
    else:
        yield Problem(path, "must be https:// (or write `http: accept` in `keys`)")


def _check_local(
    survey: Survey, name: str, scheme: JwtSchemeConfig, tokens: TokensConfig
) -> Iterator[Problem]:
    path = ("schemes", name)
    if scheme.issuer != tokens.issuer and survey.is_whole(*path, "issuer"):
        yield Problem((*path, "issuer"), "differs from tokens.issuer, whose tokens these are")
    is_meant = scheme.audience == "any" or tokens.audience in scheme.audience
    if not is_meant and survey.is_whole(*path, "audience"):
        yield Problem((*path, "audience"), "does not contain tokens.audience")
    if tokens.algorithm not in scheme.algorithms and survey.is_whole(*path, "algorithms"):
        yield Problem((*path, "algorithms"), "does not contain tokens.algorithm")
    if tokens.access > scheme.max_lifetime and survey.is_whole(*path, "max_lifetime"):
        yield Problem((*path, "max_lifetime"), "is shorter than tokens.access")


def _is_foreign(scheme: object) -> bool:
    return isinstance(scheme, SessionSchemeConfig) and scheme.format != "native"


def _needing_secrets(config: Config) -> Iterator[tuple[tuple[str | int, ...], str]]:
    kept = "since its secrets are kept in a store of others"
    if config.login is not None and config.login.providers:
        yield ("login", "providers"), kept
    if config.tokens is not None:
        yield ("tokens",), kept
    if config.login is not None and "otp" in config.login.model_fields_set:
        yield ("login", "otp"), kept
    for index, route in enumerate(config.routes):
        if route.identity.assertion:
            yield ("routes", index, "identity", "assertion"), kept
        elif route.require.mfa_within is not None and any(
            _is_foreign(config.schemes.get(name)) for name in route.auth
        ):
            yield ("routes", index, "require", "mfa_within"), kept
        elif route.identity.bearer:
            yield ("routes", index, "identity", "bearer"), kept
        elif route.dpop == "nonce":
            yield ("routes", index, "dpop"), "by which every gate knows the nonces of the others"


CHECKS: Final = (
    check_session_keys,
    check_cookies,
    check_foreign_stores,
    check_key_sources,
    check_algorithms,
    check_secret_lengths,
    check_issuers,
    check_local_keys,
    check_revocation,
    check_sources,
    check_secrets,
)
