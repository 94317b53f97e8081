"""The `jwt` scheme: a token, verified locally, then asked for in the deny-list.

The signature comes first: nobody makes the gate ask the store with a token of his own making
(security.md, R3). What was found is kept; a hit checks the clock and the key, not the signature.
"""

from __future__ import annotations

from asyncio import Future, get_running_loop
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from proxy.adapters.jwe import TokenCipher, is_encrypted
from proxy.adapters.keys import KeySource
from proxy.core.coherence import Key, Verdict
from proxy.core.compact import decode_segment
from proxy.core.cookies import Duplicate, find_cookie
from proxy.core.credentials import basic_password, bearer_token, dpop_token, query_parameter
from proxy.core.freshness import amr_of, auth_time_of
from proxy.core.jose import KeyUnknown, SignatureInvalid, TokenVerifier, VerifiedToken
from proxy.core.mapping import IdentityReader
from proxy.core.strict_json import memory_of
from proxy.errors import DependencyUnavailable, KeysUnavailable, TokenExpired, TokenInvalid
from proxy.model import Absent, Authenticated, Identity, Outcome, Rejected
from proxy.services.coherence import Kept, Ledger
from proxy.services.deny_list import DenyList
from proxy.services.schemes.port import Ambiguous, Carried, Found, Fresh, Holds, Place

