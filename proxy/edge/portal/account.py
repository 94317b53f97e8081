"""`/me`: who the gate takes the caller for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING
from urllib.parse import quote

from proxy.edge.portal.reply import Refused, Reply, json_reply, redirect
from proxy.model import Authenticated, Identity
from proxy.services.sign_in import CODES, PORTAL, STEP_UP
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


async def session_or_way(
    visitors: Visitors, visit: Visit, base: str, name: str
) -> Identity | Reply:
    """Return whose session a GET carries; for a page load the way to one, and back to endpoint `name`.

    `base` is `login.path`. Raises as `require_session` does.
    """
    try:
        return await require_session(visitors, visit)
    except Refused as refused:
        if refused.code in CODES:
            page = PORTAL
        elif refused.code == "step_up_required":  # it is used elsewhere than it is bound to
            page = STEP_UP
        else:
            raise
        if not visit.wants_page:
            raise
        return redirect(f"{base}/{page}?next={quote(f'{base}/{name}', safe='')}")
