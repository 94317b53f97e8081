"""The words of the product: request, identity, outcome, decision.

Plain frozen values that every layer shares. What never belongs here: I/O, configuration, aiohttp.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

Header = tuple[bytes, bytes]
"""One field line: name and value as they stand on the wire, without surrounding white space."""

SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
"""The methods that change nothing (RFC 9110 §9.2.1, without TRACE, which the gate refuses)."""

IDEMPOTENT_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})
"""The methods that may be repeated (RFC 9110 §9.2.2)."""


@dataclass(frozen=True, slots=True)
class Peer:
    """The other end of the accepted connection, as the kernel and TLS tell it."""

    address: str | None
    """IP address as text; `None` on a unix socket."""
    port: int | None
    is_unix: bool
    is_tls: bool
    has_client_certificate: bool = False
    certificate: bytes | None = field(default=None, repr=False)
    """The client's certificate in DER, which TLS has verified on this very connection."""
    local_port: int | None = None
    """The port on which the gate accepted the connection; `None` on a unix socket."""


@dataclass(slots=True)
class RequestView:
    """A request head as it came off the wire; nothing is decoded, merged or reordered."""

    method: str
    target: bytes
    """The request-target (RFC 9112 §3.2), byte for byte."""
    headers: tuple[Header, ...]
    peer: Peer
    version: tuple[int, int] = (1, 1)
    has_body: bool = False
    _index: dict[bytes, list[bytes]] | None = field(default=None, repr=False, compare=False)

    def values(self, name: bytes) -> list[bytes]:
        """Return the values of every field line called `name` (lower case), in order."""
        if self._index is None:
            self._index = {}
            for key, value in self.headers:
                self._index.setdefault(key.lower(), []).append(value)
        return self._index.get(name, [])

    def first(self, name: bytes) -> bytes | None:
        """Return the first value of `name` (lower case), or `None`."""
        values = self.values(name)
        return values[0] if values else None


@dataclass(frozen=True, slots=True)
class ClientInfo:
    """Who the client is and which origin it used, after the trusted hops (security.md, H5)."""

    address: str | None
    """IP address as text; `None` means unknown, which satisfies no rule."""
    scheme: str | None
    """`http` or `https` as the client used it; `None` where it is not known."""
    host: str
    """The request's Host (or the nearest trusted hop's X-Forwarded-Host), lower case, port kept."""
    port: int | None
    is_trusted_peer: bool
    """True when the connection comes from one of `server.trusted_proxies`."""
    forwarded_chain: str | None = None
    """The X-Forwarded-For (or Forwarded) value to extend, when the peer is trusted."""
    prefix: str | None = None
    """A trusted hop's X-Forwarded-Prefix."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who the credential belongs to. (origin, subject) names a person (security.md, K6)."""

    origin: str
    subject: str
    scheme: str
    """The configured name of the scheme that said so."""
    email: str | None = None
    name: str | None = None
    roles: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ()
    claims: Mapping[str, Any] = field(default_factory=dict)
    """Everything that the record or token says: for templates and `require.claims`. Read only."""
    expires_at: float | None = None
    """Epoch seconds after which the credential is worth nothing."""
    auth_time: float | None = None
    amr: tuple[str, ...] = ()
    jkt: str | None = None
    """Thumbprint of the key that the credential is bound to: each request has to prove it (K5)."""


@dataclass(frozen=True, slots=True)
class Authenticated:
    """The credential is good, and this is whose it is."""

    identity: Identity
    is_ambient: bool
    """True when a browser adds this credential by itself (cookie, Basic): see S3."""
    headers: tuple[Header, ...] = ()
    """What its holder is to be told with the answer, whatever that is; in no verdict that is kept."""


@dataclass(frozen=True, slots=True)
class Absent:
    """No credential of this scheme, or an ambient one that is merely unknown or expired."""

    code: str = "credential_missing"
    detail: str = ""
    is_guess: bool = field(default=False, compare=False)
    """True where nobody had seen the credential before: who sends many of them guesses (R9)."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """A credential that was tampered with, or a bad one that was sent on purpose."""

    code: str
    detail: str = ""
    """For the log only: never sent to the client."""
    headers: tuple[Header, ...] = ()
    """What its holder is to be told with the refusal."""


Outcome = Authenticated | Absent | Rejected


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request is not let through: a stable code, and the explanation for the log."""

    code: str
    detail: str = ""
    headers: tuple[Header, ...] = ()
    """Headers of the answer, beyond those that every answer carries."""
    scheme: str | None = None
    """The scheme that said so, where one did."""


@dataclass(frozen=True, slots=True)
class AccessRecord:
    """What the log line of one request says. Nothing in it is a credential or a query."""

    request_id: str
    method: str
    host: str
    path: str
    """The path as it came, without the query (S15)."""
    status: int
    decision: str
    """`forward`, `answer`, `challenge`, `deny`, `unavailable` or `error`."""
    code: str | None
    detail: str
    route: str | None
    scheme: str | None
    subject: str | None
    upstream: str | None
    server: str | None
    client: str | None
    started_at: float
    duration_s: float
    upstream_s: float | None
    bytes_in: int
    bytes_out: int
    caller: str | None = None
    """The dialect of the proxy that asked; `None` for requests that came to the gate itself."""
    reported: str | None = None
    """The code with which it would have been refused, had its route not been in report mode (S14)."""
