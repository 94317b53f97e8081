"""One-time passwords of the people who sign in here: enrolled, checked, taken away.

A person's record is sealed under its own key (security.md, S10), the codes that were used included:
whoever can write to the store can neither plant a secret nor make a used code good again. What
never belongs here: counting attempts (S8), which callers do before they ask.
"""

from __future__ import annotations

import hmac
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from proxy.adapters.secrets import SecretBox
from proxy.adapters.store.port import Argument, Script, Store
from proxy.core import otp
from proxy.core.otp import NoOtpRecord, OtpRecord
from proxy.core.revocation import digest
from proxy.errors import SecretsError

PENDING_S: Final = 600.0
"""How long an enrolment waits for its first code."""
_ATTEMPTS: Final = 16
"""More changes of one record at one moment than there are good codes."""

_log = logging.getLogger("latchgate.otp")

# The record changes only if it still is what the code was compared with: of two who use one code
# at the same moment one wins, and a record that was removed does not come back (R6).
_EXCHANGE: Final = Script("""
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2])
return 1
""")

# Puts a pending enrolment (KEYS[2]) in the place of the record, once.
_CONFIRM: Final = Script("""
if redis.call('GET', KEYS[2]) ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[2])
redis.call('SET', KEYS[1], ARGV[2])
return 1
""")


@dataclass(frozen=True, slots=True)
class Enrolment:
    """A one-time password that was begun; everything in it is told once."""

    uri: str = field(repr=False)
    """`otpauth:` address, for a QR code."""
    secret: str = field(repr=False)
    """The same secret in base32, to be typed."""
    recovery_codes: tuple[str, ...] = field(repr=False)
    expires_at: float
    """Epoch seconds; it counts only when it is confirmed before."""


@dataclass(frozen=True, slots=True)
class Enrolled:
    """What a person may know of their one-time password."""

    since: float
    """Epoch seconds."""
    recovery_left: int


