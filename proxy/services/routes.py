"""From `routes:` of the configuration to the router: compiled routes, and the gate's own pages."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from proxy.adapters.upstreams import Upstream
from proxy.config.login_models import bare_name
from proxy.config.models import Config, RouteConfig, SessionSchemeConfig
from proxy.core.cross_site import CrossSitePolicy
from proxy.core.headers import HeaderRules, compile_pass_headers
from proxy.core.login_state import cookie_names
from proxy.core.own_cookies import SECOND_STEP, STATE, factor_cookie
from proxy.core.responses import ResponsePlan
from proxy.core.routing import Router, RouteSpec
from proxy.model import Header, Identity
from proxy.services import compile as compiling
from proxy.services.asked import Page, Payload, Reserved
from proxy.services.credentials import CredentialPlan
from proxy.services.issuing import metadata
from proxy.services.limits import Limiters
from proxy.services.own import own_endpoints
from proxy.services.proofs import Prover
from proxy.services.route import Assertions, ProviderToken, Route
from proxy.services.schemes.port import Scheme
from proxy.services.schemes.stepped import stepped

_NEXT_PROOF: Final = ("WWW-Authenticate", "DPoP-Nonce")
"""What a page of another origin has to read where its token is bound to a key (RFC 9449 §8, §9)."""


class Minter(Protocol):
    """Says in signed form who came in; see services.tokens.AssertionMinter."""

    def mint(self, identity: Identity, audience: str, now: float, *, as_bearer: bool) -> str:
        """Return a signed assertion. Raises `IdentityRefused` and `KeysUnavailable`."""
        ...


@dataclass(frozen=True, slots=True)
class Parts:
    """What a gate is put together from: real schemes or stand-ins, connected stores or none."""

    schemes: Mapping[str, Scheme]
    upstreams: Mapping[str, Upstream]
    published: Callable[[], bytes]
    """Gives the key set."""
    minter: Minter | None = None
    """Signs the assertions of the routes that want them."""
    provider_token: ProviderToken | None = None
    """Gives the access tokens of the providers that people signed in with."""
    prover: Prover | None = None
    """Checks what tokens are bound to; without it no bound token is good."""
    limiters: Limiters | None = None
    """Count requests; `None`: new ones."""


def build_router(config: Config, rules: HeaderRules, parts: Parts) -> Router[Payload]:
    """Return the router over every route, and the gate's own paths under every host it serves."""
    builder = _RouteBuilder(config, rules, parts)
    specs: list[RouteSpec[Payload]] = compiling.route_specs(config, builder.build)
    keys = Reserved(Page(b"application/jwk-set+json", parts.published, b"public, max-age=300"))
    base = compiling.own_path(config)
    for host in compiling.reserved_hosts(config):
        specs.append(_reserved("latchgate: reserved", host, f"{base}/**", Reserved()))
        specs.append(_reserved("latchgate: keys", host, f"{base}/jwks.json", keys))
    if (described := metadata(config)) is not None:
        path, document = described
        page = Page(b"application/json", lambda: document, b"public, max-age=300")
        specs.extend(
            _reserved("latchgate: metadata", host, path, Reserved(page))
            for host in compiling.own_hosts(config)
        )
    strict = CrossSitePolicy("refuse", public_url=config.server.public_url)
    hosts, everywhere = compiling.own_hosts(config), compiling.reserved_hosts(config)
    for endpoint in own_endpoints(config):
        cross_site = strict if endpoint.leans_on_cookies else None
        payload = Reserved(endpoint=endpoint, cross_site=cross_site)
        name, path = f"latchgate: {endpoint.name}", base + endpoint.path
        specs.extend(
            _reserved(name, host, path, payload, endpoint.methods)
            for host in (everywhere if endpoint.is_everywhere else hosts)
        )
    return Router(specs)


