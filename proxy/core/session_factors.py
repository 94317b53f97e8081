"""A factor that was proved beside a session of an application: what the store keeps of it, and its cookie.

The gate cannot give such a session a new id, and whoever has a copy of its cookie has the session. So the
factor has an id of its own, of 256 random bits, that only the browser has which proved it (security.md, S1).
What never belongs here: the store, what seals a record in it, and asking for a factor.
"""

from __future__ import annotations

import hmac
import math
import re
import secrets
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from proxy.core.compact import to_json
from proxy.core.freshness import FEDERATED, amr_with_code
from proxy.core.strict_json import BadJson, loads_object

AMR: Final = amr_with_code((FEDERATED,))
"""Of somebody whom their application has let in, by whatever way, and who has proved a code here."""
MAX_RECORD_BYTES: Final = 16 * 1024

_VERSION: Final = 1
_TOKEN: Final = re.compile(rb"[A-Za-z0-9_-]{43}")


class NoFactorRecord(ValueError):
    """What was sealed is no factor; the text never quotes it."""


@dataclass(frozen=True, slots=True)
class SessionFactor:
    """A factor, as the store has it beside one session."""

    subject: str
    """Whose session it was when they proved it."""
    at: float
    """Epoch seconds."""
    since: float
    """When the app was set up that made the code: the factor is gone with it."""
    holder: str
    """Digest of the cookie of the browser that proved it."""

    def is_held_by(self, token: bytes) -> bool:
        """Tell whether `token` is that browser's cookie."""
        return hmac.compare_digest(self.holder, digest_of(token))


def new_token() -> str:
    """Return the value of a cookie: 256 random bits in base64url."""
    return secrets.token_urlsafe(32)


def is_token(value: bytes) -> bool:
    """Tell whether a cookie can be one: no other is looked up."""
    return _TOKEN.fullmatch(value) is not None


def digest_of(token: bytes) -> str:
    """Return what the store has of a cookie."""
    return sha256(token).hexdigest()


def person_of(scheme: str, subject: str) -> str:
    """Return what one-time passwords know somebody by whom an application names (security.md, K6).

    No two pairs have the same: the name of a scheme has no line break in it.
    """
    return f"{scheme}\n{subject}"


def encode(factor: SessionFactor) -> bytes:
    """Return what is to be sealed."""
    return to_json(
        {
            "v": _VERSION,
            "sub": factor.subject,
            "at": factor.at,
            "since": factor.since,
            "holder": factor.holder,
        }
    )


def decode(raw: bytes) -> SessionFactor:
    """Return the factor that was sealed; raises `NoFactorRecord` for anything else."""
    try:
        members = loads_object(raw, max_bytes=MAX_RECORD_BYTES)
        subject, holder = members["sub"], members["holder"]
        at, since = float(members["at"]), float(members["since"])
    except (BadJson, KeyError, TypeError, ValueError):
        raise NoFactorRecord("a member is missing or of another kind") from None
    is_text = isinstance(subject, str) and isinstance(holder, str) and holder.isascii()
    if members.get("v") != _VERSION or not is_text or not (math.isfinite(at + since)):
        raise NoFactorRecord("another version, or a member of another kind")
    return SessionFactor(subject, at, since, holder)
