"""The verdicts of one worker, and the tracked connections that keep them true (design.md §5).

Schemes ask a `Ledger`: what is known, and if nothing is, a look-up that concurrent requests share.
What is kept, dropped and believed is decided by proxy.core.coherence.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable, Collection, Coroutine, Sequence
from hashlib import sha256
from typing import Any, Final

from proxy.adapters.boot_clock import boot_time
from proxy.adapters.store import StoreAddress
from proxy.adapters.store.cluster_tracked import open_tracked
from proxy.adapters.store.tracked_link import Command, Take
from proxy.adapters.store.tracked_store import TrackedStore
from proxy.adapters.tasks import spawn
from proxy.config.models import Config
from proxy.core.coherence import (
    Attempts,
    CoherenceCounters,
    Entry,
    Finding,
    Forgeries,
    Key,
    Scope,
    StreamCounters,
    Verdict,
    VerdictCache,
)
from proxy.core.keyset import KeySet
from proxy.errors import StoreUnavailable
from proxy.model import Rejected
from proxy.services.lookups import LookUps, watching
from proxy.services.schemes.port import Found

Fill = Callable[[list[Any], float], "Kept"]
"""What a look-up's replies mean. Called while the last of them is taken off the wire: see `Kept`."""

BEHIND_S: Final = 2.0
"""How long what is written behind requests may take at the end."""

_log = logging.getLogger("latchgate.verdicts")


class Kept:
    """A finding, and what keeping it costs and hangs on."""

    __slots__ = ("finding", "is_kept", "size", "store_keys", "until")

    def __init__(
        self,
        finding: Finding,
        *,
        store_keys: tuple[bytes, ...] = (),
        size: int = 0,
        until: float = math.inf,
        is_kept: bool = True,
    ) -> None:
        self.finding = finding
        self.store_keys = store_keys
        """Beside those of the scope."""
        self.size = size
        """Bytes of the content, as estimated."""
        self.until = until
        """When it stops being true, on `boot_time`."""
        self.is_kept = is_kept
        """False where the replies cannot vouch for it."""


class Vouched:
    """A verdict by reference: what `Ledger.find` would say of it, without looking it up."""

    __slots__ = ("_counters", "_entry", "_max_staleness_s", "_scope", "_source", "verdict")

    def __init__(
        self, entry: Entry[Finding], verdict: Verdict, counters: CoherenceCounters
    ) -> None:
        self._entry = entry
        self._scope = entry.scope
        self._source = entry.scope.source
        self._max_staleness_s = 0.0 if self._source is None else self._source.max_staleness_s
        self._counters = counters
        self.verdict = verdict

    def holds(self, mono: float) -> bool:
        """Tell whether it may be believed at `mono`, and count the hit if so (R1, R2)."""
        entry, source = self._entry, self._source
        if entry.vouched != self._scope.generation or mono >= entry.until:
            return False
        if source is not None and (
            source.state != "tracking" or mono - source.proven_at > self._max_staleness_s
        ):
            return False
        entry.is_used = True
        self._counters.hits += 1
        return True


class Coherence:
    """One worker's verdict cache, its connections, and what they count."""

    def __init__(
        self,
        config: Config,
        *,
        generation: int = 0,
        clock: Callable[[], float] = boot_time,
        before: Coherence | None = None,
    ) -> None:
        """Make an empty cache for `config`; `generation` numbers the configuration (R1).

        `before`: of the configuration before it, whose counters, and memory of those who guess,
        go on.
        """
        self._store = config.store
        self.clock = clock
        self.max_staleness_s = config.store.max_staleness
        self.generation = generation
        self.counters: CoherenceCounters = before.counters if before else CoherenceCounters()
        self.streams: StreamCounters = before.streams if before else StreamCounters()
        self.cache = VerdictCache(
            entries=config.verdicts.entries, size=config.verdicts.bytes, counters=self.counters
        )
        self.flights: dict[Key, asyncio.Future[Finding]] = {}
        self.guessed_sessions: Attempts = before.guessed_sessions if before else Attempts()
        self.forged_tokens: Attempts = before.forged_tokens if before else Attempts()
        self.forgeries = Forgeries()
        self.tracked: dict[StoreAddress, TrackedStore] = {}
        """One for each store node."""
        self._behind: set[asyncio.Task[None]] = set()

    def track(self, name: str, address: StoreAddress) -> TrackedStore:
        """Return the tracked connection to the store at `address`, made once.

        `name` is what it is called in counters: `store` for the gate's own, else its scheme's name.
        """
        found = self.tracked.get(address)
        if found is None:
            source = self.cache.source(
                name,
                max_staleness_s=self._store.max_staleness,
                grace_s=self._store.grace_s,
            )
            found = open_tracked(address, source, timeout_s=self._store.timeout, clock=self.clock)
            self.tracked[address] = found
        return found

    def ledger(
        self, scheme: str, tracked: TrackedStore | None, keys: Collection[bytes] = ()
    ) -> Ledger:
        """Return the verdicts of one scheme, which all depend on `keys`; without a store on none."""
        scope = Scope(None) if tracked is None else tracked.source.scope(keys)
        return Ledger(self, scheme, tracked, scope)

    def start(self) -> None:
        """Begin to connect."""
        for tracked in self.tracked.values():
            tracked.start()

    def behind(self, work: Coroutine[Any, Any, None], *, name: str) -> None:
        """Do something in the store behind an answer; what is under way at the end is waited for."""
        task = spawn(work, name=name)
        self._behind.add(task)
        task.add_done_callback(self._behind.discard)

    async def close(self) -> None:
        """Close every connection and forget every verdict; never raises.

        The store is still needed for what is written behind requests: it is closed after this.
        """
        if self._behind:
            await asyncio.wait(tuple(self._behind), timeout=BEHIND_S)
        await asyncio.gather(*(tracked.close() for tracked in self.tracked.values()))
        self.cache.forget_all()


