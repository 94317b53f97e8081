"""What an upstream is sent for a `Forward`, but for framing and connection headers."""

from __future__ import annotations

from proxy.core.forwarding import ForwardingPolicy
from proxy.model import Header, RequestView
from proxy.services.decision import Forward


def outgoing_headers(
    view: RequestView,
    decision: Forward,
    *,
    forwarding: ForwardingPolicy,
    gate_id: str,
    authority: bytes,
) -> list[Header]:
    """Return the request's headers: Host, the client's, the gate's own, the identity last.

    `authority` is the server's, for `host: upstream`.
    """
    route = decision.route
    headers: list[Header] = []
    host = view.first(b"host")
    if route.upstream_host == "preserve":
        if host is not None:
            headers.append((b"Host", host))
    elif route.upstream_host == "upstream":
        headers.append((b"Host", authority))
    else:
        headers.append((b"Host", route.upstream_host.encode()))
    headers += decision.headers
    headers += forwarding.write(
        view,
        decision.client,
        gate_id=gate_id,
        request_id=decision.request_id,
        prefix=route.strip_prefix,
    )
    headers += decision.identity_headers
    return headers