class OneTimePasswords:
    """The one-time passwords under one prefix of one store.

    `issuer` is what apps call this site. Every method raises `StoreUnavailable`. `subject` is that
    of a native session.
    """

    def __init__(self, store: Store, box: SecretBox, *, prefix: str, issuer: str) -> None:
        self._store = store
        self._box = box
        self._prefix = prefix
        self._issuer = issuer

    def record_key(self, subject: str) -> str:
        """Return the key of the record; it and `pending_key` share one hash tag."""
        return f"{self._prefix}otp:{{{digest(subject)}}}"

    def pending_key(self, subject: str) -> str:
        """Return the key of an enrolment that was not confirmed yet."""
        return f"{self._prefix}otp_pending:{{{digest(subject)}}}"

    async def is_enrolled(self, subject: str) -> bool:
        """Tell whether a code is asked of `subject`.

        A record that was not sealed for them counts too: nothing passes it, but nobody who can
        write to the store takes the question away by spoiling it.
        """
        return (await self._store.fetch([self.record_key(subject)]))[0] is not None

    async def state(self, subject: str) -> Enrolled | None:
        """Return what is enrolled; `None` for nothing that could be used."""
        found = await self._read(self.record_key(subject), subject)
        return None if found is None else Enrolled(found[1].since, len(found[1].recovery))

    async def check(self, subject: str, code: str, now: float) -> bool:
        """Take a code of the app, or a recovery code; each is taken once, by whichever worker.

        Attempts are not counted here.
        """
        key = self.record_key(subject)
        for _ in range(_ATTEMPTS):
            found = await self._read(key, subject)
            if found is None:
                return False
            after = otp.spend(found[1], code, now)
            if after is None:
                return False
            if await self._run(_EXCHANGE, [key], [found[0], self._sealed(key, after)]):
                return True
        return False

    async def begin(
        self, subject: str, holder: str, now: float, *, account: str | None = None
    ) -> Enrolment:
        """Make a secret and recovery codes, which replace nothing until they are confirmed.

        `holder` is the digest of the session, or of the second step of a sign-in, in which it is
        begun: no other sees or confirms it (S6). `account` is what apps call the person; the
        subject where absent. An enrolment that was begun before is forgotten, whoever held it.
        """
        record, codes = otp.new_record(subject, now, holder=holder)
        key = self.pending_key(subject)
        await self._store.put(key, self._sealed(key, record), ttl_s=PENDING_S)
        return self._enrolment(record, codes, account)

    async def pending(
        self, subject: str, holder: str, now: float, *, account: str | None = None
    ) -> Enrolment | None:
        """Return what `holder` began and waits for its first code; its recovery codes were told once."""
        found = await self._read(self.pending_key(subject), subject)
        if found is None or not _is_pending(found[1], holder, now):
            return None
        return self._enrolment(found[1], (), account)

    async def confirm(self, subject: str, holder: str, code: str, now: float) -> bool:
        """Put what `holder` began in force, if `code` is one of its app's. The code is then used.

        A recovery code confirms nothing: it says nothing of the app.
        """
        pending_key, key = self.pending_key(subject), self.record_key(subject)
        found = await self._read(pending_key, subject)
        if found is None or not _is_pending(found[1], holder, now):
            return False
        after = otp.spend(found[1], code, now)
        if after is None or after.used_step == found[1].used_step:
            return False
        after = replace(after, holder="")
        return await self._run(_CONFIRM, [key, pending_key], [found[0], self._sealed(key, after)])

    async def enrol(
        self, subject: str, now: float, *, account: str | None = None
    ) -> Enrolment | None:
        """Put a secret in force for whoever is given it; `None` where one is in force already.

        For an operator, who knows the person: nothing says that they have an app with the secret.
        """
        record, codes = otp.new_record(subject, now)
        key = self.record_key(subject)
        await self._store.delete(self.pending_key(subject))
        if not await self._store.put(key, self._sealed(key, record), only="new"):
            return None
        return self._enrolment(record, codes, account)

    def opened(self, subject: str, sealed: bytes | None) -> OtpRecord | None:
        """Return the record that `sealed` is; `None` for what was not sealed for `subject` (S10)."""
        return None if sealed is None else self._opened(self.record_key(subject), sealed, subject)

    async def renew_recovery(self, subject: str) -> tuple[str, ...] | None:
        """Return new recovery codes, told once; the old ones are worth nothing. `None`: no record."""
        key = self.record_key(subject)
        for _ in range(_ATTEMPTS):
            found = await self._read(key, subject)
            if found is None:
                return None
            after, codes = otp.with_new_recovery(found[1])
            if await self._run(_EXCHANGE, [key], [found[0], self._sealed(key, after)]):
                return codes
        return None

    async def remove(self, subject: str) -> bool:
        """Ask no code of `subject` any more; return whether one was asked."""
        await self._store.delete(self.pending_key(subject))  # first: it could be confirmed between
        return await self._store.delete(self.record_key(subject)) > 0

    def _enrolment(
        self, record: OtpRecord, codes: tuple[str, ...], account: str | None
    ) -> Enrolment:
        account = account or record.subject
        return Enrolment(
            uri=otp.provisioning_uri(record, account=account, issuer=self._issuer),
            secret=record.base32,
            recovery_codes=codes,
            expires_at=record.since + PENDING_S,
        )

    async def _read(self, key: str, subject: str) -> tuple[bytes, OtpRecord] | None:
        """Return a record as it stands in the store, and opened; a planted one is none (S10)."""
        (sealed,) = await self._store.fetch([key])
        if sealed is None:
            return None
        record = self._opened(key, sealed, subject)
        return None if record is None else (sealed, record)

    def _opened(self, key: str, sealed: bytes, subject: str) -> OtpRecord | None:
        try:
            return otp.decode(self._box.open(sealed, key), subject)
        except (SecretsError, NoOtpRecord) as planted:
            _log.critical("a one-time password in the store is not accepted: %s: %s", key, planted)
            return None

    async def _run(self, script: Script, keys: Sequence[str], args: Sequence[Argument]) -> bool:
        return bool(await self._store.run(script, keys, args))

    def _sealed(self, key: str, record: OtpRecord) -> bytes:
        return self._box.seal(otp.encode(record), key)


def _is_pending(record: OtpRecord, holder: str, now: float) -> bool:
    is_theirs = holder != "" and hmac.compare_digest(record.holder.encode(), holder.encode())
    return is_theirs and 0 <= now - record.since < PENDING_S
