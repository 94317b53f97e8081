"""A verdict: what is known of one credential under one scheme's settings (security.md, R1)."""

from __future__ import annotations

import math
from dataclasses import dataclass

from proxy.core.binding import Binding
from proxy.core.keyset import Key as VerificationKey
from proxy.core.keyset import KeySet
from proxy.model import Absent, Identity, Rejected


@dataclass(slots=True, eq=False)
class Verdict:
    """What is known of one credential. Times are epoch seconds."""

    identity: Identity
    not_before: float = -math.inf
    not_after: float = math.inf
    """From here on it is over."""
    verified_by: VerificationKey | None = None
    """The key of its signature: the verdict dies when the key leaves the set (K3)."""
    key_set: KeySet | None = None
    """The last set in which `verified_by` was seen."""
    record_digest: bytes | None = None
    """Of a foreign record's bytes: equal bytes need not be decoded again."""
    weight: int = 0
    """Bytes that a foreign record takes when it is decoded, as estimated."""
    refused: Rejected | None = None
    """Why the credential opens nothing although it is genuine: it was revoked."""
    seen_at: float = -math.inf
    """The last use of a native session that this worker knows of."""
    has_seen: bool = False
    """True when the last use stands in the store."""
    touched_at: float = -math.inf
    """When this worker last tried to write it."""
    idle_s: float = math.inf
    """Seconds without a use after which it is over."""
    binding: Binding | None = None
    """Where a native session may be used: compared with every request (R1)."""

    @property
    def ends_at(self) -> float:
        """When it is over unless it is used before: at its end, or idle."""
        return min(self.not_after, self.seen_at + self.idle_s)


Finding = Verdict | Absent
"""What a look-up finds: whose the credential is, or that it is nobody's."""
