"""What the endpoints for clients are asked and answer, and by which rules: values without HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from proxy.core.refresh import OtpRule, Spot
from proxy.core.revocation import digest
from proxy.services.login import Whereabouts
from proxy.services.proofs import Shown
from proxy.services.refresh import Answer
from proxy.services.schemes.port import Carried


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """A request of a client, without HTTP."""

    form: Mapping[str, str] = field(repr=False)
    authorization: bytes | None = field(repr=False)
    carried: Carried = field(repr=False)
    now: float
    """Epoch seconds."""
    where: Whereabouts
    """From where it comes."""
    request_id: str = ""
    is_insecure: bool = False
    """True where a password would travel in the clear (S5)."""
    shown: Shown | None = None
    """The proof of the key that it holds (RFC 9449 §5), which is not used up yet."""

    @property
    def jkt(self) -> str | None:
        """Return the thumbprint of that key."""
        return None if self.shown is None else self.shown.proof.jkt

    @property
    def spot(self) -> Spot:
        """Return where it comes from."""
        where = self.where
        place = digest(where.network or "", where.shown_agent or "")
        return Spot(place, where.address, where.shown_agent)


@dataclass(frozen=True, slots=True)
class TokenRules:
    """How long what the endpoints hand out lives, in seconds, and what a refresh asks for."""

    access_s: float
    idle_s: float | None
    """Idle timeout of the sessions that may get tokens; `None`: none may."""
    keep_s: float
    """How long an access token that was revoked must be refused."""
    leeway_s: float
    """The largest of the schemes that accept the tokens."""
    otp: OtpRule = "never"
    """When a refresh asks for a one-time password."""
    hides_claims: bool = False
    """True where access tokens are encrypted: no client reads what its own say."""
    public_url: str | None = None
    """The origin that people see."""
    wants_nonce: bool = False
    """True where proofs have to carry a nonce of the gate's (RFC 9449 §8)."""


@dataclass(frozen=True, slots=True)
class Granted:
    """What the token endpoint answers."""

    answer: Answer
    next_nonce: str | None = None
    """What the client's proofs are to carry from now on, where that changes."""
