"""Names and meaning of the deny-list in the store (reference.md §4; security.md, R3).

Pure: which keys a token depends on, and what the values found there say. Reading and writing them
is the work of services.revocations.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any, Final, NamedTuple

from proxy.core.mapping import as_text

MARKERS: Final = ("all", "iss", "jti", "sub", "sid", "subject")
"""What stands at each place of `RevocationKeys.for_token` and of the values read for it."""

ADOPTED_S: Final = 3.0
"""How long another history waits for the supervisor's word, which looks each second (R4)."""

_FOR_GOOD: Final = frozenset({"jti", "sid"})
"""These name one token or one session, which ends whenever its tokens say they were issued."""

_ALWAYS_ASKED: Final = 4
"""`all`, `iss`, `jti` and `sub`: fewer values are no answer of the store."""

_MAX_TIME_LENGTH: Final = 32


def canonical_array(values: Sequence[str]) -> bytes:
    """Return an array of strings as RFC 8785 writes it.

    Python's encoder escapes exactly what §3.2.2.2 escapes. Lone surrogates, which the RFC leaves
    out, keep bytes of their own, so that a hostile claim is an odd name and not an error.
    """
    text = json.dumps(list(values), ensure_ascii=False, separators=(",", ":"))
    return text.encode("utf-8", "surrogatepass")


def digest(*values: str) -> str:
    """Return H(x) of reference.md §4: hex SHA-256 of one text, or of several as an array."""
    if len(values) == 1:
        return sha256(values[0].encode("utf-8", "surrogatepass")).hexdigest()
    return sha256(canonical_array(values)).hexdigest()


class RevocationKeys:
    """The store keys of the deny-list, under one prefix; all carry one hash tag."""

    def __init__(self, prefix: str) -> None:
        self._base = f"{prefix}{{revoked}}:"
        self.epoch = f"{self._base}epoch"
        self.count = f"{self._base}count"
        self.all = f"{self._base}all"

    def for_issuer(self, issuer: str) -> str:
        """Return the key that revokes every token of `issuer`."""
        return f"{self._base}iss:{digest(issuer)}"

    def for_subject(self, issuer: str, subject: str) -> str:
        """Return the key that revokes every token of one person, (origin, subject) as in K6."""
        return f"{self._base}sub:{digest(issuer, subject)}"

    def for_jti(self, issuer: str, name: str) -> str:
        """Return the key that revokes one token, by its `jti` or the name that stands for it."""
        return f"{self._base}jti:{digest(issuer, name)}"

    def for_session(self, issuer: str, session: str) -> str:
        """Return the key that revokes every token of one session or refresh family (`sid`)."""
        return f"{self._base}sid:{digest(issuer, session)}"

    def for_token(
        self,
        issuer: str,
        claims: Mapping[str, Any],
        name: str,
        subject: str | None = None,
    ) -> tuple[str, ...]:
        """Return the keys that can revoke a verified token, in the order of `MARKERS`.

        `name` is the token's `jti`, or what stands for it: a digest of what it says, never of how
        it is encoded (a deny-list of raw tokens is escaped by re-encoding).
        `subject` is the identity's, which a scheme may take from another claim than `sub`: people
        are revoked by the name that is shown, so both are asked. A place that this token has no
        name for repeats `all`, which keeps the order and asks nothing new.
        """
        sub = as_text(claims.get("sub"))
        sid = as_text(claims.get("sid"))
        keys = [self.all, self.for_issuer(issuer), self.for_jti(issuer, name)]
        keys.append(self.all if sub is None else self.for_subject(issuer, sub))
        mapped = None if subject is None or subject == sub else subject
        if sid is not None or mapped is not None:
            keys.append(self.all if sid is None else self.for_session(issuer, sid))
        if mapped is not None:
            keys.append(self.for_subject(issuer, mapped))
        return tuple(keys)


