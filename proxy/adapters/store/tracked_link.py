"""The connection over which a worker looks things up, and is told what changes (design.md §5).

RESP3, `CLIENT TRACKING ON` in its default mode: the server remembers what this connection has read,
keys that do not exist too, and writes an invalidation behind the reply that it makes stale.

**The order is the proof.** A look-up is finished here, while its last reply is taken off the wire:
`Question.take` fills the verdict in before the next byte is looked at. An invalidation that makes
the reply stale stands behind it on the wire, so it is handled after the fill and finds what it has
to drop. Between a reply and its fill there must be no `await`, no callback of a future and no turn
of the loop: an invalidation that is handled in between finds nothing, and the stale verdict that
is filled in behind it is never dropped, because tracking is one-shot. A look-up of several replies
has such gaps by nature; `Source.begin` watches over its keys (security.md, R5).
"""

from __future__ import annotations

import asyncio
import collections
from collections.abc import Callable, Collection, Sequence
from typing import Any, Final, Protocol, cast

import hiredis
from hiredis import PushNotification, pack_command

from proxy.adapters.store.link import MORE, Link, LinkLost, ReplyError, answer, refuse
from proxy.adapters.store.port import Argument
from proxy.core.coherence import Reading

Command = Sequence[Argument]
Take = Callable[[list[Any], float], Any]
"""Makes something of the replies of a look-up, and of when it was sent (`boot_time`). Synchronous.

A reply may be a `ReplyError` where it was not required. Raises `StoreUnavailable`.
"""


class Question:
    """A look-up on its way: its commands, what is to be made of the replies, and who waits."""

    __slots__ = ("attempts", "commands", "future", "keys", "reading", "replies", "required", "sent_at", "take")  # fmt: skip

    # hot: made for each look-up, so by position and with nothing to compute
    def __init__(
        self,
        commands: Sequence[Command],
        take: Take,
        future: asyncio.Future[Any],
        keys: Collection[bytes] = (),
        required: int = 1,
    ) -> None:
        self.commands = commands
        """Read-only ones: what GETEX or GETDEL read is not tracked (R5)."""
        self.take = take
        self.future = future
        self.keys = keys
        """Whatever makes the result stale; needed where there are several commands (R5)."""
        self.required = required
        """So many of the replies must not be errors."""
        self.sent_at = 0.0
        """When it was sent, or a little earlier (`boot_time`)."""
        self.replies: list[Any] = []
        self.reading: Reading | None = None
        self.attempts = 0


class Owner(Protocol):
    """Who keeps the connection: called while a reply or push is taken off the wire."""

    def finish(self, link: TrackedLink, question: Question) -> None:
        """Take the replies of `question`, which are complete."""
        ...

    def invalidated(self, keys: Sequence[bytes] | None) -> None:
        """Hear that `keys` have changed; `None`: all of them."""
        ...

    def fail(self, question: Question, error: LinkLost) -> None:
        """Hear that `question` gets no answer on this connection."""
        ...

    def lost(self, link: TrackedLink) -> None:
        """Hear that the connection is gone; called once, before `fail`."""
        ...


class TrackedLink(Link):
    """A `Link` that takes questions beside commands, and hears the server's pushes."""

    _INVALIDATE: Final = b"invalidate"

    def __init__(self, owner: Owner, clock: Callable[[], float]) -> None:
        super().__init__()
        self._owner = owner
        self._clock = clock
        self._is_lost = False
        self._turn_at = 0.0
        self.received_at = 0.0
        """When bytes last arrived, on `clock`."""

    # hot: benchmarks/store_link.py
    def ask(self, question: Question) -> None:
        """Send the commands of `question`; they leave with everything else of this turn."""
        outbox = self._outbox
        if not outbox:
            self._loop.call_soon(self._flush)
        if not self._turn_at:  # one look at the clock for a turn: no question is sent any earlier
            self._turn_at = self._clock()
        question.sent_at = self._turn_at
        pending = cast("collections.deque[Any]", self._pending)
        for command in question.commands:
            outbox.append(pack_command(command))  # type: ignore[arg-type]  # its stub knows one argument only
            pending.append(question)

    def data_received(self, data: bytes) -> None:
        """Hand replies and pushes on, one after the other, in the order of the wire."""
        self.last_data_at = self._loop.time()
        self.received_at = self._clock()
        gets, pending = self._reader.gets, cast("collections.deque[Any]", self._pending)
        try:
            self._reader.feed(data)
            while (reply := gets()) is not MORE:
                if type(reply) is PushNotification:
                    self._hear(reply)
                    continue
                if not pending:
                    self.abort("a reply that nobody asked for")
                    return
                item = pending.popleft()
                if type(item) is Question:
                    # Here and now, see above: what comes next on the wire may invalidate it.
                    item.replies.append(reply)
                    if len(item.replies) == len(item.commands):
                        self._owner.finish(self, item)
                elif not item.done():
                    answer(item, reply)
                if self._is_lost:
                    return
        except hiredis.HiredisError:
            self.abort("a reply that is not RESP")

    def _flush(self) -> None:
        self._turn_at = 0.0
        super()._flush()

    def _hear(self, push: list[Any]) -> None:
        if len(push) == 2 and push[0] == self._INVALIDATE:
            self._owner.invalidated(push[1])

    def _fail(self, reason: str) -> None:
        """Tell the owner first: what was read on this connection is not fresh any more."""
        if not self._is_lost:
            self._is_lost = True
            self._owner.lost(self)
        pending, self._pending = cast("collections.deque[Any]", self._pending), collections.deque()
        for item in dict.fromkeys(pending):  # one question may wait for several replies
            if isinstance(item, Question):
                self._owner.fail(item, LinkLost(reason))
            elif not item.done():
                refuse(item, LinkLost(reason))


_CANNOT: Final = frozenset({"ERR", "NOPROTO", "NOPERM"})
"""Answers of a server, or of an ACL, that will not track; others are those of an outage."""
_OLDEST: Final = (7, 0)


async def switch_tracking_on(link: TrackedLink) -> str | None:
    """Ask for RESP3 and tracking; return why they cannot be had (R10), or `None` if they are on.

    Raises `LinkLost`, and `ReplyError` for what has nothing to do with tracking.
    """
    hello = await _tried(link, "HELLO", 3)
    if isinstance(hello, str):
        return f"the server does not speak RESP3 with this user ({hello})"
    if not isinstance(hello, dict) or not isinstance(named := hello.get(b"version"), bytes):
        raise LinkLost("an answer to HELLO that is none")
    version = named.decode("ascii", "replace")
    if tuple(int(part) for part in version.split(".")[:2] if part.isdigit()) < _OLDEST:
        return f"the server is older than 7.0 ({version[:20]})"
    tracking = await _tried(link, "CLIENT", "TRACKING", "ON")
    if isinstance(tracking, str):
        return f"CLIENT TRACKING is not permitted ({tracking})"
    return None


async def _tried(link: TrackedLink, *command: Argument) -> Any:
    """Return the reply, or as a text the kind of error of a server that cannot."""
    try:
        return await link.send(*command)
    except ReplyError as error:
        if error.kind not in _CANNOT:
            raise
        return error.kind
