"""What a refusal tells a caller who could do better: WWW-Authenticate (RFC 9110 §11.6.1)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from proxy.codes import CODES
from proxy.core.credentials import authorization_scheme
from proxy.model import Header, Refusal
from proxy.services.decision import Forward, RefusalKind, Refuse
from proxy.services.route import Route


def taken_back(decision: Forward, refusal: Refusal) -> Refuse:
    """Return the answer to a request that was let through and is refused before it was answered."""
    route, status = decision.route, CODES[refusal.code].status
    refusal = with_challenge(refusal, route)
    kind: RefusalKind = "unavailable" if status == 503 else "deny"
    if status == 401:
        kind = "challenge"
        headers = challenges(route, refusal.code) + refusal.headers
        refusal = Refusal(refusal.code, refusal.detail, headers, refusal.scheme)
    return Refuse(
        kind,
        refusal,
        decision.client,
        decision.request_id,
        route,
        decision.response_headers,
        decision.identity,
    )


def with_challenge(refusal: Refusal, route: Route) -> Refusal:
    """Tell a token's holder what would open the route: a scope, or a newer proof of who they are."""
    if refusal.code == "scope_missing":
        return replace(refusal, headers=route.scope_challenge)
    if refusal.code == "step_up_required":
        return replace(refusal, headers=route.step_up_challenge)
    return refusal


_TOKEN_ERRORS: Mapping[str, bytes] = {
    "token_invalid": b"invalid_token",
    "token_expired": b"invalid_token",
    "token_revoked": b"invalid_token",
    "token_issuer_unknown": b"invalid_token",
    "proof_missing": b"invalid_token",
    "proof_invalid": b"invalid_dpop_proof",
    "proof_nonce_missing": b"use_dpop_nonce",
}


def challenges(route: Route, code: str, *, sent: bytes | None = None) -> tuple[Header, ...]:
    """Add `error` to the challenge of the kind of token that was sent (RFC 6750 §3.1, RFC 9449 §7.1).

    `sent`: the request's Authorization. Where a proof was sent, or should have been, a way to send one
    comes first.
    """
    error = _TOKEN_ERRORS.get(code)
    is_dpop = sent is not None and authorization_scheme(sent) == "dpop"
    offered = route.challenges
    if (is_dpop or code == "proof_missing") and not route.wants_proof:
        offered = (*route.proof_challenges, *offered)
    if error is None:
        return offered
    blamed = (b"DPoP ",) if is_dpop else (b"DPoP ", b"Bearer ")
    return tuple(
        (name, b'%b, error="%b"' % (value, error) if value.startswith(blamed) else value)
        for name, value in offered
    )
