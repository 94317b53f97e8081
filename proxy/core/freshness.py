"""How long ago somebody proved who they are, and by how much: `mfa_within` and `login_within`.

`auth_time` and `amr` (OpenID Connect Core §2, RFC 8176) are those of the last real factor
(security.md, S7): who proves one factor again has not proved two. What never belongs here: asking
for a factor.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from proxy.model import Header, Refusal

CLOCK_SKEW_S: Final = 300.0
"""How far ahead of our clock another host's may be; a later `auth_time` says nothing."""

PASSWORD: Final = ("pwd",)
"""`amr` of a password alone."""
CODE: Final = "otp"
"""In `amr`: a one-time password, or a recovery code, which is one too."""
FEDERATED: Final = "federated"
"""In `amr`, our own word: a sign-in at a provider that did not tell how it asked."""
SEVERAL: Final = "mfa"
"""In `amr`: factors of more than one kind."""

MAX_METHODS: Final = 64
"""Of one token; people use a handful."""

_KINDS: Final = (
    frozenset({"pwd", "pin", "kba", FEDERATED}),
    frozenset({CODE, "hwk", "swk", "sc", "pop", "sms", "tel"}),
    frozenset({"face", "fpt", "iris", "retina", "vbm"}),
)
"""What one knows, has, and is (RFC 8176 §2): two of a kind are one factor."""


def auth_time_of(claims: Mapping[str, Any]) -> float | None:
    """Return a token's `auth_time`, epoch seconds; `None` where it has none that is a time."""
    at = claims.get("auth_time")
    if isinstance(at, bool) or not isinstance(at, int | float) or not math.isfinite(at):
        return None
    return float(at)


def amr_of(claims: Mapping[str, Any]) -> tuple[str, ...]:
    """Return a token's `amr`; nothing where it is not a list of texts."""
    amr = claims.get("amr")
    if not isinstance(amr, list) or len(amr) > MAX_METHODS:
        return ()
    return tuple(amr) if all(isinstance(one, str) for one in amr) else ()


def is_mfa(amr: Sequence[str]) -> bool:
    """Tell whether `amr` says that factors of two kinds were proved."""
    return SEVERAL in amr or sum(not kind.isdisjoint(amr) for kind in _KINDS) > 1


def amr_with_code(before: Iterable[str] = PASSWORD) -> tuple[str, ...]:
    """Return the `amr` of somebody who has proved a code, after what `before` says.

    That there were several factors it says only where `before` names one of another kind: who was
    vouched for by an operator, and sets up an app then, has proved one.
    """
    ways = (*before, CODE)
    return tuple(dict.fromkeys((*ways, SEVERAL) if is_mfa(ways) else ways))


class Proved(Protocol):
    """What says when and how somebody last proved who they are: an identity, or a session."""

    @property
    def auth_time(self) -> float | None:
        """Epoch seconds; `None` where nothing says."""
        ...

    @property
    def amr(self) -> tuple[str, ...]:
        """The methods (RFC 8176)."""
        ...


def age_s(proved: Proved, now: float) -> float:
    """Return how many seconds ago the last factor was proved; infinite where nothing says."""
    at = proved.auth_time
    if at is None or not at <= now + CLOCK_SKEW_S:
        return math.inf
    return max(0.0, now - at)


@dataclass(frozen=True, slots=True)
class Freshness:
    """What `require:` says of the time since somebody proved who they are, in seconds."""

    mfa_within: float | None = None
    login_within: float | None = None

    def __bool__(self) -> bool:
        return self.mfa_within is not None or self.login_within is not None

    @property
    def max_age_s(self) -> float:
        """How old a proof may be that satisfies everything; infinite where any does."""
        given = [limit for limit in (self.mfa_within, self.login_within) if limit is not None]
        return min(given, default=math.inf)

    def check(self, proved: Proved, now: float) -> Refusal | None:
        """Return `None`, or a `step_up_required` whose detail is for the log."""
        age = age_s(proved, now)
        if self.mfa_within is not None:
            if not is_mfa(proved.amr):
                return Refusal("step_up_required", "two factors are wanted, amr says less")
            if age >= self.mfa_within:
                return _too_old(age, "mfa_within", self.mfa_within)
        if self.login_within is not None and age >= self.login_within:
            return _too_old(age, "login_within", self.login_within)
        return None

    def ends_at(self, proved: Proved) -> float:
        """Return the epoch seconds from which on `check` refuses who passes it now."""
        if not self or proved.auth_time is None:
            return math.inf
        return proved.auth_time + self.max_age_s


def challenge(realm: bytes, max_age_s: float) -> Header:
    """Return the WWW-Authenticate that asks a token's holder for a newer proof (RFC 9470 §3)."""
    value = b'Bearer realm="%b", error="insufficient_user_authentication", max_age="%d"'
    return b"WWW-Authenticate", value % (realm, int(max_age_s))


def _too_old(age: float, key: str, limit: float) -> Refusal:
    told = "nothing says when" if age == math.inf else f"{age:.0f} s ago"
    return Refusal("step_up_required", f"{key}: {limit:g} s; the last factor: {told}")
