"""The audit trail: who signed in, failed, was refused, signed out, and who ended what.

Each event is one structured line of the log and one entry of a stream in the store, which
`latchgate audit` shows and follows. Noting one never waits, never raises, and never holds up what
is noted. What the store does not take waits in a bounded queue; what that has no room for is
dropped, and the trail says how many there were. The stream is bounded too, so that one network may
fill no more than a share of it each minute: else whoever did something could push it out.
"""

from __future__ import annotations

import asyncio
import collections
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from proxy.adapters.store.port import Argument, Script, Store
from proxy.adapters.tasks import spawn
from proxy.adapters.telemetry.logs import AUDIT_LOGGER
from proxy.adapters.telemetry.text import clean
from proxy.core.binding import block_of
from proxy.core.shares import Shares
from proxy.errors import StoreUnavailable

KINDS: Final = frozenset(
    {
        "login",
        "login_failed",
        "login_second_step",
        "logout",
        "session_ended",
        "user_changed",
        "token_issued",
        "token_refreshed",
        "refresh_reused",
        "token_revoked",
        "otp_enrolled",
        "otp_failed",
        "otp_removed",
        "step_up",
    }
)
"""What the gate notes; `DROPPED` stands in the stream beside them."""
ANYBODYS: Final = frozenset({"login_failed"})
"""What anybody can bring about who has no credential at all."""
DROPPED: Final = "dropped"
"""The kind of the entry that says how many events are missing before it."""

MAX_KEPT: Final = 100_000
"""Entries of the stream, about: the server trims whole blocks."""
MAX_WAITING: Final = 10_000
"""Events that wait for the store at most."""
MAX_WORD: Final = 256
"""Characters of one value."""
RETRY_S: Final = 1.0
"""How long an outage is left alone."""
NETWORK_BITS: Final = 24
"""A network is a /24 of IPv4 or a /48 of IPv6, as where guesses are counted."""
FAILURES: Final = 60
"""Entries of `ANYBODYS` that one network may add to the stream in a minute, of each worker."""
ALL_FAILURES: Final = 600
"""The same of all networks together."""
EVENTS: Final = 600
"""Entries of each other kind that one network may add likewise."""
ALL_EVENTS: Final = 100_000
_BATCH: Final = 100

_log = logging.getLogger(AUDIT_LOGGER)

# KEYS: the stream. ARGV: how many entries it keeps, then for each event the number of its words
# and the words: name, value, name, value, …
_APPEND: Final = Script(
    """
local at = 2
while at <= #ARGV do
  local words = tonumber(ARGV[at])
  redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[1], '*', unpack(ARGV, at + 1, at + words))
  at = at + 1 + words
end
""",
    is_durable=False,
)

# KEYS: the stream. ARGV: the id of the last entry that is known, or nothing; how many at most.
_READ: Final = Script(
    """
if ARGV[1] ~= '' then
  return redis.call('XRANGE', KEYS[1], '(' .. ARGV[1], '+', 'COUNT', ARGV[2])
end
return redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', ARGV[2])
""",
    is_durable=False,
)


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to a credential. No member may be one."""

    kind: str
    """One of `KINDS`."""
    subject: str | None = None
    """Whose credential it is; of a failed login the account that was meant, where there is one."""
    address: str | None = None
    """The client's, as H5 sees it."""
    agent: str | None = None
    """The client's User-Agent."""
    request_id: str = ""
    detail: str = ""
    """What more is to be said, in the gate's own words."""


@dataclass(frozen=True, slots=True)
class Entry:
    """An event as the stream has it: every text is escaped already."""

    id: str
    """The stream's; later entries have higher ones."""
    at: float
    event: Event


def stream_key(prefix: str) -> str:
    """Return the key of the stream, under `store.prefix`."""
    return f"{prefix}audit"


