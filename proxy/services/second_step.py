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
from proxy.services.login import Half, Wanted
from proxy.services.otp import OneTimePasswords
from proxy.services.sessions import Beginning

LIFE_S: Final = 300.0
"""How long a sign-in waits for its second step."""
MAX_RECORD_BYTES: Final = 8 * 1024
_ID_BYTES: Final = 32

AtLogin = Literal["required", "optional", "never"]


@dataclass(frozen=True, slots=True)
class PendingLogin:
    """A sign-in that waits for a code."""

    half: Half
    next: str
    """Where the person wants to go; it is checked again at use (S4)."""


class SecondStep:
    """The sign-ins that wait for a code. Every method raises `StoreUnavailable`."""

    def __init__(
        self, store: Store, otp: OneTimePasswords | None, *, prefix: str, at_login: AtLogin
    ) -> None:
        self._store = store
        self.otp = otp
        self._prefix = prefix
        self._at_login = at_login

    async def wanted(self, subject: str) -> Wanted:
        """Return what a sign-in of `subject` wants after the password."""
        if self.otp is None or self._at_login == "never":
            return "nothing"
        if await self.otp.is_enrolled(subject):
            return "code"
        return "enrolment" if self._at_login == "required" else "nothing"

    async def is_enrolled(self, subject: str) -> bool:
        """Tell whether `subject` has a code, whether or not the sign-in asks for it."""
        return self.otp is not None and await self.otp.is_enrolled(subject)

    async def check(self, subject: str, code: str, now: float) -> bool:
        """Take a code, once (see services.otp)."""
        return self.otp is not None and await self.otp.check(subject, code, now)

    async def confirm(self, subject: str, holder: str, code: str, now: float) -> bool:
        """Put an app in force that was set up in the step of this digest (see services.otp)."""
        return self.otp is not None and await self.otp.confirm(subject, holder, code, now)

    async def begin(self, pending: PendingLogin, now: float) -> str:
        """Keep a sign-in, and return the value of the cookie by which it is found again."""
        cookie = secrets.token_urlsafe(_ID_BYTES)
        half = pending.half
        marks = [None if mark is None else mark.hex() for mark in half.began.marks]
        record = to_json(
            {
                "name": half.name,
                "sub": half.subject,
                "marks": marks,
                "became": half.became,
                "next": pending.next,
                "remember": half.is_remembered,
                "at": half.at,
            }
        )
        await self._store.put(self._key(cookie), record, ttl_s=max(1.0, half.at + LIFE_S - now))
        return cookie

    async def find(self, cookie: str, now: float) -> PendingLogin | None:
        """Return the sign-in that waits; `None` for none, or one that has waited too long."""
        (record,) = await self._store.fetch([self._key(cookie)])
        pending = None if record is None else _read(record)
        if pending is None or not 0 <= now - pending.half.at < LIFE_S:
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
        half = Half(
            name=str(members["name"]),
            subject=subject,
            began=Beginning(subject, marks),
            became=str(members["became"]),
            is_remembered=members["remember"] is True,
            at=float(members["at"]),
        )
        return PendingLogin(half, str(members["next"]))
    except (BadJson, KeyError, TypeError, ValueError):
        return None
