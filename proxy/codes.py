"""The stable codes of the gate's own answers: status and public words for each.

One table, compared with docs/codes.md by a test. The words never depend on the request.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class CodeInfo:
    """What a client is told: an HTTP status and one sentence."""

    status: int
    title: str


CODES: Final[dict[str, CodeInfo]] = {
    # 400: the request can be read in more than one way, or in none
    "bad_request": CodeInfo(400, "The request could not be understood."),
    "path_ambiguous": CodeInfo(400, "The path could mean different things to different servers."),
    "header_ambiguous": CodeInfo(400, "A header could mean different things to different servers."),
    "host_invalid": CodeInfo(400, "The Host header is missing, repeated or not a host."),
    "cookie_duplicate": CodeInfo(400, "A session cookie was sent twice with different values."),
    # 401: no credential that opens this route
    "credential_missing": CodeInfo(401, "Please sign in."),
    "session_unknown": CodeInfo(401, "Your session is not known. Please sign in again."),
    "session_expired": CodeInfo(401, "Your session has ended. Please sign in again."),
    "token_expired": CodeInfo(401, "The token has expired."),
    "token_invalid": CodeInfo(401, "The token is not valid here."),
    "token_revoked": CodeInfo(401, "The token has been revoked."),
    "token_issuer_unknown": CodeInfo(401, "The token's issuer is not accepted here."),
    # 403: known, but not allowed
    "role_missing": CodeInfo(403, "You do not have a role that opens this."),
    "scope_missing": CodeInfo(403, "The credential does not have the scope that opens this."),
    "claim_mismatch": CodeInfo(403, "The credential does not say what this route asks for."),
    "cross_site": CodeInfo(403, "The request came from another site."),
    "credentials_differ": CodeInfo(403, "The credentials of this request do not belong together."),
    "subject_missing": CodeInfo(403, "The credential does not say whose it is."),
    "identity_too_large": CodeInfo(403, "The identity does not fit into the request."),
    # 4xx: protocol
    "route_not_found": CodeInfo(404, "There is nothing here."),
    "method_not_allowed": CodeInfo(405, "This method is not allowed here."),
    "request_timeout": CodeInfo(408, "The request did not arrive in time."),
    "length_required": CodeInfo(411, "The request needs a Content-Length."),
    "body_too_large": CodeInfo(413, "The request body is too large."),
    "expectation_failed": CodeInfo(417, "The expectation is not supported."),
    "too_many_attempts": CodeInfo(
        429, "There were too many unknown credentials from your network."
    ),
    "too_many_requests": CodeInfo(429, "There are too many requests at the moment."),
    "headers_too_large": CodeInfo(431, "The request's head is too large."),
    # 5xx: something behind or beside the gate
    "internal_error": CodeInfo(500, "The gate made a mistake."),
    "upstream_unreachable": CodeInfo(502, "The service behind this gate cannot be reached."),
    "upstream_invalid": CodeInfo(502, "The service behind this gate gave no valid answer."),
    "store_unavailable": CodeInfo(503, "Sessions cannot be looked up at the moment."),
    "keys_unavailable": CodeInfo(503, "Tokens cannot be verified at the moment."),
    "draining": CodeInfo(503, "The gate is shutting down."),
    "upstream_timeout": CodeInfo(504, "The service behind this gate did not answer in time."),
    "version_not_supported": CodeInfo(505, "This version of HTTP is not supported."),
    "loop": CodeInfo(508, "The request has come back to this gate."),
}
