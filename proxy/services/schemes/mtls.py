"""The `mtls` scheme: the certificate with which a client opened this very TLS connection.

TLS has verified it against `server.tls.client_ca`; no header ever stands for one. A certificate that a
trusted proxy shows is the proxy's own, and says nothing of whose requests it passes on. What is said
here is said anew for each request: nothing is kept of it but how the certificate reads.
"""

from __future__ import annotations

from asyncio import Future
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

from proxy.config.models import MtlsSchemeConfig
from proxy.core.certificates import Holder, holder_of
from proxy.core.coherence import Key
from proxy.model import Absent, Authenticated, Identity, Outcome, Rejected
from proxy.services.schemes.port import Carried, Found, Fresh, Holds, Place

MAX_SUBJECT: Final = 1024
"""Characters of a name; longer ones are nobody's."""
_PLACE: Final = Place("certificate")


@dataclass(frozen=True, slots=True)
class MtlsScheme:
    """One mtls entry of `schemes:`."""

    name: str
    subject: str
    """Which of its names a certificate's holder is called by."""
    roles: Mapping[str, tuple[str, ...]]
    revoked: frozenset[str]
    """Fingerprints of certificates that are worth nothing any more."""
    revoked_subjects: frozenset[str] = frozenset()
    """Whose every certificate is worth nothing."""
    places: tuple[Place, ...] = (_PLACE,)
    is_native: bool = False
    issuer: str | None = None

    @classmethod
    def from_config(cls, name: str, scheme: MtlsSchemeConfig) -> MtlsScheme:
        """Return the scheme that the configuration describes."""
        roles = {subject: tuple(given) for subject, given in scheme.roles.items()}
        revoked = scheme.revoked
        return cls(
            name,
            scheme.subject,
            roles,
            frozenset(revoked.fingerprints),
            frozenset(revoked.subjects),
        )

    def find(self, carried: Carried) -> Found | None:
        """Return the connection's certificate; none of a trusted proxy, whoever it speaks for."""
        certificate, client = carried.view.peer.certificate, carried.client
        if certificate is None or client is None or client.is_trusted_peer:
            return None
        return carried.found(_PLACE, certificate)

    # hot: decided without a task by whoever can
    def known(self, found: Found, now: float) -> Outcome:
        """Say whose the certificate is: everything of it is at hand."""
        try:
            holder = holder_of(found.value)
        except ValueError as error:
            return Rejected("certificate_invalid", str(error))
        if holder.fingerprint in self.revoked:
            return Rejected("certificate_invalid", "it is among `revoked.fingerprints`")
        # TLS looks at this when a connection begins, and not when one is resumed, or stays.
        if not holder.begins_at <= now < holder.ends_at:
            return Absent("certificate_expired", "it is not, or no longer, valid")
        names = holder.names[self.subject]
        if not names:
            return Absent("certificate_invalid", f"it has no {self.subject}")
        if len(names) > 1 or not _is_a_name(names[0]):
            return Rejected("certificate_invalid", f"not exactly one clear {self.subject}")
        if names[0] in self.revoked_subjects:
            return Rejected("certificate_invalid", "its holder is among `revoked.subjects`")
        return Authenticated(self._identity(names[0], holder), is_ambient=_PLACE.is_ambient)

    async def judge(self, found: Found, now: float) -> Outcome:
        """Say the same: nobody else has to be asked."""
        return self.known(found, now)

    def begin(self, found: Found, now: float) -> Future[Any] | None:
        """Begin nothing: there is nothing to find out."""
        del found, now
        return None

    def recall(self, found: Found) -> Identity | None:
        """Know nobody: no verdict is kept."""
        del found
        return None

    def meet(self, found: Found, now: float) -> Fresh | None:
        """Begin nothing."""
        del found, now
        return None

    def stand(self, found: Found) -> Holds | None:
        """Promise nothing: a certificate is its connection's, and no request is remembered by it."""
        del found
        return None

    async def guessed(self, found: Found) -> Rejected | None:
        """Do nothing: nobody guesses a certificate."""
        del found
        return None

    def key(self, found: Found) -> Key:
        """Return what tells certificates apart; no verdict is kept under it."""
        return (self.name, 0, sha256(found.value).digest())

    def use(self, found: Found, now: float) -> bool:
        """Do nothing: a certificate ends at its time, used or not."""
        del found, now
        return True

    def _identity(self, subject: str, holder: Holder) -> Identity:
        emails, called = holder.names["email"], holder.names["common_name"]
        roles = self.roles.get(subject, ())
        told = {kind: list(names) for kind, names in holder.names.items()}
        return Identity(
            origin=self.name,  # K6: a name is its authority's, and no token's or session's
            subject=subject,
            scheme=self.name,
            email=emails[0] if len(emails) == 1 else None,
            name=called[0] if len(called) == 1 and _is_a_name(called[0]) else None,
            roles=roles,
            claims={
                **told,
                "sub": subject,
                "roles": list(roles),
                "issuer": holder.issuer,
                "serial": holder.serial,
                "fingerprint": holder.fingerprint,
            },
            expires_at=holder.ends_at,
        )


def _is_a_name(text: str) -> bool:
    """Tell whether a name reads alike everywhere: printable, and not endless."""
    return 0 < len(text) <= MAX_SUBJECT and text.isprintable() and text == text.strip()
