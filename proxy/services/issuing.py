"""What issues tokens, put together from a configuration."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Final
from urllib.parse import urlsplit

from proxy.adapters.store.port import Store
from proxy.config.models import Config, JwtSchemeConfig, SessionSchemeConfig, TokensConfig
from proxy.core.dpop import ALGORITHMS as PROOF_ALGORITHMS
from proxy.core.oauth import AUTH_METHODS, SESSION_GRANT, Client
from proxy.core.refresh import OtpRule
from proxy.core.revocation import RevocationKeys, marker_life_s
from proxy.services import compile as compiling
from proxy.services.family_records import FamilyRecords
from proxy.services.keyrings import SigningPlan
from proxy.services.oauth import TokenService
from proxy.services.own import OwnServices
from proxy.services.refresh import RefreshFamilies
from proxy.services.revocations import Revocations
from proxy.services.schemes.build import SchemeBuilder, own_lifetimes
from proxy.services.token_factors import Factors
from proxy.services.token_request import TokenRules
from proxy.services.tokens import TokenIssuer

METADATA_PATH: Final = "/.well-known/oauth-authorization-server"
"""RFC 8414 §3; the path of the issuer, if it has one, stands behind it."""


def open_token_issuer(config: Config, keys: SigningPlan, store: Store) -> TokenIssuer:
    """Return what mints the gate's own access tokens; `ValueError` without `tokens:`."""
    tokens = config.tokens
    if tokens is None:
        raise ValueError("the configuration has no `tokens:`, so that this gate issues none")
    return TokenIssuer(
        issuer=tokens.issuer,
        audience=tokens.audience,
        lifetime_s=tokens.access,
        max_lifetime_s=max([tokens.access, *own_lifetimes(config)]),
        signer=keys.token_signer(),
        store=store,
        revoked=RevocationKeys(config.store.prefix),
    )


def open_families(config: Config, issuer: TokenIssuer, store: Store) -> RefreshFamilies:
    """Return the refresh families; `ValueError` without `tokens:`."""
    tokens = config.tokens
    if tokens is None:
        raise ValueError("the configuration has no `tokens:`, so that this gate issues none")
    return RefreshFamilies(
        store,
        issuer,
        Revocations(store, RevocationKeys(config.store.prefix)),
        prefix=config.store.prefix,
        lifetime_s=tokens.refresh,
        grace_s=tokens.reuse_grace,
        keep_s=access_marker_life_s(config),
    )


def open_family_records(config: Config, store: Store) -> FamilyRecords | None:
    """Return what finds and ends refresh families; `None` where the gate issues no tokens."""
    if config.tokens is None:
        return None
    return FamilyRecords(
        store,
        Revocations(store, RevocationKeys(config.store.prefix)),
        prefix=config.store.prefix,
        issuer=config.tokens.issuer,
        keep_s=access_marker_life_s(config),
    )


def access_marker_life_s(config: Config) -> float:
    """Return how long one access token of the gate's own, or those of one `sid`, must be refused."""
    access_s = 0.0 if config.tokens is None else config.tokens.access
    lives = [
        marker_life_s(max(scheme.max_lifetime, access_s), scheme.leeway)
        for scheme in config.schemes.values()
        if isinstance(scheme, JwtSchemeConfig) and scheme.keys.local
    ]
    return max([marker_life_s(access_s, 30.0), *lives])


def open_token_service(
    config: Config,
    keys: SigningPlan,
    store: Store | None,
    builder: SchemeBuilder,
    own: OwnServices | None,
    *,
    unfit: Callable[[], str | None],
) -> TokenService | None:
    """Return what answers clients; `None` where the configuration has no endpoint for them."""
    if store is None or not has_token_endpoints(config):
        return None
    issuer = open_token_issuer(config, keys, store)
    service = TokenService(
        compile_clients(config),
        issuer,
        open_families(config, issuer, store),
        Revocations(store, RevocationKeys(config.store.prefix)),
        builder.own_tokens("tokens"),
        _rules(config),
        visitors=None if own is None else own.visitors,
        unfit=unfit,
    )
    if own is not None:
        service.factors = Factors(
            own.login.attempts,
            own.login.users,
            own.step_up.otp,
            requires_code=config.login is not None and config.login.otp.at_login == "required",
        )
    return service


def _otp_rule(tokens: TokensConfig) -> OtpRule:
    return tokens.otp if isinstance(tokens.otp, str) else tokens.otp.after


def has_token_endpoints(config: Config) -> bool:
    """Tell whether anybody could get a token from the gate by HTTP."""
    return config.tokens is not None and (bool(config.clients) or config.login is not None)


def compile_clients(config: Config) -> dict[str, Client]:
    """Return `clients:` by client_id, with digests in the place of secrets."""
    return {
        name: Client.make(
            name,
            [secret.reveal_bytes() for secret in client.secret],
            client.grants,
            roles=client.roles,
            scopes=client.scopes,
        )
        for name, client in config.clients.items()
    }


def metadata(config: Config) -> tuple[str, bytes] | None:
    """Return path and document of the metadata (RFC 8414); `None` where there is nothing to say.

    The issuer must be a URL without query and fragment: whoever reads the document looks for it there.
    """
    tokens = config.tokens
    if tokens is None or not config.clients:
        return None
    try:
        issuer = urlsplit(tokens.issuer)
    except ValueError:
        return None
    if (
        issuer.scheme not in ("http", "https")
        or not issuer.netloc
        or issuer.query
        or issuer.fragment
    ):
        return None
    base = (config.server.public_url or f"{issuer.scheme}://{issuer.netloc}").rstrip("/")
    base += compiling.own_path(config)
    grants: set[str] = {grant for client in config.clients.values() for grant in client.grants}
    if config.login is not None:
        grants.add(SESSION_GRANT)
    document = {
        "issuer": tokens.issuer,
        "token_endpoint": f"{base}/token",
        "token_endpoint_auth_methods_supported": list(AUTH_METHODS),
        "revocation_endpoint": f"{base}/revoke",
        "revocation_endpoint_auth_methods_supported": list(AUTH_METHODS),
        "introspection_endpoint": f"{base}/introspect",
        "introspection_endpoint_auth_methods_supported": list(AUTH_METHODS[:2]),
        "jwks_uri": f"{base}/jwks.json",
        "grant_types_supported": sorted(grants),
        "response_types_supported": [],
        "dpop_signing_alg_values_supported": list(PROOF_ALGORITHMS),
    }
    return METADATA_PATH + issuer.path.rstrip("/"), json.dumps(document).encode()


def _rules(config: Config) -> TokenRules:
    assert config.tokens is not None  # noqa: S101 - there are endpoints
    accepting = [
        scheme
        for scheme in config.schemes.values()
        if isinstance(scheme, JwtSchemeConfig) and scheme.keys.local
    ]
    # S6: a token dies with its session only where its schemes ask the store.
    ends_with_session = all(scheme.revocation == "store" for scheme in accepting)
    session = config.schemes[config.login.scheme] if config.login is not None else None
    can = isinstance(session, SessionSchemeConfig) and ends_with_session
    return TokenRules(
        access_s=config.tokens.access,
        idle_s=session.idle_timeout if can and isinstance(session, SessionSchemeConfig) else None,
        keep_s=access_marker_life_s(config),
        leeway_s=max([30.0, *(scheme.leeway for scheme in accepting)]),
        otp=_otp_rule(config.tokens),
        hides_claims=config.tokens.encrypt,
        public_url=config.server.public_url,
        wants_nonce=config.tokens.dpop_nonce,
    )
