"""Tokens: from bytes off the wire to claims that may be believed (security.md, K1, K2, K4, K5).

The order is structure, header, signature, claims, times: the payload is not even parsed before
the signature has proved whose it is. What never belongs here: I/O, the clock, revocation.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from proxy.core.compact import decode_segment
from proxy.core.dpop import bound_key
from proxy.core.keyset import (
    MAX_ATTEMPTS,
    Key,
    KeySet,
    canonical_algorithm,
    check_algorithms,
    is_plain_kid,
)
from proxy.core.revocation import digest
from proxy.core.strict_json import loads_object
from proxy.errors import TokenExpired, TokenInvalid

MAX_TOKEN_BYTES: Final = 32 * 1024
"""As long as the default request head; a token that does not fit is refused unread."""
MAX_HEADER_BYTES: Final = 16 * 1024
"""Encoded. Headers with a certificate chain (`x5c`, which is ignored) have been seen with 10 KiB."""
MAX_TIME: Final = 253_402_300_800
"""The end of the year 9999 in epoch seconds: beyond it a time is a mistake."""

ACCESS_TYP: Final = "at+jwt"
"""RFC 9068 §2.1: the `typ` of access tokens, and the only one of locally issued ones."""
SESSION_CLAIM: Final = "latchgate_session"
"""Digest of the session that a token of the gate's own came from, and dies with (S6)."""
ASSERTION_TYP: Final = "latchgate-assertion+jwt"
"""The `typ` of assertions for upstreams; no scheme accepts it (K4)."""
ASSERTION_SUFFIX: Final = "/assertion"
"""What an assertion's issuer ends with; no scheme accepts such an issuer (K4)."""

LOGOUT_EVENT: Final = "http://schemas.openid.net/event/backchannel-logout"
Kind = Literal["access", "id", "logout"]
"""Access tokens open doors; ID tokens (OpenID Connect Core §2) and logout tokens (Back-Channel
Logout §2.4) are a provider's word to this gate alone. None is accepted in another's place (K4)."""

_FOREIGN_TYPES: Final[dict[Kind, frozenset[str | None]]] = {
    "access": frozenset({None, "jwt", ACCESS_TYP}),
    "id": frozenset({None, "jwt"}),
    "logout": frozenset({None, "jwt", "logout+jwt"}),
}
_LOCAL_TYPES: Final = frozenset[str | None]({ACCESS_TYP})
_KNOWN_HEADERS: Final = 64


class KeyUnknown(TokenInvalid):
    """No key of this name is in the set; after a refetch the token may turn out to be good (K3)."""

    def __init__(self, kid: str) -> None:
        super().__init__(f"no key is called {kid[:64]!r}")
        self.kid = kid


class SignatureInvalid(TokenInvalid):
    """No key at hand made the signature; that is worth remembering, because it cost most (R9)."""


@dataclass(frozen=True, slots=True)
class VerifiedToken:
    """What a token says, after everything about it has been checked but its revocation."""

    claims: Mapping[str, Any] = field(repr=False)
    """The payload. `sub`, where present, is a text."""
    key: Key
    """The key that verified it: the verdict dies when it leaves the set (K3)."""
    jti_name: str
    """The `jti`, or the name that stands for it: what revocation hashes with the issuer (R3)."""
    issued_at: int | None
    expires_at: float
    """Epoch seconds from which on the token is refused: `exp` and the leeway."""
    begins_at: float
    """Epoch seconds from which on it is accepted: the later of `iat` and `nbf`, less the leeway."""
    algorithm: str = ""
    """The algorithm of the signature, in the configuration's word."""
    jkt: str | None = None
    """Thumbprint of the key that it is bound to: without a proof of that key it opens nothing (K5)."""


@dataclass(frozen=True, slots=True)
class _Header:
    algorithm: str
    kid: str | None
    text: str = field(repr=False)


def assertion_issuer(base: str) -> str:
    """Return the issuer of assertions of the gate whose issuer or public URL is `base` (K4)."""
    return base.rstrip("/") + ASSERTION_SUFFIX


