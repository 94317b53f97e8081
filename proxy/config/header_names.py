"""Which header names a configuration may and may not give away (security.md, H1 and H2)."""

from __future__ import annotations

import re
from typing import Final

_FOLDED: Final = re.compile(r"[^a-z0-9]")


def fold(name: str) -> str:
    """Return what a server may make of `name`: lower case, and `-` for every sign."""
    return _FOLDED.sub("-", name.lower())


IDENTITY: Final = frozenset(
    fold(name)
    for name in (
        "X-Auth-Subject",
        "X-Auth-Issuer",
        "X-Auth-Scheme",
        "X-Auth-Email",
        "X-Auth-Name",
        "X-Auth-Roles",
        "X-Auth-Scopes",
        "X-Auth-Assertion",
    )
)
"""What the gate itself says about the caller (reference.md §2)."""

FORWARDING: Final = frozenset(
    fold(name)
    for name in (
        "Forwarded",
        "Via",
        "X-Forwarded-For",
        "X-Forwarded-Host",
        "X-Forwarded-Port",
        "X-Forwarded-Prefix",
        "X-Forwarded-Proto",
        "X-Request-Id",
    )
)
"""What the gate itself writes about the request's way."""

_FRAMING: Final = frozenset(
    {
        "connection", "content-encoding", "content-length", "content-range", "content-type",
        "expect", "http2-settings", "keep-alive", "proxy-authenticate", "proxy-authentication-info",
        "proxy-authorization", "proxy-connection", "range", "te", "trailer", "transfer-encoding", "upgrade",
    }
)  # fmt: skip
_CREDENTIALS: Final = frozenset({"authorization", "cookie", "dpop", "set-cookie"})
_REWRITING: Final = frozenset(
    {
        "proxy", "x-http-method", "x-http-method-override", "x-method-override", "x-original-method",
        "x-original-uri", "x-original-url", "x-rewrite-url", "x-script-name",
    }
)  # fmt: skip
"""By which some servers take another target or method than the request's."""
_CERTIFICATES: Final = frozenset({"client-cert", "client-cert-chain", "x-forwarded-client-cert"})
"""In which proxies tell of their clients' certificates."""
_CLIENT_ADDRESS: Final = frozenset(
    {"cf-connecting-ip", "forwarded", "true-client-ip", "x-client-ip", "x-real-ip"}
)


def why_not_mapped(name: str) -> str | None:
    """Return why identity must not be mapped onto the header `name`, or `None`."""
    folded = fold(name)
    if folded in {"host", "origin"} or folded.startswith("sec-"):
        return "Host, Origin and Sec-… belong to the request"
    if folded in _FRAMING:
        return "it belongs to the message's framing or body"
    if folded in _CREDENTIALS:
        return "it carries the caller's credentials"
    if folded in _REWRITING:
        return "some servers take another path or method from it"
    if folded in IDENTITY or folded in FORWARDING:
        return "the gate sets it itself"
    return None


def why_no_source(name: str) -> str | None:
    """Return why a token must not be read from the header `name`, or `None`."""
    folded = fold(name)
    if folded == "authorization":
        return "write `from: [bearer]` for Authorization"
    if folded == "cookie":
        return "write `from: [{cookie: name}]` for a cookie"
    return why_not_mapped(name) or (
        "clients and proxies set it otherwise" if _is_forwarding(folded) else None
    )


def why_not_passed(name: str) -> str | None:
    """Return why `pass_headers` must not name the header `name`, or `None`."""
    folded = fold(name)
    if folded in IDENTITY:
        return "the gate sets it itself"
    if folded.startswith("x-auth-") or folded in _REWRITING:
        return None
    if folded.startswith("ssl-client-") or folded in _CERTIFICATES:
        return None
    if _is_forwarding(folded):
        return "it is believed from server.trusted_proxies only"
    return "it is not removed, so that it need not be named"


_ANSWERED: Final = frozenset(
    {
        "allow", "date", "dpop-nonce", "location", "ratelimit", "ratelimit-policy", "retry-after",
        "vary", "www-authenticate",
    }
)  # fmt: skip
"""What the gate itself writes into answers, or adds to."""
_CACHING: Final = frozenset(
    {"cache-control", "cdn-cache-control", "expires", "surrogate-control", "x-accel-expires"}
)


def why_not_dressed(name: str) -> str | None:
    """Return why `response_headers` must not name the header `name`, or `None`."""
    folded = fold(name)
    if folded in _FRAMING:
        return "it belongs to the message's framing or body"
    if folded in _CREDENTIALS or folded == "set-cookie2":
        return "it carries credentials"
    if folded == "strict-transport-security":
        return "write `server.hsts`"
    if folded.startswith("access-control-"):
        return "write `cors`"
    if folded.startswith("sec-websocket-"):
        return "it belongs to the handshake"
    if folded in _ANSWERED or folded in FORWARDING or folded.startswith("x-auth-"):
        return "the gate sets it itself"
    return None


def is_about_caches(name: str) -> bool:
    """Tell whether the header `name` says what caches in between may keep (security.md, H8)."""
    folded = fold(name)
    return folded in _CACHING or folded.endswith("-cdn-cache-control")


def _is_forwarding(folded: str) -> bool:
    is_family = folded.startswith("x-forwarded-")
    return is_family or folded in FORWARDING or folded in _CLIENT_ADDRESS
