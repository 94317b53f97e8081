"""Sessions in the store of an application; they are only ever read (security.md, S12).

An application writes or touches its session on nearly every request. A verdict that has become
stale is kept aside with a digest of all that it was read from: the next request pays one look-up,
and equal bytes restore it undecoded (design.md §5).
"""

from __future__ import annotations

from asyncio import Future
from contextlib import suppress
from dataclasses import dataclass, replace
from math import inf
from typing import Any, Final

from proxy.adapters.store.link import ReplyError
from proxy.core.coherence import Finding, Key, Verdict
from proxy.core.formats.port import (
    MAX_GUARD_BYTES,
    Format,
    Guard,
    Record,
    digest_of,
    open_record,
    weight_of,
)
from proxy.core.mapping import IdentityReader
from proxy.errors import StoreUnavailable
from proxy.model import Absent, Identity
from proxy.services.coherence import Kept, Ledger
from proxy.services.schemes.port import Found, Holds

WRONG_TYPE: Final = "WRONGTYPE"
"""The error for a key of another type: nobody's session, and no outage."""

_NO_ID: Final = Absent("session_unknown", "the cookie cannot be a session's id")
_NOT_ONE: Final = Absent("session_unknown", "the key holds something else than a session")
_OVER: Final = Absent("session_expired", "its application takes it for over")
_ENDED: Final = Absent("session_unknown", "ended together with all sessions of its user")
_TOO_LARGE: Final = Absent("session_unknown", "the record's fields are too large")
_CHANGED: Final = "the record changed while it was read"