class Ledger:
    """The verdicts of one scheme."""

    def __init__(
        self, coherence: Coherence, scheme: str, tracked: TrackedStore | None, scope: Scope
    ) -> None:
        self._coherence = coherence
        self._cache = coherence.cache
        self._counters = coherence.counters
        self._flights = coherence.flights
        self._scheme = scheme
        self._generation = coherence.generation
        self._tracked = tracked
        self._scope = scope
        self._clock = coherence.clock
        self._told_at = -math.inf

    def behind(self, work: Coroutine[Any, Any, None], *, name: str) -> None:
        """Do something in the store behind an answer (see `Coherence`)."""
        self._coherence.behind(work, name=name)

    def key(self, credential: bytes) -> Key:
        """Return what a credential's verdict is kept under."""
        return (self._scheme, self._generation, sha256(credential).digest())

    # hot: a request whose verdict is cached costs this and a comparison of times
    def find(self, found: Found, key: Key) -> Finding | None:
        """Return what is known now, without I/O; `None`: it has to be looked up."""
        mono = self._clock()
        finding = self._cache.find(key, mono)
        if finding is None and found.may_be_stale:
            if not found.is_request:
                finding = self._cache.find_in_outage(key, mono)
            elif self._is_lost():
                finding = self._find_in_outage(key, mono)
        return finding

    def has(self, key: Key) -> bool:
        """Tell whether anything is known of a credential, to be believed or not."""
        return self._cache.has(key)

    # hot: every request of the express lane
    def vouched(self, key: Key) -> Vouched | None:
        """Return what says, as often as it is asked, whether a cached verdict is still to be believed."""
        entry = self._cache.vouched(key)
        if entry is None or not isinstance(entry.content, Verdict) or entry.content.refused:
            return None
        return Vouched(entry, entry.content, self._counters)

    def hit(self, found: Found, key: Key, finding: Finding) -> None:
        """Count a request that `find` answered."""
        if not found.is_request or found.looked_up(key) is not None:
            return
        if isinstance(finding, Verdict) and finding.refused is None:
            self._counters.hits += 1
        else:
            self._counters.refusal_hits += 1

    def keep(self, key: Key, kept: Kept) -> None:
        """Keep what no store was asked for."""
        self._counters.misses += 1
        self._cache.keep(key, kept.finding, self._scope, size=kept.size, until=kept.until)

    def drop_expired(self, key: Key) -> None:
        """Forget a verdict whose time is over."""
        self._cache.drop(key, "expired")

    def drop_invalid(self, key: Key) -> None:
        """Forget a session that a script found gone, before the store's own word arrives."""
        self._cache.drop(key, "invalidated")

    def drop_unverified(self, key: Key) -> None:
        """Forget a verdict whose key has left the set (K3)."""
        self._cache.drop(key, "key")

    def aside(self, key: Key) -> Verdict | None:
        """Return an invalidated verdict that equal bytes may restore."""
        return self._cache.aside(key)

    def restored(self) -> None:
        """Count a verdict that equal bytes have restored."""
        self._counters.restored += 1

    def flight(self, key: Key) -> asyncio.Future[Finding] | None:
        """Return the look-up of this credential that is under way."""
        flight = self._flights.get(key)
        if flight is None or flight.done():  # one that is over may have been overtaken by a change
            return None
        self._counters.shared += 1
        return flight

    def look_up(
        self,
        key: Key,
        commands: Sequence[Command],
        fill: Fill,
        keys: Collection[bytes],
        *,
        required: int = 1,
    ) -> asyncio.Future[Finding]:
        """Send a look-up that everybody who asks for `key` meanwhile shares; see `wait_for`.

        `keys` are all that the result depends on, beside those of the scheme. `fill` says what the
        replies mean; what it returns is kept before anything else is taken off the wire. The first
        `required` replies must not be errors.
        """
        assert self._tracked is not None  # noqa: S101 - only schemes with a store look up
        self._counters.misses += 1
        cache, scope = self._cache, self._scope

        def take(replies: list[Any], sent_at: float) -> Finding:
            kept = fill(replies, sent_at)
            if not kept.is_kept:
                self._say_unkept()
                return kept.finding
            cache.keep(
                key,
                kept.finding,
                scope,
                store_keys=kept.store_keys,
                size=kept.size,
                until=kept.until,
            )
            return kept.finding

        watched = (*keys, *scope.keys) if len(commands) > 1 else ()
        future = self._tracked.ask(commands, take, keys=watched, required=required)
        if not future.done():
            self._flights[key] = future
            future.add_done_callback(lambda done: self._landed(key, done))
        return future

    def ask(self, commands: Sequence[Command], take: Take) -> asyncio.Future[Any]:
        """Send a question whose answer is no verdict; the future fails with `StoreUnavailable`."""
        assert self._tracked is not None  # noqa: S101 - only schemes with a store look up
        future = self._tracked.ask(commands, take, required=0)
        if (watch := watching.get()) is not None:
            self._watch(watch, future)
        return future

    def _watch(self, watch: LookUps, flight: asyncio.Future[Any]) -> None:
        """Have a look-up noted by a request that waits for it."""
        assert self._tracked is not None  # noqa: S101 - only schemes with a store look up
        store, began_ns = self._tracked.source.name, time.perf_counter_ns()

        def over(done: asyncio.Future[Any]) -> None:
            is_failed = done.cancelled() or done.exception() is not None
            watch.note(store, began_ns, is_failed=is_failed)

        flight.add_done_callback(over)

    def _landed(self, key: Key, flight: asyncio.Future[Finding]) -> None:
        """Let a look-up that is over be joined no more; one that began since is another one."""
        if self._flights.get(key) is flight:
            del self._flights[key]

    async def wait_for(self, flight: asyncio.Future[Finding], found: Found, key: Key) -> Finding:
        """Wait for a look-up; in an outage return what may serve instead (R8).

        Raises `StoreUnavailable`.
        """
        if (watch := watching.get()) is not None:
            self._watch(watch, flight)
        try:
            return await asyncio.shield(flight)  # others wait for it too
        except StoreUnavailable:
            stale = None
            if found.may_be_stale:
                stale = self._find_in_outage(key, self._clock())
            if stale is None:
                raise
            return stale

    def remembered_forgery(self, key: Key, keys: KeySet) -> Rejected | None:
        """Return why a token was rejected a moment ago with these keys."""
        rejected = self.known_forgery(key, keys)
        if rejected is not None:
            self._counters.refusal_hits += 1
        return rejected

    def known_forgery(self, key: Key, keys: KeySet) -> Rejected | None:
        """Return the same, and count nothing: for whoever leaves the answer to others."""
        return self._coherence.forgeries.get(key, keys, self._clock())

    async def forged(self, found: Found, key: Key, rejected: Rejected, keys: KeySet) -> Rejected:
        """Remember a forged token; slow down or refuse who sends too many (R9)."""
        self._coherence.forgeries.put(key, rejected, keys, self._clock())
        return await self._held_back(self._coherence.forged_tokens, found, key) or rejected

    def is_flooded(self, found: Found) -> bool:
        """Tell whether the request's address guesses sessions beyond every measure just now (R9)."""
        return found.is_request and self._coherence.guessed_sessions.is_beyond(
            found.address, self._clock()
        )

    async def guessed(self, found: Found, key: Key) -> Rejected | None:
        """Count an unknown session that nobody had seen; the refusal of who sends too many (R9)."""
        return await self._held_back(self._coherence.guessed_sessions, found, key)

    async def _held_back(self, attempts: Attempts, found: Found, key: Key) -> Rejected | None:
        if not found.is_request:
            return None
        delay_s = attempts.delay_of(found.address, key[2], self._clock())
        if delay_s is None:
            self._counters.attempts_refused += 1
            return Rejected("too_many_attempts", "too many different unknown credentials a second")
        if delay_s:
            self._counters.attempts_slowed += 1
            await asyncio.sleep(delay_s)
        return None

    def _say_unkept(self) -> None:
        if self._counters.unkept == 0:
            _log.warning(
                "scheme %s: no verdict is kept, every request is looked up:"
                " the store's user may not ask for the life of a key (PTTL)",
                self._scheme,
            )
        self._counters.unkept += 1

    def _is_lost(self) -> bool:
        return self._tracked is not None and self._tracked.source.state == "lost"

    def _find_in_outage(self, key: Key, mono: float) -> Verdict | None:
        verdict = self._cache.find_in_outage(key, mono)
        if verdict is not None:
            self._counters.served_stale += 1
            if mono - self._told_at > 1.0:
                self._told_at = mono
                _log.warning(
                    "scheme %s: the store is out, cached verdicts serve (on_outage: serve_cached)",
                    self._scheme,
                )
        return verdict
