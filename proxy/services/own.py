"""The gate's own endpoints: where they are, and what they are given to work with.

The table that the router is built from. What they do is proxy.edge.portal's; what never belongs
here: HTML, forms, and anything that an endpoint decides.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from proxy.config.models import BrandingConfig, Config, SessionSchemeConfig
from proxy.core.own_cookies import OwnCookie
from proxy.services.compile import stepped_up_schemes
from proxy.services.keyrings import can_keep_secrets

if TYPE_CHECKING:
    from proxy.core.destination import Destinations
    from proxy.services.administration import Administration
    from proxy.services.audit import Audit
    from proxy.services.login import LoginService
    from proxy.services.oidc_login import OidcLogin
    from proxy.services.second_step import SecondStep
    from proxy.services.step_up import StepUp
    from proxy.services.visitors import Visitors


@dataclass(frozen=True, slots=True)
class OwnEndpoint:
    """One endpoint of the gate's own."""

    name: str
    """What the portal knows it by."""
    path: str
    """Below `login.path`, such as `/login` or `/callback/{provider}`."""
    methods: frozenset[str]
    """GET includes HEAD."""
    is_destination: bool = False
    """True for a page that people may be sent on to after signing in (security.md, S4)."""
    leans_on_cookies: bool = True
    """True where a browser's cookie says who it is: then no other site may call it with an unsafe
    method, and there are no exceptions (security.md, S3). False where the caller says so in words
    of its own, as OAuth clients do."""
    is_for_good: bool = False
    """True where something is asked to be ended: it ends, whether or not anybody waits to hear so."""
    is_everywhere: bool = False
    """True where it answers under the host of every route, as an application's cookie is for that host."""


@dataclass(frozen=True, slots=True)
class PortalSettings:
    """What the endpoints have from the configuration alone."""

    path: str
    """`login.path`."""
    public_url: str | None
    cookie: OwnCookie
    """That of the session which people sign in to."""
    branding: BrandingConfig
    remember_s: float | None
    """How long a session is remembered; `None`: none is."""

    @classmethod
    def from_config(cls, config: Config) -> PortalSettings:
        """Return the settings of a configuration that has `login:`."""
        login = config.login
        assert login is not None  # noqa: S101 - the caller has looked
        scheme = config.schemes[login.scheme]
        assert isinstance(scheme, SessionSchemeConfig)  # noqa: S101 - the configuration was checked
        return cls(
            path=login.path,
            public_url=config.server.public_url,
            cookie=OwnCookie(scheme.cookie, login.cookie_domain),
            branding=config.branding,
            remember_s=login.sessions.remember,
        )


@dataclass(frozen=True, slots=True)
class OwnServices:
    """What the endpoints work with; a field for each part that the configuration switches on."""

    visitors: Visitors
    """Who asks."""
    login: LoginService
    """Signs people in and out."""
    destinations: Destinations
    """Where a browser may be sent on to (S4)."""
    step_up: StepUp
    """What asks for a factor again."""
    second_step: SecondStep | None
    """The sign-ins that wait for a code; `None` where none ever does."""
    settings: PortalSettings
    """What the pages need to know."""
    administration: Administration
    """Lists and ends sessions, and notes it."""
    administrators: frozenset[str]
    """The roles that may do so with everybody's."""
    audit: Audit
    """Where it is noted who signed in, failed and signed out."""
    oidc: OidcLogin | None = None
    """Logins with OpenID Connect providers; `None` where there are none."""

    async def close(self, other: OwnServices | None = None) -> None:
        """End the process that checks passwords, unless `other` goes on with the same users."""
        users = self.login.users
        if users is not None and (other is None or other.login.users is not users):
            await users.close()


def own_endpoints(config: Config) -> Iterator[OwnEndpoint]:
    """Yield the endpoints that `config` switches on; those for people come with `login:`."""
    if config.login is not None:
        for part in _PARTS:
            yield from part(config)
    if stepped_up_schemes(config):
        methods = frozenset({"GET", "POST"})
        yield OwnEndpoint("foreign-step-up", "/step-up/{scheme}", methods, is_everywhere=True)
    yield from _oauth(config)


def _account(_config: Config) -> Iterator[OwnEndpoint]:
    yield OwnEndpoint("me", "/me", frozenset({"GET"}))


def _oauth(config: Config) -> Iterator[OwnEndpoint]:
    """Yield the endpoints of OAuth clients. No page of another site may call them either."""
    if config.tokens is None:
        return
    post = frozenset({"POST"})
    if config.clients or config.login is not None:
        yield OwnEndpoint("token", "/token", post)
    if config.clients:
        yield OwnEndpoint("revoke", "/revoke", post, is_for_good=True)
        yield OwnEndpoint("introspect", "/introspect", post)


def _login(_config: Config) -> Iterator[OwnEndpoint]:
    yield OwnEndpoint("login", "/login", frozenset({"GET", "POST"}))
    yield OwnEndpoint("logout", "/logout", frozenset({"POST"}), is_for_good=True)


def _factors(config: Config) -> Iterator[OwnEndpoint]:
    methods = frozenset({"GET", "POST"})
    yield OwnEndpoint("step-up", "/step-up", methods, is_destination=True)
    if can_keep_secrets(config):
        yield OwnEndpoint("login-code", "/login/code", methods)
        yield OwnEndpoint("otp", "/otp", methods, is_destination=True)


def _providers(config: Config) -> Iterator[OwnEndpoint]:
    if config.login is None or not config.login.providers:
        return
    yield OwnEndpoint("start", "/start/{provider}", frozenset({"GET"}))
    yield OwnEndpoint("callback", "/callback/{provider}", frozenset({"GET"}))
    # A provider's server calls it, with a token that says who it is.
    yield OwnEndpoint(
        "backchannel",
        "/backchannel/{provider}",
        frozenset({"POST"}),
        leans_on_cookies=False,
        is_for_good=True,
    )


def _sessions(_config: Config) -> Iterator[OwnEndpoint]:
    yield OwnEndpoint("sessions", "/sessions", frozenset({"GET"}), is_destination=True)
    yield OwnEndpoint("sessions_end", "/sessions/end", frozenset({"POST"}), is_for_good=True)


def _administration(config: Config) -> Iterator[OwnEndpoint]:
    if config.login is not None and config.login.administrators is not None:
        yield OwnEndpoint("admin", "/admin", frozenset({"GET"}), is_destination=True)
        yield OwnEndpoint("admin_end", "/admin/end", frozenset({"POST"}), is_for_good=True)


_PARTS: Final[tuple[Callable[[Config], Iterator[OwnEndpoint]], ...]] = (
    _account,
    _login,
    _factors,
    _providers,
    _sessions,
    _administration,
)
