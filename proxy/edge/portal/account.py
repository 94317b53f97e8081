"""`/me`: who the gate takes the caller for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from proxy.edge.portal.reply import Refused, Reply, json_reply
from proxy.model import Authenticated, Identity
from proxy.services.visitors import Visitors, told

if TYPE_CHECKING:
    from proxy.edge.portal.portal import Endpoint
    from proxy.edge.portal.visit import Visit
    from proxy.services.own import OwnServices


def endpoints(services: OwnServices) -> Mapping[str, Endpoint]:
    """Return the endpoints of this part by name."""
    visitors = services.visitors

    async def me(visit: Visit) -> Reply:
        identity = await require_session(visitors, visit)
        return json_reply(told(identity), subject=identity.subject)

    return {"me": me}


async def require_session(visitors: Visitors, visit: Visit) -> Identity:
    """Return whose session the request carries.

    Raises `Refused` (401) where there is none, `Ambiguous` (S2), and `StoreUnavailable`.
    """
    outcome = await visitors.judge(visitors.find(visit.carried()), visit.now)
    if isinstance(outcome, Authenticated):
        return outcome.identity
    raise Refused(outcome.code, outcome.detail, visitors.challenge)
