"""What the gate itself says in signed form: access tokens for clients, assertions for upstreams.

RFC 9068 for the first; security.md, K4 and R3 for both. What never belongs here: keys in the
clear, and deciding who may have a token.
"""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol
from urllib.parse import quote

from proxy.adapters.store.port import Store
from proxy.core.jose import ACCESS_TYP, ASSERTION_TYP, SESSION_CLAIM, assertion_issuer
from proxy.core.refresh import Holder
from proxy.core.revocation import RevocationKeys, is_revoked, revoked_since
from proxy.errors import ProxyError, StoreUnavailable
from proxy.model import Identity

RESERVED_CLAIMS: Final = frozenset(
    {
        *("iss", "sub", "aud", "exp", "nbf", "iat", "jti", "sid", "cnf", "client_id", "typ"),
        *("scope", "roles", "email", "email_verified", "name", "auth_time", "amr", "acr"),
        *("azp", "act", "may_act", "nonce", "events", SESSION_CLAIM),
    }
)
"""What only the issuer says; a caller's own claims cannot."""

CLIENT_ID: Final = "latchgate"
"""RFC 9068 §2.2 asks who the client was; a token minted on the command line has none but us."""

MAX_ASSERTION_LIFE_S: Final = 60
MAX_CACHED: Final = 4096

_JTI_BYTES: Final = 16
_MAX_WAIT_S: Final = 5
_MARGIN_S: Final = 0.02
"""Sleep is measured by another clock than the one that dates tokens."""
_SCOPE: Final = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+")
"""RFC 6749 §3.3: printable ASCII without space, quote and backslash."""
_SCOPE_SAFE: Final = "!#$&'()*+,/:;<=>?@[]^`{|}"
"""The same without `%`, beside what `quote` never touches."""


class Signer(Protocol):
    """What signs; see services.signing."""

    def sign(self, claims: dict[str, Any], typ: str, now: float) -> str:
        """Return a signed token; raises `KeysUnavailable`."""
        ...


class RevokedMeanwhile(ProxyError):
    """What a token was to be issued on has been taken back (security.md, R6)."""

    code = "token_revoked"


@dataclass(frozen=True, slots=True)
class Grounds:
    """On what a token is issued, beside who it is about."""

    client: str = CLIENT_ID
    family: str | None = None
    """The refresh family: its `sid`."""
    session: str | None = None
    """Digest of the session that it dies with."""
    since: float | None = None
    """Epoch seconds: a revocation from then on ends what the token would be issued on (R6)."""
    jkt: str | None = None
    """Thumbprint of the key that the token is bound to (RFC 9449 §6)."""


@dataclass(frozen=True, slots=True)
class MintedToken:
    """A new access token, and how it is named and ended."""

    token: str = field(repr=False)
    jti: str
    expires_at: int
    """Epoch seconds."""
    issued_at: int = 0
    """Epoch seconds."""
    scope: str = ""


