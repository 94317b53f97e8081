"""Factors that were proved beside an application's sessions: kept in the gate's own store, and looked up.

A factor counts for one session, the person whom that names now, the browser that proved it, and the app
that made the code. What is found stays in the worker's verdicts, and the store says when it changes. What
never belongs here: asking for a factor, and how old one may be.
"""

from __future__ import annotations

import logging
from asyncio import Future
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from proxy.adapters.secrets import SecretBox
from proxy.adapters.store.port import Store
from proxy.core.coherence import Finding, Key, Verdict
from proxy.core.formats.port import Format
from proxy.core.revocation import digest
from proxy.core.session_factors import (
    AMR,
    NoFactorRecord,
    SessionFactor,
    decode,
    digest_of,
    encode,
    new_token,
    person_of,
)
from proxy.errors import SecretsError
from proxy.model import Absent, Identity
from proxy.services.coherence import Kept, Ledger
from proxy.services.otp import OneTimePasswords
from proxy.services.schemes.port import Found

_NONE: Final = Absent("session_unknown", "no factor was proved beside this session")
_RECORD_BYTES: Final = 1000
"""What a factor takes in memory, about."""

_log = logging.getLogger("latchgate.otp")


@dataclass(frozen=True, slots=True)
class NewFactor:
    """A factor that has just been proved."""

    cookie: str = field(repr=False)
    """What the browser is given."""
    expires_at: float
    """Epoch seconds: no route takes it any more."""


@dataclass(frozen=True, slots=True)
class SessionFactors:
    """The factors beside the sessions of one scheme. Whatever asks the store raises `StoreUnavailable`."""

    ledger: Ledger
    store: Store
    box: SecretBox
    otp: OneTimePasswords
    """Of people whom applications name."""
    prefix: str
    """As `factors.foreign_prefix` has it."""
    scheme: str
    form: Format
    longest_s: float
    """How old a factor may be that any route takes."""

    def known(self, found: Found, identity: Identity) -> Finding | None:
        """Return what is known of the factor of `identity` beside a session; `None`: look it up."""
        key = self.key(found, identity)
        finding = self.ledger.find(found, key)
        if finding is not None:
            self.ledger.hit(found, key, finding)
        return finding

    async def look_up(self, found: Found, identity: Identity) -> Finding:
        """Look the factor up, and whether the app is still set up that made its code."""
        key = self.key(found, identity)
        flight = self.ledger.flight(key) or self._ask(found, identity, key)
        return await self.ledger.wait_for(flight, found, key)

    def key(self, found: Found, identity: Identity) -> Key:
        """Return what the verdict on a factor is kept under: session, browser and person."""
        session = self.form.locate(found.value) or ""
        asked = digest(session, found.beside.decode("latin-1"), identity.subject)
        return self.ledger.key(asked.encode())

    async def give(self, session: str, subject: str, *, since: float, now: float) -> NewFactor:
        """Keep a factor that was proved just now, in the place of an earlier one.

        `session` is what `Format.locate` says of the cookie, `since` when the app was set up.
        """
        token = new_token()
        factor = SessionFactor(subject, now, since, digest_of(token.encode()))
        key = self.record_key(session)
        await self.store.put(key, self.box.seal(encode(factor), key), ttl_s=self.longest_s)
        return NewFactor(token, now + self.longest_s)

    async def forget(self, session: str) -> None:
        """Forget what was proved beside a session that is over."""
        await self.store.delete(self.record_key(session))

    def record_key(self, session: str) -> str:
        """Return the key of the factor beside a session."""
        return f"{self.prefix}factor:{{{digest(self.scheme, session)}}}"

    def _ask(self, found: Found, identity: Identity, key: Key) -> Future[Finding]:
        record_key = self.record_key(self.form.locate(found.value) or "")
        otp_key = self.otp.record_key(person_of(self.scheme, identity.subject))
        keys = (record_key.encode(), otp_key.encode())

        def fill(replies: Sequence[Any], _sent_at: float) -> Kept:
            (record,), (enrolled,) = replies
            finding = self._finding(found, identity, record_key, record, enrolled)
            size = 0 if isinstance(finding, Absent) else _RECORD_BYTES
            return Kept(finding, store_keys=keys, size=size)

        commands = (("MGET", keys[0]), ("MGET", keys[1]))  # under two hash tags
        return self.ledger.look_up(key, commands, fill, keys, required=2)

    def _finding(
        self,
        found: Found,
        identity: Identity,
        record_key: str,
        record: bytes | None,
        enrolled: bytes | None,
    ) -> Finding:
        factor = self._opened(record_key, record)
        person = person_of(self.scheme, identity.subject)
        app = None if factor is None else self.otp.opened(person, enrolled)
        if factor is None or app is None:
            return _NONE
        is_theirs = factor.is_held_by(found.beside) and factor.subject == identity.subject
        if not is_theirs or factor.since != app.since:
            return _NONE
        proved = Identity(
            origin=identity.origin,
            subject=identity.subject,
            scheme=identity.scheme,
            auth_time=factor.at,
            amr=AMR,
        )
        return Verdict(proved, not_after=factor.at + self.longest_s)

    def _opened(self, key: str, sealed: bytes | None) -> SessionFactor | None:
        """Return a factor; one that was planted is none (S10)."""
        if sealed is None:
            return None
        try:
            return decode(self.box.open(sealed, key))
        except (SecretsError, NoFactorRecord) as planted:
            _log.critical("a factor in the store is not accepted: %s: %s", key, planted)
            return None
