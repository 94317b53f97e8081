"""What the endpoints note in the audit trail, and what of a visit it says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxy.services.audit import Audit, Event
from proxy.services.login import Whereabouts
from proxy.services.sessions import NewSession

if TYPE_CHECKING:
    from proxy.edge.portal.visit import Visit


def whereabouts(visit: Visit) -> Whereabouts:
    """Return from where a visit comes."""
    return Whereabouts(visit.client.address, visit.view.first(b"user-agent"))


def note_room(audit: Audit, visit: Visit, subject: str, session: NewSession) -> None:
    """Note the sessions of `subject` that had to make room for a new one (`sessions.per_user`)."""
    for ended in session.ended:
        note(audit, visit, "session_ended", subject, f"{ended[:8]}, by the limit of sessions")


def note(audit: Audit, visit: Visit, kind: str, subject: str | None, detail: str = "") -> None:
    """Note what a visit has come to; never raises. `detail` is in the gate's own words."""
    where = whereabouts(visit)
    event = Event(kind, subject, where.address, where.shown_agent, visit.request_id, detail=detail)
    audit.note(event, visit.now)
