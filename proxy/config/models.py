"""The configuration file as a whole, and every section's model under one roof."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from proxy.config.addresses import Address, UpstreamServer
from proxy.config.client_models import ClientConfig
from proxy.config.decision_models import CallerConfig, DecisionConfig, DialectName
from proxy.config.login_models import LoginConfig, LoginSessionsConfig
from proxy.config.mtls_models import MtlsSchemeConfig
from proxy.config.policy_models import PolicyActor, PolicyTest
from proxy.config.provider_models import ProviderConfig, ProviderIdentityMapping
from proxy.config.proxy_protocol_models import ProxyProtocolConfig
from proxy.config.redirect_models import RedirectConfig
from proxy.config.reload_models import ReloadConfig
from proxy.config.response_models import HstsConfig, ResponseHeadersConfig
from proxy.config.route_models import (
    ClaimRule,
    CorsConfig,
    MatchConfig,
    RequireConfig,
    RolesRule,
    RouteConfig,
    RouteIdentityConfig,
)
from proxy.config.scheme_models import (
    IdentityMapping,
    JwtSchemeConfig,
    KeysConfig,
    SchemeConfig,
    SessionSchemeConfig,
    TokenIdentityMapping,
    TokenSource,
)
from proxy.config.secret import Secret
from proxy.config.server_models import (
    AdminConfig,
    BrandingConfig,
    CertificateConfig,
    HealthConfig,
    LimitsConfig,
    LogConfig,
    ServerConfig,
    TlsServerConfig,
)
from proxy.config.store_models import (
    SecretsConfig,
    ServeCachedConfig,
    StoreConfig,
    TokenKeysConfig,
    TokensConfig,
    VerdictsConfig,
)
from proxy.config.store_url import StoreUrl
from proxy.config.strict import Section
from proxy.config.tracing_models import TracingConfig
from proxy.config.upstream_models import (
    CookieName,
    HashBalance,
    UpstreamConfig,
    UpstreamTimeouts,
    UpstreamTlsConfig,
)
from proxy.config.values import Name, NoneWord

__all__ = [
    "Address",
    "AdminConfig",
    "BrandingConfig",
    "CallerConfig",
    "CertificateConfig",
    "ClaimRule",
    "ClientConfig",
    "Config",
    "CookieName",
    "CorsConfig",
    "DecisionConfig",
    "DialectName",
    "HashBalance",
    "HealthConfig",
    "HstsConfig",
    "IdentityMapping",
    "JwtSchemeConfig",
    "KeysConfig",
    "LimitsConfig",
    "LogConfig",
    "LoginConfig",
    "LoginSessionsConfig",
    "MatchConfig",
    "MtlsSchemeConfig",
    "PolicyActor",
    "PolicyTest",
    "ProviderConfig",
    "ProviderIdentityMapping",
    "ProxyProtocolConfig",
    "RedirectConfig",
    "RequireConfig",
    "ResponseHeadersConfig",
    "RolesRule",
    "RouteConfig",
    "RouteIdentityConfig",
    "SchemeConfig",
    "Secret",
    "SecretsConfig",
    "ServeCachedConfig",
    "ServerConfig",
    "SessionSchemeConfig",
    "StoreConfig",
    "StoreUrl",
    "TlsServerConfig",
    "TokenIdentityMapping",
    "TokenKeysConfig",
    "TokenSource",
    "TokensConfig",
    "TracingConfig",
    "UpstreamConfig",
    "UpstreamServer",
    "UpstreamTimeouts",
    "UpstreamTlsConfig",
    "VerdictsConfig",
]


class Config(Section):
    """The whole file."""

    server: ServerConfig = ServerConfig()
    """Listeners and processes."""
    health: Annotated[HealthConfig | None, NoneWord()] = HealthConfig()
    """The listener for probes and metrics; none switches it off."""
    admin: AdminConfig | None = None
    """The listener of the admin API; absent: there is none."""
    decision: DecisionConfig | None = None
    """The listener that other proxies ask; absent: there is none."""
    redirect: RedirectConfig | None = None
    """The listener that sends clients from http to https; absent: there is none."""
    store: StoreConfig = StoreConfig()
    """Where sessions and revocations are kept."""
    upstreams: dict[Name, UpstreamConfig] = Field(default={})
    """The applications, by name."""
    schemes: dict[Name, SchemeConfig] = Field(default={})
    """The ways to authenticate, by name."""
    tokens: TokensConfig | None = None
    """The gate's own access tokens; absent: it issues none."""
    secrets: SecretsConfig | None = None
    """Encryption keys; made beside the embedded store where absent."""
    login: LoginConfig | None = None
    """The gate's own endpoints, where people sign in; absent: there are none but the key set."""
    clients: dict[Name, ClientConfig] = Field(default={})
    """The programs that may ask for tokens, by their client_id."""
    branding: BrandingConfig = BrandingConfig()
    """What people see of the gate itself."""
    routes: list[RouteConfig] = Field(default=[])
    """What is served, and to whom. What no route matches is 404."""
    tests: list[PolicyTest] = Field(default=[])
    """What must become of requests; checked by `check`, and before the gate starts."""
    log: LogConfig = LogConfig()
    """What is logged, and how."""
    tracing: TracingConfig | None = None
    """Spans of requests, for a collector; absent: none are made."""
    reload: ReloadConfig = ReloadConfig()
    """How a running gate takes another configuration."""
    verdicts: VerdictsConfig = VerdictsConfig()
    """How many verdicts each worker keeps."""
