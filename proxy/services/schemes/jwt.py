"""The `jwt` scheme: a token, verified locally, then asked for in the deny-list.

The signature comes first: nobody makes the gate ask the store with a token of his own making
(security.md, R3).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from proxy.adapters.keys import KeySource
from proxy.core.cookies import Duplicate, find_cookie
from proxy.core.credentials import basic_password, bearer_token, query_parameter
from proxy.core.jose import KeyUnknown, TokenVerifier, VerifiedToken
from proxy.core.mapping import IdentityReader
from proxy.errors import TokenExpired, TokenInvalid
from proxy.model import Absent, Authenticated, Identity, Outcome, Rejected
from proxy.services.deny_list import DenyList
from proxy.services.schemes.port import Ambiguous, Carried, Found, Place


@dataclass(frozen=True, slots=True)
class JwtScheme:
    """One jwt entry of `schemes:`."""

    name: str
    places: tuple[Place, ...]
    is_native: bool
    issuer: str | None
    verifier: TokenVerifier
    keys: KeySource
    reader: IdentityReader
    is_email_trusted: bool
    """False: the token's e-mail counts with `email_verified: true` only (security.md, K6)."""
    deny_list: DenyList | None
    """`None` with `revocation: none`: no store is asked."""

    def find(self, carried: Carried) -> Found | None:
        """Return the token from the first of the scheme's places that carries one."""
        for place in self.places:
            value = _extract(place, carried)
            if value is not None:
                return Found(place, value)
        return None

    async def judge(self, found: Found, now: float) -> Outcome:
        """Verify the token, then ask whether it was revoked."""
        try:
            token = await self.verify(found.value, now)
        except TokenExpired as expired:
            if found.place.kind == "cookie":
                return Absent(expired.code, expired.detail)
            return Rejected(expired.code, expired.detail)
        except TokenInvalid as invalid:
            return Rejected(invalid.code, invalid.detail)
        identity = self._identity(token)
        if self.deny_list is not None:
            marker = await self.deny_list.find(token, identity)
            if marker is not None:
                return Rejected("token_revoked", f"revoked by {marker}")
        return Authenticated(identity, found.place.is_ambient)

    async def verify(self, token: bytes, now: float) -> VerifiedToken:
        """Verify with the keys at hand; one refetch for a key that is not among them (K3).

        Raises `TokenInvalid` and `KeysUnavailable`. The deny-list is not asked.
        """
        try:
            return self.verifier.verify(token, self.keys.current(), now)
        except KeyUnknown as unknown:
            keys = await self.keys.refreshed(unknown.kid)
            if keys is None:
                raise
            return self.verifier.verify(token, keys, now)

    def _identity(self, token: VerifiedToken) -> Identity:
        claims = token.claims
        return Identity(
            origin=self.verifier.issuer,
            subject=self.reader.subject(claims) or "",
            scheme=self.name,
            email=self._email(claims),
            name=self.reader.name(claims),
            roles=self.reader.roles(claims),
            scopes=self.reader.scopes(claims),
            claims=claims,
            expires_at=token.expires_at,
        )

    def _email(self, claims: Mapping[str, Any]) -> str | None:
        if self.is_email_trusted or claims.get("email_verified") is True:
            return self.reader.email(claims)
        return None


def _extract(place: Place, carried: Carried) -> bytes | None:
    """Return the token that stands at `place`. Raises `Ambiguous` where two differ."""
    view = carried.view
    match place.kind:
        case "bearer":
            return bearer_token(view.first(b"authorization"))
        case "basic":
            return basic_password(view.first(b"authorization"))
        case "cookie":
            value = find_cookie(carried.cookies, place.name.encode())
            if isinstance(value, Duplicate):
                raise Ambiguous(place, value.names)
            return value
        case "header":
            return _only(view.values(place.name.encode()), place)
        case "query":
            return query_parameter(carried.query, place.name)


def _only(values: Sequence[bytes], place: Place) -> bytes | None:
    if not values:
        return None
    if len(set(values)) > 1:
        raise Ambiguous(place)
    return values[0].strip()
