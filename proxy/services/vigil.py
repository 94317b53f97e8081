"""The watch over open connections: tunnels, and exchanges that go on (security.md, R7).

Whoever keeps one open says so here, and is told when it has to end. One timer for each worker looks
at the clocks; what the store takes back is heard at once. Connections that hang on the same
credentials are decided again together: a thousand tunnels of one session are one look-up.
"""

from __future__ import annotations

import asyncio
import collections
import logging
import math
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from proxy.adapters.tasks import spawn
from proxy.core.coherence import Key, Pin, Watch
from proxy.core.coherence.watch import CHECK_S, RETRIES
from proxy.errors import DependencyUnavailable
from proxy.model import Authenticated, Identity, Refusal
from proxy.services.authenticate import Held
from proxy.services.coherence import Coherence
from proxy.services.decision import Forward
from proxy.services.endings import OVER, UNCONFIRMED, Ending
from proxy.services.gate import decide_again
from proxy.services.route import Route
from proxy.services.schemes.stepped import keys_of

_log: Final = logging.getLogger("latchgate.coherence")

AFTER_S: Final = 4.0
"""A request that is not over so long after its decision is watched from the next look on."""
LOOK_S: Final = 1.0
"""The longest time between two looks at the clocks."""
SHORTEST_S: Final = 0.01
"""The shortest."""
SHARE: Final = 10
"""A look that took long is not repeated before so many times that: with many connections they are
looked at less exactly, and not all the time."""
PARALLEL: Final = 64
"""Credentials that are decided again at a time: more would make the store's answers late."""


Renew = Callable[[Forward], Forward | Refusal]
"""Says what another configuration makes of a decision; must not wait."""
End = Callable[[Ending], None]
"""Ends one connection. Called at most once; must not wait, and may close its stream."""
Activity = Callable[[], int]
"""A number that grows with every use that a client makes of its connection."""


class Stream:
    """One open connection that hangs on a verdict."""

    __slots__ = (
        "_decision", "_entered_at", "_group", "_refused", "_seen", "_vigil", "activity", "end",
    )  # fmt: skip

    def __init__(self, vigil: Vigil, decision: Forward, activity: Activity, end: End) -> None:
        self._vigil = vigil
        self._decision = decision
        self._group: _Group | None = None
        self._entered_at = -math.inf
        self._seen = 0
        self._refused: Refusal | None = None
        """Why another configuration lets it in no more: it ends if it takes long."""
        self.activity = activity
        self.end = end

    def close(self) -> None:
        """Watch it no more: it has ended. Never raises, and may be called again."""
        self._vigil._closed(self)  # noqa: SLF001 - the two are one unit

    async def settled(self) -> None:
        """Return when nothing is known that speaks against what is held open.

        For the moment before an answer is passed on: one that took long was perhaps taken back a
        moment ago and is being decided again. Mostly there is nothing to wait for. If it has to
        end, `end` is called before this returns.
        """
        await self._vigil._settled(self)  # noqa: SLF001 - the two are one unit


class _Group:
    """All streams of a route that the same credentials of the same person keep open."""

    __slots__ = (
        "held", "is_busy", "key", "must_ask", "route", "settled", "streams", "told", "watch",
    )  # fmt: skip

    def __init__(
        self, key: object, route: Route, held: tuple[Held, ...], told: Identity, watch: Watch
    ) -> None:
        self.key = key
        self.route = route
        self.held = held
        self.told = told
        self.watch = watch
        self.streams: set[Stream] = set()
        self.is_busy = False
        """True while it waits to be decided again, or is."""
        self.must_ask = False
        self.settled: asyncio.Future[None] | None = None
        """For whoever waits until it is not busy any more."""

    def tell_settled(self) -> None:
        """Wake whoever waits."""
        settled, self.settled = self.settled, None
        if settled is not None and not settled.done():
            settled.set_result(None)


class _Line:
    """All vigils of one worker, of which the last one watches.

    Each knows this and not the next: whatever keeps the first alive keeps the last, and none between.
    """

    __slots__ = ("current", "renew")

    def __init__(self, first: Vigil) -> None:
        self.current = first
        self.renew: Renew = lambda decision: decision