def _reserved(
    name: str,
    host: str | None,
    path: str,
    payload: Reserved,
    methods: frozenset[str] | None = None,
) -> RouteSpec[Payload]:
    return RouteSpec(
        name=name,
        host=host,
        path=path,
        methods=methods,
        policy=("latchgate", path),
        is_folded=True,
        allow_paths=frozenset(),
        strip_prefix=None,
        payload=payload,
    )


def _cookies_of(scheme: Scheme) -> frozenset[bytes]:
    return frozenset(place.name.encode() for place in scheme.places if place.kind == "cookie")


def _login_cookies(config: Config) -> tuple[frozenset[bytes], frozenset[bytes]]:
    """Return what the login's cookie is called on http://localhost, and the cookies of its state.

    Those of factors that were proved beside applications' sessions are of the latter kind.
    """
    login = config.login
    cookies = [factor_cookie(name) for name in compiling.stepped_up_schemes(config)]
    factors = frozenset(name.encode() for one in cookies for name in (one.name, one.bare))
    scheme = None if login is None else config.schemes.get(login.scheme)
    if not isinstance(scheme, SessionSchemeConfig):
        return frozenset(), factors
    names = [name for each in (STATE, SECOND_STEP) for name in (each, bare_name(each))]
    state = frozenset(name.encode() for name in (*names, *cookie_names()))
    return frozenset({bare_name(scheme.cookie).encode()}), state | factors


def _by_proof(challenges: tuple[Header, ...], *, wanted: bool) -> tuple[Header, ...]:
    """Name the kind of token that a route takes: one that is sent with a proof, if it wants one."""
    if not wanted:
        return challenges
    return tuple((name, value.replace(b"Bearer ", b"DPoP ", 1)) for name, value in challenges)


def _own_words(route: RouteConfig) -> frozenset[str]:
    """Return response headers that are the gate's alone: a nonce that it does not know is no good."""
    return frozenset({"DPoP-Nonce"} if route.dpop == "nonce" else ())


