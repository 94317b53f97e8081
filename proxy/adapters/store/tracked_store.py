"""Look-ups over the tracked connection of one worker to one store node (design.md §5).

Keeps the connection: opens it, switches tracking on, proves by heartbeats that it is alive, and
opens it again when it is lost. What is told on it goes to a `Source` of proxy.core.coherence, in
the order of the wire. Where the server cannot track, look-ups go on and nothing is kept (R10).
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import logging
import math
import random
import secrets
import ssl
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Any, Final

from proxy.adapters.boot_clock import boot_time
from proxy.adapters.store.address import StoreAddress
from proxy.adapters.store.canary import Canary
from proxy.adapters.store.line import CLOSE_TIMEOUT_S, CONNECT_TIMEOUT_S
from proxy.adapters.store.link import (
    LinkLost,
    ReplyError,
    client_context,
    fits,
    open_link,
    refuse,
)
from proxy.adapters.store.sentinel import Mastership, NotMaster, check_role
from proxy.adapters.store.tracked_link import (
    Command,
    Question,
    Take,
    TrackedLink,
    switch_tracking_on,
)
from proxy.adapters.tasks import spawn
from proxy.core.coherence import Source
from proxy.errors import StoreUnavailable

BEATS: Final = 4
"""Heartbeats in `max_staleness` (R2)."""
PAUSE_S: Final = (0.05, 0.5)
"""First and longest pause before the next attempt to connect; it doubles."""
ASK_AGAIN_S: Final = 30.0
"""How often a server that could not track is asked again: rights and versions change."""
REPEATS: Final = 2
"""R5: how often a look-up whose keys changed between its replies is repeated."""
MAX_WAITING: Final = 10_000
"""Look-ups that wait for a connection that is being made; more fail at once."""

_log = logging.getLogger("latchgate.store")


class TrackedStore:
    """Reads from one store node, for a cache that is told what changes."""

    def __init__(
        self,
        address: StoreAddress,
        source: Source,
        *,
        timeout_s: float,
        clock: Callable[[], float] = boot_time,
    ) -> None:
        """Prepare to connect; the first look-up, or `start`, does it.

        `timeout_s` bounds one look-up; a reply older than `max_staleness` is none (R2). Raises
        `StoreMisconfigured` for certificates that cannot be used.
        """
        self.address = address
        self.source = source
        self._context: ssl.SSLContext | None = client_context(address)
        self._timeout_s = timeout_s
        self._oldest_s = min(timeout_s, source.max_staleness_s)
        self._clock = clock
        self._mastership: Mastership | None = None
        if address.sentinels:
            self._mastership = Mastership(
                address, self._context, max_staleness_s=source.max_staleness_s, clock=clock
            )
        self._good_until = math.inf
        """When the server is not known any more to be the master (`clock`)."""
        self._link: TrackedLink | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._is_lost = asyncio.Event()
        self._waiting: collections.deque[Question] = collections.deque()
        self._failure: str | None = None
        self._asked: collections.deque[tuple[float, Question]] = collections.deque()
        self._timer: asyncio.TimerHandle | None = None
        self._canary: Canary | None = None

    def __repr__(self) -> str:
        return f"TrackedStore({self.address})"

    def start(self) -> None:
        """Begin to connect in the background."""
        if self._keeper is None:
            self._keeper = spawn(self._keep(), name="tracked connection to the store")

    async def close(self) -> None:
        """End the connection; never raises."""
        keeper, self._keeper = self._keeper, None
        if keeper is not None:
            keeper.cancel()
            await asyncio.wait([keeper])
        link = self._link
        self._failure = "was closed"
        self._fail_waiting(self._failure)
        if link is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_TIMEOUT_S):
                    await link.close()
        if self._timer is not None:
            self._timer.cancel()
        if self._mastership is not None:
            await self._mastership.close()

    def vouch(self, until: float) -> None:
        """Take it from who knows a Cluster that the server is a master, `until` (`clock`)."""
        self._good_until = until

    @property
    def is_vouched(self) -> bool:
        """True while it is known to be a master."""
        return self._clock() <= self._good_until

    def deny(self, why: str) -> None:
        """End the connection, and connect again."""
        if self._link is not None:
            self._link.abort(why)

    # hot: benchmarks/store_link.py
    def ask(
        self,
        commands: Sequence[Command],
        take: Take,
        *,
        keys: Collection[bytes] = (),
        required: int = 1,
    ) -> asyncio.Future[Any]:
        """Send read-only commands; return the future of what `take` makes of their replies.

        `take` is called even when nobody waits any more. With several commands `keys` name all that
        makes the result stale (R5). The future fails with `StoreUnavailable`; whoever shares it with
        others shields it from his own cancellation.
        """
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        question = Question(commands, take, future, keys, required)
        link = self._link
        if link is not None:
            if len(commands) > 1:
                question.reading = self.source.begin(keys)
            link.ask(question)
            asked_at = question.sent_at
        elif self._failure is not None:
            self._refuse(question, self._failure)
            return future
        elif len(self._waiting) >= MAX_WAITING:
            self._refuse(question, "too many look-ups wait for a connection")
            return future
        else:
            self.start()
            asked_at = self._clock()
            self._waiting.append(question)
        self._asked.append((asked_at, question))
        if self._timer is None:
            self._timer = loop.call_later(self._timeout_s, self._expire)
        return future

    async def time_notice(self, key: bytes, change: Callable[[], Awaitable[object]]) -> None:
        """Read `key`, let `change` write it, and count how long the server's word of it took.

        One at a time. No look-up and no invalidation is counted, and nothing at all where nobody
        tells, or the connection is lost meanwhile. Raises what `change` raises.
        """
        link = self._link
        if link is None or self.source.state != "tracking":
            return
        canary = self._canary = Canary(key)
        try:
            with contextlib.suppress(LinkLost, ReplyError):
                await link.send("MGET", key)  # from here on the server will tell
                sent_at = self._clock()
                await change()
                took_s = await canary.heard_at() - sent_at
                if took_s >= 0:  # else the server had forgotten the key, and said so before
                    self.source.counters.notices.count(took_s)
        finally:
            self._canary = None

    # What the connection tells (`Owner`): called while it is taken off the wire

    # hot: benchmarks/store_link.py
    def finish(self, link: TrackedLink, question: Question) -> None:
        """Make something of the replies, unless their keys have changed in between (R5)."""
        if question.reading is not None:
            is_whole = self.source.end(question.reading)
            question.reading = None
            if not is_whole:
                self._repeat(question)
                return
        counters, future, replies = self.source.counters, question.future, question.replies
        if not all(map(fits, question.commands, replies)):
            self._refuse(question, "gave a reply that does not fit its command")
            link.abort("a reply that does not fit its command")
            return
        for reply in replies if question.required == len(replies) else replies[: question.required]:
            if type(reply) is ReplyError:
                self._refuse(question, reply.told)
                return
        try:
            result = question.take(replies, question.sent_at)
        except StoreUnavailable as error:
            if not future.done():
                refuse(future, error)
            return
        except Exception as bug:  # noqa: BLE001 - nobody is let in by it, and the connection goes on
            _log.error("%s: a record could not be read: %s", self.address, type(bug).__name__)
            self._refuse(question, "holds a record that could not be read")
            return
        counters.looked_up.count(link.received_at - question.sent_at)
        if not future.done():
            # A process that was stopped finds replies from before, and its timers have not run yet.
            # They fill the cache in (what has changed stands behind them), but they are no answer;
            # nor is one older than a proof may be, however long a look-up may take (R2).
            if link.received_at - question.sent_at > self._oldest_s:
                self._refuse(question, "did not answer in time")
            elif link.received_at > self._good_until:
                self._refuse(question, "is not confirmed to be the master")
            else:
                future.set_result(result)
        asked = self._asked
        while asked and asked[0][1].future.done():  # mostly this one: they end as they were asked
            asked.popleft()

    def invalidated(self, keys: Sequence[bytes] | None) -> None:
        """Pass on what has changed."""
        if self._canary is not None and self._canary.hears(keys, self._clock()):
            return
        self.source.invalidated(keys)

    def fail(self, question: Question, error: LinkLost) -> None:
        """Let a look-up fail that gets no answer any more."""
        if question.reading is not None:
            self.source.end(question.reading)
            question.reading = None
        self._refuse(question, f"cannot be reached: {error}")

    def lost(self, link: TrackedLink) -> None:
        """Suspend the verdicts at once: nobody tells any more what changes."""
        if link is self._link:
            self._link = None
            self.source.lost()
            self._is_lost.set()
            if self._canary is not None:
                self._canary.end()

    # Sending, timing out

    def _send(self, link: TrackedLink, question: Question) -> None:
        if len(question.commands) > 1:
            question.reading = self.source.begin(question.keys)
        link.ask(question)

    def _repeat(self, question: Question) -> None:
        self.source.counters.lookups_voided += 1
        question.attempts += 1
        link = self._link
        if question.attempts > REPEATS:
            self._refuse(question, "changes faster than it can be read")
        elif link is None or not link.is_open:
            self._refuse(question, "cannot be reached: the connection was lost")
        else:
            question.replies = []
            self._send(link, question)

    def _refuse(self, question: Question, why: str) -> None:
        if not question.future.done():
            self.source.counters.lookups_failed += 1
            refuse(question.future, StoreUnavailable(f"{self.address} {why}"))

    def _expire(self) -> None:
        """Let look-ups fail whose time is over; their places in the line of replies stay theirs."""
        asked = self._asked
        began_before = self._clock() - self._timeout_s
        while asked and (asked[0][1].future.done() or asked[0][0] <= began_before):
            self._refuse(asked.popleft()[1], "did not answer in time")
        self._timer = None
        if asked:
            left_s = max(0.001, asked[0][0] - began_before)
            self._timer = asyncio.get_running_loop().call_later(left_s, self._expire)

    def _fail_waiting(self, why: str) -> None:
        waiting, self._waiting = self._waiting, collections.deque()
        for question in waiting:
            self._refuse(question, why)

    # Keeping the connection

    async def _keep(self) -> None:
        """Connect, serve, and connect again, until cancelled."""
        pause_s = PAUSE_S[0]
        while True:
            try:
                async with asyncio.timeout(CONNECT_TIMEOUT_S):
                    node = await self._node()
                    link = await open_link(
                        node, self._context, lambda: TrackedLink(self, self._clock)
                    )
                    await self._begin(link)
            except (LinkLost, ReplyError, TimeoutError) as error:
                self._fall_silent(error)
                await asyncio.sleep(pause_s * random.uniform(0.8, 1.2))  # noqa: S311 - spreading load is no secret
                pause_s = min(pause_s * 2, PAUSE_S[1])
                continue
            pause_s = PAUSE_S[0]
            if self._mastership is None:
                await self._serve(link)
                continue
            watch = spawn(self._watch(link, node, self._mastership), name="mastership")
            try:
                await self._serve(link)
            finally:
                watch.cancel()

    async def _node(self) -> StoreAddress:
        """Return where to connect to. Raises `LinkLost` where nobody confirms a master."""
        return self.address if self._mastership is None else await self._mastership.confirm()

    async def _watch(self, link: TrackedLink, node: StoreAddress, mastership: Mastership) -> None:
        """Have it confirmed each half of `max_staleness` that `link` leads to the master.

        A server that is not confirmed counts as lost: an old master that was cut off tells of no
        change, because it hears of none.
        """
        pause_s = self.source.max_staleness_s / 2
        while link.is_open:
            await asyncio.sleep(pause_s)
            pause_s = self.source.max_staleness_s / 2
            try:
                is_master = await mastership.confirm() == node
            except NotMaster as error:
                link.abort(str(error))
            except LinkLost as error:
                pause_s = self.source.max_staleness_s / 8
                if self._clock() > mastership.good_until:
                    link.abort(str(error))
            else:
                if is_master:
                    self._good_until = mastership.good_until
                else:
                    link.abort("another server is the master")

    async def _begin(self, link: TrackedLink) -> None:
        """Make `link` the one to ask, tracked if that can be had."""
        try:
            if self._mastership is not None:
                await check_role(link)
            sent_at = self._clock()
            reason = await switch_tracking_on(link)
        except BaseException:
            link.abort("greeting failed")
            raise
        if not link.is_open:
            raise LinkLost("connection closed")
        # No await from here on: a loss is heard by `lost` because `self._link` is this one.
        self._is_lost.clear()
        self._link = link
        self._failure = None
        if self._mastership is not None:
            self._good_until = self._mastership.good_until
        if reason is None:
            self.source.tracked(self._proof(sent_at))
        else:
            self._say_untracked(reason)
        waiting, self._waiting = self._waiting, collections.deque()
        for question in waiting:
            if not question.future.done():
                self._send(link, question)

    async def _serve(self, link: TrackedLink) -> None:
        """Send heartbeats until the connection is lost, or does not answer them."""
        interval_s = self.source.max_staleness_s / BEATS
        unanswered: collections.deque[float] = collections.deque()
        asked_at = asyncio.get_running_loop().time()
        while self._link is link:
            if len(unanswered) >= BEATS:
                link.abort("no heartbeat")  # it may be dead without a word
                return
            self._beat(link, unanswered)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(interval_s):
                    await self._is_lost.wait()
            now = asyncio.get_running_loop().time()
            if self.source.state == "untracked" and now - asked_at > ASK_AGAIN_S:
                asked_at = now
                await self._ask_again(link)

    def _proof(self, sent_at: float) -> float:
        """Return when all was known to be well: the server's word arrives, and it is the master's."""
        return min(sent_at, self._good_until - self.source.max_staleness_s)

    def _beat(self, link: TrackedLink, unanswered: collections.deque[float]) -> None:
        sent_at = self._clock()
        unanswered.append(sent_at)

        nonce = secrets.token_bytes(8).hex().encode()

        def answered(reply: asyncio.Future[Any]) -> None:
            # A turn after the reply was taken off the wire, which only makes the proof older.
            if reply.cancelled() or isinstance(reply.exception(), LinkLost):
                return
            if reply.exception() is None and reply.result() != nonce:
                link.abort("a reply too many: this one is another command's")
                return
            unanswered.popleft()
            self.source.proven(self._proof(sent_at))
            self.source.counters.pings += 1
            self.source.counters.ping_s += self._clock() - sent_at

        link.send("PING", nonce).add_done_callback(answered)

    async def _ask_again(self, link: TrackedLink) -> None:
        """Ask a server that could not track whether it can now."""
        with contextlib.suppress(LinkLost, ReplyError, TimeoutError):
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                sent_at = self._clock()
                if await switch_tracking_on(link) is None and self._link is link:
                    self.source.tracked(self._proof(sent_at))
                    _log.warning("%s tracks keys now: verdicts are kept", self.address)

    def _fall_silent(self, error: LinkLost | ReplyError | TimeoutError) -> None:
        if isinstance(error, ReplyError):
            why = error.told
        else:
            why = f"cannot be reached: {error if isinstance(error, LinkLost) else 'no connection in time'}"
        self._failure = why
        self._fail_waiting(why)

    def _say_untracked(self, reason: str) -> None:
        if self.source.counters.untracked == 0:
            _log.warning(
                "%s: no verdict is kept, every request is looked up: %s", self.address, reason
            )
        self.source.untracked()