class Vigil:
    """Watches the open connections of one worker."""

    def __init__(self, coherence: Coherence, *, clock: Callable[[], float] = time.time) -> None:
        self._cache = coherence.cache
        self._max_staleness_s = coherence.max_staleness_s
        self._mono = coherence.clock
        self._clock = clock
        self.counters = coherence.streams
        self.after_s = AFTER_S
        self.check_s = CHECK_S
        self.on_reported: Callable[[str, str], None] = _nobody
        """Told route and code where report mode lets go on what would have ended (S14)."""
        self._reported: dict[Stream, None] = {}
        """Streams that only report mode keeps open: they end with it."""
        self._open: dict[Stream, None] = {}
        """Streams that nothing is asked of, as long as the configuration stays."""
        self._line = _Line(self)
        self._young: dict[Stream, None] = {}
        """Exchanges in the order of their beginning."""
        self._groups: dict[object, _Group] = {}
        self._waiting: collections.deque[_Group] = collections.deque()
        self._workers: set[asyncio.Task[None]] = set()
        self._working = 0
        self._timer: asyncio.TimerHandle | None = None
        self._shortest_s = SHORTEST_S
        self._is_closed = False

    def tunnel(self, decision: Forward, activity: Activity, end: End) -> Stream | None:
        """Watch a tunnel from now on; `None` where it had to end at once."""
        stream = Stream(self, decision, activity, end)
        if self._line.current is not self:
            self._line.current.inherit(stream, self._line.renew)
            return stream if stream._refused is None else None  # noqa: SLF001 - the two are one unit
        self._admit(stream)
        return stream

    # hot: every guarded request; nearly all of them are over before the first look
    def exchange(self, decision: Forward, activity: Activity, end: End) -> Stream | None:
        """Watch a request and its answer, once they take long."""
        stream = Stream(self, decision, activity, end)
        stream._entered_at = self._mono()  # noqa: SLF001 - the two are one unit
        if self._line.current is not self:
            self._line.current.inherit(stream, self._line.renew, is_young=True)
        elif decision.held and decision.identity is not None and decision.reported is None:
            self._grow(stream)
        else:
            self._admit(stream)
        return stream

    def succeed(self, successor: Vigil, renew: Renew) -> None:
        """Leave every stream to the vigil of another configuration, those still to come as well (R7).

        `renew` says what that configuration makes of a decision; whoever it refuses is ended, if
        not at once then when it takes long.
        """
        self._line.current, self._line.renew = successor, renew
        successor._line = self._line
        watched = [stream for group in self._groups.values() for stream in group.streams]
        streams = (*self._young, *self._reported, *self._open, *watched)
        for stream in sorted(streams, key=lambda one: one._entered_at):  # noqa: SLF001 - the two are one unit
            is_young = not self._is_grown(stream, self._mono())
            self._closed(stream)
            successor.inherit(stream, renew, is_young=is_young)
        if self._timer is not None:
            self._timer.cancel()

    def inherit(self, stream: Stream, renew: Renew, *, is_young: bool = False) -> None:
        """Watch a stream that another configuration let in."""
        stream._vigil = self  # noqa: SLF001 - the two are one unit
        renewed = renew(stream._decision)  # noqa: SLF001 - the two are one unit
        if isinstance(renewed, Refusal):
            stream._refused = renewed  # noqa: SLF001 - the two are one unit
        else:
            stream._decision = renewed  # noqa: SLF001 - the two are one unit
        if is_young:
            self._grow(stream)
        else:
            self._admit(stream)

    async def close(self) -> None:
        """Watch nothing any more; never raises."""
        self._is_closed = True
        if self._timer is not None:
            self._timer.cancel()
        for worker in self._workers:
            worker.cancel()
        if self._workers:
            await asyncio.wait(self._workers)
        self._young.clear()
        self._reported.clear()
        self._open.clear()
        for group in tuple(self._groups.values()):
            self._release(group)

    # Streams

    def _grow(self, stream: Stream) -> None:
        """Look at a request again when it is old enough: nearly all of them are over by then."""
        self._young[stream] = None
        if self._timer is None:
            self._arm(self.after_s)

    def _admit(self, stream: Stream) -> None:
        """Begin to watch a stream, or end it if it may not stay."""
        decision, refused = stream._decision, stream._refused  # noqa: SLF001 - the two are one unit
        if refused is not None:
            detail = f"after a reload: {refused.code}: {refused.detail}"
            self.counters.ended_revoked += 1
            stream.end(Ending("stream_revoked", detail, refused))
        elif decision.reported is not None:
            self._tolerate(stream)
        elif decision.held and decision.identity is not None:
            self._watch(stream)
        else:
            self._open[stream] = None

    def _tolerate(self, stream: Stream) -> None:
        """Let a stream go on that would be refused, until its route enforces (S14)."""
        self._reported[stream] = None
        if self._timer is None:
            self._arm(LOOK_S)

    def _end_reported(self, now: float) -> None:
        """End what was open only because its route did not enforce yet."""
        over = [stream for stream in self._reported if not stream._decision.route.reports(now)]  # noqa: SLF001 - the two are one unit
        for stream in over:
            self._reported.pop(stream, None)
            refusal = stream._decision.reported or OVER  # noqa: SLF001 - the two are one unit
            self.counters.ended_expired += 1
            stream.end(Ending("stream_expired", f"report mode is over: {refusal.code}", refusal))

    def _watch(self, stream: Stream) -> None:
        decision = stream._decision  # noqa: SLF001 - the two are one unit
        told = decision.identity
        assert told is not None  # noqa: S101 - who holds a credential is somebody
        held = tuple(Held(one.scheme, one.found.held()) for one in decision.held)
        keys = tuple(key for one in held for key in keys_of(one.scheme, one.found))
        key = (decision.route, keys, told.origin, told.subject, decision.may_be_stale)
        group = self._groups.get(key)
        if group is None:
            self._groups[key] = group = self._begin(key, decision, held, keys, told)
            self._ask(group)
            self._arm(self._max_staleness_s / RETRIES)
        group.streams.add(stream)
        stream._group = group  # noqa: SLF001 - the two are one unit
        stream._seen = stream.activity()  # noqa: SLF001 - the two are one unit
        self.counters.watched += 1

    def _begin(
        self,
        key: object,
        decision: Forward,
        held: tuple[Held, ...],
        keys: tuple[Key, ...],
        told: Identity,
    ) -> _Group:
        watch = Watch(
            max_staleness_s=self._max_staleness_s,
            is_bridged=decision.may_be_stale,
            mono=self._mono(),
            now=self._clock(),
            check_s=self.check_s,
        )
        group = _Group(key, decision.route, held, told, watch)

        def changed(pin: Pin) -> None:
            source = pin.source
            is_outage = source is not None and source.state == "lost"
            watch.changed(is_outage=is_outage)
            self._ask(group)

        watch.hold([self._cache.pin(one, changed) for one in keys])
        return group

    def _closed(self, stream: Stream) -> None:
        self._young.pop(stream, None)
        self._reported.pop(stream, None)
        self._open.pop(stream, None)
        group, stream._group = stream._group, None  # noqa: SLF001 - the two are one unit
        if group is None:
            return
        group.streams.discard(stream)
        self.counters.watched -= 1
        if not group.streams:
            self._release(group)

    def _release(self, group: _Group) -> None:
        """Watch a group no more; its streams go on as they are."""
        if self._groups.pop(group.key, None) is None:
            return
        for pin in group.watch.pins:
            self._cache.unpin(pin)
        for stream in group.streams:
            stream._group = None  # noqa: SLF001 - the two are one unit
        self.counters.watched -= len(group.streams)
        group.streams = set()
        group.tell_settled()

    def _end(self, group: _Group, ending: Ending) -> None:
        streams = group.streams
        self._release(group)
        counted = f"ended_{ending.code.removeprefix('stream_')}"
        setattr(self.counters, counted, getattr(self.counters, counted) + len(streams))
        for stream in streams:
            stream.end(ending)

    # Looking at the clocks

    def _arm(self, delay_s: float) -> None:
        """See to it that the clocks are looked at in `delay_s`, or earlier."""
        loop = asyncio.get_running_loop()
        at = loop.time() + max(self._shortest_s, min(delay_s, LOOK_S))
        if self._timer is not None:
            if self._timer.when() <= at:
                return
            self._timer.cancel()
        self._timer = None if self._is_closed else loop.call_at(at, self._look)

    def _look(self) -> None:
        self._timer = None
        mono, now = self._mono(), self._clock()
        self._end_reported(now)
        while self._young:
            stream = next(iter(self._young))
            if not self._is_grown(stream, mono):
                break
            del self._young[stream]
            self._admit(stream)
        due_at = mono + LOOK_S
        for group in tuple(self._groups.values()):
            self._look_at(group, mono, now)
            due_at = min(due_at, group.watch.due_at(mono, now, is_asked=group.is_busy))
        self._shortest_s = max(SHORTEST_S, SHARE * (self._mono() - mono))
        if self._groups or self._young or self._reported:
            self._arm(due_at - mono)

    def _is_grown(self, stream: Stream, mono: float) -> bool:
        return mono - stream._entered_at >= self.after_s  # noqa: SLF001 - the two are one unit

    def _look_at(self, group: _Group, mono: float, now: float) -> None:
        self._note_use(group, now)
        match group.watch.look(mono, now):
            case "end":
                self._end(group, UNCONFIRMED)
            case "ask":
                self._ask(group)
            case "check":
                at = group.watch.judged_at(now)
                if not all(
                    _stands(one, at, is_bridged=group.watch.is_bridged) for one in group.held
                ):
                    group.watch.doubted(mono)
                    self._ask(group)

    def _note_use(self, group: _Group, now: float) -> None:
        """Count what clients did since the last look as a use of their sessions."""
        used = [stream for stream in group.streams if stream.activity() != stream._seen]  # noqa: SLF001 - the two are one unit
        if used and all([one.scheme.use(one.found, now) for one in group.held]):  # noqa: C419 - every one is to be used
            for stream in used:
                stream._seen = stream.activity()  # noqa: SLF001 - the two are one unit

    # Deciding again

    def _ask(self, group: _Group) -> None:
        group.must_ask = True
        if group.is_busy or self._is_closed:
            return
        group.is_busy = True
        self._waiting.append(group)
        if self._working < PARALLEL:
            self._working += 1
            worker: asyncio.Task[Any] = spawn(self._work(), name="open connections decided again")
            self._workers.add(worker)
            worker.add_done_callback(self._workers.discard)

    async def _work(self) -> None:
        try:
            while self._waiting:
                await self._ask_until_settled(self._waiting.popleft())
        finally:
            self._working -= 1

    async def _ask_until_settled(self, group: _Group) -> None:
        try:
            while group.must_ask and group.streams:
                group.must_ask = False
                await self._decide(group)
        finally:
            group.is_busy = False
            group.tell_settled()

    async def _settled(self, stream: Stream) -> None:
        if stream in self._young and self._is_grown(stream, self._mono()):
            del self._young[stream]
            self._admit(stream)
        group = stream._group  # noqa: SLF001 - the two are one unit
        while group is not None and group.is_busy and not self._is_closed:
            if group.settled is None:
                group.settled = asyncio.get_running_loop().create_future()
            await asyncio.shield(group.settled)
            group = stream._group  # noqa: SLF001 - the two are one unit

    async def _decide(self, group: _Group) -> None:
        """Decide a group again; what changes meanwhile makes it be asked once more."""
        watch = group.watch
        mono, now = self._mono(), self._clock()
        self.counters.decided_again += 1
        try:
            told = await decide_again(group.route, group.held, group.told, watch.judged_at(now))
        except DependencyUnavailable as down:
            if not watch.is_past(mono, now):
                watch.unanswered(self._mono())
                self._arm(self._max_staleness_s / RETRIES)
                return
            told = Refusal("session_expired", f"its time is over; {down.detail}")
        except Exception:  # noqa: BLE001 - a bug is no confirmation, and the next group is still to be decided
            _log.exception("an open connection could not be decided again")
            watch.doubted(self._mono())  # nothing vouches for it any more
            watch.unanswered(self._mono())
            self._arm(self._max_staleness_s / RETRIES)
            return
        if not group.streams:
            return
        if isinstance(told, Refusal):
            self._refused(group, told, now)
        else:
            freshness = group.route.freshness
            fresh_until = math.inf if freshness is None else freshness.ends_at(told)
            watch.confirmed(mono, now, told.expires_at, fresh_until)
        mono = self._mono()
        self._arm(watch.due_at(mono, self._clock()) - mono)

    def _refused(self, group: _Group, refusal: Refusal, now: float) -> None:
        watch, mono = group.watch, self._mono()
        detail = f"{refusal.code}: {refusal.detail}"
        if not watch.is_expiry(refusal, mono, now):
            self._stop(group, Ending("stream_revoked", detail, refusal), now)
        elif not group.route.keeps_expired:
            self._stop(group, Ending("stream_expired", detail, refusal), now)
        elif refusal.code == "session_unknown":
            self.counters.kept += 1
            self._release(group)  # nothing is left that could be revoked
        elif watch.outlived(mono):
            self.counters.kept += 1
            group.must_ask = True

    def _stop(self, group: _Group, ending: Ending, now: float) -> None:
        """End streams that are refused; where their route only reports they end when it enforces (S14)."""
        route, streams = group.route, tuple(group.streams)
        if not route.reports(now):
            self._end(group, ending)
            return
        self._release(group)
        _log.info("route %s: in report mode, so not ended: %s", route.name, ending.detail)
        for stream in streams:
            self.on_reported(route.name, ending.refusal.code)
            self._tolerate(stream)


def _nobody(route: str, code: str) -> None:
    """Count nothing: nobody has asked for it."""
    del route, code


def _stands(one: Held, at: float, *, is_bridged: bool) -> bool:
    """Tell whether a verdict that no store has taken back is good still: its time, its key (K3).

    `is_bridged`: an outage of the store is none of the reasons for which it may not be (R8).
    """
    found = replace(one.found, may_be_stale=is_bridged)
    return isinstance(one.scheme.known(found, at), Authenticated)