class TokenVerifier:
    """The rules of one jwt scheme, compiled. Holds nothing of a request but headers proved good.

    Constructor: `audiences` None accepts any; `leeway` and `max_lifetime` are seconds; `is_local`
    is for access tokens of this gate's own issuer; `accepts_bound` is for callers who have the proof
    of a bound token checked. A contradiction in them is a `ValueError`.
    """

    def __init__(  # noqa: PLR0913 - each is one setting of a scheme, by name
        self,
        *,
        issuer: str,
        audiences: frozenset[str] | None,
        algorithms: Iterable[str],
        leeway: float = 30.0,
        max_lifetime: float | None = None,
        requires_iat: bool = True,
        is_local: bool = False,
        accepts_bound: bool = False,
        kind: Kind = "access",
    ) -> None:
        self._algorithms = check_algorithms(algorithms)
        if not issuer or issuer.endswith(ASSERTION_SUFFIX):
            raise ValueError("an issuer is needed, and assertions of a gate are never accepted")
        if audiences is not None and not all(audiences):
            raise ValueError("an audience is empty")
        if audiences is not None and not audiences:
            raise ValueError("no audience is accepted")
        if leeway < 0 or (max_lifetime is not None and max_lifetime <= 0):
            raise ValueError("leeway and max_lifetime are positive")
        self.issuer = issuer
        self._audiences = audiences
        self._leeway = leeway
        self._max_lifetime = max_lifetime
        self._requires_iat = requires_iat
        self._accepts_bound = accepts_bound
        self._types = _LOCAL_TYPES if is_local else _FOREIGN_TYPES[kind]
        self._kind = kind
        self._headers: dict[bytes, _Header] = {}

    def verify(self, token: bytes, keys: KeySet, now: float) -> VerifiedToken:
        """Return what `token` says at `now` (epoch seconds), or raise why it opens nothing.

        Raises `KeyUnknown` (ask for one refetch), `TokenExpired` (good but for its time) or
        `TokenInvalid`.
        """
        if len(token) > MAX_TOKEN_BYTES:
            raise TokenInvalid("the token is too long")
        segments = token.split(b".")
        if len(segments) != 3:
            raise TokenInvalid("the token has not three segments")
        header = self._headers.get(segments[0]) or self._read_header(segments[0])
        signing_input = token[: token.rindex(b".")]
        signature = _decode(segments[2], "signature")
        key = _find_key(header, keys, signing_input, signature)
        self._remember(segments[0], header)
        raw_claims = _decode(segments[1], "payload")
        claims = _parse(raw_claims, "payload")
        self._check_claims(claims)
        issued_at, begins_at, expires_at = self._check_times(claims, now)
        return VerifiedToken(
            claims=claims,
            key=key,
            jti_name=claims.get("jti") or _name_of(header, raw_claims),
            issued_at=issued_at,
            expires_at=expires_at,
            begins_at=begins_at,
            algorithm=header.algorithm,
            jkt=bound_key(claims["cnf"]) if "cnf" in claims else None,
        )

    def _remember(self, segment: bytes, header: _Header) -> None:
        """Keep a header that a good signature covers: it need not be parsed for the next token."""
        if segment not in self._headers:
            if len(self._headers) >= _KNOWN_HEADERS:
                self._headers.clear()
            self._headers[segment] = header

    def _read_header(self, segment: bytes) -> _Header:
        """Read the protected header; only `alg`, `typ` and `kid` have a meaning in it (K1, K2)."""
        if len(segment) > MAX_HEADER_BYTES:
            raise TokenInvalid("the header is too long")
        raw = _decode(segment, "header")
        header = _parse(raw, "header")
        name = header.get("alg")
        if (
            not isinstance(name, str)
            or (algorithm := canonical_algorithm(name)) not in self._algorithms
        ):
            raise TokenInvalid("the algorithm is not allowed")
        if "crit" in header or "b64" in header:
            raise TokenInvalid("the header has an extension that must be understood")
        if (_media_type(header["typ"]) if "typ" in header else None) not in self._types:
            raise TokenInvalid(f"the type is not one of {self._kind} tokens")
        kid = header.get("kid")
        if "kid" in header and not is_plain_kid(kid):
            raise TokenInvalid("the key's name is no name")
        return _Header(algorithm, kid, raw.decode())

    def _check_claims(self, claims: dict[str, Any]) -> None:
        """Check who said it to whom, and that it is the kind of token that is asked for."""
        if claims.get("iss") != self.issuer:
            raise TokenInvalid("iss is not the issuer of this scheme")
        self._check_audience(claims.get("aud"))
        if "cnf" in claims and not self._accepts_bound:
            raise TokenInvalid("the token is bound to a proof that is not checked (cnf)")
        events = claims.get("events")
        is_logout = isinstance(events, dict) and LOGOUT_EVENT in events
        if is_logout is not (self._kind == "logout"):
            raise TokenInvalid("it is a logout token" if is_logout else "it is no logout token")
        if not isinstance(claims.get("jti", ""), str):
            raise TokenInvalid("jti is not a text")
        if "sub" in claims:
            claims["sub"] = _subject(claims["sub"])

    def _check_audience(self, audience: object) -> None:
        if isinstance(audience, str):
            said = [audience]
        elif isinstance(audience, list) and all(isinstance(item, str) for item in audience):
            said = audience
        elif audience is None and self._audiences is None:
            return
        else:
            raise TokenInvalid("aud is missing or is not made of texts")
        if self._audiences is not None and self._audiences.isdisjoint(said):
            raise TokenInvalid("aud is not an audience of this scheme")

    def _check_times(self, claims: dict[str, Any], now: float) -> tuple[int | None, float, float]:
        """Check exp, nbf, iat and the lifetime; return `iat`, and from when to when it is good."""
        expires = _time(claims, "exp")
        if expires is None:
            raise TokenInvalid("exp is missing")
        issued = _time(claims, "iat")
        if issued is None and self._requires_iat:
            raise TokenInvalid("iat is missing")
        not_before = _time(claims, "nbf")
        if issued is not None and issued > now + self._leeway:
            raise TokenInvalid("iat lies in the future")
        if not_before is not None and not_before > now + self._leeway:
            raise TokenInvalid("nbf lies in the future")
        if self._max_lifetime is not None:
            began = now + self._leeway if issued is None else issued
            if expires - began > self._max_lifetime:
                raise TokenInvalid("its lifetime is longer than max_lifetime")
        if now >= expires + self._leeway:
            raise TokenExpired("exp has passed")
        begins_at = max(issued or 0, not_before or 0) - self._leeway
        return issued, begins_at, expires + self._leeway