class Audit:
    """Notes events. `store` is the gate's own, or `None` where it has none: then the log has them."""

    def __init__(
        self,
        store: Store | None,
        *,
        prefix: str,
        max_kept: int = MAX_KEPT,
        max_waiting: int = MAX_WAITING,
        retry_s: float = RETRY_S,
    ) -> None:
        self._store = store
        self._key = stream_key(prefix)
        self._max_kept = max_kept
        self._max_waiting = max_waiting
        self._retry_s = retry_s
        self._waiting: collections.deque[Mapping[str, str]] = collections.deque()
        self._dropped = 0
        self._failures = Shares(each=FAILURES, together=ALL_FAILURES)
        self._events = Shares(each=EVENTS, together=ALL_EVENTS)
        self._writer: asyncio.Task[None] | None = None

    def note(self, event: Event, now: float) -> None:
        """Note `event`, which happened at `now` (epoch seconds). Never raises, never waits."""
        try:
            self._note(event, now)
        except Exception as error:  # noqa: BLE001 - whoever signs in is not refused for our notes
            _log.error("an event could not be noted: %s", type(error).__name__)

    async def close(self, timeout_s: float = 1.0) -> None:
        """Let what waits be written, for at most `timeout_s`; never raises."""
        writer = self._writer
        if writer is not None:
            await asyncio.wait([writer], timeout=timeout_s)
            writer.cancel()
            await asyncio.wait([writer])
        self._dropped += len(self._waiting)
        self._waiting.clear()
        self._say_dropped()

    def _note(self, event: Event, now: float) -> None:
        fields = _words_of(event)
        _log.info("audit: %s", fields["kind"], extra={"fields": fields})
        if self._store is None:
            return
        if len(self._waiting) >= self._max_waiting or not self._has_share(event, now):
            self._dropped += 1
            return
        self._waiting.append({**fields, "at": repr(float(now))})
        if self._writer is None or self._writer.done():
            self._writer = spawn(self._write(self._store), name="audit trail")

    def _has_share(self, event: Event, now: float) -> bool:
        shares = self._failures if event.kind in ANYBODYS else self._events
        return shares.take(f"{event.kind} {block_of(event.address, NETWORK_BITS)}", now)

    async def _write(self, store: Store) -> None:
        """Write what waits, in order, until nothing does.

        A batch whose answer was lost is written again: an entry may stand twice, none is missing.
        """
        is_out = False
        while self._waiting:
            batch = [self._waiting[index] for index in range(min(_BATCH, len(self._waiting)))]
            try:
                await self._append(store, batch)
            except StoreUnavailable as error:
                if not is_out:
                    _log.warning("the audit trail waits for the store: %s", error.detail)
                is_out = True
                await asyncio.sleep(self._retry_s)
                continue
            is_out = False
            for _ in batch:
                self._waiting.popleft()
            if self._dropped:
                last = batch[-1]["at"]
                told = {"kind": DROPPED, "at": last, "detail": str(self._dropped)}
                self._waiting.append(told)
                self._say_dropped()

    async def _append(self, store: Store, batch: Sequence[Mapping[str, str]]) -> None:
        args: list[Argument] = [self._max_kept]
        for fields in batch:
            words = [word for pair in fields.items() for word in pair]
            args += [len(words), *(word.encode("utf-8", "backslashreplace") for word in words)]
        await store.run(_APPEND, [self._key], args)

    def _say_dropped(self) -> None:
        if self._dropped:
            _log.warning("%d audit events are not in the store's stream", self._dropped)
            self._dropped = 0


class AuditTrail:
    """Reads the stream. Every method raises `StoreUnavailable`."""

    def __init__(self, store: Store, *, prefix: str) -> None:
        self._store = store
        self._key = stream_key(prefix)

    async def last(self, count: int) -> list[Entry]:
        """Return the last `count` entries, the oldest first."""
        return self._entries(await self._store.run(_READ, [self._key], ["", count]))[::-1]

    async def after(self, entry_id: str, count: int) -> list[Entry]:
        """Return at most `count` entries that follow `entry_id`, the oldest first."""
        return self._entries(await self._store.run(_READ, [self._key], [entry_id, count]))

    def _entries(self, reply: Sequence[Any]) -> list[Entry]:
        return [_entry(entry_id, words) for entry_id, words in reply]


def _words_of(event: Event) -> dict[str, str]:
    """Return what is told of an event, safe for a terminal and for a line (S15)."""
    told = {
        "kind": event.kind,
        "subject": event.subject,
        "address": event.address,
        "agent": event.agent,
        "request_id": event.request_id,
        "detail": event.detail,
    }
    return {name: clean(value, MAX_WORD) for name, value in told.items() if value}


def _entry(entry_id: bytes, words: Sequence[bytes]) -> Entry:
    """Read an entry; whoever may write to the store may have written anything."""
    texts = [word.decode("utf-8", "backslashreplace") for word in words]
    fields = dict(zip(texts[::2], texts[1::2], strict=False))
    try:
        at = float(fields.get("at", ""))
    except ValueError:
        at = 0.0
    return Entry(
        id=entry_id.decode("ascii", "replace"),
        at=at,
        event=Event(
            kind=fields.get("kind", ""),
            subject=fields.get("subject"),
            address=fields.get("address"),
            agent=fields.get("agent"),
            request_id=fields.get("request_id", ""),
            detail=fields.get("detail", ""),
        ),
    )
