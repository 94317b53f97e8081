"""Where a session scheme's records are; and the gate's own.

What was found stays in the worker's verdicts; a hit is compared with the clock here, every time.
"""

from __future__ import annotations

import contextlib
import math
from asyncio import Future
from dataclasses import dataclass
from math import inf
from typing import Any, Final, Protocol

from proxy.adapters.store.link import ReplyError
from proxy.core.coherence import Finding, Key, Verdict
from proxy.core.formats import native
from proxy.core.strict_json import memory_of
from proxy.errors import StoreUnavailable
from proxy.model import Absent, Identity
from proxy.services.audit import Audit, Event
from proxy.services.coherence import Kept, Ledger
from proxy.services.schemes.port import Found, Holds
from proxy.services.sessions import Sessions
from proxy.services.uses import Uses

MAX_COOKIE_BYTES: Final = 4096
"""What a browser keeps of one cookie (RFC 6265bis §5.6); longer ones are nobody's session."""
TOUCH_RETRY_S: Final = 1.0
"""After a use could not be written."""
_COPIES: Final = 6
"""Bytes that a decoded record takes, for each byte of the record (measured)."""

_NO_ID: Final = Absent("session_unknown", "the cookie cannot be a session's id")


class SessionRecords(Protocol):
    """Finds the identity behind a session cookie."""

    @property
    def ledger(self) -> Ledger:
        """The scheme's verdicts."""
        ...

    def known(self, found: Found, key: Key, now: float) -> Identity | Absent | None:
        """Return whose session it is at `now` if a verdict says so; `None`: look it up."""
        ...

    async def look_up(self, found: Found, key: Key, now: float) -> Identity | Absent:
        """Return whose session it is at `now`. Raises `StoreUnavailable`."""
        ...

    def begin(self, found: Found, key: Key, now: float) -> Future[Finding] | None:
        """Begin to look the session up; `None` where that takes more than one step."""
        ...

    def stand(self, found: Found, key: Key) -> Holds | None:
        """Return what says whether a verdict still holds; `None` where there is none."""
        ...

    def use(self, found: Found, key: Key, now: float) -> bool:
        """Count a use by an open connection; False where that has to be tried again later."""
        ...


