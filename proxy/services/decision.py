"""The one value that the gate returns for a request, rendered by forward, tunnel and decision."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from proxy.core.paths import Target
from proxy.model import ClientInfo, Header, Identity, Refusal
from proxy.services.own import OwnEndpoint
from proxy.services.route import Route

if TYPE_CHECKING:
    from proxy.services.authenticate import Held

RefusalKind = Literal["challenge", "deny", "unavailable"]


@dataclass(frozen=True, slots=True)
class Forward:
    """Let through: what the upstream is sent, but for framing and connection headers."""

    route: Route
    client: ClientInfo
    request_id: str
    identity: Identity | None
    identity_headers: tuple[Header, ...]
    """The gate's word: written last, after `headers` has lost every spelling of their names."""
    headers: list[Header]
    """The client's end-to-end headers, cleaned (security.md, H1, H2, H6)."""
    target: bytes
    """Origin-form, or the asterisk of no request: `OPTIONS *` never comes this far."""
    response_headers: tuple[Header, ...] = ()
    """To add to the upstream's answer (CORS)."""
    hash_key: bytes | None = None
    held: tuple[Held, ...] = ()
    """The credentials that it hangs on; none on a public route."""
    is_repeatable: bool = False
    """True where the same headers open the route as long as the credential that decided stays good."""
    reported: Refusal | None = None
    """Why it would have been refused, where the route only reports (security.md, S14)."""
    may_be_stale: bool = False
    """True where an outage may be bridged, if the configuration says so (security.md, R8)."""
    asked: tuple[str | None, bytes, str] | None = None
    """Host, path and method as they came: what leads to its route under another configuration."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The gate answers itself: a preflight, `OPTIONS *`, its key set."""

    status: int
    client: ClientInfo | None
    request_id: str
    headers: tuple[Header, ...] = ()
    body: bytes = b""
    route: Route | None = None


@dataclass(frozen=True, slots=True)
class Own:
    """One of the gate's own endpoints is asked; it has yet to say what it answers."""

    endpoint: OwnEndpoint
    client: ClientInfo
    request_id: str
    target: Target
    segments: tuple[str, ...]
    """The decoded path, as the endpoint's pattern matched it."""
    route: None = None


@dataclass(frozen=True, slots=True)
class Refuse:
    """Not let through. `refusal.detail` is for the log, the client sees the code's words."""

    kind: RefusalKind
    refusal: Refusal
    client: ClientInfo | None
    request_id: str
    route: Route | None = None
    response_headers: tuple[Header, ...] = ()
    identity: Identity | None = None
    """Who it was, where that is known (403): for the log."""
    sign_in: str | None = None
    """Where a person may sign in whose form has lost its session."""


Decision = Forward | Answer | Own | Refuse
