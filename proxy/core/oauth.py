"""What OAuth clients say to the token endpoint, and what is said to them (RFC 6749, §2.3 and §5.2).

Pure: who a client is, and which scopes it may have. What never belongs here: tokens, and I/O.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from hmac import compare_digest
from typing import Final, Literal
from urllib.parse import unquote_to_bytes

from proxy.core.credentials import authorization_scheme

ErrorName = Literal[
    "invalid_request",
    "invalid_client",
    "invalid_grant",
    "unauthorized_client",
    "unsupported_grant_type",
    "invalid_scope",
    "invalid_dpop_proof",
    "use_dpop_nonce",
]
"""RFC 6749 §5.2, RFC 9449 §5 and §8."""

SESSION_GRANT: Final = "urn:latchgate:grant:session"
"""An access token from a live session (RFC 6749 §4.5; security.md, S6)."""
AUTH_METHODS: Final = ("client_secret_basic", "client_secret_post", "none")
"""How a client may say who it is, as RFC 7591 §2 names it."""
CHALLENGE: Final = ((b"WWW-Authenticate", b'Basic realm="latchgate", charset="UTF-8"'),)
"""What a 401 of the endpoints for clients says."""

_SCOPE: Final = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+( [\x21\x23-\x5b\x5d-\x7e]+)*")
"""RFC 6749 §3.3."""
_NOTHING: Final = sha256(b"").digest()


class OAuthRefused(Exception):
    """The answer is an error of RFC 6749 §5.2. `detail` is for the log, `description` for the client.

    `nonce` is what its next proof is to carry, where it needs one (RFC 9449 §8).
    """

    def __init__(
        self,
        error: ErrorName,
        detail: str = "",
        description: str | None = None,
        *,
        nonce: str | None = None,
    ) -> None:
        super().__init__(error)
        self.error = error
        self.detail = detail
        self.description = description
        self.nonce = nonce

    @property
    def status(self) -> int:
        """The HTTP status: 401 where the client has not proved who it is, else 400."""
        return 401 if self.error == "invalid_client" else 400


@dataclass(frozen=True, slots=True)
class Client:
    """One entry of `clients:`, compiled."""

    name: str
    """Its client_id."""
    secrets: tuple[bytes, ...] = field(default=(), repr=False)
    """SHA-256 of each secret; none of a public client."""
    grants: frozenset[str] = frozenset()
    roles: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ()

    @property
    def is_public(self) -> bool:
        """True where it can keep no secret, and so proves nothing (RFC 6749 §2.1)."""
        return not self.secrets

    @classmethod
    def make(
        cls,
        name: str,
        secrets: Sequence[bytes],
        grants: Sequence[str],
        *,
        roles: Sequence[str] = (),
        scopes: Sequence[str] = (),
    ) -> Client:
        """Return a client whose secrets are given in the clear."""
        digests = tuple(sha256(secret).digest() for secret in secrets)
        return cls(name, digests, frozenset(grants), tuple(roles), tuple(scopes))


@dataclass(frozen=True, slots=True)
class Claim:
    """Who a request says that its client is."""

    name: str
    secrets: tuple[bytes, ...] = field(default=(), repr=False)
    """What is to prove it, in each way that it can be read; nothing where it says nothing."""


def claimed_client(authorization: bytes | None, form: Mapping[str, str]) -> Claim | None:
    """Return who the client says it is; `None` where it does not. Raises `OAuthRefused`.

    RFC 6749 §2.3: in one way only. What the header and the form say must agree.
    """
    named = form.get("client_id") or None
    if authorization is None:
        secret = form.get("client_secret") or None
        if named is None and secret is not None:
            raise OAuthRefused("invalid_request", "client_secret without client_id")
        return None if named is None else Claim(named, (secret.encode(),) if secret else ())
    claim = _basic(authorization)
    if "client_secret" in form or named not in (None, claim.name):
        raise OAuthRefused("invalid_request", "the client says who it is in two ways")
    return claim


def authenticate(clients: Mapping[str, Client], claim: Claim | None) -> Client:
    """Return the client that `claim` proves to be; raises `OAuthRefused` (`invalid_client`).

    Takes the same time for a wrong secret and for a client that there is none of.
    """
    if claim is None:
        raise OAuthRefused("invalid_client", "the request does not say which client it is of")
    client = clients.get(claim.name)
    offered = [sha256(secret).digest() for secret in claim.secrets or (b"",)]
    known = (_NOTHING,) if client is None or client.is_public else client.secrets
    # All are compared, whichever fits.
    proofs = [compare_digest(one, secret) for one in offered for secret in known]
    if client is None:
        raise OAuthRefused("invalid_client", "there is no such client")
    if not claim.secrets and client.is_public:
        return client
    if not claim.secrets or client.is_public or not any(proofs):
        raise OAuthRefused("invalid_client", f"client {client.name} does not prove itself")
    return client


def scopes_of(text: str | None) -> Callable[[Sequence[str]], tuple[str, ...]]:
    """Return what narrows granted scopes to those of a `scope` parameter; without one to all.

    Raises `OAuthRefused` (`invalid_scope`) for what is none, and, when used, for what is not granted.
    """
    if not text:
        return tuple
    if _SCOPE.fullmatch(text) is None:
        raise OAuthRefused("invalid_scope", "scope is not a list of scopes")
    wanted = tuple(dict.fromkeys(text.split(" ")))

    def narrow(granted: Sequence[str]) -> tuple[str, ...]:
        if not set(wanted) <= set(granted):
            raise OAuthRefused("invalid_scope", "a scope was asked for that is not granted")
        return wanted

    return narrow


def required(form: Mapping[str, str], name: str) -> str:
    """Return a parameter; raises `OAuthRefused` (`invalid_request`) where it is missing or empty."""
    value = form.get(name)
    if not value:
        raise OAuthRefused("invalid_request", f"{name} is missing", f"{name} is missing")
    return value


def _basic(authorization: bytes) -> Claim:
    """Read `Basic`: id and secret are encoded as in a form (RFC 6749 §2.3.1), or, by many, are not.

    A `+` in a secret is a space by the RFC, and a `+` to curl and its like.
    """
    if authorization_scheme(authorization) != "basic":
        raise OAuthRefused("invalid_client", "Authorization of a kind that no client uses here")
    encoded = authorization.strip(b" \t").partition(b" ")[2].strip(b" \t")
    try:
        pair = binascii.a2b_base64(encoded, strict_mode=True)
        name, _, secret = pair.partition(b":")
        return Claim(_decoded(name).decode(), (_decoded(secret), secret) if secret else ())
    except ValueError:
        raise OAuthRefused("invalid_client", "Authorization: Basic cannot be read") from None


def _decoded(text: bytes) -> bytes:
    return unquote_to_bytes(text.replace(b"+", b" "))
