"""Makes DPoP proofs of every shape for the tests: nothing here checks what it makes.

Written after RFC 9449 alone. What never belongs here: code of the product that is tested.
"""

from __future__ import annotations

import base64
import hashlib
import json
import time
import uuid

from tests import token_workshop as workshop

ALGORITHMS = {
    "ES256": "P-256",
    "ES384": "P-384",
    "ES512": "P-521",
    "EdDSA": "Ed25519",
    "RS256": "RSA",
    "PS256": "RSA",
}


def ath(token):
    """Return the digest of an access token (RFC 9449 §4.2)."""
    raw = token if isinstance(token, bytes) else token.encode()
    return base64.urlsafe_b64encode(hashlib.sha256(raw).digest()).rstrip(b"=").decode()


def thumbprint(kind):
    """Return the RFC 7638 thumbprint of the workshop's key of a kind."""
    members = json.dumps(workshop.jwk(kind), sort_keys=True, separators=(",", ":"))
    return workshop.b64(hashlib.sha256(members.encode()).digest())


def proof(
    method, url, token=None, *, kind="P-256", algorithm="ES256", key=None, header=None, **said
):
    """Return a good proof as text; `header` and `said` override it, `...` leaves a member out."""
    head = {"typ": "dpop+jwt", "alg": algorithm, "jwk": workshop.jwk(kind)} | (header or {})
    claims = {"jti": str(uuid.uuid4()), "htm": method, "htu": url, "iat": int(time.time())}
    if token is not None:
        claims["ath"] = ath(token)
    claims |= said
    raw = [
        json.dumps({name: value for name, value in part.items() if value is not ...}).encode()
        for part in (head, claims)
    ]
    signer = workshop.private_key(kind) if key is None else key
    return workshop.assemble(*raw, algorithm, signer).decode()