_COPIES: Final = 4
"""Bytes that a verified token takes, for each byte of the token (measured)."""


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
    ledger: Ledger
    """The scheme's verdicts."""
    cipher: TokenCipher | None = None
    """Of the gate's own tokens, which may be encrypted; no other scheme has one."""

    def find(self, carried: Carried) -> Found | None:
        """Return the token from the first of the scheme's places that carries one."""
        for place in self.places:
            value = _extract(place, carried)
            if value is not None:
                return carried.found(place, value)
        return None

    # hot: decided without a task by whoever can
    def known(self, found: Found, now: float) -> Outcome | None:
        """Return what a cached verdict says: its signature is not checked again."""
        return self._known(found, self.ledger.key(found.value), now)

    async def judge(self, found: Found, now: float) -> Outcome:
        """Verify the token, then ask whether it was revoked."""
        key = self.ledger.key(found.value)
        outcome = self._known(found, key, now)
        if outcome is not None:
            return outcome
        flight = found.looked_up(key) or self.ledger.flight(key)
        if flight is None:
            keys = self.keys.current()
            if (rejected := self.ledger.remembered_forgery(key, keys)) is not None:
                return rejected
            try:
                token = await self.verify(found.value, now)
            except SignatureInvalid as forged:
                rejected = Rejected(forged.code, forged.detail)
                return await self.ledger.forged(found, key, rejected, keys)
            except TokenExpired as expired:
                return _expired(expired, found)
            except TokenInvalid as invalid:
                return Rejected(invalid.code, invalid.detail)
            verdict = self._verdict(token)
            size = _size(found.value)
            if self.deny_list is None:
                self.ledger.keep(key, Kept(verdict, size=size))
                return _outcome(verdict, found)
            self.deny_list.check()
            flight = self.deny_list.look_up(key, token, verdict, size, now)
        finding = await self.ledger.wait_for(flight, found, key)
        assert isinstance(finding, Verdict)  # noqa: S101 - a token that was verified is somebody's
        if now >= finding.not_after:  # who joins a look-up may come later than who began it
            return _expired(TokenExpired("exp has passed"), found)
        return _outcome(finding, found)

    def _known(self, found: Found, key: Key, now: float) -> Outcome | None:
        verdict = self.ledger.find(found, key)
        if not isinstance(verdict, Verdict):
            return None
        if not verdict.not_before <= now < verdict.not_after:
            if now >= verdict.not_after:
                self.ledger.drop_expired(key)
            return None
        if self.deny_list is not None and self.deny_list.unfit() is not None:
            return None
        try:
            keys = self.keys.current()
        except KeysUnavailable:
            return None
        if keys is not verdict.key_set:  # K3: a verdict dies when its key leaves the set
            if verdict.verified_by is None or not keys.holds(verdict.verified_by):
                self.ledger.drop_unverified(key)
                return None
            verdict.key_set = keys
        self.ledger.hit(found, key, verdict)
        return _outcome(verdict, found)

    def _verdict(self, token: VerifiedToken) -> Verdict:
        return Verdict(
            self._identity(token),
            not_before=token.begins_at,
            not_after=token.expires_at,
            verified_by=token.key,
        )

    def begin(self, found: Found, now: float) -> Future[Any] | None:
        """Verify the token and begin to ask whether it was revoked; what is not good is for `judge`."""
        return self._begin(found, self.ledger.key(found.value), now)

    def recall(self, found: Found) -> Identity | None:
        """Return whom a cached verdict names."""
        vouched = self.ledger.vouched(self.key(found))
        return None if vouched is None else vouched.verdict.identity

    def meet(self, found: Found, now: float) -> Fresh | None:
        """Begin the same for a token that nobody has sent."""
        key = self.ledger.key(found.value)
        flight = None if self.ledger.has(key) else self._begin(found, key, now)
        return None if flight is None else (key, flight)

    def _begin(self, found: Found, key: Key, now: float) -> Future[Any] | None:
        flight = self.ledger.flight(key)
        if flight is not None:
            return flight
        try:
            keys = self.keys.current()
            if self.ledger.known_forgery(key, keys) is not None:
                return None
            token = self.verifier.verify(self.signed(found.value), keys, now)
            verdict, size = self._verdict(token), _size(found.value)
            verdict.key_set = keys
            if self.deny_list is not None:
                self.deny_list.check()
                return self.deny_list.look_up(key, token, verdict, size, now)
        except (TokenInvalid, DependencyUnavailable):
            return None
        self.ledger.keep(key, Kept(verdict, size=size))
        kept: Future[Verdict] = get_running_loop().create_future()
        kept.set_result(verdict)
        return kept

    def stand(self, found: Found) -> Holds | None:
        """Return what compares the verdict with the clock, the keys and the source."""
        vouched = self.ledger.vouched(self.ledger.key(found.value))
        if vouched is None:
            return None
        verdict, current = vouched.verdict, self.keys.current
        begins_at, ends_at = verdict.not_before, verdict.not_after
        unfit = None if self.deny_list is None else self.deny_list.unfit

        def holds(now: float, mono: float, _address: str | None) -> bool:
            if not begins_at <= now < ends_at or (unfit is not None and unfit() is not None):
                return False
            try:
                if (
                    current() is not verdict.key_set
                ):  # K3: `known` asks whether its key is in the new
                    return False
            except KeysUnavailable:
                return False
            return vouched.holds(mono)

        return holds

    async def guessed(self, found: Found) -> Rejected | None:
        """Do nothing: a forged token is rejected, which is its answer, and counted with that."""
        del found
        return None

    def key(self, found: Found) -> Key:
        """Return what the token's verdict is kept under."""
        return self.ledger.key(found.value)

    def use(self, found: Found, now: float) -> bool:
        """Do nothing: a token ends at its time, used or not."""
        del found, now
        return True

    async def verify(self, token: bytes, now: float) -> VerifiedToken:
        """Verify with the keys at hand; one refetch for a key that is not among them (K3).

        Raises `TokenInvalid` and `KeysUnavailable`. The deny-list is not asked.
        """
        token = self.signed(token)
        try:
            return self.verifier.verify(token, self.keys.current(), now)
        except KeyUnknown as unknown:
            keys = await self.keys.refreshed(unknown.kid)
            if keys is None:
                raise
            return self.verifier.verify(token, keys, now)

    def signed(self, token: bytes) -> bytes:
        """Return the signed token in an encrypted one of the gate's own; any other as it is.

        Raises `TokenInvalid`.
        """
        if self.cipher is None or not is_encrypted(token):
            return token
        return self.cipher.decrypt(token)

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
            auth_time=auth_time_of(claims),
            amr=amr_of(claims),
            jkt=token.jkt,
        )

    def _email(self, claims: Mapping[str, Any]) -> str | None:
        if self.is_email_trusted or claims.get("email_verified") is True:
            return self.reader.email(claims)
        return None


def _expired(expired: TokenExpired, found: Found) -> Outcome:
    """Return what an expired token is: nothing, where a browser sends it by itself."""
    if found.place.kind == "cookie":
        return Absent(expired.code, expired.detail)
    return Rejected(expired.code, expired.detail)


def _size(token: bytes) -> int:
    """Return what a verified token takes: many small claims take more than their text says."""
    payload = decode_segment(token.split(b".", 2)[1])
    return max(_COPIES * len(token), memory_of(payload))


def _outcome(verdict: Verdict, found: Found) -> Outcome:
    return verdict.refused or Authenticated(verdict.identity, found.place.is_ambient)


def _extract(place: Place, carried: Carried) -> bytes | None:
    """Return the token that stands at `place`. Raises `Ambiguous` where two differ."""
    view = carried.view
    match place.kind:
        case "bearer":
            return bearer_token(view.first(b"authorization"))
        case "dpop":
            return dpop_token(view.first(b"authorization"))
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
        case "certificate":
            return None  # it holds no token


def _only(values: Sequence[bytes], place: Place) -> bytes | None:
    if not values:
        return None
    if len(set(values)) > 1:
        raise Ambiguous(place)
    return values[0].strip()
