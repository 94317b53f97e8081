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

    `authority` is the server's, for `host: upstream` and for a client of HTTP/1.0 that named no
    host: the server is spoken to in HTTP/1.1, which requires one (RFC 9112 §3.2).
    """
    route = decision.route
    headers: list[Header] = []
    host = view.first(b"host")
    if route.upstream_host == "preserve":
        headers.append((b"Host", authority if host is None else host))
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
