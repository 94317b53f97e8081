"""A connection that takes a whole answer in one step, where it can: for the express lane.

Most answers come in one piece, with a head that was read a moment ago. For those nothing of the
step-by-step reading is needed, whose outcome is known: request and response ended exactly (F2).
"""

from __future__ import annotations

import asyncio
from typing import Final

from proxy.adapters.upstreams.connection import Connection, Phase
from proxy.adapters.upstreams.port import Owner, Receiver, WholeReceiver
from proxy.adapters.upstreams.response import ReadHead

_IDLE: Final = Phase.IDLE
_HEAD: Final = Phase.HEAD


class WholeConnection(Connection):
    """A client connection that knows a short way through whole exchanges."""

    __slots__ = ("_is_used", "_last_end", "_longest_s", "_response_s", "_whole")

    def __init__(self, owner: Owner, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(owner, loop)
        self._whole: WholeReceiver | None = None
        self._last_end = 0
        self._response_s = owner.settings.response_s
        self._longest_s = owner.settings.keepalive_s
        self._is_used = False
        """True once the long way was gone: what it leaves behind is to be reset."""

    def begin(
        self,
        block: bytes,
        receiver: Receiver,
        *,
        method: str,
        upgrade: bytes | None = None,
        has_body: bool = False,
        expects_continue: bool = False,
    ) -> None:
        """Begin an exchange whose answer is taken step by step."""
        self._whole = None
        self._is_used = True
        super().begin(
            block,
            receiver,
            method=method,
            upgrade=upgrade,
            has_body=has_body,
            expects_continue=expects_continue,
        )

    # hot: every request of the express lane
    def begin_whole(
        self, block: bytes, receiver: WholeReceiver, *, is_head: bool, now: float
    ) -> None:
        """Write a request that ends with its head, as `begin` does; `now`: on the loop's clock.

        An answer that comes whole, with a head that was read before, is given to `on_whole`.
        """
        transport = self._transport
        if self.phase is not _IDLE or transport is None:
            raise RuntimeError("a request on a connection that is not idle")
        if self._is_used:
            self._reset("GET", None)
            self._is_used = False
        self._is_head = is_head
        self._receiver = receiver
        self._whole = None if is_head else receiver
        self.phase = _HEAD
        self._is_in_use = self._is_request_sent = True
        self._owner.busy += 1
        self._owner.begun += 1
        self.deadline = now + self._response_s
        transport.write(block)

    # hot: every answer of the express lane
    def data_received(self, data: bytes) -> None:
        """Read what came (asyncio's call): in one step where it is a whole answer, and the end."""
        receiver = self._whole
        if receiver is not None and self.phase is _HEAD:
            owner = self._owner
            end = self._last_end  # the head of the last answer was as long, mostly
            found = owner.heads.find(data[:end])
            if found is None:
                end = self._last_end = data.find(b"\r\n\r\n") + 4
                found = owner.heads.find(data[:end])
            if found is not None and found.length == len(data) - end and not self._held:
                now = self._loop.time()
                if self._is_over(found, now):
                    owner.on_whole(self)
                    receiver.on_whole(found, data[end:], now)
                    return
        self._is_used = True
        super().data_received(data)

    def _is_over(self, found: ReadHead, now: float) -> bool:
        """Make the connection idle again, if request and response ended exactly (F2)."""
        transport = self._transport
        keepalive_s = self._longest_s
        if found.keepalive_s is not None:
            keepalive_s = min(keepalive_s, found.keepalive_s - 1.0)
        if (
            keepalive_s <= 0
            or self._has_eof
            or transport is None
            or transport.get_write_buffer_size()
            or transport.is_closing()
        ):
            return False
        self._whole = self._receiver = None
        self.phase = _IDLE
        self.deadline = now + keepalive_s
        self._is_in_use = self._is_request_sent = False
        return True

    def _read_head(self, raw: bytes) -> ReadHead:
        found = super()._read_head(raw)
        if self._whole is not None:
            self._owner.heads.learn(raw, found)
            if found.head.status >= 200:
                self._whole = None  # who waits in the pool holds on to no client
        return found

    def _leave(self) -> None:
        self._whole = None
        super()._leave()