class Believed(NamedTuple):
    """A history of revocations that is good."""

    epoch: bytes
    good_at: float
    """When it was last seen to be, in epoch seconds."""


class History:
    """Which history of revocations one worker believes (R4).

    A store that was emptied has no epoch, until somebody makes one: the supervisor, who revokes
    everything in the same step, or a gate that starts just then and knows of nothing. Between that
    and the supervisor's next look no marker says what had been revoked. So another epoch than the one
    before is believed when everything was revoked since this worker last saw its own, or when the
    supervisor has had the time to see to it.
    """

    def __init__(self, *, is_strict: bool = True) -> None:
        """Begin with whatever is seen first, unless `begin` says with what.

        Not `is_strict`: lost revocations are accepted.
        """
        self._is_strict = is_strict
        self._epoch: bytes | None = None
        self._good_at = -math.inf
        self._other: bytes | None = None
        self._other_since = math.inf

    def begin(self, believed: Believed) -> None:
        """Begin with the history that the gate knows: a worker may see its first token much later."""
        self._believe(believed.epoch, believed.good_at)

    def is_believed(self, epoch: bytes, all_at: bytes | None, *, now: float, mono: float) -> bool:
        """Tell whether markers that were read with `epoch` say all; `all_at` is that of `all`.

        `now` is epoch seconds before the store was asked, `mono` a clock that never jumps.
        """
        if self._epoch is None or epoch == self._epoch or not self._is_strict:
            return self._believe(epoch, now)
        if epoch != self._other:
            self._other, self._other_since = epoch, mono
        revoked_at = None if all_at is None else _time(all_at)
        if (revoked_at is not None and revoked_at >= self._good_at) or (
            mono - self._other_since >= ADOPTED_S
        ):
            return self._believe(epoch, now)
        return False

    def _believe(self, epoch: bytes, now: float) -> bool:
        self._epoch, self._good_at = epoch, now
        self._other = None
        return True


def is_revoked(values: Sequence[bytes | None], iat: object, leeway: float) -> str | None:
    """Return the marker (of `MARKERS`) that revokes the token, or `None`.

    `values` are what the store holds under `for_token`'s keys, `iat` the token's, `leeway` seconds.
    R3: a revocation at t refuses iat ≤ ceil(t) + leeway. A value that is no time, or a token that
    does not say when it was issued, is refused: a deny-list that cannot be read means no.
    """
    if len(values) < _ALWAYS_ASKED:
        return MARKERS[0]
    for marker, value in zip(MARKERS, values, strict=False):  # the last two are not always asked
        if value is None:
            continue
        if marker in _FOR_GOOD:
            return marker
        revoked_at = _time(value)
        if revoked_at is None or isinstance(iat, bool) or not isinstance(iat, int | float):
            return marker
        if not iat > math.ceil(revoked_at) + leeway:  # not `<=`: a NaN must not pass
            return marker
    return None


def revoked_since(values: Sequence[bytes | None], since: float) -> str | None:
    """Return the marker (of `MARKERS`) that revoked something at `since` or later, or `None`.

    `values` as for `is_revoked`, `since` epoch seconds: when that began which a token is to be issued
    on. A login or refresh family that was revoked since is over, though a token issued now would not
    be (R6). What cannot be read is taken for a revocation.
    """
    if len(values) < _ALWAYS_ASKED:
        return MARKERS[0]
    for marker, value in zip(MARKERS, values, strict=False):  # the last two are not always asked
        if value is None:
            continue
        revoked_at = _time(value)
        if marker in _FOR_GOOD or revoked_at is None or not revoked_at < since:
            return marker
    return None


def marker_life_s(max_lifetime: float, leeway: float) -> float:
    """Return how long a marker has to stay, in seconds, to outlive every token that it refuses."""
    return max_lifetime + 2 * leeway


def _time(value: bytes) -> float | None:
    """Return epoch seconds as the store holds them, or `None` if it is not such a text."""
    if len(value) > _MAX_TIME_LENGTH:
        return None
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