@dataclass(frozen=True, slots=True)
class NativeRecords:
    """The gate's own sessions (reference.md §4)."""

    ledger: Ledger
    sessions: Sessions
    uses: Uses
    scheme: str
    origin: str
    idle_timeout: float
    lifetime: float
    remember: float | None = None
    """The longest life of a remembered session; `None`: none is."""
    is_bound: bool = False
    """True where a session opens nothing elsewhere than it is bound to."""
    ends_moved: bool = True
    """True where it then ends; False: it asks for a factor."""
    audit: Audit | None = None
    """Where it is noted that it did."""

    def known(self, found: Found, key: Key, now: float) -> Identity | Absent | None:
        """Return what the verdict says at `now`.

        Another worker may have seen a session that seems idle here: it is looked up once more.
        """
        finding = self.ledger.find(found, key)
        if finding is None:
            return None
        if isinstance(finding, Verdict) and self._over(finding, now) is not None:
            return None
        self.ledger.hit(found, key, finding)
        return self._told(finding, found, key, now)

    async def look_up(self, found: Found, key: Key, now: float) -> Identity | Absent:
        """Look up record, last use, and how long the record still lives in the store."""
        flight = found.looked_up(key) or self.begin(found, key, now)
        if flight is None:
            if len(found.value) > MAX_COOKIE_BYTES:
                return _NO_ID
            # Asked where nothing is tracked: a flood of ids must not fill the server's table (R9).
            if not await self.sessions.is_there(key[2].hex()):
                return Absent("session_unknown", "no such session")
            flight = self._ask(key)
        finding = await self.ledger.wait_for(flight, found, key)
        return self._told(finding, found, key, now)

    def begin(self, found: Found, key: Key, now: float) -> Future[Finding] | None:
        """Begin the look-up; `None` for what cannot be an id, and in a flood of unknown ones."""
        del now
        flight = self.ledger.flight(key)
        if flight is not None:
            return flight
        if len(found.value) > MAX_COOKIE_BYTES or self.ledger.is_flooded(found):
            return None
        return self._ask(key)

    def _ask(self, key: Key) -> Future[Finding]:
        digest = key[2].hex()
        session_key = self.sessions.session_key(digest).encode()
        seen_key = self.sessions.seen_key(digest).encode()

        def fill(replies: list[Any], sent_at: float) -> Kept:
            return self._read(session_key, replies, sent_at)

        commands = (("MGET", session_key, seen_key), ("PTTL", session_key))
        return self.ledger.look_up(key, commands, fill, (session_key,))

    def stand(self, found: Found, key: Key) -> Holds | None:
        """Return what compares the verdict with the clock and the client, and counts the use."""
        vouched = self.ledger.vouched(key)
        if vouched is None:
            return None
        verdict, binding, agent = vouched.verdict, vouched.verdict.binding, found.agent
        begins_at, ends_at, idle_s = verdict.not_before, verdict.not_after, verdict.idle_s
        is_touch_due = self.sessions.is_touch_due

        def holds(now: float, mono: float, address: str | None) -> bool:
            seen_at = verdict.seen_at
            if not begins_at <= now < ends_at or now >= seen_at + idle_s:
                return False
            if binding is not None and binding.broken_by(address, agent) is not None:
                return False
            if not vouched.holds(mono):
                return False
            if not verdict.has_seen or is_touch_due(seen_at, now):
                self._use(verdict, key, now)
            return True

        return holds

    def _read(self, session_key: bytes, replies: list[Any], sent_at: float) -> Kept:
        (record, seen), life_ms = replies
        told = native.facts(
            record,
            seen,
            lifetime=self.lifetime,
            scheme=self.scheme,
            origin=self.origin,
            remember=self.remember,
        )
        # Of the session's key alone: its use, under another key, changes nobody's verdict.
        if isinstance(told, Absent):
            return Kept(told, store_keys=(session_key,))
        verdict = Verdict(
            told.identity,
            not_before=told.begins_at,
            not_after=told.ends_at,
            seen_at=told.seen_at,
            has_seen=native.read_time(seen) is not None,
            idle_s=math.inf if told.is_remembered else self.idle_timeout,
            binding=told.binding if self.is_bound else None,
        )
        # The record says when it ends, and its key may be made to end earlier; who may not ask for
        # that goes by the record.
        until = inf if isinstance(life_ms, ReplyError) else _until(life_ms, sent_at)
        size = _size(record or b"")
        return Kept(verdict, store_keys=(session_key,), size=size, until=until)

    def _over(self, verdict: Verdict, now: float) -> Absent | None:
        return native.over_at(
            now,
            begins_at=verdict.not_before,
            ends_at=verdict.not_after,
            idle_at=verdict.seen_at + verdict.idle_s,
        )

    def _told(self, finding: Finding, found: Found, key: Key, now: float) -> Identity | Absent:
        if isinstance(finding, Absent):
            return finding
        over = self._over(finding, now)
        if over is not None:
            return over
        if finding.binding is not None:
            broken = finding.binding.broken_by(found.address, found.agent)
            if broken is not None:
                return self._moved(found, key, finding, broken, now)
        if found.is_request:
            self._use(finding, key, now)
        return finding.identity

    def _moved(self, found: Found, key: Key, verdict: Verdict, broken: str, now: float) -> Absent:
        """End a session that is used elsewhere, or have its owner prove that it is them."""
        if not self.ends_moved:
            return Absent("step_up_required", broken)
        if found.is_request:
            ending = self._end(found, key, verdict.identity.subject, broken, now)
            self.ledger.behind(ending, name="session used elsewhere")
        return Absent("session_moved", broken)

    async def _end(self, found: Found, key: Key, subject: str, why: str, now: float) -> None:
        """End a session and note from where it was used, once: whoever used it may be a thief."""
        digest, ended = key[2].hex(), False
        with contextlib.suppress(StoreUnavailable):  # then the next request there ends it
            ended = await self.sessions.end(digest, subject)
        if ended and self.audit is not None:
            agent = None if found.agent is None else found.agent.decode("utf-8", "backslashreplace")
            detail = f"{digest[:8]}, used elsewhere: {why}"
            self.audit.note(Event("session_ended", subject, found.address, agent, "", detail), now)

    def use(self, found: Found, key: Key, now: float) -> bool:
        """Count a use of a session whose verdict is known, and not over."""
        finding = self.ledger.find(found, key)
        if not isinstance(finding, Verdict) or self._over(finding, now) is not None:
            return False
        self._use(finding, key, now)
        return True

    def _use(self, verdict: Verdict, key: Key, now: float) -> None:
        """Write the use behind what used it, where one is due, at most one at a time."""
        is_due = not verdict.has_seen or self.sessions.is_touch_due(verdict.seen_at, now)
        if is_due and abs(now - verdict.touched_at) >= TOUCH_RETRY_S:
            verdict.touched_at = now
            self.uses.add(verdict, key, now)


def _size(record: bytes) -> int:
    """Return what a decoded record takes: many small values take more than their text says."""
    return max(_COPIES * len(record), memory_of(record))


def _until(life_ms: int, sent_at: float) -> float:
    """Return when a key's life is over, on the clock of `sent_at`.

    A key that expires is told of when the server finds it so, which may be much later: the gate
    counts for itself, from before the question was sent.
    """
    return inf if life_ms == -1 else sent_at + life_ms / 1000
