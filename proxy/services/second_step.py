"""The second step of a sign-in: what stands between a password that was right and a session.

The browser holds a random id, the store what was proved so far. What never belongs here: checking a
factor, and making the session.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Any, Final, Literal

from proxy.adapters.store.port import Store
from proxy.core.compact import to_json
from proxy.core.formats.native import cookie_digest
from proxy.core.strict_json import BadJson, loads_object
from proxy.services.otp import OneTimePasswords
from proxy.services.sessions import Beginning

LIFE_S: Final = 300.0
"""How long a sign-in waits for its second step."""
MAX_RECORD_BYTES: Final = 8 * 1024
_ID_BYTES: Final = 32

AtLogin = Literal["required", "optional", "never"]
Wanted = Literal["nothing", "code", "enrolment"]
"""What a sign-in still wants: `enrolment`: an app has to be set up first."""


@dataclass(frozen=True, slots=True)
class PendingLogin:
    """A sign-in whose password was right."""

    name: str
    """What was typed as the name: the account by which guesses are counted."""
    subject: str
    began: Beginning
    """Where the sign-in began, before the password was checked (security.md, R6)."""
    next: str
    """Where the person wants to go; it is checked again at use (S4)."""
    is_remembered: bool
    at: float
    """When the password was right, in epoch seconds."""


class SecondStep:
    """The sign-ins that wait for a code. Every method raises `StoreUnavailable`."""

    def __init__(
        self, store: Store, otp: OneTimePasswords | None, *, prefix: str, at_login: AtLogin
    ) -> None:
        self._store = store
        self._otp = otp
        self._prefix = prefix
        self._at_login = at_login

    async def wanted(self, subject: str) -> Wanted:
        """Return what a sign-in of `subject` wants after the password."""
        if self._otp is None or self._at_login == "never":
            return "nothing"
        if await self._otp.is_enrolled(subject):
            return "code"
        return "enrolment" if self._at_login == "required" else "nothing"

    async def begin(self, pending: PendingLogin, now: float) -> str:
        """Keep a sign-in, and return the value of the cookie by which it is found again."""
        cookie = secrets.token_urlsafe(_ID_BYTES)
        marks = [None if mark is None else mark.hex() for mark in pending.began.marks]
        record = to_json(
            {
                "name": pending.name,
                "sub": pending.subject,
                "marks": marks,
                "next": pending.next,
                "remember": pending.is_remembered,
                "at": pending.at,
            }
        )
        await self._store.put(self._key(cookie), record, ttl_s=max(1.0, pending.at + LIFE_S - now))
        return cookie

    async def find(self, cookie: str, now: float) -> PendingLogin | None:
        """Return the sign-in that waits; `None` for none, or one that has waited too long."""
        (record,) = await self._store.fetch([self._key(cookie)])
        pending = None if record is None else _read(record)
        if pending is None or not pending.at <= now < pending.at + LIFE_S:
            return None
        return pending

    async def end(self, cookie: str) -> bool:
        """Forget a sign-in; of several who finish one, one is told True."""
        return await self._store.delete(self._key(cookie)) > 0

    def _key(self, cookie: str) -> str:
        return f"{self._prefix}second_step:{{{cookie_digest(cookie)}}}"


def _read(record: bytes) -> PendingLogin | None:
    try:
        members: dict[str, Any] = loads_object(record, max_bytes=MAX_RECORD_BYTES)
        marks = tuple(None if mark is None else bytes.fromhex(mark) for mark in members["marks"])
        subject = str(members["sub"])
        return PendingLogin(
            name=str(members["name"]),
            subject=subject,
            began=Beginning(subject, marks),
            next=str(members["next"]),
            is_remembered=members["remember"] is True,
            at=float(members["at"]),
        )
    except (BadJson, KeyError, TypeError, ValueError):
        return None