@dataclass(frozen=True, slots=True)
class ForeignRecords:
    """The sessions of one application."""

    ledger: Ledger
    scheme: str
    form: Format
    reader: IdentityReader

    def known(self, found: Found, key: Key, now: float) -> Identity | Absent | None:
        """Return what the verdict says at `now`; the life of the key is in it."""
        finding = self.ledger.find(found, key)
        if finding is None:
            return None
        self.ledger.hit(found, key, finding)
        return _told(finding, now)

    async def look_up(self, found: Found, key: Key, now: float) -> Identity | Absent:
        """Look the record up, and how long it still lives: its key's life is the session's."""
        flight = found.looked_up(key) or self.begin(found, key, now)
        if flight is None:
            rest = self.form.locate(found.value)
            if rest is None:
                return _NO_ID
            guard = None
            if self.form.fields and await self._is_too_large(rest):
                return _TOO_LARGE
            # Where there is no answer there is none to the look-up either, which says what may serve instead (R8).
            with suppress(StoreUnavailable):
                guard = await self._guard_of(rest) if self.form.has_guard else None
            flight = self.ledger.flight(key) or self._ask(key, rest, guard)
        return _told(await self.ledger.wait_for(flight, found, key), now)

    def begin(self, found: Found, key: Key, now: float) -> Future[Finding] | None:
        """Begin to look the record up; `None` where the cookie cannot be a session's id.

        And where something has to be asked before: a hash's size, or a second key whose name stands in
        the record.
        """
        del now
        flight = self.ledger.flight(key)
        if flight is not None:
            return flight
        if self.form.has_guard or self.form.fields:
            return None
        rest = self.form.locate(found.value)
        return None if rest is None else self._ask(key, rest, None)

    def stand(self, found: Found, key: Key) -> Holds | None:
        """Return what asks the verdict: the life of the key is in it."""
        del found
        vouched = self.ledger.vouched(key)
        if vouched is None:
            return None
        ends_at = vouched.verdict.not_after
        return lambda now, mono, _address: now < ends_at and vouched.holds(mono)

    def use(self, found: Found, key: Key, now: float) -> bool:
        """Do nothing: its application counts what is a use."""
        del found, key, now
        return True

    def _ask(self, key: Key, rest: str, guard: Guard | None) -> Future[Finding]:
        """Ask for the record, the life of its key, and what a guard's key holds."""
        store_key = self._key(rest)
        commands: list[tuple[Any, ...]] = [self._reading_of(store_key), ("PTTL", store_key)]
        keys = [store_key]
        if guard is not None:
            keys.append(self._key(guard.key))
            commands.append(("GETRANGE", keys[1], 0, MAX_GUARD_BYTES))

        def fill(replies: list[Any], sent_at: float) -> Kept:
            return self._read(key, rest, guard, tuple(keys), replies, sent_at)

        return self.ledger.look_up(key, commands, fill, tuple(keys), required=0)

    async def _guard_of(self, rest: str) -> Guard | None:
        """Return the guard that the record names now; what it says is asked with the record again."""

        def take(replies: list[Any], _sent_at: float) -> Guard | None:
            record = self._record(replies[0])
            _, reading = open_record(self.form, record, rest, self.reader, scheme=self.scheme)
            return None if reading is None else reading.guard

        guard: Guard | None = await self.ledger.ask((self._reading_of(self._key(rest)),), take)
        return guard

    async def _is_too_large(self, rest: str) -> bool:
        """Tell whether a hash's fields are more than is read: HMGET would fetch them whole (S12).

        One field of many megabytes holds up every other session that is asked for on the connection.
        Where the user may not ask (HSTRLEN), or there is no answer, the look-up says what there is.
        """

        def take(replies: list[Any], _sent_at: float) -> bool:
            return sum(size for size in replies if isinstance(size, int)) > self.form.max_bytes

        key = self._key(rest)
        commands = [("HSTRLEN", key, field) for field in self.form.fields]
        with suppress(StoreUnavailable):
            found: bool = await self.ledger.ask(commands, take)
            return found
        return False

    def _reading_of(self, store_key: bytes) -> tuple[Any, ...]:
        """Return the command, which fetches no more of a string than a session may have.

        Of a hash the size is asked for before (`_is_too_large`).
        """
        if self.form.fields:
            return ("HMGET", store_key, *self.form.fields)
        return ("GETRANGE", store_key, 0, self.form.max_bytes)

    def _key(self, rest: str) -> bytes:
        return (self.form.prefix + rest).encode()

    def _read(
        self,
        key: Key,
        rest: str,
        guard: Guard | None,
        store_keys: tuple[bytes, ...],
        replies: list[Any],
        sent_at: float,
    ) -> Kept:
        value, life_ms, *marks = replies
        record = self._record(value)
        if isinstance(value, ReplyError):
            return Kept(_NOT_ONE, store_keys=store_keys)
        mark = _string(marks[0]) if marks else None
        parts = [record] if isinstance(record, bytes | None) else list(record.values())
        digest = digest_of([*parts, mark])
        finding = self._finding(key, rest, guard, record, mark, digest)
        if isinstance(life_ms, ReplyError):  # not permitted: without its life it is not kept
            return Kept(finding, is_kept=False)
        until = inf if life_ms == -1 else sent_at + life_ms / 1000
        if record is None:
            until = inf
        size = 0 if isinstance(finding, Absent) else finding.weight
        return Kept(finding, store_keys=store_keys, size=size, until=until)

    def _finding(
        self,
        key: Key,
        rest: str,
        guard: Guard | None,
        record: Record | None,
        mark: bytes | None,
        digest: bytes,
    ) -> Finding:
        """Return what the replies say."""
        before = self.ledger.aside(key)
        if before is not None and before.record_digest == digest:
            self.ledger.restored()
            return replace(before)
        told, reading = open_record(self.form, record, rest, self.reader, scheme=self.scheme)
        named = None if reading is None else reading.guard
        if (None if named is None else named.key) != (None if guard is None else guard.key):
            raise StoreUnavailable(_CHANGED)
        if isinstance(told, Absent) or reading is None:
            return told if isinstance(told, Absent) else _NOT_ONE
        if named is not None and named.is_over(mark):
            return _ENDED
        weight = weight_of(reading.members)
        return Verdict(told, not_after=reading.ends_at, record_digest=digest, weight=weight)

    def _record(self, value: Any) -> Record | None:
        """Return the record that is a reply; `None`: there is none. Raises `StoreUnavailable`."""
        if isinstance(value, ReplyError):
            if value.kind != WRONG_TYPE:
                raise StoreUnavailable(f"the application's store refused: {value.kind}")
            return None
        if not self.form.fields:
            return value or None
        fields = dict(zip(self.form.fields, value, strict=True))
        return fields if any(one is not None for one in value) else None


def _string(mark: Any) -> bytes | None:
    """Return what a guard's key holds; of another type it is no time, and ends the session."""
    if isinstance(mark, ReplyError):
        if mark.kind != WRONG_TYPE:
            raise StoreUnavailable(f"the application's store refused: {mark.kind}")
        return b"?"
    return mark or None


def _told(finding: Finding, now: float) -> Identity | Absent:
    if isinstance(finding, Absent):
        return finding
    return finding.identity if now < finding.not_after else _OVER
