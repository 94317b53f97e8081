"""A compiled route: everything that a request on it needs, looked up by nothing.

Made once by proxy.services.compile; a request only reads it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from proxy.core.own_cookies import is_plain_local
from proxy.model import Header, Identity, Refusal, RequestView

if TYPE_CHECKING:
    from proxy.adapters.upstreams import Upstream
    from proxy.core.cors import CorsPolicy
    from proxy.core.cross_site import CrossSitePolicy
    from proxy.core.dressing import Dressing
    from proxy.core.freshness import Freshness
    from proxy.core.identity import IdentityPlan
    from proxy.core.responses import ResponsePlan
    from proxy.model import ClientInfo
    from proxy.services.credentials import CredentialPlan
    from proxy.services.limits import Limiter
    from proxy.services.proofs import Prover
    from proxy.services.schemes import Scheme

Both = Literal["first", "same_subject", "refuse"]
Require = Callable[[Identity], Refusal | None]
HashKey = Callable[[RequestView, "ClientInfo", Identity | None], bytes | None]
Assertions = Callable[[Identity, float], tuple[Header, ...]]
ProviderToken = Callable[[str], Awaitable[str | None]]
"""Takes a session's digest; returns an access token of its provider that is good now, or `None`.
Raises `DependencyUnavailable`."""


@dataclass(frozen=True, slots=True, eq=False)
class Route:
    """One entry of `routes:`, compiled."""

    name: str
    schemes: tuple[Scheme, ...]
    """In the order of `auth:`; empty on `auth: none`."""
    both: Both
    has_same_subjects: bool
    require: Require | None
    freshness: Freshness | None
    """`mfa_within` and `login_within`: what of `require` depends on the time."""
    upstream: Upstream
    upstream_host: str
    """`preserve`, `upstream` or the name to send as Host."""
    strip_prefix: bytes | None
    credentials: CredentialPlan
    identity: IdentityPlan
    assertions: Assertions | None
    passed_headers: frozenset[bytes]
    cross_site: CrossSitePolicy
    cors: CorsPolicy | None
    is_cors_upstream: bool
    """True with `cors: upstream`: preflights go on, without credentials and identity."""
    responses: ResponsePlan
    upgrades: frozenset[str]
    tunnel_timeout: float | None
    """Seconds that an upgraded connection may stay silent; `None`: for ever."""
    keeps_expired: bool
    """True with `streams: {on_expiry: keep}`: an open connection outlives its credential's time."""
    challenges: tuple[Header, ...]
    """WWW-Authenticate of a request without a credential (RFC 9110 §11.6.1)."""
    scope_challenge: tuple[Header, ...]
    """WWW-Authenticate of a token without a needed scope (RFC 6750 §3)."""
    step_up_challenge: tuple[Header, ...]
    """WWW-Authenticate of a token whose owner has to prove again who they are (RFC 9470 §3)."""
    hash_key: HashKey | None = field(default=None)
    provider_token: ProviderToken | None = None
    """With `identity: {provider_token: true}`: what is told of sessions of the scheme `login.scheme`."""
    provider_scheme: str = ""
    login_url: str | None = None
    """An application's own page for signing in, as the configuration has it."""
    has_portal: bool = False
    """True where the gate's own page makes a session that opens the route."""
    wants_proof: bool = False
    """True unless `dpop: optional`: only tokens that are bound to a key open the route."""
    wants_nonce: bool = False
    """True with `dpop: nonce`: their proofs carry a nonce of the gate's (RFC 9449 §9)."""
    prover: Prover | None = None
    """What checks proofs; `None` where no bound token is accepted."""
    proof_challenges: tuple[Header, ...] = ()
    """WWW-Authenticate of a bound token, or of one that should be (RFC 9449 §7.1)."""
    report_until: float = 0.0
    """Epoch seconds until which what the route would refuse is let through and reported (S14)."""
    unopened: CredentialPlan | None = None
    """What is taken out of a request that is let through though nothing opened it; `None`: the usual."""
    limiter: Limiter | None = None
    """How often somebody may ask, and how many at once; such a route has no express lane."""
    body_size: int | None = None
    """Bytes of a request's body, in place of the server's limit; `None`: as that says."""
    local_responses: ResponsePlan | None = None
    """What becomes of answers on http://localhost, where the login's cookie has another name (S5)."""

    secure_responses: ResponsePlan | None = None
    """What becomes of answers to clients that use https, where `server.hsts` says so."""
    dressing: Dressing | None = None
    """What the operator sets on answers of the gate's own; `None`: nothing."""

    def responses_for(self, client: ClientInfo) -> ResponsePlan:
        """Return what becomes of the upstream's answer to `client`."""
        if self.secure_responses is not None and client.scheme == "https":
            return self.secure_responses
        if self.local_responses is not None and is_plain_local(client):
            return self.local_responses
        return self.responses

    def reports(self, now: float) -> bool:
        """Tell whether the route only reports at `now`; afterwards it enforces by itself (S14)."""
        return now < self.report_until

    @property
    def is_guarded(self) -> bool:
        """False on `auth: none` only."""
        return bool(self.schemes)

    @property
    def is_demanding(self) -> bool:
        """True where a caller must be more than known."""
        return self.require is not None or self.freshness is not None

    @property
    def may_be_stale(self) -> bool:
        """False where no outage is bridged, whatever the configuration says (security.md, R8)."""
        if self.wants_proof:
            return False
        return self.freshness is None or self.freshness.mfa_within is None

    def unmet(self, identity: Identity, now: float) -> Refusal | None:
        """Return the first demand of `require:` that `identity` does not meet at `now`.

        How long ago somebody proved who they are comes last: nobody is asked for a code in vain.
        """
        refusal = None if self.require is None else self.require(identity)
        if refusal is None and self.freshness is not None:
            refusal = self.freshness.check(identity, now)
        return refusal
