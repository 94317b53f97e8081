"""Who asks for one of the gate's own endpoints: the session of `login.scheme`, and nothing else."""

from __future__ import annotations

from dataclasses import replace

from proxy.model import Absent, Header, Identity, Outcome
from proxy.services.schemes.port import Carried, Found, Scheme


class Visitors:
    """Tells whose session a request carries, by the same verdicts that guard the routes."""

    def __init__(self, scheme: Scheme) -> None:
        self._scheme = scheme
        self.challenge: tuple[Header, ...] = (
            (b"WWW-Authenticate", b'Cookie realm="%b"' % scheme.name.encode()),
        )
        """What a 401 of an endpoint says (RFC 9110 §11.6.1)."""

    def find(self, carried: Carried) -> Found | None:
        """Return the session cookie of a request, unjudged. Raises `Ambiguous` (S2)."""
        return self._scheme.find(carried)

    async def judge(self, found: Found | None, now: float) -> Outcome:
        """Say whose session it is at `now`. Raises `StoreUnavailable`."""
        if found is None:
            return Absent()
        # Nothing that the gate does with a session of its own may rest on a stale verdict (R8).
        found = replace(found, may_be_stale=False)
        return self._scheme.known(found, now) or await self._scheme.judge(found, now)


def told(identity: Identity) -> dict[str, object]:
    """Return what people may know about their own session, ready for JSON."""
    return {
        "subject": identity.subject,
        "email": identity.email,
        "name": identity.name,
        "roles": list(identity.roles),
        "scopes": list(identity.scopes),
        "auth_time": None if identity.auth_time is None else int(identity.auth_time),
        "amr": list(identity.amr),
        "expires_at": None if identity.expires_at is None else int(identity.expires_at),
    }
