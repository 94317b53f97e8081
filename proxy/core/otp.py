"""One-time passwords: which codes a secret gives (RFC 6238), and what a person's record says.

Authenticator apps agree on one form only: SHA-1, six digits, steps of 30 s. What never belongs
here: the store, what seals a record in it, and counting attempts.
"""

from __future__ import annotations

import base64
import hmac
import re
import secrets
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any, Final

import pyotp

from proxy.core.compact import to_json
from proxy.core.strict_json import BadJson, loads_object

STEP_S: Final = 30
DRIFT_STEPS: Final = 1
"""Steps before and after the present one that are taken too (RFC 6238 §5.2)."""
SECRET_BYTES: Final = 20
"""160 bits, as RFC 4226 §4 (R6) recommends."""
RECOVERY_CODES: Final = 10
MAX_CODE_CHARS: Final = 64
"""Longer texts are no code; they are not even hashed."""
MAX_RECORD_BYTES: Final = 16 * 1024

_VERSION: Final = 1
_RECOVERY_BYTES: Final = 10
"""80 bits: nobody finds one from its hash."""
_SIX_DIGITS: Final = re.compile(r"[0-9]{6}")
_RECOVERY: Final = re.compile(r"[a-z2-7]{16}")
_LOOKALIKES: Final = str.maketrans("018", "olb")
"""Base32 has none of the digits that are taken for a letter."""


class NoOtpRecord(ValueError):
    """What was sealed is no record of this person; the text never quotes it."""


@dataclass(frozen=True, slots=True)
class OtpRecord:
    """What the store keeps of one person, sealed."""

    subject: str
    secret: bytes
    since: float
    """Epoch seconds at which the secret was made."""
    used_step: int = -1
    """The latest step whose code was taken: neither it nor an earlier one is taken again."""
    recovery: tuple[str, ...] = ()
    """Hashes of the recovery codes that are left."""
    holder: str = ""
    """While nothing confirms it: the digest of who began it, and alone may see and confirm it."""

    @property
    def base32(self) -> str:
        """The secret as people type it into an app."""
        return base64.b32encode(self.secret).decode("ascii")

    def __repr__(self) -> str:
        return f"OtpRecord({self.subject!r})"


def new_record(subject: str, now: float, *, holder: str = "") -> tuple[OtpRecord, tuple[str, ...]]:
    """Return a record with a new secret, and its recovery codes in the clear."""
    record = OtpRecord(subject, secrets.token_bytes(SECRET_BYTES), now, holder=holder)
    return with_new_recovery(record)


def with_new_recovery(record: OtpRecord) -> tuple[OtpRecord, tuple[str, ...]]:
    """Return the record with new recovery codes in the place of the old, and these in the clear."""
    codes = tuple(_recovery_code() for _ in range(RECOVERY_CODES))
    hashes = tuple(_recovery_hash(record.subject, _plain(code)) for code in codes)
    return replace(record, recovery=hashes), codes


def spend(record: OtpRecord, code: str, now: float) -> OtpRecord | None:
    """Return the record after `code` was taken at `now`, or `None` where it is not a good one.

    A code of an app is good within a step of its time, once, and not after a later one; a recovery
    code is good once.
    """
    if len(code) > MAX_CODE_CHARS:
        return None
    plain = _plain(code)
    if _SIX_DIGITS.fullmatch(plain):
        step = _step_of(record, plain, now)
        return None if step is None else replace(record, used_step=step)
    plain = plain.translate(_LOOKALIKES)
    if not _RECOVERY.fullmatch(plain):
        return None
    wanted = _recovery_hash(record.subject, plain)
    left = tuple(one for one in record.recovery if not hmac.compare_digest(one, wanted))
    return None if len(left) == len(record.recovery) else replace(record, recovery=left)


def code_at(secret: bytes, now: float) -> str:
    """Return the code that an app with `secret` shows at `now`."""
    return _totp(secret).generate_otp(int(now // STEP_S))


def provisioning_uri(record: OtpRecord, *, account: str, issuer: str) -> str:
    """Return the `otpauth:` address that apps read from a QR code."""
    return pyotp.TOTP(record.base32).provisioning_uri(name=account, issuer_name=issuer)


def encode(record: OtpRecord) -> bytes:
    """Return what is to be sealed."""
    return to_json(
        {
            "v": _VERSION,
            "sub": record.subject,
            "secret": record.base32,
            "since": record.since,
            "step": record.used_step,
            "recovery": record.recovery,
            "holder": record.holder,
        }
    )


def decode(raw: bytes, subject: str) -> OtpRecord:
    """Return the record that was sealed for `subject`; raises `NoOtpRecord` for anything else."""
    try:
        members = loads_object(raw, max_bytes=MAX_RECORD_BYTES)
    except BadJson as bad:
        raise NoOtpRecord(str(bad)) from None
    if members.get("v") != _VERSION or members.get("sub") != subject:
        raise NoOtpRecord("another version, or another person")
    try:
        return OtpRecord(
            subject=subject,
            secret=base64.b32decode(members["secret"]),
            since=float(members["since"]),
            used_step=int(members["step"]),
            recovery=_hashes(members["recovery"]),
            holder=str(members.get("holder", "")),
        )
    except (KeyError, TypeError, ValueError):
        raise NoOtpRecord("a member is missing or of another kind") from None


def _step_of(record: OtpRecord, code: str, now: float) -> int | None:
    """Return the latest unused step whose code this is; every candidate is compared."""
    totp = _totp(record.secret)
    present = int(now // STEP_S)
    found = None
    for step in range(max(0, present - DRIFT_STEPS), present + DRIFT_STEPS + 1):
        is_equal = hmac.compare_digest(totp.generate_otp(step), code)
        if is_equal and step > record.used_step:
            found = step
    return found


def _totp(secret: bytes) -> pyotp.TOTP:
    return pyotp.TOTP(base64.b32encode(secret).decode("ascii"), interval=STEP_S)


def _plain(code: str) -> str:
    """Return a code without the spaces and dashes by which people read it."""
    return code.replace(" ", "").replace("-", "").lower()


def _recovery_code() -> str:
    text = base64.b32encode(secrets.token_bytes(_RECOVERY_BYTES)).decode("ascii").lower()
    return "-".join(text[start : start + 4] for start in range(0, len(text), 4))


def _recovery_hash(subject: str, plain: str) -> str:
    return sha256(to_json({"sub": subject, "code": plain})).hexdigest()


def _hashes(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise ValueError("not a list of texts")
    return tuple(value)