class TokenIssuer:
    """Mints access tokens of the gate's own issuer (`tokens:`).

    Constructor: `lifetime_s` is the usual life of a token, `max_lifetime_s` the longest that may
    be asked for (what the local scheme accepts).
    """

    def __init__(
        self,
        *,
        issuer: str,
        audience: str,
        lifetime_s: float,
        max_lifetime_s: float,
        signer: Signer,
        store: Store,
        revoked: RevocationKeys,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._issuer = issuer
        self._audience = audience
        self._lifetime_s = lifetime_s
        self._max_lifetime_s = max_lifetime_s
        self._signer = signer
        self._store = store
        self._revoked = revoked
        self._sleep = sleep

    @property
    def issuer(self) -> str:
        """The `iss` of the tokens."""
        return self._issuer

    async def is_revoked_since(self, subject: str, family: str, since: float) -> bool:
        """Tell whether a refresh family was revoked since it began, in epoch seconds."""
        claims = {"sub": subject, "sid": family}
        values = await self._store.fetch(self._revoked.for_token(self._issuer, claims, family))
        return revoked_since(values, since) is not None

    async def mint(
        self,
        subject: str,
        *,
        now: float,
        roles: Sequence[str] = (),
        scopes: Sequence[str] = (),
        claims: Mapping[str, Any] | None = None,
        email: str | None = None,
        name: str | None = None,
        lifetime: float | None = None,
    ) -> MintedToken:
        """Return a token as `issue` does, for a command's caller."""
        holder = Holder(
            subject,
            email=email,
            name=name,
            roles=tuple(roles),
            scopes=tuple(scopes),
            claims=claims or {},
        )
        return await self.issue(holder, Grounds(), now=now, lifetime=lifetime)

    async def issue(
        self, holder: Holder, grounds: Grounds, *, now: float, lifetime: float | None = None
    ) -> MintedToken:
        """Return a token that is good from the moment that it is returned.

        Waits a revocation's second out (R3): a token that says to be as old as the last "log out
        everywhere" would be refused with it. Raises `ValueError` for what no token can say,
        `RevokedMeanwhile`, `StoreUnavailable` and `KeysUnavailable`.
        """
        lifetime = self._lifetime_s if lifetime is None else lifetime
        if not 1 <= lifetime <= self._max_lifetime_s:
            raise ValueError(f"a token lives between 1 and {self._max_lifetime_s:g} seconds")
        if not holder.subject:
            raise ValueError("a token needs a subject")
        jti = secrets.token_urlsafe(_JTI_BYTES)
        said = _own_claims(holder.claims) | _said_of(holder) | _said_on(grounds)
        said |= {"iss": self._issuer, "aud": self._audience, "jti": jti}
        issued_at = await self._issuing_time(said, jti, now, grounds.since)
        expires_at = issued_at + int(lifetime)
        said |= {"iat": issued_at, "exp": expires_at}
        token = self._signer.sign(said, ACCESS_TYP, max(now, issued_at))
        return MintedToken(token, jti, expires_at, issued_at, said["scope"])

    async def _issuing_time(
        self, claims: Mapping[str, Any], jti: str, now: float, since: float | None
    ) -> int:
        """Return the `iat` of a new token, after having waited until that second has come."""
        keys = self._revoked.for_token(self._issuer, claims, jti)
        values = await self._store.fetch(keys)
        if since is not None and (marker := revoked_since(values, since)) is not None:
            raise RevokedMeanwhile(f"revoked by {marker}")
        earliest = int(now)
        for issued_at in range(earliest, earliest + _MAX_WAIT_S):
            if is_revoked(values, issued_at, leeway=0) is None:
                if issued_at > now:
                    await self._sleep(issued_at - now + _MARGIN_S)
                return issued_at
        raise StoreUnavailable("a revocation that cannot be read, or that lies in the future")


@dataclass(frozen=True, slots=True)
class _Cached:
    identity: Identity
    token: str = field(repr=False)
    fresh_until: float


class AssertionMinter:
    """Tells upstreams who came in, in words that only this gate can sign (K4).

    Constructor: `base` is `tokens.issuer`, else `server.public_url`.
    """

    def __init__(self, *, base: str, signer: Signer) -> None:
        self._issuer = assertion_issuer(base)
        self._signer = signer
        self._cache: dict[tuple[int, str, bool], _Cached] = {}

    def mint(self, identity: Identity, audience: str, now: float, *, as_bearer: bool) -> str:
        """Return an assertion about `identity` for the upstream whose audience is `audience`.

        It lives at most 60 s, and not longer than the credential. The same identity *object* (one
        verdict) gets the same assertion for half of its life. Raises `KeysUnavailable`.
        """
        place = (id(identity), audience, as_bearer)
        cached = self._cache.get(place)
        if cached is not None and cached.identity is identity and now < cached.fresh_until:
            return cached.token
        issued_at = int(now)
        life = MAX_ASSERTION_LIFE_S
        if identity.expires_at is not None:
            life = max(1, min(life, int(identity.expires_at) - issued_at))
        claims = _about(identity)
        claims |= {"iss": self._issuer, "aud": audience, "iat": issued_at, "exp": issued_at + life}
        claims["jti"] = secrets.token_urlsafe(_JTI_BYTES)
        token = self._signer.sign(claims, "JWT" if as_bearer else ASSERTION_TYP, now)
        self._keep(place, _Cached(identity, token, issued_at + life / 2))
        return token

    def _keep(self, place: tuple[int, str, bool], made: _Cached) -> None:
        self._cache.pop(place, None)
        while len(self._cache) >= MAX_CACHED:
            # Insertion order is the order of their ends, give or take the shorter lives.
            del self._cache[next(iter(self._cache))]
        self._cache[place] = made


def _about(identity: Identity) -> dict[str, Any]:
    """Return the claims that say who it is: (origin, sub) is the person (K6)."""
    if not identity.subject:
        raise ValueError("an identity without a subject is never asserted")
    claims: dict[str, Any] = {
        "sub": identity.subject,
        "origin": identity.origin,
        "scheme": identity.scheme,
        "roles": list(identity.roles),
        "scope": _foreign_scope(identity.scopes),
    }
    if identity.email is not None:
        claims["email"] = identity.email
    if identity.name is not None:
        claims["name"] = identity.name
    if identity.auth_time is not None:
        claims["auth_time"] = int(identity.auth_time)
    if identity.amr:
        claims["amr"] = list(identity.amr)
    return claims


def _said_of(holder: Holder) -> dict[str, Any]:
    said: dict[str, Any] = {"sub": holder.subject, "roles": list(holder.roles)}
    said["scope"] = _scope(holder.scopes)
    if holder.email:
        said |= {"email": holder.email, "email_verified": True}
    if holder.name:
        said["name"] = holder.name
    if holder.auth_time is not None:
        said["auth_time"] = holder.auth_time
    if holder.amr:
        said["amr"] = list(holder.amr)
    return said


def _said_on(grounds: Grounds) -> dict[str, Any]:
    said: dict[str, Any] = {"client_id": grounds.client}
    if grounds.family is not None:
        said["sid"] = grounds.family
    if grounds.session is not None:
        said[SESSION_CLAIM] = grounds.session
    if grounds.jkt is not None:
        said["cnf"] = {"jkt": grounds.jkt}
    return said


def _own_claims(claims: Mapping[str, Any]) -> dict[str, Any]:
    if taken := RESERVED_CLAIMS & claims.keys():
        raise ValueError(f"claims that only the issuer sets: {', '.join(sorted(taken))}")
    return dict(claims)


def _scope(scopes: Sequence[str]) -> str:
    """Return the `scope` of a new token; what cannot stand in one is a `ValueError`."""
    if not all(map(_SCOPE.fullmatch, scopes)):
        raise ValueError("a scope is printable ASCII without spaces, quotes and backslashes")
    return " ".join(scopes)


def sayable(scopes: Sequence[str]) -> tuple[str, ...]:
    """Return the scopes that a token can name (RFC 6749 §3.3); others are nobody's to ask for."""
    return tuple(scope for scope in scopes if _SCOPE.fullmatch(scope))


def _foreign_scope(scopes: Sequence[str]) -> str:
    """Return scopes that others named, so that none can be read as two: like H4's lists."""
    return " ".join(quote(scope, safe=_SCOPE_SAFE) for scope in scopes if scope)