class _RouteBuilder:
    """Compiles routes of one configuration."""

    def __init__(self, config: Config, rules: HeaderRules, parts: Parts) -> None:
        schemes = parts.schemes
        self._config = config
        self._schemes = schemes
        self._upstreams = parts.upstreams
        self._rules = rules
        self._minter = parts.minter
        self._provider_token = parts.provider_token
        self._prover = parts.prover
        self._limiters = parts.limiters or Limiters(config)
        self._native_cookies = frozenset[bytes]().union(
            *(_cookies_of(scheme) for scheme in schemes.values() if scheme.is_native)
        )
        self._local_cookies, self._state_cookies = _login_cookies(config)
        self._own_issuers = compiling.own_issuers(config)
        self._identity_names = compiling.identity_names(config)

    def build(self, route: RouteConfig) -> Route:
        """Return `route`, compiled."""
        config = self._config
        upstream = config.upstreams[route.upstream]
        names = {name: config.schemes[name] for name in route.auth}
        schemes = tuple(self._schemes[name] for name in route.auth)
        if route.require.mfa_within is not None:
            schemes = tuple(stepped(scheme) for scheme in schemes)
        proof = compiling.proof_challenges_of(names) if self._prover is not None else ()
        cors = compiling.compile_cors(route, _NEXT_PROOF if proof else ())
        passed = compile_pass_headers(route.pass_headers, self._rules)

        dressing = compiling.compile_dressing(config, route)

        def plan(cookies: frozenset[bytes], *, is_secure: bool = False) -> ResponsePlan:
            return ResponsePlan(
                protected_cookies=cookies,
                identity_names=self._identity_names | _own_words(route),
                is_guarded=bool(schemes),
                cache=route.cache,
                replaces_cors=cors is not None,
                passed=passed,
                dropped=dressing.dropped,
                added=dressing.to(is_secure=is_secure),
            )

        protected = self._protected_cookies(route.upstream)
        local = plan(protected | self._local_cookies) if self._local_cookies else None
        wants_proof = route.dpop != "optional"
        until = compiling.report_until(route)
        return Route(
            name=route.name,
            schemes=schemes,
            both=route.both,
            has_same_subjects=route.same_subjects,
            require=compiling.compile_requirements(route.require),
            freshness=compiling.compile_freshness(route.require),
            upstream=self._upstreams[route.upstream],
            upstream_host=upstream.host,
            strip_prefix=route.strip_prefix.encode() if route.strip_prefix else None,
            credentials=self._credentials(route, schemes),
            identity=compiling.compile_identity(route),
            assertions=self._assertions(route, upstream.audience or route.upstream),
            passed_headers=passed,
            cross_site=compiling.compile_cross_site(route, cors, config.server.public_url),
            cors=cors,
            is_cors_upstream=route.cors == "upstream",
            responses=plan(protected),
            upgrades=frozenset(route.upgrades),
            tunnel_timeout=upstream.timeouts.tunnel,
            keeps_expired=route.streams.on_expiry == "keep",
            challenges=proof if wants_proof else compiling.challenges_of(names),
            scope_challenge=_by_proof(
                compiling.scope_challenge_of(names, route.require.scopes), wanted=wants_proof
            ),
            step_up_challenge=_by_proof(
                compiling.step_up_challenge_of(names, route.require), wanted=wants_proof
            ),
            hash_key=compiling.compile_hash_key(upstream),
            provider_token=self._provider_token if route.identity.provider_token else None,
            provider_scheme="" if config.login is None else config.login.scheme,
            login_url=route.login_url,
            has_portal=config.login is not None and config.login.scheme in route.auth,
            wants_proof=wants_proof,
            wants_nonce=route.dpop == "nonce",
            prover=self._prover,
            proof_challenges=proof,
            report_until=until,
            unopened=self._credentials(route, schemes, is_opened=False) if until else None,
            local_responses=local,
            secure_responses=plan(protected, is_secure=True) if dressing.hsts else None,
            dressing=dressing,
            limiter=self._limiters.of(route.name),
            body_size=route.limits.body_size,
        )

    def _credentials(
        self, route: RouteConfig, schemes: tuple[Scheme, ...], *, is_opened: bool = True
    ) -> CredentialPlan:
        return CredentialPlan.compile(
            schemes,
            native_cookies=self._native_cookies,
            local_cookies=self._local_cookies,
            state_cookies=self._state_cookies,
            own_issuers=self._own_issuers,
            forwards=route.forward_credentials,
            is_authorization_set=route.identity.bearer,
            is_opened=is_opened,
        )

    def _protected_cookies(self, upstream: str) -> frozenset[bytes]:
        """Return the cookies of the gate's own credentials that `upstream` may not set (H7).

        A local token may stand in a cookie too. Nobody but the gate issues one, so that an upstream
        which sets it could only swap whose token a browser sends.
        """
        names = set(self._state_cookies)
        for name, scheme in self._config.schemes.items():
            if not isinstance(scheme, SessionSchemeConfig):
                if self._schemes[name].is_native:
                    names |= _cookies_of(self._schemes[name])
            elif upstream not in scheme.issued_by and (
                scheme.format == "native" or scheme.issued_by
            ):
                names.add(scheme.cookie.encode())
        return frozenset(names)

    def _assertions(self, route: RouteConfig, audience: str) -> Assertions | None:
        """Return what says in signed form who came in, for the headers that the route sets."""
        minter = self._minter
        wants = route.identity
        if minter is None or not (wants.assertion or wants.bearer):
            return None

        def mint(identity: Identity, now: float) -> tuple[Header, ...]:
            headers: list[Header] = []
            if wants.assertion:
                token = minter.mint(identity, audience, now, as_bearer=False)
                headers.append((b"X-Auth-Assertion", token.encode()))
            if wants.bearer:
                token = minter.mint(identity, audience, now, as_bearer=True)
                headers.append((b"Authorization", b"Bearer " + token.encode()))
            return tuple(headers)

        return mint