def _find_key(header: _Header, keys: KeySet, signing_input: bytes, signature: bytes) -> Key:
    candidates = keys.candidates(header.kid, header.algorithm)
    if len(candidates) > MAX_ATTEMPTS:
        raise TokenInvalid("the token names no key, and too many could have made it")
    for key in candidates:
        if key.verify(header.algorithm, signing_input, signature):
            return key
    if header.kid is not None and not keys.has_kid(header.kid):
        raise KeyUnknown(header.kid)
    raise SignatureInvalid("no key verifies the signature" if candidates else "no key fits")


def _decode(segment: bytes, name: str) -> bytes:
    try:
        return decode_segment(segment)
    except ValueError as error:
        raise TokenInvalid(f"{name}: {error}") from None


def _parse(raw: bytes, name: str) -> dict[str, Any]:
    try:
        return loads_object(raw, max_bytes=MAX_TOKEN_BYTES)
    except ValueError as error:
        raise TokenInvalid(f"{name}: {error}") from None


def _media_type(typ: object) -> str:
    """Return `typ` without case and `application/` (RFC 7515 §4.1.9); what is no text is refused."""
    if not isinstance(typ, str) or not typ.isascii():
        raise TokenInvalid("the type is not a text")
    return typ.lower().removeprefix("application/")


def _subject(subject: object) -> str:
    if isinstance(subject, str):
        return subject
    if isinstance(subject, int) and not isinstance(subject, bool):
        return str(subject)
    raise TokenInvalid("sub is not a text")


def _time(claims: Mapping[str, Any], name: str) -> int | None:
    """Return a NumericDate (RFC 7519 §2) in whole epoch seconds; `None` if it is not there."""
    if name not in claims:
        return None
    value = claims[name]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TokenInvalid(f"{name} is not a number")
    if not 0 <= value <= MAX_TIME:
        raise TokenInvalid(f"{name} is not a time")
    return int(value)


def _name_of(header: _Header, raw_claims: bytes) -> str:
    """Name a token without `jti` by what it says, so that no re-encoding escapes (R3).

    H of reference.md §4 over the decoded header and the decoded payload.
    """
    return digest(header.text, raw_claims.decode())
